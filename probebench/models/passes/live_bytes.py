"""Bytes of tensors that live at once."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class LiveBytes(TorchDispatchMode):  # type: ignore[misc]
    """Counts the bytes of all tensors that are made while it is on, as long as each lives.

    Works on real tensors and on those without memory (`meta`, fake), so that a pass can be measured
    that is never computed. Memory that a kernel takes for itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor, (*args, *(kwargs or {}).values()))
        return out

    def _add(self, tensor: torch.Tensor, args: tuple[Any, ...]) -> None:
        storage = tensor.untyped_storage()
        known = (a.untyped_storage()._cdata for a in tensors_in(args))
        # a view, or an argument changed in place
        if storage in self._seen or storage._cdata in known:
            return
        size = storage.nbytes()
        self._seen.add(storage)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size


def tensors_in(args: tuple[Any, ...]) -> list[torch.Tensor]:
    """Tensors among arguments, also of lists and dicts in them."""
    found = []
    for arg in args:
        if isinstance(arg, torch.Tensor):
            found.append(arg)
        elif isinstance(arg, (tuple, list)):
            found += [a for a in arg if isinstance(a, torch.Tensor)]
    return found
