"""Sites: where in a block a vector is read.

`resid` is the residual stream after block k, and `emb` before block 0. The last row is the stream itself, before the
final norm that `output_hidden_states` applies to its last entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from probebench.errors import RunError, UnknownNameError
from probebench.types import EMB

if TYPE_CHECKING:
    import torch
    from torch import nn

SITES = ("resid",)
Sink = Callable[[int, "torch.Tensor"], None]
"""Called with the layer number and that layer's (batch, token, width) vectors."""


def check_sites(names: Sequence[str]) -> tuple[str, ...]:
    """Known site names, in order.

    Raises:
        UnknownNameError: a name that is no site.
    """
    for name in names:
        if name not in SITES:
            raise UnknownNameError("site", name, SITES)
    return tuple(name for name in SITES if name in names)


def find_blocks(model: nn.Module, n_layers: int) -> Sequence[nn.Module]:
    """The decoder's blocks, in order, whatever the architecture calls them.

    Raises:
        RunError: no list of that many modules; such a model cannot be read.
    """
    from torch import nn

    lists = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == n_layers]
    if not lists:
        raise RunError(f"{type(model).__name__} has no list of {n_layers} blocks, so its residual stream cannot be read.")
    return list(min(lists, key=lambda item: item[0].count("."))[1])


def watch_residual(blocks: Sequence[nn.Module], layers: Sequence[int], sink: Sink) -> list[Any]:
    """Hooks that hand the residual stream of the wanted layers to `sink`; remove them with `.remove()`."""

    def before_first(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sink(EMB, args[0] if args else kwargs["hidden_states"])

    def after(layer: int) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            sink(layer, output[0] if isinstance(output, tuple) else output)  # a bare tensor since transformers 5

        return hook

    hooks: list[Any] = []
    if EMB in layers:
        hooks.append(blocks[0].register_forward_pre_hook(before_first, with_kwargs=True))
    hooks += [blocks[k].register_forward_hook(after(k)) for k in layers if k != EMB]
    return hooks


def resolve_layers(wanted: Sequence[int] | None, n_layers: int) -> tuple[int, ...]:
    """The embedding row and the wanted blocks (None: all), in order.

    Raises:
        UnknownNameError: a block the model does not have.
    """
    blocks = range(n_layers) if wanted is None else sorted(set(wanted))
    for k in blocks:
        if not 0 <= k < n_layers:
            raise UnknownNameError("layer", str(k), map(str, range(n_layers)))
    return (EMB, *blocks)
