"""Vectors of an answer that is shown to the model once more, inside a text that speaks of its
truth: read at the last token of that text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from probebench.detectors.asked.p_true_prompts import asked_text
from probebench.detectors.stored.vectors import LAST, SITE, Vectors, of_some
from probebench.errors import RunError
from probebench.stages.stage import Runner
from probebench.stages.states import Sequences, StatesStage, Where
from probebench.states.extract import site_layouts
from probebench.states.reader import StatesReader
from probebench.types import Float32s, LabelledAnswer

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan

Ids = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class AskedStates(StatesStage):
    """The last token's vectors of texts about answers."""

    layers: tuple[int, ...]
    name: ClassVar[str] = "asked-states"
    title: ClassVar[str] = "Reading answers asked about"
    budget_name: ClassVar[str] = "asked-states"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        return {**self.how, "layers": self.layers}

    @property
    def where(self) -> Where:
        return Where((SITE,), self.layers)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of one answer."""

    question: str
    """All that was asked; of a statement, the statement."""
    answer: str | None
    """The answer on one line; None for a statement."""

    @property
    def statement(self) -> str:
        """Question and answer as one text; a statement as it is."""
        return self.question if self.answer is None else f"{self.question} {self.answer}"

    def filled(self, answered: str, stated: str) -> str:
        """One of two templates, filled."""
        template = stated if self.answer is None else answered
        return template.format(question=self.question, answer=self.answer)


def shown(plan: Plan, a: LabelledAnswer) -> Shown | None:
    """What is shown of an answer; None for one without a word."""
    question = asked_text(plan.task, a.example).strip()
    if plan.statements:
        return Shown(question, None)
    said = " ".join(plan.reply(a.answer)[1].split())
    return Shown(question, said) if said else None


def asked_vectors(
    data: RunData, runner: Runner, encode: Callable[[Shown], Sequence[Ids]], layers: Sequence[int]
) -> list[Vectors]:
    """Vectors of the last token of one or more texts about each answer; an answer without a word,
    and one of whose texts does not fit into the context, have none.

    Args:
        data: the run.
        runner: computes the further passes.
        encode: token ids of the texts about an answer, as many for each.
        layers: blocks that are read.

    Returns:
        For each text.

    Raises:
        RunError: too few answers have vectors.
    """
    plan, limit = data.plan, data.plan.handle.max_length
    texts = [shown(plan, a) for a in data.answers]
    asked = [() if text is None else tuple(encode(text)) for text in texts]
    there = np.array(
        [bool(own) and (limit is None or max(map(len, own)) <= limit) for own in asked]
    )
    places = np.flatnonzero(there)
    if not len(places):
        shortest = min((max(map(len, own)) for own in asked if own), default=None)
        if shortest is None:
            raise RunError("needs an answer with a word, and none has one.")
        raise RunError(
            f"needs an answer that fits into the context of {limit} tokens once more; the shortest "
            f"text takes {shortest}. Take a model with a longer context."
        )
    reader = last_states(plan, runner, [ids for i in places for ids in asked[i]], layers)
    n = len(asked[places[0]])

    def read(which: int, layer: int) -> Float32s:
        X = reader.cell(layer, LAST)[which::n]
        out = np.zeros((len(texts), X.shape[1]), dtype=np.float32)
        out[places] = X
        return out

    return [of_some(layers, there, data.labels, partial(read, which)) for which in range(n)]


def last_states(
    plan: Plan, runner: Runner, ids: Sequence[Ids], layers: Sequence[int]
) -> StatesReader:
    """The last token's vectors of each text."""
    ends = np.array([len(own) - 1 for own in ids], dtype=np.int64)
    sequences = Sequences(tuple(ids), np.repeat(ends, 2).reshape(-1, 1, 2), (LAST,))
    sites = Where((SITE,), tuple(layers)).planned(plan.handle.skeleton, plan.handle)
    stage = AskedStates(plan, sequences, site_layouts(sites), tuple(layers))
    return stage.reader(runner.run(stage))
