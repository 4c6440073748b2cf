"""Sites: where in a block a vector is read.

`resid` is the residual stream after block k, and `emb` before block 0. The last row is the stream
itself, before the final norm that `output_hidden_states` applies to its last entry. The other sites
are inputs and outputs of projections: queries, keys and values before norms and rotary embedding,
heads before the output projection, and so on. Where an architecture keeps them stands in `layouts`;
what a layer does not have is absent, with the reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from probebench.errors import RunError, UnknownNameError
from probebench.models.blocks.layouts import (
    COMPONENTS,
    FAMILIES,
    SITES,
    STANDARD,
    Family,
    Place,
    family_of,
)
from probebench.models.blocks.modules import Side, expected_width, features, has_experts, walk
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
Sink = Callable[[str, int, "torch.Tensor"], None]
"""Called with site, layer and (batch, token, width) vectors. Models go on to change some of these
tensors in place (Falcon adds the attention output to `mlp.down`), so a sink copies what it
keeps."""


@dataclass(frozen=True, slots=True, eq=False)
class Tap:
    """Where the vectors of one site in one layer pass by."""

    module: nn.Module
    side: Side
    take: Callable[[torch.Tensor], torch.Tensor]
    """(..., module width) -> (..., site width): the site's share of a fused projection.
    Differentiable, and the same for a gradient; of `torch.arange` of the module's width it gives
    the places of the site's elements, for writing there."""
    width: int
    """Size of one vector. It may differ between layers."""


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


def find_blocks(model: nn.Module, n_layers: int) -> Sequence[nn.Module]:
    """The decoder's blocks, in order, whatever the architecture calls them.

    Raises:
        RunError: no list of that many modules; such a model cannot be read.
    """
    from torch import nn

    decoder = (
        model.get_decoder() if hasattr(model, "get_decoder") else model
    )  # not the layers that look at pictures
    lists = [
        (name, m)
        for name, m in decoder.named_modules()
        if isinstance(m, nn.ModuleList) and len(m) == n_layers
    ]
    if not lists:
        raise RunError(
            f"{type(model).__name__} has no list of {n_layers} blocks, so its residual stream "
            "cannot be read."
        )
    return list(min(lists, key=lambda item: item[0].count("."))[1])


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
    reader = _Reader(model, find_blocks(model, n_layers))
    taps: dict[tuple[str, int], Tap] = {}
    absent: dict[tuple[str, int], str] = {}
    wanted = SITES if ALL in check_sites(sites) else check_sites(sites)
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


def _resolve(sites: Sequence[str], taps: Mapping[tuple[str, int], Tap]) -> tuple[str, ...]:
    wanted = set(check_sites(sites))
    if ALL in wanted:
        alone = any(site == "mlp.out" and ("mlp.down", layer) not in taps for site, layer in taps)
        wanted |= {s for s in SITES if s != "mlp.out" or alone}
    return tuple(s for s in SITES if s in wanted)


