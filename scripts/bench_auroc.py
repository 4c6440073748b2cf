"""How much faster is the cluster bootstrap of a whole map than a loop of scikit-learn's
`roc_auc_score`?

    OMP_NUM_THREADS=1 python scripts/bench_auroc.py

Both compute the same number for every cell and resample, which is checked. The loop would take the
better part of an hour, so a sample of its calls is timed, spread over cells and resamples, and its
mean scaled to all of them; ours is timed in full.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
from sklearn.metrics import roc_auc_score

from probebench.metrics.bootstrap import Resamples

CELLS, EXAMPLES, RESAMPLES = 495, 1000, 1000
"""33 rows (32 blocks and the embedding output) x 15 positions."""
CALLS = 400
"""Calls of scikit-learn that are timed."""


def map_of_scores(
    seed: int, absent: float = 0.0, decimals: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(example,) labels and (cell, example) scores with some signal, a share absent, rounded to
    make ties."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, EXAMPLES)
    scores = rng.normal(size=(CELLS, EXAMPLES)) + np.linspace(0, 1, CELLS)[:, None] * y
    if decimals is not None:
        scores = scores.round(decimals)
    scores[rng.random(scores.shape) < absent] = np.nan
    return y, scores


def measure(y: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Seconds for the whole map: ours (median of three), and scikit-learn's scaled from `CALLS`
    calls.

    Raises:
        ValueError: the two disagree.
    """
    draws = Resamples.draw([str(i) for i in range(len(y))], seed=0, n=RESAMPLES)
    ours = []
    for _ in range(3):
        start = time.perf_counter()
        values = draws.auroc_many(y, scores)
        ours.append(time.perf_counter() - start)
    rng = np.random.default_rng(1)
    cells, resamples = rng.integers(0, CELLS, CALLS), rng.integers(0, RESAMPLES, CALLS)
    start = time.perf_counter()
    expected = []
    for c, b in zip(cells, resamples, strict=True):
        there = ~np.isnan(scores[c])
        expected.append(
            roc_auc_score(y[there], scores[c, there], sample_weight=draws.counts[b, there])
        )
    theirs = (time.perf_counter() - start) / CALLS * CELLS * RESAMPLES
    difference = np.abs(values[cells, resamples] - expected).max()
    if difference > 1e-12:
        raise ValueError(
            f"The two bootstraps differ by {difference:.1e}; a speed without the same result is no "
            "speed."
        )
    return median(ours), theirs


def rows() -> list[str]:
    """A Markdown table: what, ours, scikit-learn's, ratio."""
    out = ["| what | ours | loop of roc_auc_score | ratio |", "|---|---|---|---|"]
    for what, absent, decimals in (
        ("no ties", 0.0, None),
        ("20 % absent", 0.2, None),
        ("ties", 0.0, 1),
    ):
        ours, theirs = measure(*map_of_scores(0, absent, decimals))
        name = f"{RESAMPLES:,} resamples of AUROC, n={EXAMPLES:,}, {CELLS} cells, {what}"
        out.append(
            f"| {name} | {ours:.2f} s | {theirs:,.0f} s (scaled from {CALLS} calls) | "
            f"{theirs / ours:,.0f} x |"
        )
    return out


def main() -> None:
    print("\n".join(rows()))


if __name__ == "__main__":
    main()
