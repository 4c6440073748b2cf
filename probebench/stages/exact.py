"""Which rule finds the exact answers of a run, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from probebench.errors import UsageError
from probebench.job.options import Options
from probebench.models.loading import ModelHandle, find_model
from probebench.tasks.exact.rules import GOLD, MODEL_RULE, RULES, gold_span
from probebench.tasks.given import GivenAnswer
from probebench.tasks.judge import get_judge
from probebench.tasks.schema import Task
from probebench.types import Example, LabelledAnswer, Span

GIVEN = "given"
"""The name of no rule: the file of `--answers` says where exact answers are, or there are none."""
Spans = list[Span | None]


@dataclass(frozen=True, eq=False)
class Finder:
    """The rule of one run."""

    settings: Options
    task: Task | None
    """The task whose answers are looked at; None for statements and for answers without a task."""
    given: Sequence[GivenAnswer] | None

    @property
    def rule(self) -> str:
        """The rule's name in the record."""
        if self.task is None or (self.given is not None and any(g.exact_given for g in self.given)):
            return GIVEN
        return GOLD if self.settings.exact_answer == GOLD else self.blind

    @property
    def blind(self) -> str:
        """The rule that looks at no label; with `gold`, the one for answers in which no accepted
        answer stands."""
        asked = self.settings.exact_answer
        if self.settings.extractor_model is not None:
            return MODEL_RULE
        if asked is not None and asked != GOLD:
            return asked
        return self.task.exact_answer.rule if self.task is not None else GIVEN

    @cached_property
    def extractor(self) -> ModelHandle | None:
        """The model of `--extractor-model`, found but not loaded; None where the run's own model
        copies, or none does."""
        s = self.settings
        return (
            None if s.extractor_model is None else find_model(s.extractor_model, offline=s.offline)
        )

    def check(self) -> None:
        """Complain about a rule that was asked for and would not be used, and find the extractor's
        files.

        Raises:
            UsageError: there is nothing to find, or the extractor generates nothing.
        """
        s = self.settings
        if self.rule == GIVEN and (s.exact_answer or s.extractor_model):
            why = (
                "statements have no exact answers"
                if self.given is None
                else "the file of --answers says where exact answers are"
            )
            raise UsageError(
                f"--exact-answer and --extractor-model do not apply here: {why}. Leave them out."
            )
        if self.extractor is not None and not self.extractor.causal:
            name = self.extractor.identity.name
            raise UsageError(
                f"--extractor-model {name!r} ({self.extractor.identity.architecture}) generates "
                "nothing. Name a decoder."
            )

    def spans(
        self,
        examples: Sequence[Example],
        said: Sequence[str],
        copied: Callable[[Sequence[str]], Spans],
    ) -> Spans:
        """Where exact answers stand in the replies.

        Args:
            examples: what was asked.
            said: (example,) replies, thinking left out.
            copied: asks a language model, for the rule `model`.
        """
        assert self.task is not None  # else the rule is `given`
        exact = self.task.exact_answer
        if self.blind == MODEL_RULE:
            spans = copied(said)
        else:
            spans = [
                RULES[self.blind](exact, e, text) for e, text in zip(examples, said, strict=True)
            ]
        if self.rule == GOLD:
            gold = [gold_span(e, text) for e, text in zip(examples, said, strict=True)]
            spans = [g or s for g, s in zip(gold, spans, strict=True)]
        return spans

    def facts(self, answers: Sequence[LabelledAnswer]) -> dict[str, Any]:
        """The record's `exact_answer`: the rule, who copied, and how often the span of a correct
        answer is itself correct."""
        by = None if self.extractor is None else self.extractor.identity
        return {
            "rule": self.rule,
            "extractor": None
            if by is None
            else {"name": by.name, "revision": by.revision, "quantization": by.quantization},
            "holds_answer": None if self.task is None else _hits(self.task.judge, answers),
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
