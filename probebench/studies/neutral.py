"""False alarms placed on another run: recall of wrong answers when a neutral control set says where
the threshold lies.

As deception probes do (Goldowsky-Dill et al. 2025, arXiv:2502.03407): the threshold comes from
answers of another task, on which nothing is wrong, and not from the task that is tested.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import UsageError
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.ranking import alarm_threshold
from probebench.probes.many_fits import decide
from probebench.record.inside.kinds import DISCARDED, freed_words
from probebench.record.reopened import other_model
from probebench.record.run import RECORD, Run
from probebench.scoring.measures import ALARM_RATES, Sample, metric_facts, recall
from probebench.studies.registry import Concern, Scored, concern, study
from probebench.tasks.examples import normalise
from probebench.types import Cell


def open_neutral(folder: str | Path, model: dict[str, Any]) -> Run:
    """The control run, checked before anything is computed.

    Args:
        folder: a finished run.
        model: identity of this run's model, as in records.

    Raises:
        UsageError: it is of another model, or keeps no hidden states.
        BadFileError: it is no finished run.
    """
    run = Run.load(folder)
    if different := other_model(run, model):
        raise UsageError(
            f"--neutral {run.folder} is not a run of this model: it differs in "
            f"{', '.join(different)}."
        )
    if not run.has_states:
        why = freed_words(run.folder / RECORD) if run.states_freed else DISCARDED
        raise UsageError(f"--neutral {run.folder} {why}")
    return run


@study("neutral", asked=lambda plan: plan.beside.neutral is not None)
def _neutral(run: Scored) -> dict[str, Any] | None:
    """On the examples of the detectors' table."""
    data, cell, control = run.data, run.result.selected.cell, run.data.plan.beside.neutral
    if control is None:
        return None
    rows, labels = run.result.comparison.rows, data.labels
    draws = Resamples.draw(labels.group_names(rows), data.plan.seed)
    sample = Sample.of(labels.y[rows], labels.y[:0], draws)
    questions = [a.example.question for a in data.answers]
    return neutral_facts(control, cell, run.fitted, questions, sample, data.job.vectors(cell)[rows])


def neutral_facts(
    run: Run, cell: Cell, probe: Any, questions: Collection[str], sample: Sample, test: NDArray[Any]
) -> dict[str, Any]:
    """Recall of wrong answers at thresholds from the control run's correct answers, all splits of
    it.

    Answers to a question that also stands in the tested run, case and spaces apart, are left out,
    so that the probe has seen none of them.

    Args:
        run: the control run.
        cell: the selected cell of the tested run.
        probe: its probe, a fitted classifier.
        questions: of the tested run, all splits.
        sample: test labels and resamples of the tested run.
        test: (test example, width) vectors of the cell.

    Returns:
        Both recalls with how many answers set the threshold; or the reason where the control run
        did not read the cell, or has no answer left.
    """
    states, answers = run.states(), run.answers
    facts = {"run": str(run.folder), "key": run.record["key"], "task": run.record["task"]["name"]}
    if (
        cell.position not in states.positions
        or cell.site not in states.sites
        or cell.layer not in states.site(cell.site).layers
    ):
        at = f"{cell.site}, layer {cell.row}, {cell.position}"
        return facts | {"reason": f"it did not read the selected cell, {at}"}
    there = states.there(cell.position)
    asked = {normalise(question) for question in questions}
    unseen = np.array(
        [normalise(question) not in asked for question in answers["question"]], dtype=bool
    )
    rows = np.flatnonzero(there & unseen & (answers["label"] == 1).to_numpy())
    facts["n_seen"] = int((~unseen).sum())
    if not len(rows):
        why = f"no correct answer with the token {cell.position} to a question not asked here"
        return facts | {"reason": why}
    correct = decide(probe, states.cell(cell.layer, cell.position, cell.site)[rows])
    decisions = decide(probe, test)
    limits = {name: alarm_threshold(correct, rate) for name, rate in ALARM_RATES.items()}
    return facts | {
        "n": len(rows),
        **{
            name: metric_facts(recall(sample, decisions, t, len(rows)))
            for name, t in limits.items()
        },
    }


@concern
def _without(run: Concern) -> Iterator[str]:
    """A control run that could set no threshold."""
    if (found := run.record.neutral) and found.reason:
        yield f"--neutral {found.run} sets no threshold: {found.reason}."
