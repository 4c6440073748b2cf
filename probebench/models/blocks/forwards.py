"""Modules that do something else for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def forwards(instead: Sequence[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
    """Meanwhile each module's `forward` is the function beside it; its hooks are called as before.

    A forward that is an attribute of the module itself, as devices that are spread have it, is put
    back.
    """
    before = [vars(module).get("forward") for module, _ in instead]
    try:
        for module, forward in instead:
            module.forward = forward
        yield
    finally:
        for (module, _), own in zip(instead, before, strict=True):
            if own is None:
                vars(module).pop("forward", None)
            else:
                module.forward = own
