"""Error types: how a model's answers to one question scatter (Orgad et al. 2025, arXiv:2410.02707,
section 5), by the thresholds of the published code, which are shares of the number of answers.

Correct answers are those that the judge accepts, whatever their words; wrong ones are the same
where their exact answers are (`clusters`). A question may be of several types, and of none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probebench.stages.sampling.samples import Samples
from probebench.studies.sampled.clusters import REFUSED, clusters, said
from probebench.types import LabelledAnswer

LEAST = 9
"""Answers from which on a third of them is three: fewer cannot compete or be many."""
TYPES: Mapping[str, str] = {
    "A": "refuses to answer",
    "B": "consistently correct",
    "B1": "always correct",
    "B2": "mostly correct",
    "C": "consistently wrong in one way",
    "C1": "the same, never correct",
    "C2": "the same, correct at least once",
    "D": "two competing answers",
    "E": "many answers",
    "E1": "many answers, none correct",
    "E2": "many answers, at least one correct",
    "none": "none of these",
}
"""Name -> in words. A letter alone unites its numbers, as the paper's table of probes does."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """How the answers to one question scatter."""

    n: int
    correct: int
    wrong: tuple[int, ...]
    """How often each distinct wrong answer comes, refusals as one of them; wrong answers without an
    exact answer are in none."""
    refused: int

    @property
    def most(self) -> int:
        """How often the most frequent wrong answer comes."""
        return max(self.wrong, default=0)


def scatter(answers: Sequence[LabelledAnswer]) -> Scatter:
    """How some answers to one question scatter."""
    wrong = [a for a in answers if a.label != 1]
    found = clusters([said(a, refused=a.refused) for a in wrong])
    sizes = tuple(len(c.members) for c in found)
    refused = next((len(c.members) for c in found if c.key == REFUSED), 0)
    return Scatter(len(answers), len(answers) - len(wrong), sizes, refused)


def types_of(s: Scatter) -> set[str]:
    """The names of its types."""
    half, third, sixth = max(1, s.n // 2), s.n // 3, s.n // 6  # of one answer no half is none
    distinct = len(s.wrong)
    refuses = s.refused > s.correct and s.refused == s.most
    found = {
        "A": refuses,
        "B1": s.correct == s.n,
        "B2": s.correct >= half and s.correct < s.n and distinct > 0,
        "C1": s.most >= half and not refuses and s.correct == 0,
        "C2": s.most >= half and not refuses and s.correct > 0,
        "D": s.n >= LEAST and abs(s.correct - s.most) <= sixth and min(s.correct, s.most) > sixth,
        "E1": s.n >= LEAST and distinct >= third and s.correct == 0,
        "E2": s.n >= LEAST and distinct >= third - 1 and distinct > 0 and s.correct > 0,
    }
    names = {name for name, is_so in found.items() if is_so}
    names |= {name[0] for name in names}
    return names or {"none"}


def type_masks(samples: Samples) -> dict[str, NDArray[np.bool_]]:
    """(example,) which examples are of each type."""
    each = [types_of(scatter(answers)) for answers in samples.answers]
    return {name: np.array([name in own for own in each], dtype=bool) for name in TYPES}
