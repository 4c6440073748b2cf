"""The learning curve: the selected cell's probe on fewer train examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import RunError, UsageError
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import auroc_interval, mean_interval
from probebench.probes.choose import choose
from probebench.probes.fit import Job
from probebench.probes.many_fits import fit_grid, fits_of
from probebench.scoring.comparison import ends
from probebench.studies.registry import Scored, study
from probebench.types import Cell, CellFit, Floats

REPEATS = 10
"""Random orders of the train groups, each of which gives one subset of every size."""
KEY = 7
"""Keeps the order of the groups apart from other uses of the seed."""


def check_sizes(sizes: Sequence[int] | None, n_train: int) -> None:
    """Complain about sizes that the train split cannot give, before anything is computed.

    Raises:
        UsageError: a size beyond the train split; names how many there are.
    """
    too_large = [size for size in sizes or () if size > n_train]
    if too_large:
        raise UsageError(
            f"--train-sizes {too_large[0]} is more than the {n_train} examples of the train split. "
            f"Take sizes up to {n_train}; all of them are added by themselves."
        )


@study(
    "learning_curve",
    asked=lambda plan: plan.beside.train_sizes is not None,
    title="How much training data it takes",
    unasked="Learning curve: ask for one with --train-sizes 50,100,200.",
)
def _learning_curve(run: Scored) -> dict[str, Any]:
    sizes = run.data.plan.beside.train_sizes or ()
    return learning_curve(run.data.job, run.result.selected, sizes)


def learning_curve(
    job: Job, chosen: CellFit, sizes: Sequence[int], repeats: int = REPEATS
) -> dict[str, Any]:
    """Test AUROC of the selected cell's probe by number of train examples, C chosen on validation
    each time.

    Groups come in `repeats` random orders; a subset is the first so many examples of such an order,
    so that larger subsets hold the smaller ones. Validation and test stay whole.

    Args:
        job: vectors, labels and kind of probe.
        chosen: the selected cell.
        sizes: numbers of train examples; all of them are added.
        repeats: orders.

    Returns:
        The record's `learning_curve`. The interval of a mean is over orders (Student's t) and says
        how much depends on which examples were drawn; that of all examples is the cluster bootstrap
        of the test split.
    """
    here = _Cell(job, chosen.cell)
    train, test, y = here.rows["train"], here.rows["test"], here.y
    orders = [nested(here.groups[train], job.seed, k) for k in range(repeats)]
    points = []
    for size in sorted({s for s in sizes if s < len(train)}):
        done = [here.fit(train[order[:size]]) for order in orders]
        points.append(
            {"n": size, **_over(np.array([d.auroc for d in done])), "C": [d.C for d in done]}
        )
    whole = here.fit(train)
    draws = Resamples.draw(here.groups[test].tolist(), job.seed)
    interval = auroc_interval(draws, y[test], whole.decisions[test])
    return {
        "site": chosen.cell.site,
        "layer": chosen.cell.row,
        "position": chosen.cell.position,
        "points": points,
        "all": {"n": len(train), "auroc": whole.auroc, "auroc_95": ends(interval), "C": whole.C},
        "too_large": [s for s in sorted(set(sizes)) if s > len(train)],
        "n_test": len(test),
        "n_test_correct": int(y[test].sum()),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """A probe fitted on part of the train split; NaN where that holds one class only, or too few
    examples for a probe from elsewhere."""

    auroc: float
    """On test."""
    C: float
    decisions: Floats
    """(example,) of the examples that have the cell's token."""


class _Cell:
    """The examples that have a cell's token."""

    def __init__(self, job: Job, cell: Cell) -> None:
        places = np.flatnonzero(job.reader.there(cell.position))
        self.job, self.X, self.y = job, job.vectors(cell)[places], job.labels.y[places]
        self.rows = job.labels.rows(places)
        self.groups = np.array(job.labels.group_names(places))

    def fit(self, subset: NDArray[np.int64]) -> _Point:
        """The probe fitted on these rows, C chosen on validation."""
        job, y = self.job, self.y
        nothing = _Point(float("nan"), float("nan"), np.full(len(y), np.nan))
        if len(np.unique(y[subset])) < 2:
            return nothing
        # a handful of near copies may not have an optimum in reach; such a C has no decisions
        try:
            with np.errstate(all="ignore"):
                fits = fits_of(self.X, subset, job.probe, job.device)
                found = fit_grid(fits, y[subset], job.probe.grid).decisions
        except RunError:  # an estimator from elsewhere may need more examples than these
            return nothing
        if (best := choose(y, found, self.rows["validation"])) is None:
            return nothing
        test, decisions = self.rows["test"], found[best.at]
        return _Point(auroc(y[test], decisions[test]), job.probe.grid[best.at], decisions)


def nested(groups: NDArray[np.str_], seed: int, k: int) -> NDArray[np.int64]:
    """(example,) order in which examples join: groups at random, the examples of a group
    together."""
    _, own = np.unique(groups, return_inverse=True)
    key = np.random.default_rng([seed, KEY, k]).permutation(own.max() + 1)
    return np.argsort(key[own], kind="stable")


def _over(values: Floats) -> dict[str, Any]:
    """Mean over the orders whose subset could be fitted, with Student's interval of that mean; NaN
    where none could."""
    there = values[np.isfinite(values)]
    mean = float(there.mean()) if len(there) else float("nan")
    sd = float(there.std(ddof=1)) if len(there) > 1 else float("nan")
    return {
        "repeats": len(there),
        "auroc": mean,
        "auroc_95": ends(mean_interval(there)),
        "sd": sd,
        "aurocs": values.tolist(),
    }
