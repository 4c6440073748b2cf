"""What a user can ask of the answers that a run is about: whose they are, to which questions, and
how they are labelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from probebench.job import rules
from probebench.models.specs import ModelSpec
from probebench.options.checks import at_least, known
from probebench.options.field import option

if TYPE_CHECKING:
    from probebench.tasks.schema import Task

ASKED, LABELS = "What it is asked", "Labels"


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """The first of the options of a run."""

    model: ModelSpec
    task: str | None = option(
        None,
        "A task by name, or a task file of your own.",
        ASKED,
        more="May be left out where --answers carries labels.",
        metavar="T",
        path=True,
        read="repeated",
        changes="source",
        compared="found",
    )
    data: str | tuple[str, ...] | None = option(
        None,
        "Questions from a local file or folder instead of the task's source.",
        ASKED,
        metavar="FILE",
        path=True,
        read="repeated",
        compared="content",
    )
    answers: str | None = option(
        None,
        "Answers made elsewhere; goes on from extraction.",
        ASKED,
        more="docs/answers.md explains the columns.",
        metavar="FILE",
        path=True,
        changes="source",
        compared="content",
    )
    limit: int | None = option(
        None, "Only N examples, always the same ones.", ASKED, check=at_least(1)
    )
    thinking: bool | None = option(
        None, "Ask the chat template for it; default: as the template does.", ASKED
    )
    max_new_tokens: int | None = option(
        None, "Instead of the task's limit, for models that think first.", ASKED, check=at_least(1)
    )
    generation: str | None = option(
        None,
        "fast: a static, compiled cache; default: on a GPU.",
        ASKED,
        more="Where the model cannot, and on a CPU, it is `plain`.",
        choices=("fast", "plain"),
        changes="source",
    )
    judge_model: ModelSpec | None = option(
        None,
        "Another model's second opinion on the labels; agreement is reported.",
        LABELS,
        path=True,
        changes="adds",
    )
    label_noise: str | None = option(
        None,
        "Evaluate under a second judge too; model: that of --judge-model.",
        LABELS,
        metavar="JUDGE",
        examples=("model",),
        check=known(rules.second_judges),
        changes="adds",
    )
    exact_answer: str | None = option(
        None,
        "new_words, model or whole; gold finds it by the label, as the paper did.",
        LABELS,
        more="None is the task's own rule. `gold` is for comparison with Orgad et al. 2025 only.",
        metavar="RULE",
        examples=("new_words", "model", "whole", "gold"),
        check=known(rules.exact_rules),
    )
    extractor_model: ModelSpec | None = option(
        None,
        "Another model copies the exact answers out, as in the paper.",
        LABELS,
        more="None is the run's own, where the rule is `model`.",
        path=True,
    )

    def new_tokens(self, task: Task | None) -> int | None:
        """Tokens that an answer may have; None where the model is to answer nothing."""
        if task is None or task.kind == "statements" or self.answers is not None:
            return None
        return self.max_new_tokens or task.generation.max_new_tokens
