"""What the numbers of some answers show of the convention that they are said to follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError
from probebench.models.handles import ModelHandle
from probebench.models.loading import ModelSpec
from probebench.states.importing.conventions import Entries, entries_of, model_type
from probebench.types import EMB

NORMED = 0.01
"""How close to 1 the root mean square of every vector is once a norm's weight and bias are taken
off."""
CENTRED = 1e-3
"""How close to 0, of its root mean square, the mean of every vector is when the writing weights
were centred."""
REPEATS = 8
"""Tokens that stand again in their sequence, needed to tell an embedding."""


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
    plain = Norm("no weight", np.ones(handle.identity.width), np.zeros(handle.identity.width))
    tried = [plain, *norms]
    numbers = [(len(values), _measure(values, ids, tried)) for values, ids in arrays]
    n_entries, found = numbers[0][0], [measured for _, measured in numbers]
    entries = entries or entries_of(convention, n_entries, n_layers, model_type=model_type(handle))
    furthest = np.max([measured.off_norm for measured in found], axis=0)
    normed = bool((furthest < NORMED).any())
    if convention != "hf" and normed:
        name = tried[int(furthest.argmin())].name
        raise _after_norm(name, convention, n_layers, whole=n_entries == n_layers + 1)
    _check_first(found, entries, handle)
    if convention == "tl" and all(measured.centred for measured in found):
        raise StatesError(
            "Every vector has mean zero: TransformerLens centred the writing weights, so these are "
            "not the model's own states. Load it with "
            "HookedTransformer.from_pretrained_no_processing."
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


def _after_norm(norm: str, convention: str, n_layers: int, *, whole: bool) -> StatesError:
    """The last entry is after the final norm, and should not be."""
    fix = (
        "If these are all entries of hidden_states, give --convention hf"
        if whole
        else "Give all entries of hidden_states with --convention hf"
    )
    return StatesError(
        f"The last entry is after the final norm: with {norm} taken off, every vector has root "
        f"mean square 1 within {NORMED:.0%}. --convention {convention} is before it. {fix}, whose "
        f"last entry is left out: block {n_layers - 1} is then absent; or hook the blocks "
        "themselves."
    )


def _check_first(found: Sequence[_Numbers], entries: Entries, handle: ModelHandle) -> None:
    """Complain where the first entry is not the stream before block 0 and should be, or is it and
    should not be."""
    same = [measured.same for measured in found if measured.same is not None]
    begins = entries.layers[entries.at.index(0)] if 0 in entries.at else None
    if begins is None or sum(measured.repeats for measured in found) < REPEATS:
        return
    if begins == EMB and 2 * sum(same) < len(same) and not _adds_positions(handle):
        raise StatesError(
            "The first entry is not the same vector wherever a token stands again, so it is not "
            "the stream before block 0, and the blocks are off by one. Name what the entries are: "
            "--convention blocks, or --layers."
        )
    if begins != EMB and all(same):
        raise StatesError(
            "The first entry is the same vector wherever a token stands again, so it is the "
            "stream before block 0 and not after it: the blocks are off by one. Give all "
            f"{handle.identity.n_layers + 1} entries of hidden_states with --convention hf."
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
