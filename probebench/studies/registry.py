"""What a run says beside its map: ensembles, confounds, positions, label noise and the learning
curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from probebench.metrics.auroc import Resamples
from probebench.probes.fit import Job
from probebench.record.run import Run
from probebench.scoring.measures import Sample
from probebench.scoring.score import Result
from probebench.stages.fits import Cells
from probebench.stages.second_judge import Opinions
from probebench.studies.confounds import confounds
from probebench.studies.curves import learning_curve
from probebench.studies.neutral import neutral_facts
from probebench.studies.noise import label_noise
from probebench.studies.readable import by_position, readable
from probebench.types import CellFit


def studies(
    cells: Cells, job: Job, fits: Sequence[CellFit], result: Result, second: Opinions | None
) -> dict[str, Any]:
    """Parts of the record that need more than decisions: `by_position`, `readable`, `confounds`,
    `label_noise`, `learning_curve`.

    Args:
        cells: the run's answers and settings.
        job: vectors, labels and kind of probe.
        fits: every cell's probe.
        result: what scoring gave.
        second: labels of a second judge; None when there is none.
    """
    s, stages, answers = cells.settings, cells.stages, cells.answers
    task = stages.task
    declared = None if task is None else task.kind == "choice" or task.fields.context is not None
    prompts = None
    if not stages.statements:
        prompts = stages.handle.tokenizer.batch_decode([list(a.answer.prompt_ids) for a in answers])
    return {
        "by_position": by_position(result, fits, cells.positions, given=stages.statements),
        "readable": readable(result, fits, cells.labels, s.seed, given=stages.statements),
        "confounds": confounds(
            answers, cells.labels, result, prompts, declared=declared, seed=s.seed
        ),
        "label_noise": None
        if second is None
        else label_noise(job, result.selected, second, s.label_noise or ""),
        "learning_curve": None
        if s.train_sizes is None
        else learning_curve(job, result.selected, s.train_sizes),
    }


def neutral_alarms(
    cells: Cells, job: Job, result: Result, fitted: Any, neutral: Run
) -> dict[str, Any]:
    """Recall of wrong answers where another run's correct answers place the threshold, on the
    examples of the detectors' table.

    Args:
        cells: the run's answers and settings.
        job: vectors and labels.
        result: what scoring gave.
        fitted: the selected cell's probe.
        neutral: the control run.
    """
    rows, labels, cell = result.comparison.rows, job.labels, result.selected.cell
    draws = Resamples.draw(labels.group_names(rows), cells.settings.seed)
    sample = Sample.of(labels.y[rows], labels.y[:0], draws)
    return neutral_facts(
        neutral,
        cell,
        fitted,
        [a.example.question for a in cells.answers],
        sample,
        job.vectors(cell)[rows],
    )
