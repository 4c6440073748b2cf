"""Soft targets: the share of correct answers to a question, and how well it can be read off the
greedy answer's vector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import Scale, bootstrap_interval
from probebench.probes.choose import first_best
from probebench.scoring.comparison import ends
from probebench.stages.data import RunData
from probebench.stages.sampling.samples import Samples
from probebench.types import CellFit, Floats

ALPHAS = (1e4, 1e3, 1e2, 1e1, 1.0, 1e-1)
"""Ridge penalties on features of variance 1, from the strongest."""


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's, ties sharing their mean rank; NaN where one of them is constant."""
    from scipy.stats import rankdata

    if len(a) < 2:
        return float("nan")
    x, y = rankdata(a), rankdata(b)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else float("nan")


def fit_share(
    X: NDArray[Any], target: Floats, train: NDArray[np.int64], validation: NDArray[np.int64]
) -> tuple[Floats, float] | None:
    """(example,) predictions of a ridge regression fitted on train, and its penalty: that with the
    highest rank correlation on validation, the strongest of equals; None where none has one."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    Z = StandardScaler().fit(X[train]).transform(np.asarray(X, dtype=np.float64))
    found = [Ridge(alpha=a).fit(Z[train], target[train]).predict(Z) for a in ALPHAS]
    best = first_best([rank_correlation(f[validation], target[validation]) for f in found])
    return None if best is None else (found[best], ALPHAS[best])


def soft_targets(data: RunData, samples: Samples, chosen: CellFit) -> dict[str, Any]:
    """The record's `sampled.soft_targets`: rank correlation with the share of correct answers on
    test, of a probe fitted to that share and of the selected probe's decisions, on the same
    examples."""
    target = samples.correct.mean(axis=1)
    places = np.flatnonzero(data.job.reader.there(chosen.cell.position))
    rows, own = data.labels.rows(places), target[places]
    test = rows["test"]
    X = data.job.vectors(chosen.cell)[places]
    fitted = None
    if len(rows["train"]) > 1 and len(rows["validation"]) > 1:
        fitted = fit_share(X, own, rows["train"], rows["validation"])
    draws = Resamples.draw(data.labels.group_names(places[test]), data.plan.seed)
    shares = own[test]
    by_probe = correlations(chosen.decisions[places][test], shares, draws)
    by_soft = None if fitted is None else correlations(fitted[0][test], shares, draws)
    return {
        "n": len(test),
        "mean_share": float(shares.mean()) if len(test) else float("nan"),
        "alpha": None if fitted is None else fitted[1],
        "soft_probe": _facts(by_soft, draws),
        "probe": _facts(by_probe, draws),
        **_difference(by_soft, by_probe, draws),
    }


def correlations(scores: Floats, target: Floats, draws: Resamples) -> Floats:
    """(1 + resample,) rank correlation of the sample itself, then of each resample."""
    counts = draws.counts.astype(np.int64)
    again = [np.repeat(np.arange(len(scores)), row) for row in counts]
    return np.array(
        [
            rank_correlation(scores, target),
            *(rank_correlation(scores[at], target[at]) for at in again),
        ]
    )


def _facts(found: Floats | None, draws: Resamples) -> dict[str, Any]:
    """A rank correlation; its interval is that of the same number carried to 0 to 1."""
    if found is None:
        return {"spearman": float("nan"), "spearman_95": [float("nan")] * 2}
    low, high = _interval((found + 1) / 2, draws, "logit")
    return {"spearman": float(found[0]), "spearman_95": [2 * low - 1, 2 * high - 1]}


def _difference(a: Floats | None, b: Floats, draws: Resamples) -> dict[str, Any]:
    """Of two correlations; half of it lies between -1 and 1."""
    if a is None:
        return {"difference": float("nan"), "difference_95": [float("nan")] * 2}
    low, high = _interval((a - b) / 2, draws, "difference")
    return {"difference": float(a[0] - b[0]), "difference_95": [2 * low, 2 * high]}


def _interval(values: Floats, draws: Resamples, scale: Scale) -> list[float]:
    groups = draws.n_groups(np.ones(draws.counts.shape[1], dtype=bool))
    return ends(bootstrap_interval(float(values[0]), values[1:], groups, scale))
