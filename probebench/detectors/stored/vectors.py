"""What these methods are fitted to: a vector of each answer in several layers, its last token's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.signals import words
from probebench.errors import RunError
from probebench.metrics.auroc import auroc
from probebench.probes.choose import choose
from probebench.probes.labels import Labels, split_index, why_masked
from probebench.stages.data import RunData
from probebench.stages.plan import Plan
from probebench.states.shards import host_dtype
from probebench.types import EMB, Float32s, Floats, SplitName

SITE = "resid"
LAST, BEFORE, STATEMENT = "-1", "-2", "statement_last"
"""The last token; the last before a stop token; the last of a given statement."""


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The examples that a method can score. `place` counts them."""

    places: NDArray[np.int64]
    """(place,) which they are."""
    labels: Labels

    @classmethod
    def of(cls, there: NDArray[np.bool_], labels: Labels) -> Places:
        """Those that are there.

        Raises:
            RunError: these have too few of a class.
        """
        if reason := why_masked(labels, there):
            raise RunError(f"{reason}.")
        return cls(np.flatnonzero(there), labels)

    @property
    def y(self) -> NDArray[np.int64]:
        """(place,) 1 = correct."""
        return self.labels.y[self.places]

    @property
    def rows(self) -> dict[SplitName, NDArray[np.int64]]:
        """Of each split, which places are in it."""
        return self.labels.rows(self.places)

    def spread(self, decisions: Floats) -> Floats:
        """(example,) of (place,) decisions, NaN where an example has no place."""
        out = np.full(len(self.labels.y), np.nan)
        out[self.places] = decisions
        return out

    def signed(self, decisions: Floats) -> Floats:
        """The same or its negative: whichever ranks train better."""
        train = self.rows["train"]
        return decisions if auroc(self.y[train], decisions[train]) >= 0.5 else -decisions


@dataclass(frozen=True, slots=True, eq=False)
class Vectors(Places):
    """A vector of each of some examples in several layers."""

    layers: tuple[int, ...]
    """Blocks, rising; the embedding row is none."""
    read: Callable[[int], Float32s]
    """(example, width) of one layer."""

    def layer(self, layer: int) -> Float32s:
        """(place, width) vectors of one layer.

        Raises:
            RunError: the run did not read it.
        """
        if layer not in self.layers:
            raise RunError(f"needs layer {layer}, which was not read (--layers).")
        return self.read(layer)[self.places]


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """What validation chose."""

    value: tuple[int, ...]
    """A layer, a number of components, and the like."""
    decisions: Floats
    """(place,)."""
    validation_auroc: float


def best(vectors: Places, fits: Iterable[tuple[tuple[int, ...], Floats]]) -> Chosen:
    """The fit with the highest AUROC on validation, the first of equals.

    Args:
        vectors: whose labels and splits count.
        fits: what was varied, with (place,) decisions.

    Raises:
        RunError: none has finite decisions.
    """
    tried = list(fits)
    found = [(value, d) for value, d in tried if np.isfinite(d).all()]
    chosen = choose(vectors.y, [d for _, d in found], vectors.rows["validation"])
    if chosen is None:
        raise RunError(
            f"needs a finite number for every answer, and none of {len(tried)} fits gave that. "
            "Leave it out of --detectors."
        )
    return Chosen(*found[chosen.at], chosen.validation_auroc)


def last_token(data: RunData) -> Vectors:
    """Stored vectors of the last token of each answer, its stop token left out, or of a statement;
    an answer without a word has none.

    Raises:
        RunError: the run did not read these tokens, or too few answers have one.
    """
    wanted = (STATEMENT,) if data.statements else (LAST, BEFORE)
    reader, blocks = data.states.reader, _blocks(data)
    if missing := [name for name in wanted if name not in reader.positions]:
        raise RunError(f"needs the position {' and '.join(missing)} (--positions).")
    stopped = np.array([a.answer.stopped for a in data.answers])
    ends = np.where(stopped, wanted[-1], wanted[0])
    there = np.array([data.statements or words(a).stop > 0 for a in data.answers])
    for name in wanted:
        there &= reader.there(name) | (ends != name)

    def read(layer: int) -> Float32s:
        X = reader.cell(layer, wanted[0])
        return np.where(stopped[:, None], reader.cell(layer, BEFORE), X) if len(wanted) > 1 else X

    return of_some(blocks, there, data.labels, read)


def _blocks(data: RunData) -> tuple[int, ...]:
    """Blocks after which the residual stream was read.

    Raises:
        RunError: none.
    """
    reader = data.states.reader
    if SITE not in reader.sites:
        read = ", ".join(reader.sites)
        raise RunError(f"needs the site {SITE}, and only {read} was read: add {SITE} to --sites.")
    layers = tuple(k for k in reader.site(SITE).layers if k != EMB)
    if not layers:
        raise RunError("needs a block, and only the embedding row was read: name one in --layers.")
    return layers


def one_position(data: RunData, position: str) -> Vectors:
    """Stored vectors at one position.

    Raises:
        RunError: the run did not read it, or too few answers have it.
    """
    reader, blocks = data.states.reader, _blocks(data)
    if position not in reader.positions:
        raise RunError(f"needs the position {position} (--positions).")
    there = reader.there(position)
    return of_some(blocks, there, data.labels, lambda layer: reader.cell(layer, position))


def of_some(
    layers: Sequence[int], there: NDArray[np.bool_], labels: Labels, read: Callable[[int], Float32s]
) -> Vectors:
    """Vectors of the examples that are there.

    Raises:
        RunError: these have too few of a class.
    """
    found = Places.of(there, labels)
    return Vectors(found.places, labels, tuple(layers), read)


def vectors_size(plan: Plan, n: int, n_layers: int) -> int:
    """Bytes of the residual stream at `n` tokens in some layers, as a stage stores them."""
    width, dtype = plan.handle.identity.width, plan.reading.dtype
    return n * n_layers * width * host_dtype(dtype).itemsize


def n_train(splits: Sequence[SplitName]) -> int:
    """Examples of train."""
    return len(split_index(splits)["train"])
