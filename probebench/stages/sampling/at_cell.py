"""What the selected cell holds of each drawn answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from probebench.probes.many_fits import decide
from probebench.stages.data import RunData
from probebench.stages.stage import Runner
from probebench.stages.states import Sequences, StatesStage, Where
from probebench.states.extract import site_layouts
from probebench.types import AnyFloats, Cell, Floats, LabelledAnswer


@dataclass(frozen=True, eq=False)
class AtCell(StatesStage):
    """Hidden states of one cell."""

    cell: Cell
    name: ClassVar[str] = "sample_states"
    title: ClassVar[str] = "Reading further answers"
    budget_name: ClassVar[str] = "sample_states"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        return {**self.how, "cell": [self.cell.site, self.cell.layer, self.cell.position]}

    @property
    def where(self) -> Where:
        return Where((self.cell.site,), (self.cell.layer,))


@dataclass(frozen=True, slots=True, eq=False)
class SampleVectors:
    """Vectors of the drawn answers to some examples; those of equal answers are held once."""

    rows: NDArray[np.int64]
    """(row,) the examples."""
    which: NDArray[np.int64]
    """(row, sample) where each answer's vector stands."""
    vectors: AnyFloats
    """(vector, width). Undefined where `there` is False."""
    there: NDArray[np.bool_]
    """(vector,) False where the answer lacks the cell's token."""

    def decisions(self, probe: Any) -> Floats:
        """(row, sample) what a fitted probe says of each answer; NaN where the token is absent."""
        own = np.full(len(self.vectors), np.nan)
        if self.there.any():
            own[self.there] = decide(probe, self.vectors[self.there])
        return np.asarray(own[self.which])


def sample_vectors(data: RunData, runner: Runner) -> SampleVectors | None:
    """The selected cell's vectors of the drawn answers to test questions; None without any."""
    samples, plan, cell = data.samples, data.plan, data.chosen.cell
    if samples is None:
        return None
    rows = [i for i, split in enumerate(plan.splits) if split == "test"]
    places: dict[tuple[int, tuple[int, ...]], int] = {}
    unique: list[LabelledAnswer] = []
    which = np.zeros((len(rows), samples.n), dtype=np.int64)
    for row, i in enumerate(rows):
        for k, a in enumerate(samples.answers[i]):
            key = i, a.answer.answer_ids
            if key not in places:
                places[key] = len(unique)
                unique.append(a)
            which[row, k] = places[key]
    sites = Where((cell.site,), (cell.layer,)).planned(plan.handle.skeleton, plan.handle)
    stage = AtCell(plan, Sequences.of(unique, [cell.position]), site_layouts(sites), cell)
    reader = stage.reader(runner.run(stage))
    vectors = replace(data.job, reader=reader).vectors(cell)
    return SampleVectors(
        np.array(rows, dtype=np.int64), which, vectors, reader.there(cell.position)
    )
