"""What a run says beside its table: confounds, positions, label noise and the learning curve."""

from __future__ import annotations

from typing import Any

from probebench.metrics.bootstrap import Resamples
from probebench.record.run import Run
from probebench.scoring.measures import Sample
from probebench.scoring.score import Result
from probebench.stages.data import RunData
from probebench.stages.second_judge import second_labels
from probebench.studies.confounds import confounds
from probebench.studies.curves import learning_curve
from probebench.studies.neutral import neutral_facts
from probebench.studies.noise import label_noise
from probebench.studies.readable import by_position, readable


def studies(data: RunData, result: Result, fitted: Any) -> dict[str, Any]:
    """Parts of the record that need more than decisions: `by_position`, `readable`, `confounds`,
    `label_noise`, `learning_curve`, `neutral`.

    Args:
        data: the run.
        result: what scoring gave.
        fitted: the selected cell's probe.
    """
    plan, answers, given = data.plan, data.answers, data.statements
    task, sizes = plan.task, plan.beside.train_sizes
    declared = None if task is None else task.kind == "choice" or task.fields.context is not None
    prompts = None
    if not given:
        ids = [list(a.answer.prompt_ids) for a in answers]
        prompts = plan.handle.tokenizer.batch_decode(ids)
    second, neutral, chosen = (
        second_labels(plan, answers, data.opinions),
        plan.beside.neutral,
        result.selected,
    )
    noise_by = plan.beside.label_noise or ""
    return {
        "by_position": by_position(result, data.fits, plan.reading.positions, given=given),
        "readable": readable(result, data.fits, data.labels, plan.seed, given=given),
        "confounds": confounds(
            answers, data.labels, result, prompts, declared=declared, seed=plan.seed
        ),
        "label_noise": None if second is None else label_noise(data.job, chosen, second, noise_by),
        "learning_curve": None if sizes is None else learning_curve(data.job, chosen, sizes),
        "neutral": None if neutral is None else neutral_alarms(data, result, fitted, neutral),
    }


def neutral_alarms(data: RunData, result: Result, fitted: Any, neutral: Run) -> dict[str, Any]:
    """Recall of wrong answers where another run's correct answers place the threshold, on the
    examples of the detectors' table.

    Args:
        data: the run.
        result: what scoring gave.
        fitted: the selected cell's probe.
        neutral: the control run.
    """
    rows, labels, cell = result.comparison.rows, data.labels, result.selected.cell
    draws = Resamples.draw(labels.group_names(rows), data.plan.seed)
    sample = Sample.of(labels.y[rows], labels.y[:0], draws)
    questions = [a.example.question for a in data.answers]
    return neutral_facts(neutral, cell, fitted, questions, sample, data.job.vectors(cell)[rows])
