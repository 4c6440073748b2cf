"""The model's answers: generated with the scores of their tokens, or given to the model, which
scores them where their hidden states are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from probebench.models.generate import Request, generate, stop_texts
from probebench.models.handles import ModelHandle
from probebench.models.passes.agreement import EXAMPLES, TOKENS, agreement
from probebench.models.passes.batches import Budget
from probebench.models.passes.scored import GivenScores, score_answers
from probebench.stages.engine import Models, Work
from probebench.stages.parquet import AnswersStage
from probebench.stages.plan import Plan
from probebench.stages.stage import Runner, in_order
from probebench.types import Answer, LabelledAnswer


@dataclass(frozen=True, eq=False)
class OwnAnswers(AnswersStage):
    """Answers by the run's own model."""

    plan: Plan

    @property
    def inputs(self) -> Mapping[str, Any]:
        return self.plan.answer_inputs

    @property
    def needs(self) -> ModelHandle:
        return self.plan.handle


@dataclass(frozen=True, eq=False)
class Generated(OwnAnswers):
    """Answers to prompts."""

    name: ClassVar[str] = "answers"
    title: ClassVar[str] = "Generating answers"
    budget_name: ClassVar[str] = "answers"

    @cached_property
    def requests(self) -> list[Request]:
        """(example,) the prompts."""
        q = self.plan.questions
        return [Request(e.id, ids) for e, ids in zip(q.examples, q.prompt_ids, strict=True)]

    @cached_property
    def lengths(self) -> list[int]:
        return [len(r.prompt_ids) for r in self.requests]

    def first_budget(self, models: Models) -> Budget:
        return models.measured(self.needs, max(self.lengths) + (self.plan.max_new_tokens or 0))

    def compute(self, rows: list[int], work: Work) -> list[Answer]:
        plan = self.plan
        return generate(
            work.models.get(plan.handle),
            [self.requests[i] for i in rows],
            plan.max_new_tokens or 0,
            plan.stops,
            _stop_texts(plan),
            how=plan.generation,
            budget=work.budget(),
        )


@dataclass(frozen=True, eq=False)
class Alone(OwnAnswers):
    """The first answers of a run once more, each alone, without a cache of fixed size."""

    first: Sequence[Answer]
    name: ClassVar[str] = "alone"
    title: ClassVar[str] = "Answering alone"

    @cached_property
    def lengths(self) -> list[int]:
        return [len(a.prompt_ids) for a in self.first]

    def compute(self, rows: list[int], work: Work) -> list[Answer]:
        loaded, most = work.models.get(self.needs), min(self.plan.max_new_tokens or 0, TOKENS)
        wanted = [Request(self.first[i].id, self.first[i].prompt_ids) for i in rows]
        stops, texts = self.plan.stops, _stop_texts(self.plan)
        return [generate(loaded, [r], most, stops, texts)[0] for r in wanted]


@dataclass(frozen=True, eq=False)
class ScoredAnswers(OwnAnswers):
    """Answers that were given to the model, with its scores, where nothing else is read of them."""

    known: Sequence[Answer]
    name: ClassVar[str] = "score"
    title: ClassVar[str] = "Scoring answers"
    budget_name: ClassVar[str] = "score"

    @cached_property
    def lengths(self) -> list[int]:
        return [len(a.ids) for a in self.known]

    def compute(self, rows: list[int], work: Work) -> list[Answer]:
        some = [self.known[i] for i in rows]
        pairs = [(a.prompt_ids, a.answer_ids) for a in some]
        scores = score_answers(work.models.get(self.needs), pairs, budget=work.budget())
        return [with_scores(a, s) for a, s in zip(some, scores, strict=True)]


def with_scores(answer: Answer, scores: GivenScores) -> Answer:
    """An answer with what the model says of its tokens."""
    return replace(
        answer, logprobs=scores.logprobs, logits=scores.logits, entropies=scores.entropies
    )


def scores_given(plan: Plan) -> bool:
    """Are the answers given to a model that can say how likely it finds them?"""
    return plan.max_new_tokens is None and plan.handle.causal


def scored_answers(
    plan: Plan, runner: Runner, answers: Sequence[LabelledAnswer]
) -> tuple[LabelledAnswer, ...]:
    """Answers that were given to the model, with its scores by a pass of their own; others as they
    are."""
    if not scores_given(plan):
        return tuple(answers)
    found = in_order(runner.run(ScoredAnswers(plan, [a.answer for a in answers])))
    return tuple(replace(a, answer=b) for a, b in zip(answers, found, strict=True))


def known_answers(plan: Plan) -> list[Answer] | None:
    """Statements, and answers made elsewhere, still without scores; None where the model is to
    answer."""
    none, q = np.zeros(0, dtype=np.float32), plan.questions
    if plan.statements:  # sequences whose first token is the prompt, or all before the last turn
        begins = q.begins or [1] * len(q.examples)
        return [
            Answer(e.id, ids[:n], ids[n:], False, e.question, none, none, none)
            for e, ids, n in zip(q.examples, q.prompt_ids, begins, strict=True)
        ]
    if q.given is None:
        return None
    return [
        Answer(g.example.id, g.prompt_ids, g.answer_ids, g.stopped, g.text, none, none, none)
        for g in q.given
    ]


def alone_facts(
    plan: Plan, runner: Runner, found: Sequence[LabelledAnswer]
) -> dict[str, Any] | None:
    """Whether it changes what a model says that it answers in batches: how the first answers differ
    from those that the same prompts get alone. None where the model answered nothing."""
    if plan.max_new_tokens is None:
        return None
    first = [a.answer for a in found[:EXAMPLES]]
    return agreement(first, in_order(runner.run(Alone(plan, first))))


def _stop_texts(plan: Plan) -> tuple[str, ...]:
    assert plan.task is not None  # without a task there are given answers, and nothing is generated
    return stop_texts(plan.handle, plan.task.generation)
