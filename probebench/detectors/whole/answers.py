"""The tokens of an answer that these methods read, and the answers that have one."""

from __future__ import annotations

import numpy as np

from probebench.detectors.signals import words
from probebench.detectors.stored.vectors import Places
from probebench.stages.data import RunData
from probebench.states.looks import Written
from probebench.types import LabelledAnswer


def written(a: LabelledAnswer, statement: bool) -> Written:
    """What was generated, the stop token left out; of a statement all after its first token, or of
    a transcript its last turn, up to closing special tokens."""
    n_prompt = len(a.answer.prompt_ids)
    last = a.tokens.statement_last
    end = last + 1 if statement and last is not None else n_prompt + words(a).stop
    return Written(a.answer.ids, n_prompt, end)


def of_words(data: RunData) -> tuple[Places, list[Written]]:
    """The answers that have a token, and (place,) what was written.

    Raises:
        RunError: these have too few of a class.
    """
    spans = [written(a, data.statements) for a in data.answers]
    found = Places.of(np.array([s.end > s.n_prompt for s in spans]), data.labels)
    return found, [spans[i] for i in found.places]
