"""What another judge's labels would change: the same decisions, and the same cell fitted again,
under both sets of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples, percentile_interval
from probebench.metrics.intervals import auroc_interval, bootstrap_interval
from probebench.probes.fit import Job, fit_cell
from probebench.probes.labels import split_index, why_masked
from probebench.scoring.comparison import ends
from probebench.stages.second_judge import second_labels
from probebench.studies.registry import Scored, study
from probebench.tasks.opinion import agreement
from probebench.types import CellFit, Floats, Interval

LEAST = 0.05
"""Where 1 - a - b falls below this, labels say next to nothing of the other judge's, and nothing is
divided by it."""


@study(
    "label_noise",
    asked=lambda plan: plan.beside.label_noise is not None,
    title="Under another judge",
    unasked="A second judge's labels: ask for them with --label-noise JUDGE.",
)
def _label_noise(run: Scored) -> dict[str, Any] | None:
    data, judge = run.data, run.data.plan.beside.label_noise
    second = second_labels(data.plan, data.answers, data.opinions)
    if second is None or judge is None:
        return None
    return label_noise(data.job, run.result.selected, second, judge)


def label_noise(
    job: Job, chosen: CellFit, second: Sequence[bool | None], judge: str
) -> dict[str, Any]:
    """The record's `label_noise`.

    Four AUROCs on the test examples that have the cell's token and both labels: the run's own
    decisions and those of the same cell fitted again to the second labels (C by validation, under
    the second labels too), each scored under either.

    With labels of the second judge taken as true and errors of the first that do not depend on the
    decision given the truth, AUROC_first - 1/2 = (1 - a - b) (AUROC_second - 1/2), where a is the
    share of wrong answers among those labelled correct and b the share of correct ones among those
    labelled wrong (Menon et al. 2015, "Learning from corrupted binary labels via class-probability
    estimation", ICML). `predicted` turns that round to say what the AUROC would be without such
    noise, from labels alone; where the AUROC measured under the second labels is lower, the judges
    differ on answers that the probe, too, finds hard.

    Args:
        job: vectors, labels and kind of probe.
        chosen: the selected cell.
        second: (example,) the second judge's labels, None where it says nothing.
        judge: its name.
    """
    first = job.labels.y
    y2 = np.array([-1 if s is None else int(s) for s in second])
    both = y2 >= 0
    rows = {name: at[both[at]] for name, at in split_index(job.labels.splits).items()}
    facts = {
        "judge": judge,
        **agreement(first.tolist(), second),
        "by_split": {name: _agreement(first[at], y2[at]) for name, at in rows.items()},
    }
    test = rows["test"][np.isfinite(chosen.decisions[rows["test"]])]
    again, why = refit(job, chosen, y2)
    draws = Resamples.draw(job.labels.group_names(test), job.seed)
    decisions = {"first": chosen.decisions} | ({} if again is None else {"second": again.decisions})
    scored = {
        f"fitted_to_{fitted}": {
            f"scored_under_{name}": _scored(draws, y[test], d[test])
            for name, y in (("first", first), ("second", y2))
        }
        for fitted, d in decisions.items()
    }
    own = scored["fitted_to_first"]
    change = own["scored_under_second"]["auroc"] - own["scored_under_first"]["auroc"]
    return {
        **facts,
        "n_test": len(test),
        "scores": scored,
        "refit": {"C": None, "reason": why}
        if again is None
        else {"C": again.C, "validation_auroc": again.validation_auroc},
        "change": change,
        "change_95": ends(_changed(change, first[test], y2[test], chosen.decisions[test], draws)),
        "attenuation": attenuation(first[test], y2[test], chosen.decisions[test], draws),
    }


def _scored(draws: Resamples, y: NDArray[np.int64], decisions: Floats) -> dict[str, Any]:
    """AUROC of decisions under some labels, as records hold it."""
    return {
        "auroc": auroc(y, decisions),
        "auroc_95": ends(auroc_interval(draws, y, decisions)),
        "n": len(y),
        "n_correct": int(y.sum()),
    }


def _changed(
    change: float,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    decisions: Floats,
    draws: Resamples,
) -> Interval:
    """Of the AUROC under the second labels minus that under the first, the same groups drawn for
    both."""
    apart = draws.auroc(second, decisions) - draws.auroc(first, decisions)
    groups = min(draws.independent(first), draws.independent(second))
    return bootstrap_interval(change, apart, groups, "difference")


def refit(job: Job, chosen: CellFit, y2: NDArray[np.int64]) -> tuple[CellFit | None, str]:
    """The same cell fitted to the second labels, where there are any; or why it cannot be."""
    there = job.reader.there(chosen.cell.position) & (y2 >= 0)
    labels = replace(job.labels, y=np.where(y2 >= 0, y2, 0))
    if reason := why_masked(labels, there):
        return None, reason
    X = job.vectors(chosen.cell)
    again = fit_cell(X, there, labels, job.probe, chosen.cell, 0, job.seed, job.device)
    return (None, again.masked) if again.masked else (again, "")


def attenuation(
    first: NDArray[np.int64], second: NDArray[np.int64], decisions: Floats, draws: Resamples
) -> dict[str, Any]:
    """How much noise in the first labels takes from an AUROC, the second ones taken as true.

    Args:
        first: (example,) labels that the AUROC is computed on.
        second: (example,) labels taken as true.
        decisions: (example,).
        draws: resamples of these examples.
    """
    whole = np.ones((1, len(first)))
    a, b, factor = (float(v[0]) for v in _rates(first, second, whole))
    observed = auroc(first, decisions)
    many = _rates(first, second, draws.counts)[2]
    replicates = _undo(draws.auroc(first, decisions), many)
    return {
        "wrong_among_labelled_correct": a,
        "correct_among_labelled_wrong": b,
        "factor": factor,
        "factor_95": _ends(many),
        "observed": observed,
        "predicted": float(_undo(np.array([observed]), np.array([factor]))[0]),
        "predicted_95": _ends(replicates),
        "bias": observed - float(_undo(np.array([observed]), np.array([factor]))[0]),
        "n": len(first),
    }


def _rates(
    first: NDArray[np.int64], second: NDArray[np.int64], counts: NDArray[Any]
) -> tuple[Floats, Floats, Floats]:
    """(resample,) a, b and 1 - a - b of examples drawn `counts` (resample, example) times; NaN
    where a class is missing."""
    n = {
        (i, j): counts @ ((first == i) & (second == j)).astype(np.float64)
        for i in (0, 1)
        for j in (0, 1)
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = n[1, 0] / (n[1, 0] + n[1, 1]), n[0, 1] / (n[0, 0] + n[0, 1])
    return a, b, 1 - a - b


def _undo(values: Floats, factor: Floats) -> Floats:
    """AUROCs without the noise, at most 1 and at least 0; NaN where the factor is too small to
    divide by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(factor >= LEAST, np.clip(0.5 + (values - 0.5) / factor, 0.0, 1.0), np.nan)


def _agreement(first: NDArray[np.int64], second: NDArray[np.int64]) -> dict[str, Any]:
    found = agreement(first.tolist(), [bool(v) for v in second])
    return {key: found[key] for key in ("n", "agreement", "kappa")}


def _ends(values: Floats) -> list[float]:
    """Percentiles: what is cut at 0 and 1, or may be negative, has no scale of its own."""
    return ends(percentile_interval(values))
