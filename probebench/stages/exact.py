"""Exact answers: where they stand, by the rule of the run; and a model that copies them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from probebench.errors import UsageError
from probebench.models.copier import MAX_NEW_TOKENS, Copier, read_spans_bytes, spans_bytes
from probebench.models.generate import stop_tokens
from probebench.models.handles import ModelHandle
from probebench.models.passes.batches import Budget
from probebench.record.versions import versions
from probebench.stages.engine import Models, Work
from probebench.stages.plan import GIVEN, Plan
from probebench.stages.stage import Runner, Stage, in_order
from probebench.tasks.exact.rules import GOLD, MODEL_RULE, RULES, declines, gold_span
from probebench.tasks.judge import get_judge
from probebench.tasks.schema import Generation
from probebench.types import Answer, Example, LabelledAnswer, Span

Spans = list[Span | None]


@dataclass(frozen=True, eq=False)
class Copied(Stage[Spans]):
    """The words that a language model copies out of replies."""

    handle: ModelHandle
    copier: Copier
    name: ClassVar[str] = "exact"
    title: ClassVar[str] = "Finding exact answers"
    suffix: ClassVar[str] = "json"
    budget_name: ClassVar[str] = "exact"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        return {**self.copier.inputs(), "versions": versions()}

    @cached_property
    def lengths(self) -> list[int]:
        return self.copier.lengths

    @property
    def needs(self) -> ModelHandle:
        return self.handle

    @cached_property
    def stops(self) -> frozenset[int]:
        """Tokens that end a copy."""
        return stop_tokens(self.handle, Generation(stop=("\n",)))

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with what may be copied."""
        return max(self.lengths) + MAX_NEW_TOKENS

    def first_budget(self, models: Models) -> Budget:
        return models.measured(self.handle, self.longest)

    def compute(self, rows: list[int], work: Work) -> Spans:
        return self.copier.copy(work.models.get(self.handle), rows, self.stops, work.budget())

    def pack(self, found: Spans, rows: list[int]) -> bytes:
        return spans_bytes(found)

    def unpack(self, content: bytes) -> Spans:
        return read_spans_bytes(content)


def exact_spans(plan: Plan, runner: Runner, answers: Sequence[Answer]) -> Spans:
    """(example,) where the exact answers stand in the answers' texts."""
    if plan.exact.name == GIVEN:
        given = plan.questions.given
        return [None] * len(answers) if given is None else [g.exact for g in given]
    return spans_of(plan, runner, plan.examples, answers)


def spans_of(
    plan: Plan, runner: Runner, examples: Sequence[Example], answers: Sequence[Answer]
) -> Spans:
    """(answer,) where exact answers stand, of the run's own model; equal replies to one question
    are looked at once.

    Args:
        plan: the run.
        runner: computes what a model has to copy.
        examples: (answer,) what was asked.
        answers: what was answered.
    """
    replies = [plan.reply(a) for a in answers]
    keys = [(e.id, text) for e, (_, text) in zip(examples, replies, strict=True)]
    once = dict(zip(keys, examples, strict=True))
    found = _spans(plan, runner, list(once.values()), [text for _, text in once])
    by_key = dict(zip(once, found, strict=True))
    spans = [by_key[key] for key in keys]
    return [s and Span(s.start + k, s.end + k) for s, (k, _) in zip(spans, replies, strict=True)]


def _spans(plan: Plan, runner: Runner, examples: Sequence[Example], said: Sequence[str]) -> Spans:
    """The same in the replies, thinking left out."""
    assert plan.task is not None  # else the rule is `GIVEN`
    rule, pairs = plan.task.exact_answer, list(zip(examples, said, strict=True))
    if plan.exact.blind == MODEL_RULE:
        spans = _copied(plan, runner, examples, said)
    else:
        spans = [RULES[plan.exact.blind](rule, e, text) for e, text in pairs]
    if plan.exact.name == GOLD:
        gold = [gold_span(e, text) for e, text in pairs]
        spans = [g or s for g, s in zip(gold, spans, strict=True)]
    return spans


def _copied(plan: Plan, runner: Runner, examples: Sequence[Example], said: Sequence[str]) -> Spans:
    """What a language model copies out of the replies; None for refusals, of which it is not asked.

    Raises:
        UsageError: its context is too short for a question about an answer.
    """
    rows = [i for i, text in enumerate(said) if not declines(text)]
    if not rows:
        return [None] * len(said)
    handle, some = plan.exact.extractor or plan.handle, [examples[i] for i in rows]
    questions = [e.question for e in some]
    copier = Copier(handle, [e.id for e in some], questions, [said[i] for i in rows])
    stage, room = Copied(handle, copier), handle.max_length
    if room is not None and stage.longest > room:
        raise UsageError(
            f"{handle.identity.name!r} holds {room} tokens, and asking it for an exact answer "
            f"takes up to {stage.longest}. Take --exact-answer new_words, or --extractor-model "
            f"with a model that holds more, and --out {plan.folder}, where the answers are kept."
        )
    found = dict(zip(rows, in_order(runner.run(stage)), strict=True))
    return [found.get(i) for i in range(len(said))]


def exact_facts(plan: Plan, answers: Sequence[LabelledAnswer]) -> dict[str, Any]:
    """The record's `exact_answer`: the rule, who copied, and how often the span of a correct answer
    is itself correct."""
    by = None if plan.exact.extractor is None else plan.exact.extractor.identity
    asked = plan.task is not None and not plan.statements
    return {
        "rule": plan.exact.name,
        "extractor": None
        if by is None
        else {"name": by.name, "revision": by.revision, "quantization": by.quantization},
        "holds_answer": _hits(plan.judge, answers) if asked else None,
    }


def _hits(judge: str, answers: Sequence[LabelledAnswer]) -> dict[str, Any]:
    """Correct answers whose span the judge accepts by itself; the interval is Wilson's."""
    from scipy.stats import binomtest

    correct = [a for a in answers if a.label == 1 and a.example.references]
    spans = [
        (a, a.answer.text[a.exact.start : a.exact.end]) for a in correct if a.exact is not None
    ]
    n = sum(get_judge(judge)(a.example, text).correct for a, text in spans)
    facts: dict[str, Any] = {
        "n": n,
        "of": len(correct),
        "rate": n / len(correct) if correct else float("nan"),
        "rate_95": None,
    }
    if correct:
        ends = binomtest(n, len(correct)).proportion_ci(method="wilson")
        facts["rate_95"] = [float(ends.low), float(ends.high)]
    return facts