class _Reader:
    """Finds the sites of one model."""

    def __init__(self, model: nn.Module, blocks: Sequence[nn.Module]) -> None:
        self.blocks = blocks
        config: Any = getattr(model, "config", None)
        self.config = config.get_text_config() if hasattr(config, "get_text_config") else config
        self.name = getattr(self.config, "model_type", None) or type(model).__name__
        known = family_of(self.name)
        self.family, self.known = known or STANDARD, known is not None
        self.uses: dict[str, Counter[int]] = {}

    def find(self, site: str, layer: int) -> Tap | str:
        """The tap of a site, or why there is none."""
        if layer in (getattr(self.config, "cross_attention_layers", None) or ()):  # Mllama's
            return f"layer {layer} looks at pictures, and is passed over where there is none"
        if site == "resid":
            streams = getattr(self.config, "hc_mult", None)
            return (
                f"its blocks pass on {streams} residual streams, not one"
                if streams
                else self.stream(layer)
            )
        found = self._locate(site, layer)
        like = self.family.same_width.get(site)
        other = self._locate(like, layer) if like else found
        if isinstance(found, Tap) and isinstance(other, Tap) and other.width != found.width:
            return (
                f"layer {layer}: its {site} has width {found.width} and its {like} {other.width}, "
                "which should be the same"
            )
        return found

    def stream(self, layer: int) -> Tap:
        """What passes after a block, or before the first."""
        take = (
            itemgetter(getattr(self.config, self.family.stream)) if self.family.stream else _whole
        )
        width = int(getattr(self.config, "hidden_size", 0))
        return Tap(self.blocks[max(layer, 0)], "input" if layer == EMB else "output", take, width)

    def _locate(self, site: str, layer: int) -> Tap | str:
        place, block = self.family.places.get(site), self.blocks[layer]
        if place is None:
            return f"{self.name}: {self.family.missing.get(site, 'not there')}"
        reason = (
            self._not_attention(block, layer, site)
            if site.startswith("attn")
            else self._not_mlp(block, layer, site)
        )
        if reason:
            return reason
        module = walk(block, place.path)
        if module is None:
            return self._why(site, layer, place)
        if self._uses(place.path)[id(module)] > 1:
            return f"layer {layer} shares the module of its {site} with another layer"
        return self._tap(site, layer, module, place)

    def _not_attention(self, block: nn.Module, layer: int, site: str) -> str | None:
        kinds = getattr(self.config, "layer_types", None) or ()
        if layer < len(kinds) and kinds[layer] in ("linear_attention", "conv"):
            return (
                f"layer {layer} has no attention but a recurrent or convolutional mixer "
                f"({kinds[layer]})"
            )
        place = self.family.places[site]
        attention = walk(block, "|".join(path.rpartition(".")[0] for path in place.path.split("|")))
        if site in ("attn.k", "attn.v") and getattr(attention, "is_kv_shared_layer", False):
            return f"layer {layer} takes its keys and values from an earlier layer"
        return None

    def _not_mlp(self, block: nn.Module, layer: int, site: str) -> str | None:
        mixture = any(has_experts(m) for m in (block, *block.children()))
        if site == "mlp.in":
            return self._not_entered(block, layer, mixture)
        if site != "mlp.out":
            return (
                f"layer {layer} is a mixture of experts: there is no single {site}"
                if mixture
                else None
            )
        out, down = (walk(block, self.family.places[s].path) for s in ("mlp.out", "mlp.down"))
        if out is None or (mixture and has_experts(out)):
            return None
        if mixture:
            return f"layer {layer} adds experts to the output of an MLP, so no module gives mlp.out"
        whole = out is down if not self.known else any(m is down for m in out.modules())
        return None if down is not None and whole else f"layer {layer} has no MLP of a known form"

    def _not_entered(self, block: nn.Module, layer: int, mixture: bool) -> str | None:
        """Why no one vector goes into a layer's MLP; None where one does."""
        entered, up = (
            walk(block, self.family.places["mlp.in"].path),
            walk(block, self.family.places["mlp.up"].path),
        )
        if entered is None or has_experts(entered):
            return None
        if mixture:
            return (
                f"layer {layer} adds experts to the output of an MLP, each with a norm of its "
                "own: there is no single mlp.in"
            )
        return None if up is not None else f"layer {layer} has no MLP of a known form"

    def _why(self, site: str, layer: int, place: Place) -> str:
        """Why a layer does not have the module of a site."""
        if not self.known and not any(walk(block, place.path) for block in self.blocks):
            return (
                f"unknown architecture {self.name}: it does not name its {site} as other models do"
            )
        path = place.path.split("|")[0]
        parent, _, leaf = path.rpartition(".")
        holder = walk(self.blocks[layer], parent) if parent else self.blocks[layer]
        if holder is not None:
            return f"layer {layer}: its {type(holder).__name__} has no {leaf}"
        return f"layer {layer} has no {'attention' if site.startswith('attn') else 'MLP'}"

    def _uses(self, path: str) -> Counter[int]:
        """How many layers use each module; a module that several use sees the tokens of all of
        them."""
        if path not in self.uses:
            self.uses[path] = Counter(id(walk(block, path)) for block in self.blocks)
        return self.uses[path]

    def _tap(self, site: str, layer: int, module: nn.Module, place: Place) -> Tap | str:
        total = features(module, place.side) or expected_width(self.config, site)
        if place.rows is None:
            return Tap(module, place.side, _whole, total)
        rows = place.rows(self.config)
        unit, rest = divmod(total, rows.groups * rows.rows)
        if rest:
            return (
                f"layer {layer}: {total} values do not divide into {rows.groups} x {rows.rows} "
                f"rows to find {site} in"
            )
        return Tap(module, place.side, rows.take, unit * rows.groups * (rows.stop - rows.start))


def _whole(x: torch.Tensor) -> torch.Tensor:
    return x


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
            if (
                list(values.shape[:-1]) != shape
            ):  # OPT flattens batch and token, DeepSeek adds an axis
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
        hand(
            output[0] if isinstance(output, (tuple, list)) else output
        )  # some return a bare tensor, some a tuple

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
    return getattr(model, "model", model) if decoder is model else decoder
