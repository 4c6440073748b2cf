"""Second opinions on labels: another judge's, or those of another model that is asked. They change
no number of the run itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from probebench.files import content_key
from probebench.models.generate import Request, generate, pick_generation, requests, stop_tokens
from probebench.models.handles import ModelHandle
from probebench.models.passes.batches import Budget
from probebench.record.versions import versions
from probebench.stages.engine import Models, Work
from probebench.stages.parquet import AnswersStage
from probebench.stages.plan import Plan
from probebench.stages.stage import Runner, in_order
from probebench.tasks.judge import get_judge
from probebench.tasks.opinion import (
    BY_MODEL,
    MAX_NEW_TOKENS,
    agreement,
    opinion_prompt,
    read_opinion,
)
from probebench.tasks.prompts import short_question
from probebench.tasks.schema import Generation
from probebench.types import Answer, LabelledAnswer

Opinions = list[bool | None]
"""(example,) correct, wrong, or None where nothing was said."""


@dataclass(frozen=True, eq=False)
class Judged(AnswersStage):
    """Replies of the judge model."""

    judge: ModelHandle
    requests: Sequence[Request]
    name: ClassVar[str] = "opinion"
    title: ClassVar[str] = "Asking the judge model"
    budget_name: ClassVar[str] = "opinion"

    @cached_property
    def how(self) -> str:
        """`plain` or `fast`."""
        return pick_generation(self.judge, None)

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        return {
            "judge": self.judge.identity.key(),
            "prompts": content_key({"ids": [r.prompt_ids for r in self.requests]}),
            "generation": self.how,
            "versions": versions(),
        }

    @cached_property
    def lengths(self) -> list[int]:
        return [len(r.prompt_ids) for r in self.requests]

    @property
    def needs(self) -> ModelHandle:
        return self.judge

    @cached_property
    def stops(self) -> frozenset[int]:
        """Tokens that end a reply."""
        return stop_tokens(self.judge, Generation())

    def first_budget(self, models: Models) -> Budget:
        return models.measured(self.judge, max(self.lengths) + MAX_NEW_TOKENS)

    def compute(self, rows: list[int], work: Work) -> list[Answer]:
        some, loaded = [self.requests[i] for i in rows], work.models.get(self.judge)
        return generate(
            loaded, some, MAX_NEW_TOKENS, self.stops, how=self.how, budget=work.budget()
        )


def model_opinions(
    plan: Plan, runner: Runner, answers: Sequence[LabelledAnswer]
) -> Opinions | None:
    """What the judge model says of each answer, nothing of one that its context does not hold; None
    when none was asked for, or for statements."""
    judge = plan.beside.judge
    if judge is None or plan.statements:
        return None
    prompts = [
        short_question(judge.tokenizer, opinion_prompt(a.example, plan.reply(a.answer)[1]))
        for a in answers
    ]
    every = requests([a.example.id for a in answers], prompts, judge)
    room = judge.max_length
    said: Opinions = [None] * len(answers)
    rows = [
        i for i, r in enumerate(every) if room is None or len(r.prompt_ids) + MAX_NEW_TOKENS <= room
    ]
    if rows:
        replies = in_order(runner.run(Judged(judge, [every[i] for i in rows])))
        for i, reply in zip(rows, replies, strict=True):
            said[i] = read_opinion(reply.text)
    return said


def opinion_facts(
    plan: Plan, answers: Sequence[LabelledAnswer], opinions: Opinions | None
) -> dict[str, Any] | None:
    """The record's `second_opinion`: who was asked, and how often the labels agree with what it
    said."""
    judge = plan.beside.judge
    if judge is None or opinions is None:
        return None
    said = agreement([a.label for a in answers], opinions)
    return {"model": judge.spec.name, "revision": judge.identity.revision, **said}


def second_labels(
    plan: Plan, answers: Sequence[LabelledAnswer], opinions: Opinions | None
) -> Opinions | None:
    """The labels of `--label-noise`; None when it was not asked for."""
    name = plan.beside.label_noise
    if name is None or name == BY_MODEL:
        return None if name is None else opinions
    judge = get_judge(name)
    return [
        judge(a.example, plan.reply(a.answer)[1]).correct if a.example.references else None
        for a in answers
    ]
