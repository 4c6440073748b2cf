"""What depends on the split? One split, several of them, and cross-fitting, on data sets whose
expected AUROC is known.

    python scripts/simulate_splits.py                 # the table of docs/protocol.md
    python scripts/simulate_splits.py --datasets 20   # a quick look

A data set holds three cells or twelve, vectors of normal noise of which they share a half, with one
strong direction as hidden states have it. In one of them correct answers are moved along another
direction; without signal in none. Groups share half of their vectors' noise, and of what decides
their labels. Of each split all cells are fitted and one is selected on validation, by the functions
of a run. The truth is .5 without signal, else the mean of all splits of all data sets.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import auroc_interval
from probebench.probes.fit import Job
from probebench.probes.kinds import get_probe
from probebench.probes.labels import Labels
from probebench.scoring.resplit import TESTED, TWICE, cross_fitted, refit, spread
from probebench.tasks.split import FOLDS, split_by_fold, split_folds, split_of
from probebench.types import Cell, CellFit, Float32s, Floats, SplitName

WIDTH, REPEATS = 20, 10
GRID = (1e-3, 1e-1, 10.0)
"""Half of the values of C that a run tries, for speed."""


@dataclass(frozen=True)
class Design:
    """One way of drawing data sets."""

    n: int
    """Examples in all."""
    size: int
    """Of a group."""
    strength: float
    """How far correct answers are moved, in standard deviations of the noise."""
    cells: int = 3
    """How many compete; at most one has signal."""

    @property
    def name(self) -> str:
        """As it stands in the table."""
        groups = f", groups of {self.size}" if self.size > 1 else ""
        signal = "signal in one" if self.strength else "no signal"
        return f"{self.n}{groups}, {self.cells} cells, {signal}"


@dataclass(frozen=True, eq=False)
class Drawn:
    """Reads the vectors of a data set, as stored states are read."""

    cells: tuple[Float32s, ...]
    positions: tuple[str, ...] = ("-1",)

    def there(self, position: str) -> NDArray[np.bool_]:
        """(example,) all of them."""
        return np.ones(len(self.cells[0]), dtype=bool)

    def cell(self, layer: int, position: str, site: str = "resid") -> Float32s:
        """(example, width) vectors."""
        return self.cells[layer]

    def alike(self, layer: int, site: str = "resid") -> dict[str, str]:
        """No two positions have the same vectors."""
        return {"-1": "-1"}


def draw(design: Design, rng: np.random.Generator) -> Job:
    """A data set."""
    group = np.arange(design.n) // design.size

    def normal(*shape: int) -> Floats:
        if design.size == 1:
            return rng.normal(size=(design.n, *shape))
        of_group = rng.normal(size=(group[-1] + 1, *shape))[group]
        return (of_group + rng.normal(size=(design.n, *shape))) / np.sqrt(2)

    y, shared = (normal() > 0).astype(np.int64), normal(WIDTH)
    cells = []
    for k in range(design.cells):
        X = shared + normal(WIDTH)
        X[:, 0] += 3 * shared[:, 1]
        X[:, 2] += design.strength * np.sqrt(2) * y * (k == 1)
        cells.append(X.astype(np.float32))
    names = tuple(f"g{g}" for g in group)
    labels = Labels(y, tuple(split_of(g) for g in names), names)
    probe = replace(get_probe("logistic"), grid=GRID)
    return Job(Drawn(tuple(cells)), labels, probe)  # type: ignore[arg-type]


def simulate(
    design: Design, datasets: int, repeats: int = REPEATS, *, folds: bool = True
) -> pd.DataFrame:
    """One row per data set: what one split, several, and the folds say."""
    rows = []
    for k in range(datasets):
        job = draw(design, np.random.default_rng([design.n, design.size, k]))
        found = dict(_folded(job, k)) if folds else {}
        rows.append(found | dict(_repeated(job, k, repeats)) if repeats else found)
    return pd.DataFrame(rows)


def cells_of(job: Job) -> list[Cell]:
    """Cells of a data set."""
    reader: Any = job.reader
    return [Cell("resid", layer, "-1") for layer in range(len(reader.cells))]


def _repeated(job: Job, k: int, repeats: int) -> Iterator[tuple[str, float]]:
    """Of the first split its own interval, of all their spread."""
    y, groups = job.labels.y, job.labels.groups
    values = []
    for i in range(repeats):
        splits: list[SplitName] = [split_of(g, 1000 * k + i) for g in groups]
        fit, test = refit(job, cells_of(job), splits), np.flatnonzero(np.array(splits) == "test")
        if fit.masked:
            values.append(float("nan"))
            continue
        values.append(auroc(y[test], fit.decisions[test]))
        if i == 0:
            draws = Resamples.draw([groups[j] for j in test], k)
            own = auroc_interval(draws, y[test], fit.decisions[test])
            yield "single_low", own.low
            yield "single_high", own.high
            yield "single_se", float(np.nanstd(draws.auroc(y[test], fit.decisions[test]), ddof=1))
    found = spread(np.array(values), TESTED)
    yield "single", values[0]
    yield "mean", found.mean
    yield "mean_low", found.interval.low
    yield "mean_high", found.interval.high
    yield "sd", found.sd


def _folded(job: Job, k: int) -> Iterator[tuple[str, float]]:
    """The cross-fitted AUROC, and what pooled decisions of all folds would give."""
    y, groups = job.labels.y, job.labels.groups
    folds = np.array(split_folds(groups, k))
    decisions, scaled = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for v in range(FOLDS):
        splits = np.array(split_by_fold(folds.tolist(), v))
        fit: CellFit = refit(job, cells_of(job), splits.tolist())
        test, held = splits == "test", fit.decisions[splits == "validation"]
        decisions[test] = fit.decisions[test]
        scaled[test] = (fit.decisions[test] - held.mean()) / held.std()
    found = cross_fitted(y, groups, folds, decisions, k)
    yield "crossed", found.auroc
    yield "crossed_low", found.interval.low
    yield "crossed_high", found.interval.high
    there = np.isfinite(decisions)
    yield "pooled", auroc(y[there], decisions[there])
    yield "standardised", auroc(y[there], scaled[there])


def summary(found: pd.DataFrame, truth: float) -> dict[str, float]:
    """Means, standard deviations over data sets, and how often intervals hold the truth."""

    def holds(name: str, value: float) -> float:
        return float(found[f"{name}_low"].le(value).mul(found[f"{name}_high"].ge(value)).mean())

    low, high, value = (logit(found[f"crossed{end}"]) for end in ("_low", "_high", ""))
    plain = (logit(truth) - value).abs() <= (high - low) / 2 / np.sqrt(TWICE)
    return {
        "expected": truth,
        "sd of one split": found.single.std(),
        "its standard error": float(np.sqrt((found.single_se**2).mean())),
        "held by its interval": holds("single", truth),
        "sd over 10 splits": float(np.sqrt((found.sd**2).mean())),
        "held by that of their mean": holds("mean", truth),
        "cross-fitted": found.crossed.mean(),
        "its sd": found.crossed.std(),
        "held by its interval, plain": float(plain.mean()),
        "held by its interval, widened": holds("crossed", truth),
        ".5 left out": 1 - holds("crossed", 0.5),
        "pooled": found.pooled.mean(),
        "standardised": found.standardised.mean(),
    }


PLAIN = ((100, 1), (150, 3), (400, 1), (400, 4))
"""Examples, and the size of groups."""
DESIGNS = (
    *(Design(n, size, strength) for n, size in PLAIN for strength in (0.0, 1.0)),
    Design(100, 1, 0.0, cells=12),
    Design(400, 1, 0.7, cells=12),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=200)
    args = parser.parse_args()
    os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")  # cells are small: a process each costs more
    for design in DESIGNS:
        found = simulate(design, args.datasets)
        truth = 0.5 if not design.strength else float(found["mean"].mean())
        row = " | ".join(f"{value:.3f}" for value in summary(found, truth).values())
        print(f"| {design.name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
