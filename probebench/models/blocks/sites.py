"""Sites: where in a block a vector is read.

`resid` is the residual stream after block k, and `emb` before block 0. The last row is the stream
itself, before the final norm that `output_hidden_states` applies to its last entry. The other sites
are inputs and outputs of projections: queries, keys and values before norms and rotary embedding,
heads before the output projection, and so on. Where an architecture keeps them stands in `layouts`;
what a layer does not have is absent, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from probebench.errors import RunError, UnknownNameError
from probebench.models.blocks.layouts import COMPONENTS, FAMILIES, SITES, Family
from probebench.models.blocks.modules import Side
from probebench.models.blocks.taps import Sink, Tap, TapReader, find_blocks
from probebench.types import EMB

if TYPE_CHECKING:
    import torch
    from torch import nn


__all__ = [
    "ALL",
    "COMPONENTS",
    "SITES",
    "SitePlan",
    "Tap",
    "check_sites",
    "find_blocks",
    "known_families",
    "plan_sites",
    "resolve_layers",
    "watch",
]

ALL = "all"
"""Stands for every site; `plan_sites`, which knows the model, resolves it."""


@dataclass(frozen=True, slots=True, eq=False)
class SitePlan:
    """What can be read of what was asked for."""

    sites: tuple[str, ...]
    """Sites asked for, in order, `all` resolved."""
    taps: Mapping[tuple[str, int], Tap]
    """(site, layer) -> tap."""
    absent: Mapping[tuple[str, int], str]
    """(site, layer) -> why there is none."""
    first: nn.Module
    """Block 0, where every pass shows its (batch, token) shape."""
    stream: Callable[[torch.Tensor], torch.Tensor]
    """From what blocks pass on to the one stream that is read, (batch, token, ...); mostly the
    identity."""


def check_sites(names: Sequence[str]) -> tuple[str, ...]:
    """Known site names, in order; `all` stays first, for `plan_sites` to resolve.

    Raises:
        UnknownNameError: a name that is no site.
    """
    known = (ALL, *SITES)
    for name in names:
        if name not in known:
            raise UnknownNameError("site", name, known)
    return tuple(name for name in known if name in names)


def known_families() -> tuple[Family, ...]:
    """Families whose sites are known by name; others are read by standard names, or give `resid`
    only."""
    return FAMILIES


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


def plan_sites(
    model: nn.Module, n_layers: int, sites: Sequence[str], layers: Sequence[int]
) -> SitePlan:
    """Where to read the wanted sites of the wanted layers.

    Args:
        model: base model or causal language model.
        n_layers: its number of blocks.
        sites: site names. `all`: every site, without `mlp.out` where that equals `mlp.down` in
            every layer.
        layers: block indices; `EMB` asks for `resid` before block 0 and for nothing else.

    Returns:
        Each (site, layer) asked for, either among the taps or among the absent.

    Raises:
        RunError: the model has no blocks that can be read.
    """
    reader = TapReader(model, find_blocks(model, n_layers))
    taps: dict[tuple[str, int], Tap] = {}
    absent: dict[tuple[str, int], str] = {}
    wanted = tuple(SITES) if ALL in check_sites(sites) else check_sites(sites)
    for site, layer in ((s, k) for k in layers for s in wanted if k != EMB or s == "resid"):
        found = reader.find(site, layer)
        if isinstance(found, Tap):
            taps[site, layer] = found
        else:
            absent[site, layer] = found
    names = _resolve(sites, taps)
    return SitePlan(
        names,
        {key: tap for key, tap in taps.items() if key[0] in names},
        {key: reason for key, reason in absent.items() if key[0] in names},
        reader.blocks[0],
        reader.stream(EMB).take,
    )


def watch(plan: SitePlan, sink: Sink) -> list[Any]:
    """Hooks that hand the planned vectors to `sink` during a pass; remove them with `.remove()`."""
    shape: list[int] = []

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        shape[:] = plan.stream(_first(args, kwargs)).shape[:2]

    hooks: list[Any] = [plan.first.register_forward_pre_hook(note, with_kwargs=True)]
    for module, side, taps in _by_module(plan):
        hooks.append(_hook(module, side, taps, shape, sink))
    return hooks


def _by_module(plan: SitePlan) -> Iterator[tuple[nn.Module, Side, list[tuple[str, int, Tap]]]]:
    groups: dict[tuple[int, Side], list[tuple[str, int, Tap]]] = {}
    for (site, layer), tap in plan.taps.items():
        groups.setdefault((id(tap.module), tap.side), []).append((site, layer, tap))
    for taps in groups.values():
        yield taps[0][2].module, taps[0][2].side, taps


def _hook(
    module: nn.Module, side: Side, taps: list[tuple[str, int, Tap]], shape: list[int], sink: Sink
) -> Any:
    def hand(x: torch.Tensor) -> None:
        for site, layer, tap in taps:
            values = tap.take(x)
            # OPT flattens batch and token, DeepSeek adds an axis
            if list(values.shape[:-1]) != shape:
                if values.shape[:-1].numel() != math.prod(shape):
                    raise RunError(
                        f"{site} of layer {layer} has shape {tuple(values.shape)}, not (batch, "
                        "token, width)."
                    )
                values = values.reshape(*shape, values.shape[-1])
            sink(site, layer, values)

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hand(_first(args, kwargs))

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        # some return a bare tensor, some a tuple
        hand(output[0] if isinstance(output, (tuple, list)) else output)

    if side == "input":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a module is given to work on: its first argument, by place or by name."""
    return args[0] if args else kwargs.get("hidden_states", next(iter(kwargs.values()), None))


def base_of(model: Any) -> Any:
    """A model without its vocabulary projection."""
    named = getattr(model, model.base_model_prefix, None)
    # Llama 4 names another attribute, and Mllama gives itself
    decoder = named if named is not None else model.get_decoder()
    if decoder is model:
        return getattr(model, "model", model)
    # with pictures, Llama 4 is made around a whole language model
    return base_of(decoder) if decoder.get_output_embeddings() is not None else decoder


def _resolve(sites: Sequence[str], taps: Mapping[tuple[str, int], Tap]) -> tuple[str, ...]:
    wanted = set(check_sites(sites))
    if ALL in wanted:
        alone = any(site == "mlp.out" and ("mlp.down", layer) not in taps for site, layer in taps)
        wanted |= {s for s in SITES if s != "mlp.out" or alone}
    return tuple(s for s in SITES if s in wanted)
