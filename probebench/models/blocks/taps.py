"""Where the vectors of a site pass by, in one model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from probebench.errors import RunError
from probebench.models.blocks.layouts import STANDARD, family_of
from probebench.models.blocks.modules import Side, expected_width, features, has_experts, walk
from probebench.models.blocks.places import Place
from probebench.types import EMB

if TYPE_CHECKING:
    import torch
    from torch import nn

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


def find_blocks(model: nn.Module, n_layers: int) -> Sequence[nn.Module]:
    """The decoder's blocks, in order, whatever the architecture calls them.

    Raises:
        RunError: no list of that many modules; such a model cannot be read.
    """
    from torch import nn

    # not the layers that look at pictures
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
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


class TapReader:
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
        take = itemgetter(getattr(self.config, self.family.stream)) if self.family.stream else whole
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
            return Tap(module, place.side, whole, total)
        rows = place.rows(self.config)
        unit, rest = divmod(total, rows.groups * rows.rows)
        if rest:
            return (
                f"layer {layer}: {total} values do not divide into {rows.groups} x {rows.rows} "
                f"rows to find {site} in"
            )
        return Tap(module, place.side, rows.take, unit * rows.groups * (rows.stop - rows.start))


def whole(x: torch.Tensor) -> torch.Tensor:
    """All that passes by."""
    return x
