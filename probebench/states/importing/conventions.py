"""What the layer axis of hidden states made elsewhere holds: said by the user, and held against the
numbers.

The traps are off by one and silent: the last entry of `hidden_states` is after the final norm, and
the first one is before block 0. Each shows in the numbers, so that arrays of another convention
than the one said are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import BadFileError, UnknownNameError
from probebench.models.handles import ModelHandle
from probebench.types import EMB, layer_name

CONVENTIONS = {
    "hf": (
        "hidden_states of transformers: entry 0 before block 0, then after each block, the last "
        "one after the final norm"
    ),
    "blocks": "one entry per block, its output before the final norm",
    "tl": (
        "resid_post of TransformerLens, one entry per block; before them, optionally, resid_pre "
        "of block 0"
    ),
    "vllm": (
        "vLLM's files, one per request: the output of each block before the final norm; before "
        "them, optionally, the embedding"
    ),
}
"""What the layer axis holds -> in words."""
NO_EMBEDDING = ("mamba", "mamba2", "falcon_mamba", "rwkv")
"""Model types whose `hidden_states` in transformers begin after block 0: as many entries as
elsewhere, each one block further."""


@dataclass(frozen=True, slots=True)
class Entries:
    """What the entries of a layer axis are."""

    layers: tuple[int, ...]
    """Layers that are kept, in order."""
    at: tuple[int, ...]
    """Entry of each of them."""
    absent: Mapping[int, str]
    """Layers of the model that the arrays do not have -> why."""
    last: int | None = None
    """Entry that is said to come after the final norm, which is left out."""

    def with_last(self, layer: int) -> Entries:
        """The last entry kept too, as the stream after a block."""
        assert self.last is not None
        absent = {k: why for k, why in self.absent.items() if k != layer}
        return replace(
            self, layers=(*self.layers, layer), at=(*self.at, self.last), absent=absent, last=None
        )

    def only(self, layers: Sequence[int]) -> Entries:
        """Some of the layers kept.

        Raises:
            UnknownNameError: a layer that is not there.
        """
        for layer in layers:
            if layer not in self.layers:
                raise UnknownNameError(
                    "layer of the file", layer_name(layer), map(layer_name, self.layers)
                )
        kept = [
            (layer, k) for layer, k in zip(self.layers, self.at, strict=True) if layer in layers
        ]
        absent = {
            **self.absent,
            **{layer: NOT_NAMED for layer in self.layers if layer not in layers},
        }
        return Entries(tuple(layer for layer, _ in kept), tuple(k for _, k in kept), absent)


NOT_NAMED = "it is not among the layers named"
AFTER_NORM = (
    "the last entry of hidden_states is after the final norm; the stream before it is not there"
)


def entries_of(
    convention: str, n: int, n_layers: int, named: Sequence[int] | None = None, model_type: str = ""
) -> Entries:
    """What each of the `n` entries is, for a model of `n_layers` blocks.

    Args:
        convention: what the layer axis is said to hold.
        n: number of entries.
        n_layers: number of blocks.
        named: what the entries are, one layer each; or, of all that the convention has, those to
            keep.
        model_type: of transformers; some begin their `hidden_states` elsewhere.

    Raises:
        UnknownNameError: no such convention, or a layer that the model does not have.
        BadFileError: another number of entries than the convention has, or than are named.
    """
    if convention not in CONVENTIONS:
        raise UnknownNameError("--convention", convention, CONVENTIONS)
    whole = _whole(convention, n, n_layers, model_type)
    if named is None and whole is None:
        raise BadFileError(_wrong_number(convention, n, n_layers))
    _check_named(named or (), n_layers)
    normed = {n_layers - 1} if convention == "hf" and model_type not in NO_EMBEDDING else set()
    found = dict(whole or {})
    if named is not None and len(named) == n:
        found = {layer: k for k, layer in enumerate(named)}
    elif named is not None and whole is None:
        raise BadFileError(
            f"{n} entries along the layer axis, and {len(named)} layers are named. Name one for "
            "each entry, in order."
        )
    kept = sorted(
        layer for layer in found if layer not in normed and (named is None or layer in named)
    )
    if not kept:
        raise BadFileError(
            "None of the layers named is before the final norm, so nothing is left to import."
        )
    wanted = [layer for layer in normed if layer in found and (named is None or layer in named)]
    last = next(
        (found[layer] for layer in wanted),
        n - 1 if convention == "hf" and whole and named is None else None,
    )
    why = "the arrays do not have it" if named is None or len(named) == n else NOT_NAMED
    absent = {layer: why for layer in (EMB, *range(n_layers)) if layer not in kept}
    if EMB in absent and EMB not in found:
        own = convention == "hf" and model_type in NO_EMBEDDING
        absent[EMB] = (
            f"hidden_states of {model_type} begin after block 0"
            if own
            else "the arrays do not hold the stream before block 0"
        )
    absent |= {
        layer: AFTER_NORM
        for layer in normed
        if layer in absent and (named is None or layer in named)
    }
    return Entries(tuple(kept), tuple(found[layer] for layer in kept), absent, last)


def _check_named(named: Sequence[int], n_layers: int) -> None:
    """Complain about layers that the model does not have, or that are named twice."""
    for layer in named:
        if not EMB <= layer < n_layers:
            raise UnknownNameError("layer", str(layer), map(layer_name, range(EMB, n_layers)))
    if len(set(named)) < len(named):
        raise BadFileError(f"A layer is named twice among {', '.join(map(layer_name, named))}.")


def _whole(convention: str, n: int, n_layers: int, model_type: str) -> dict[int, int] | None:
    """Entry of each layer where the number of entries says it; in `hf` the last block's is the one
    after the final norm."""
    if n == n_layers + 1 and convention == "hf":
        first = 0 if model_type in NO_EMBEDDING else EMB
        return {layer: layer - first for layer in range(first, n_layers)}
    if n == n_layers + 1 and convention in ("tl", "vllm"):
        return {layer: layer + 1 for layer in range(EMB, n_layers)}
    return (
        {layer: layer for layer in range(n_layers)}
        if n == n_layers and convention != "hf"
        else None
    )


def _wrong_number(convention: str, n: int, n_layers: int) -> str:
    both = f"{n_layers} or {n_layers + 1}"
    allowed = {"hf": f"{n_layers + 1}", "blocks": f"{n_layers}", "tl": both, "vllm": both}
    fits = [
        name for name in CONVENTIONS if name != "vllm" and str(n) in allowed[name].split(" or ")
    ]
    fix = (
        f" {n} entries would be --convention {' or '.join(fits)}; take it only if that is what "
        "they are."
        if fits
        else ""
    )
    if not fits or convention == "vllm":
        fix = (
            " Where only some layers are there, name them, one for each entry: --layers "
            "emb,0,10-15."
        )
    if convention == "vllm":
        fix += (
            " The engine's layer id k is the stream before block k, so ids 1,2,3 are --layers 0-2."
        )
    return (
        f"{n} entries along the layer axis, but --convention {convention} has "
        f"{allowed[convention]} for {n_layers} blocks ({CONVENTIONS[convention]}).{fix}"
    )


def model_type(handle: ModelHandle) -> str:
    """`model_type` of the text part, as transformers has it."""
    config: Any = getattr(handle.skeleton, "config", None)
    return str(
        getattr(
            config.get_text_config() if hasattr(config, "get_text_config") else config,
            "model_type",
            "",
        )
    )


def as_streams(values: NDArray[Any], handle: ModelHandle, entries: Entries) -> NDArray[Any]:
    """`hidden_states` of transformers as blocks give them: RWKV lists some of its entries halved,
    as the next block takes them."""
    config: Any = getattr(handle.skeleton, "config", None)
    every = getattr(config, "rescale_every", 0) if model_type(handle) == "rwkv" else 0
    if not every:
        return values
    factors = np.ones(len(values), dtype=values.dtype)
    for layer, entry in zip(entries.layers, entries.at, strict=True):
        factors[entry] = 2 if (layer + 1) % every == 0 else 1
    return np.asarray(values * factors[:, None, None])
