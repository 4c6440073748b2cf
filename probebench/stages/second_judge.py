"""Second opinions on labels: another judge's, or those of another model that is asked. They change
no number of the run itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from probebench.errors import UsageError
from probebench.files import content_key
from probebench.job.options import BY_MODEL
from probebench.job.record import versions
from probebench.models.generate import generate, pick_generation, requests, stop_tokens
from probebench.models.loading import find_model
from probebench.stages.answers import Stages
from probebench.tasks.judge import get_judge
from probebench.tasks.opinion import MAX_NEW_TOKENS, agreement, opinion_prompt, read_opinion
from probebench.tasks.prompts import short_question
from probebench.tasks.schema import Generation
from probebench.types import Answer, LabelledAnswer

Opinions = list[bool | None]
"""(example,) correct, wrong, or None where nothing was said."""


def model_opinions(stages: Stages, answers: Sequence[LabelledAnswer]) -> Opinions | None:
    """What the model of `--judge-model` says of each answer; None when none was asked for, or for
    statements."""
    spec, offline = stages.settings.judge_model, stages.settings.offline
    if spec is None or stages.statements:
        return None
    handle = find_model(spec, offline=offline)
    prompts = [
        short_question(handle.tokenizer, opinion_prompt(a.example, stages.reply(a.answer)[1]))
        for a in answers
    ]
    wanted = requests([a.example.id for a in answers], prompts, handle)
    stops = stop_tokens(handle, Generation())
    judge = stages.loader(handle)

    how = pick_generation(handle, None)
    prompt_key = content_key({"ids": [w.prompt_ids for w in wanted]})
    inputs = {
        "judge": handle.identity.key(),
        "prompts": prompt_key,
        "generation": how,
        "versions": versions(),
    }
    lengths = [len(w.prompt_ids) for w in wanted]
    budget = stages.budget("opinion", inputs, max(lengths) + MAX_NEW_TOKENS, judge)

    def ask(rows: list[int]) -> list[Answer]:
        return generate(
            judge(), [wanted[i] for i in rows], MAX_NEW_TOKENS, stops, how=how, budget=budget()
        )

    replies = stages.collect("opinion", lengths, "Asking the judge model", ask, inputs, judge)
    return [read_opinion(r.text) for r in replies]


def opinion_facts(
    stages: Stages, answers: Sequence[LabelledAnswer], opinions: Opinions | None
) -> dict[str, Any] | None:
    """The record's `second_opinion`: who was asked, and how often the labels agree with what it
    said."""
    spec = stages.settings.judge_model
    if spec is None or opinions is None:
        return None
    revision = find_model(spec, offline=stages.settings.offline).identity.revision
    return {
        "model": spec.name,
        "revision": revision,
        **agreement([a.label for a in answers], opinions),
    }


def check_second(stages: Stages) -> None:
    """Complain about a second judge that would have nothing to say, before anything is computed.

    Raises:
        UsageError: statements, the task's own judge again, or no accepted answers to compare with.
    """
    if stages.settings.judge_model is not None and not stages.statements:
        find_model(
            stages.settings.judge_model, offline=stages.settings.offline
        )  # or it says now what is wrong with it
    name, task = stages.settings.label_noise, stages.task
    if name is None:
        return
    if stages.statements:
        raise UsageError(
            "--label-noise judges answers again; statements come with their labels. Leave it out "
            "for this task."
        )
    if name == BY_MODEL:
        return
    if task is not None and name == task.judge and stages.given is None:
        raise UsageError(
            f"--label-noise {name} is the judge that the task {task.name!r} is labelled by. Name "
            "another one."
        )
    if not any(e.references for e in stages.examples):
        raise UsageError(
            f"--label-noise {name} compares with accepted answers, and these examples have none."
        )


def second_labels(
    stages: Stages, answers: Sequence[LabelledAnswer], opinions: Opinions | None
) -> Opinions | None:
    """The labels of `--label-noise`; None when it was not asked for."""
    name = stages.settings.label_noise
    if name is None or name == BY_MODEL:
        return None if name is None else opinions
    judge = get_judge(name)
    return [
        judge(a.example, stages.reply(a.answer)[1]).correct if a.example.references else None
        for a in answers
    ]
