"""What the layer axis of hidden states made elsewhere holds: said by the user, and held against the
numbers.

The traps are off by one and silent: the last entry of `hidden_states` is after the final norm, and
the first one is before block 0. Each shows in the numbers, so that arrays of another convention
than the one said are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import BadFileError, StatesError, UnknownNameError
from probebench.models.handles import ModelHandle
from probebench.models.loading import ModelSpec
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
NORMED = 0.01
"""How close to 1 the root mean square of every vector is once a norm's weight and bias are taken
off."""
CENTRED = 1e-3
"""How close to 0, of its root mean square, the mean of every vector is when the writing weights
were centred."""
REPEATS = 8
"""Tokens that stand again in their sequence, needed to tell an embedding."""


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
    for layer in named or ():
        if not EMB <= layer < n_layers:
            raise UnknownNameError("layer", str(layer), map(layer_name, range(EMB, n_layers)))
    if named is not None and len(set(named)) < len(named):
        raise BadFileError(f"A layer is named twice among {', '.join(map(layer_name, named))}.")
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
        f"{allowed[convention]} for {n_layers} blocks "
        f"({CONVENTIONS[convention]}).{fix}"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """A norm outside the blocks, as the checkpoint has it."""

    name: str
    weight: NDArray[np.float64]
    """(width,)"""
    bias: NDArray[np.float64]
    """(width,), zeros where it has none."""

    def undone(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """(token, width) -> (token, feature) without weight and bias, features with next to no
        weight left out."""
        kept = np.abs(self.weight) > 1e-5 * np.abs(self.weight).max()
        return np.asarray((x - self.bias)[:, kept] / self.weight[kept])


def final_norms(spec: ModelSpec, width: int) -> list[Norm]:
    """Norms outside the blocks, read from a local folder or the hub's cache; none where no
    checkpoint can be reached.

    A weight w is tried as w and as 1 + w, which is how Gemma keeps it.
    """
    from safetensors import safe_open

    found = []
    for file in _checkpoint(spec):
        with safe_open(file, framework="pt") as tensors:
            stored = list(tensors.keys())
            names = [n for n in stored if not any(part.isdigit() for part in n.split("."))]
            for name in (
                n
                for n in names
                if n.endswith("weight") and tensors.get_slice(n).get_shape() == [width]
            ):
                weight, other = (
                    tensors.get_tensor(name).double().numpy(),
                    name.removesuffix("weight") + "bias",
                )
                bias = (
                    tensors.get_tensor(other).double().numpy()
                    if other in names
                    else np.zeros(width)
                )
                found += [Norm(name, weight, bias), Norm(name, 1 + weight, bias)]
    return found


def _checkpoint(spec: ModelSpec) -> Iterator[Path]:
    if spec.file is not None or spec.gguf_file is not None:
        return
    folder = Path(spec.source)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(spec.name, "config.json", revision=spec.revision)
        if not isinstance(config, str):
            return
        folder = Path(config).parent
    yield from sorted(folder.glob("*.safetensors"))


@dataclass(frozen=True, slots=True, eq=False)
class _Numbers:
    """What the numbers of one answer show."""

    off_norm: NDArray[np.float64]
    """(norm,) how far from 1 a vector's root mean square is at most, with that norm's weight taken
    off the last entry."""
    centred: bool
    """Every vector after the first entry has mean zero."""
    same: bool | None
    """A token has the same vector in the first entry wherever it stands; None: none stands
    again."""
    repeats: int
    """Tokens that stand again."""


def _measure(values: NDArray[Any], ids: Sequence[int], norms: Sequence[Norm]) -> _Numbers:
    last, first = values[-1].astype(np.float64), values[0]
    off = [np.abs(np.sqrt((norm.undone(last) ** 2).mean(axis=1)) - 1).max() for norm in norms]
    blocks = (entry.astype(np.float64) for entry in (values[1:] if len(values) > 1 else values))
    centred = all(
        (np.abs(x.mean(axis=1)) < CENTRED * np.sqrt((x**2).mean(axis=1))).all() for x in blocks
    )  # ends at the first
    seen: dict[int, int] = {}
    again = [token for token, i in enumerate(ids) if seen.setdefault(i, token) != token]
    same = (
        all((first[token] == first[seen[ids[token]]]).all() for token in again) if again else None
    )
    return _Numbers(np.array(off), centred, same, len(again))


def inspect(
    arrays: Iterable[tuple[NDArray[Any], tuple[int, ...]]],
    convention: str,
    handle: ModelHandle,
    entries: Entries | None = None,
) -> list[str]:
    """Hold the numbers of some answers against the convention.

    Args:
        arrays: (layer, token, width) states and token ids of each answer.
        convention: what the layer axis is said to hold.
        handle: the model.
        entries: what the entries are; None: as the convention has them.

    Returns:
        What could not be checked, or looks as if another convention would keep more.

    Raises:
        StatesError: the arrays hold something else.
    """
    n_layers, norms = handle.identity.n_layers, final_norms(handle.spec, handle.identity.width)
    tried = [
        Norm("no weight", np.ones(handle.identity.width), np.zeros(handle.identity.width)),
        *norms,
    ]
    numbers = [(len(values), _measure(values, ids, tried)) for values, ids in arrays]
    n_entries = numbers[0][0]
    entries = entries or entries_of(convention, n_entries, n_layers, model_type=model_type(handle))
    furthest = np.max([found.off_norm for _, found in numbers], axis=0)
    same = [found.same for _, found in numbers if found.same is not None]
    repeats = sum(found.repeats for _, found in numbers)
    normed = bool((furthest < NORMED).any())
    if convention != "hf" and normed:
        fix = (
            "If these are all entries of hidden_states, give --convention hf"
            if n_entries == n_layers + 1
            else "Give all entries of hidden_states with --convention hf"
        )
        raise StatesError(
            f"The last entry is after the final norm: with {tried[int(furthest.argmin())].name} "
            "taken off, every vector has root "
            f"mean square 1 within {NORMED:.0%}. --convention {convention} is before it. {fix}, "
            "whose last entry is left out: "
            f"block {n_layers - 1} is then absent; or hook the blocks themselves."
        )
    begins = entries.layers[entries.at.index(0)] if 0 in entries.at else None
    if (
        begins == EMB
        and 2 * sum(same) < len(same)
        and repeats >= REPEATS
        and not _adds_positions(handle)
    ):
        raise StatesError(
            "The first entry is not the same vector wherever a token stands again, so it is not "
            "the stream before block 0, and the "
            "blocks are off by one. Name what the entries are: --convention blocks, or --layers."
        )
    if begins not in (EMB, None) and all(same) and repeats >= REPEATS:
        raise StatesError(
            f"The first entry is the same vector wherever a token stands again, so it is the "
            "stream before block 0 and not after "
            f"it: the blocks are off by one. Give all {n_layers + 1} entries of hidden_states with "
            "--convention hf."
        )
    if convention == "tl" and all(found.centred for _, found in numbers):
        raise StatesError(
            "Every vector has mean zero: TransformerLens centred the writing weights, so these are "
            "not the model's own states. "
            "Load it with HookedTransformer.from_pretrained_no_processing."
        )
    notes = []
    if convention == "hf" and entries.last is not None and norms and not normed:
        notes.append(
            "The last entry does not look as if it came after the final norm; it was left out all "
            "the same."
        )
    if convention != "hf" and not norms:
        notes.append(
            "Not checked: whether the last entry came after the final norm, since no checkpoint "
            "with a norm's weight is here."
        )
    return notes


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


def _adds_positions(handle: ModelHandle) -> bool:
    """Does something outside the blocks add positions to the embedding, so that a token's vector
    there is not always the same?"""
    names = [
        name
        for name, _ in handle.skeleton.named_modules()
        if not any(part.isdigit() for part in name.split("."))
    ]
    return any("pos" in name.rpartition(".")[2] or name.endswith("wpe") for name in names)


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
