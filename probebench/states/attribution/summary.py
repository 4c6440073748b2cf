"""What changes of single answers say together: an effect per component, and whether estimates rank
components as replacing them does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.types import layer_name

ESTIMATE, ABLATION = "attribution", "ablation"
"""Scores of a component: the estimated change, and the measured one."""
ADDED = ("attn.o", "mlp.down")
"""Components that the stream is the sum of. Values and attention's output are one path, and so are
the three projections of an MLP: a share of them all would count each path two or three times."""
BAR = 0.8
"""Rank correlation from which an estimate counts as ranking components."""
RESAMPLES = 1000
SMALLEST = 5
"""Components that a rank correlation needs."""
COLUMNS = ("score", "target", "site", "layer", "mean_abs", "se", "mean", "share", "n")


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """What a run found of its components."""

    table: pd.DataFrame
    """One row per score, target, layer and component."""
    n_means: int
    """Answers that the means are over."""
    agreements: Sequence[Agreement]

    @property
    def facts(self) -> dict[str, Any]:
        """The record's `attribution`."""
        keys = ("target", "spearman", "n", "n_components", "ranks")
        rows = [
            {**{k: getattr(a, k) for k in keys}, "spearman_95": (a.low, a.high)}
            for a in self.agreements
        ]
        return {"n_means": self.n_means, "bar": BAR, "agreement": rows}


@dataclass(frozen=True, slots=True)
class Agreement:
    """Estimates beside measured changes of the same answers."""

    target: str
    spearman: float
    """Over components and layers, of mean absolute changes; NaN where it is undefined."""
    low: float
    high: float
    """95 % interval, answers drawn with replacement."""
    n: int
    """Answers."""
    n_components: int
    """Pairs of component and layer."""

    @property
    def ranks(self) -> bool:
        """Do the estimates rank components as replacing them does?"""
        return bool(self.spearman >= BAR)


def effects(changes: pd.DataFrame, score: str) -> pd.DataFrame:
    """One row per target, layer and component: mean absolute change with its standard error over
    answers, mean change, share, and number of answers.

    Args:
        changes: from `probebench.states.attribution.changes.changes`.
        score: which of the two they are, `attribution` or `ablation`.
    """
    keys = ["target", "layer", "site"]
    own = changes.assign(size=changes.change.abs()).groupby(keys, sort=False)
    table = own.agg(
        mean_abs=("size", "mean"), se=("size", "sem"), mean=("change", "mean"), n=("size", "size")
    ).reset_index()
    added = table.mean_abs.where(table.site.isin(ADDED))
    table["share"] = added / added.groupby(table.target).transform("sum").replace(0.0, np.nan)
    table["layer"] = [layer_name(int(layer)) for layer in table.layer]
    return table.assign(score=score)[list(COLUMNS)]


def agreements(estimated: pd.DataFrame, measured: pd.DataFrame, seed: int) -> list[Agreement]:
    """Per target, on the answers that both have.

    Args:
        estimated: changes of single answers.
        measured: the same, by replacing components.
        seed: of the resamples.
    """
    found = []
    for target in dict.fromkeys(measured.target):
        tables = [
            t[t.target == target].pivot(index="answer", columns=["site", "layer"], values="change")
            for t in (estimated, measured)
        ]
        rows, cells = tables[0].index, tables[0].columns
        rows, cells = rows.intersection(tables[1].index), cells.intersection(tables[1].columns)
        a, b = (np.abs(t.loc[rows, cells].to_numpy(dtype=float)) for t in tables)
        low, high = _interval(a, b, seed)
        rho = float(_spearman(a.mean(axis=0)[None], b.mean(axis=0)[None])[0])
        found.append(Agreement(target, rho, low, high, len(rows), len(cells)))
    return found


def _interval(a: NDArray[np.float64], b: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Percentiles of the rank correlation over resampled answers; NaN for a single one."""
    n = len(a)
    if n < 2 or a.shape[1] < SMALLEST:
        return float("nan"), float("nan")
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES) / n
    low, high = np.nanpercentile(_spearman(weights @ a, weights @ b), [2.5, 97.5])
    return float(low), float(high)


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(row,) rank correlation of each row of two (row, component) arrays, ties at their mean."""
    from scipy.stats import rankdata

    if a.shape[1] < SMALLEST:
        return np.full(len(a), np.nan)
    x, y = (r - r.mean(axis=1, keepdims=True) for r in (rankdata(v, axis=1) for v in (a, b)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1)))


def attribution_of(
    estimated: pd.DataFrame, measured: pd.DataFrame, n_means: int, seed: int
) -> Attribution:
    """Effects of both kinds and their agreement; of components from which nothing reaches a target,
    whose estimates are exactly 0, there is no row.

    Args:
        estimated: changes of single answers.
        measured: the same, by replacing components; of all of these answers or of some.
        n_means: answers that the means are over.
        seed: of resamples.
    """
    keys = ["target", "site", "layer"]
    reached = estimated[estimated.change != 0][keys].drop_duplicates()
    estimated, measured = (changes.merge(reached, on=keys) for changes in (estimated, measured))
    tables = [effects(estimated, ESTIMATE), effects(measured, ABLATION)]
    table = pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    return Attribution(table, n_means, agreements(estimated, measured, seed))
