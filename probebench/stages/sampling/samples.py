"""Several drawn answers to each question, judged and located like the greedy one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.stages.parquet import answers_table
from probebench.types import LabelledAnswer


@dataclass(frozen=True, eq=False)
class Samples:
    """Drawn answers."""

    answers: tuple[tuple[LabelledAnswer, ...], ...]
    """(example, sample). Log-probabilities are the model's own: at temperature 1, of all tokens."""
    temperature: float
    top_p: float

    @property
    def n(self) -> int:
        """Answers to each question."""
        return len(self.answers[0])

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """(example, sample) was it judged correct?"""
        return np.array([[a.label == 1 for a in some] for some in self.answers], dtype=bool)


def samples_table(samples: Samples) -> pd.DataFrame:
    """`samples.parquet`: one row per drawn answer, with the columns of `answers.parquet`."""
    table = answers_table([a for some in samples.answers for a in some])
    table.insert(1, "sample", np.tile(np.arange(samples.n), len(samples.answers)))
    return table
