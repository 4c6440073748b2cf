"""Where a family keeps the vectors of a site, and how they are cut out of a fused projection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from probebench.models.blocks.modules import Side

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rows:
    """A share of a fused projection: `groups` equal parts of `rows` equal rows each, and of every
    part rows start:stop."""

    groups: int
    rows: int
    start: int
    stop: int

    def take(self, x: Tensor) -> Tensor:
        """(..., width of the projection) -> (..., width of the share)."""
        return x.unflatten(-1, (self.groups, self.rows, -1))[
            ..., self.start : self.stop, :
        ].flatten(-3)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one site is found in a block."""

    path: str
    """Dotted path from the block to the module; alternatives are separated by `|`, the first one
    there is taken."""
    side: Side = "output"
    rows: Callable[[Any], Rows] | None = None
    """From the config to the site's share of the module's width. None: all of it."""


Layout = Callable[[Any], tuple[Rows, Rows, Rows]]
"""From the config to the rows of queries, keys and values in a fused projection."""


def _flat(heads: int, kv_heads: int) -> tuple[Rows, Rows, Rows]:
    """All queries, then all keys, then all values."""
    n = heads + 2 * kv_heads
    return (
        Rows(1, n, 0, heads),
        Rows(1, n, heads, heads + kv_heads),
        Rows(1, n, heads + kv_heads, n),
    )


def _grouped(heads: int, kv_heads: int) -> tuple[Rows, Rows, Rows]:
    """Per key-value head: its queries, its key, its value."""
    n = heads // kv_heads + 2
    return Rows(kv_heads, n, 0, n - 2), Rows(kv_heads, n, n - 2, n - 1), Rows(kv_heads, n, n - 1, n)


def flat(config: Any) -> tuple[Rows, Rows, Rows]:
    """All queries, then all keys, then all values, as in GPT-2 and Phi-3."""
    heads: int = config.num_attention_heads
    return _flat(heads, getattr(config, "num_key_value_heads", None) or heads)


def per_head(config: Any) -> tuple[Rows, Rows, Rows]:
    """Query, key and value of head 0, then of head 1 ..., as in GPT-NeoX and BLOOM."""
    return _grouped(config.num_attention_heads, config.num_attention_heads)


def falcon(config: Any) -> tuple[Rows, Rows, Rows]:
    """Three layouts: per key-value head (40B, 180B), one key and value after all queries (7B), per
    head (RW)."""
    if config.new_decoder_architecture:
        return _grouped(config.num_attention_heads, config.num_kv_heads)
    return _flat(config.num_attention_heads, 1) if config.multi_query else per_head(config)


def bigcode(config: Any) -> tuple[Rows, Rows, Rows]:
    """One key and value after all queries, or per head."""
    return _flat(config.num_attention_heads, 1) if config.multi_query else per_head(config)


def codegen(config: Any) -> tuple[Rows, Rows, Rows]:
    """Four parts, one per accelerator of its training, each with its queries, values and keys, in
    this order."""
    return Rows(4, 3, 0, 1), Rows(4, 3, 2, 3), Rows(4, 3, 1, 2)


def gated_q(config: Any) -> Rows:
    """Per head its query, then the gate of its output."""
    return Rows(config.num_attention_heads, 2, 0, 1)


def latent_v(config: Any) -> Rows:
    """Per head the part of its key without positions, then its value."""
    key, value = config.qk_nope_head_dim, config.v_head_dim
    return Rows(config.num_attention_heads, key + value, key, key + value)


def fused(path: str, layout: Layout) -> dict[str, Place]:
    """Queries, keys and values in one projection."""

    def share(k: int) -> Place:
        return Place(path, rows=lambda config: layout(config)[k])

    return {site: share(k) for k, site in enumerate(("attn.q", "attn.k", "attn.v"))}


def separate(module: str) -> dict[str, Place]:
    """Queries, keys and values in projections of their own."""
    return {f"attn.{x}": _under(module, f"{x}_proj") for x in "qkv"}


def output(module: str, leaf: str = "o_proj") -> dict[str, Place]:
    """The projection after attention: heads go in, `attn.o` comes out."""
    place = _under(module, leaf)
    return {"attn.heads": Place(place.path, "input"), "attn.o": place}


def gated(
    module: str = "mlp", gate: str = "gate_proj", up: str = "up_proj", down: str = "down_proj"
) -> dict[str, Place]:
    """An MLP with a gate: down(act(gate(x)) * up(x))."""
    return {"mlp.gate": _under(module, gate), **plain(module, up, down)}


def plain(module: str, up: str, down: str, out: str | None = None) -> dict[str, Place]:
    """An MLP without a gate: down(act(up(x))). `out`: where its output is, if not that of the
    module."""
    first, last = _under(module, up), _under(module, down)
    places = {"mlp.up": first, "mlp.act": Place(last.path, "input"), "mlp.down": last}
    return {"mlp.in": enters(first.path, module), **places, "mlp.out": Place(out or module)}


def enters(up: str, module: str) -> Place:
    """What goes into the projection up; a mixture, which has none of its own, is entered as a
    whole."""
    return Place("|".join(filter(None, (up, module))), "input")


def halves(path: str) -> dict[str, Place]:
    """Gate and up in one projection, the gate first."""
    return {
        "mlp.gate": Place(path, rows=lambda _: Rows(1, 2, 0, 1)),
        "mlp.up": Place(path, rows=lambda _: Rows(1, 2, 1, 2)),
    }


def four_h(attention: str, layout: Layout, out: str | None = None) -> dict[str, Place]:
    """Megatron's names, which GPT-NeoX, Falcon and BLOOM share."""
    mlp = plain("mlp", "dense_h_to_4h", "dense_4h_to_h", out)
    return {**fused(f"{attention}.query_key_value", layout), **output(attention, "dense"), **mlp}


def _under(module: str, leaf: str) -> Place:
    """`leaf` in `module`, for every alternative of both."""
    return Place(
        "|".join(".".join(filter(None, (m, x))) for m in module.split("|") for x in leaf.split("|"))
    )
