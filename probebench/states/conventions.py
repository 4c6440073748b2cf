"""What the layer axis of hidden states made elsewhere holds: said by the user, and held against the numbers.

The traps are off by one and silent: the last entry of `hidden_states` is after the final norm, and the first one is before
block 0. Each shows in the numbers, so that arrays of another convention than the one said are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import BadFileError, StatesError, UnknownNameError
from probebench.models.loading import ModelHandle, ModelSpec
from probebench.types import EMB

CONVENTIONS = {
    "hf": "hidden_states of transformers: entry 0 before block 0, then after each block, the last one after the final norm",
    "blocks": "one entry per block, its output before the final norm",
    "tl": "resid_post of TransformerLens, one entry per block; before them, optionally, resid_pre of block 0",
}
"""What the layer axis holds -> in words."""
NORMED = 0.01
"""How close to 1 the root mean square of every vector is once a norm's weight and bias are taken off."""
CENTRED = 1e-3
"""How close to 0, of its root mean square, the mean of every vector is when the writing weights were centred."""
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


def entries_of(convention: str, n: int, n_layers: int) -> Entries:
    """What each of the `n` entries is, for a model of `n_layers` blocks.

    Raises:
        UnknownNameError: no such convention.
        BadFileError: another number of entries than the convention has.
    """
    blocks = tuple(range(n_layers))
    no_emb = {EMB: "the arrays do not hold the stream before block 0"}
    if convention == "hf" and n == n_layers + 1:
        why = "the last entry of hidden_states is after the final norm; the stream before it is not there"
        return Entries((EMB, *blocks[:-1]), tuple(range(n_layers)), {n_layers - 1: why})
    if convention in ("blocks", "tl") and n == n_layers:
        return Entries(blocks, blocks, no_emb)
    if convention == "tl" and n == n_layers + 1:
        return Entries((EMB, *blocks), tuple(range(n)), {})
    if convention not in CONVENTIONS:
        raise UnknownNameError("--convention", convention, CONVENTIONS)
    allowed = {"hf": f"{n_layers + 1}", "blocks": f"{n_layers}", "tl": f"{n_layers} or {n_layers + 1}"}
    fits = [name for name in CONVENTIONS if str(n) in allowed[name].split(" or ")]
    fix = f" {n} entries would be --convention {' or '.join(fits)}; take it only if that is what they are." if fits else ""
    raise BadFileError(
        f"{n} entries along the layer axis, but --convention {convention} has {allowed[convention]} for {n_layers} blocks "
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
        """(token, width) -> (token, feature) without weight and bias, features with next to no weight left out."""
        kept = np.abs(self.weight) > 1e-5 * np.abs(self.weight).max()
        return np.asarray((x - self.bias)[:, kept] / self.weight[kept])


def final_norms(spec: ModelSpec, width: int) -> list[Norm]:
    """Norms outside the blocks, read from a local folder or the hub's cache; none where no checkpoint can be reached.

    A weight w is tried as w and as 1 + w, which is how Gemma keeps it.
    """
    from safetensors import safe_open

    found = []
    for file in _checkpoint(spec):
        with safe_open(file, framework="pt") as tensors:
            stored = list(tensors.keys())
            names = [n for n in stored if not any(part.isdigit() for part in n.split("."))]
            for name in (n for n in names if n.endswith("weight") and tensors.get_slice(n).get_shape() == [width]):
                weight, other = tensors.get_tensor(name).double().numpy(), name.removesuffix("weight") + "bias"
                bias = tensors.get_tensor(other).double().numpy() if other in names else np.zeros(width)
                found += [Norm(name, weight, bias), Norm(name, 1 + weight, bias)]
    return found


def _checkpoint(spec: ModelSpec) -> Iterator[Path]:
    folder = Path(spec.source)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(spec.name, "config.json", revision=spec.revision)
        if not isinstance(config, str):
            return
        folder = Path(config).parent
    yield from sorted(folder.glob("*.safetensors"))


def inspect(arrays: Iterable[tuple[NDArray[Any], tuple[int, ...]]], convention: str, handle: ModelHandle) -> list[str]:
    """Hold the numbers of some answers against the convention.

    Args:
        arrays: (layer, token, width) states and token ids of each answer.
        convention: what the layer axis is said to hold.
        handle: the model.

    Returns:
        What could not be checked, or looks as if another convention would keep more.

    Raises:
        StatesError: the arrays hold something else.
    """
    n_layers = handle.identity.n_layers
    norms = final_norms(handle.spec, handle.identity.width)
    tried = [Norm("no weight", np.ones(handle.identity.width), np.zeros(handle.identity.width)), *norms]
    furthest, centred, same, repeats = np.zeros(len(tried)), True, True, 0
    for values, ids in arrays:
        last, first = values[-1].astype(np.float64), values[0]
        off = [np.abs(np.sqrt((norm.undone(last) ** 2).mean(axis=1)) - 1).max() for norm in tried]
        furthest = np.maximum(furthest, off)
        if convention == "tl":
            blocks = values[-n_layers:].astype(np.float64)
            centred &= bool((np.abs(blocks.mean(axis=2)) < CENTRED * np.sqrt((blocks**2).mean(axis=2))).all())
        seen: dict[int, int] = {}
        for token, i in enumerate(ids):
            if seen.setdefault(i, token) != token:
                repeats += 1
                same &= bool((first[token] == first[seen[i]]).all())
        n_entries = len(values)
    normed = bool((furthest < NORMED).any())
    if convention != "hf" and normed:
        fix = ("If these are all entries of hidden_states, give --convention hf" if n_entries == n_layers + 1
               else "Give all entries of hidden_states with --convention hf")  # fmt: skip
        raise StatesError(
            f"The last entry is after the final norm: with {tried[int(furthest.argmin())].name} taken off, every vector has root "
            f"mean square 1 within {NORMED:.0%}. --convention {convention} is before it. {fix}, whose last entry is left out: "
            f"block {n_layers - 1} is then absent; or hook the blocks themselves."
        )
    if n_entries == n_layers and same and repeats >= REPEATS:
        raise StatesError(
            f"The first entry is the same vector wherever a token stands again, so it is the stream before block 0 and not after "
            f"it: the blocks are off by one. Give all {n_layers + 1} entries of hidden_states with --convention hf."
        )
    if convention == "tl" and centred:
        raise StatesError(
            "Every vector has mean zero: TransformerLens centred the writing weights, so these are not the model's own states. "
            "Load it with HookedTransformer.from_pretrained_no_processing."
        )
    notes = []
    if convention == "hf" and norms and not normed:
        notes.append("The last entry does not look as if it came after the final norm; it was left out all the same.")
    if convention != "hf" and not norms:
        notes.append(
            "Not checked: whether the last entry came after the final norm, since no checkpoint with a norm's weight is here."
        )
    return notes
