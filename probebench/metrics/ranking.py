"""Metrics of an order of examples: precision and recall, rejection, and thresholds placed on
validation.

Labels: 1 = correct; a higher score means more likely correct. Everything is computed for many
weightings of the examples at once, so that a bootstrap costs a few passes over memory: weights are
how often a resample drew each example.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probebench.types import Floats

BLOCK = 128
"""Resamples at a time: their running sums stay in the processor's cache."""


class Ranked(NamedTuple):
    """Metrics of one ranking under many weightings."""

    auprc: Floats
    """(resample,) average precision of the class `correct`."""
    prr: Floats
    """(resample,) prediction-rejection ratio."""


def ranked(y: NDArray[np.integer], scores: Floats, counts: NDArray[Any] | None = None) -> Ranked:
    r"""Average precision and prediction-rejection ratio, NaN where a class is missing.

    *Average precision* sums, over the distinct scores from the highest down, the gain in recall
    times the precision there; examples that share a score enter together, as in scikit-learn.

    *Prediction-rejection ratio.* Reject the lowest scores first and look at the accuracy of the m
    answers that are kept. With A the mean of that accuracy over m = 1..n, PRR = (A - A_random) /
    (A_oracle - A_random), where rejecting at random gives A_random = n1 / n and the oracle, who
    rejects all wrong answers first, A_oracle = n1 / n (1 + H(n) - H(n1)) with the harmonic numbers
    H. Answers that share a score count as the mean over all their orders: inside such a block of
    size S with K correct ones, accuracy accrues at K / S per answer, so the block that begins after
    W answers, C of them correct, adds K + (C - W K / S) (H(W + S) - H(W)) to n A. The ratio is that
    of Malinin et al. (2017), the curve that of LM-Polygraph (Fadeeva et al. 2023,
    arXiv:2311.07383).

    Args:
        y: (example,) 1 = correct.
        scores: (example,) no NaN.
        counts: (resample, example) whole numbers; None weighs each example once, in one resample.
    """
    y, scores = np.asarray(y), np.asarray(scores, dtype=np.float64)
    counts = np.ones((1, len(y))) if counts is None else counts
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    tied = len(starts) < len(order)
    positive = (y[order] == 1)[:, None]
    gains = np.flatnonzero(np.add.reduceat(positive[:, 0], starts, dtype=np.intp))
    most = int(counts.sum(axis=1).max(initial=0))
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1.0, most + 1))])
    found = Ranked(np.empty(len(counts)), np.empty(len(counts)))
    for at in range(0, len(counts), BLOCK):
        some = slice(at, at + BLOCK)
        size = counts[some].T[order].astype(np.float64)
        right, share = size * positive, positive
        if tied:
            size, right = (np.add.reduceat(x, starts, axis=0) for x in (size, right))
            share = right / np.maximum(size, 1)
        found.auprc[some], found.prr[some] = _ranked(size, right, share, gains, harmonic)
    return found


def _ranked(
    size: Floats, right: Floats, share: NDArray[Any], gains: NDArray[np.intp], harmonic: Floats
) -> tuple[Floats, Floats]:
    """Both metrics of (block, resample) numbers of examples and of correct ones, the highest score
    first.

    Args:
        size: (block, resample) examples drawn of each block of one score.
        right: (block, resample) correct ones among them.
        share: (block, resample or 1) right / size, anything where size is 0.
        gains: blocks that have correct examples; the others add nothing to the average precision.
        harmonic: harmonic numbers from H(0) on.
    """
    kept, correct = _running(size), _running(right)
    n, n1 = kept[-1], correct[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        # nothing kept: nothing right, either
        precision = correct[gains] / np.maximum(kept[gains], 1)
        auprc = np.einsum("ij,ij->j", precision, right[gains]) / n1
        steps = harmonic[kept.astype(np.intp)]
        random, oracle = n1, n1 * (1 + steps[-1] - harmonic[n1.astype(np.intp)])
        # C - W K / S is the same before and after its block, since C and W grow by K and S
        area = random + np.einsum(
            "ij,ij->j", correct - kept * share, np.diff(steps, axis=0, prepend=0)
        )
        prr = (area - random) / (oracle - random)
    undefined = (n1 == 0) | (n1 == n)
    return np.where(undefined, np.nan, auprc), np.where(undefined, np.nan, prr)


def _running(values: Floats) -> Floats:
    """Running sums down the rows, as `np.cumsum(values, axis=0)`, which walks each column by itself
    and is slower."""
    sums = np.empty_like(values)
    sums[:1] = values[:1]
    rows, steps = list(sums), list(values)
    for k in range(1, len(rows)):
        np.add(rows[k - 1], steps[k], rows[k])
    return sums


def accuracy_threshold(y: NDArray[np.integer], scores: Floats) -> float:
    """The threshold t with the highest accuracy of `score >= t means correct`; NaN without
    examples.

    Candidates lie half-way between neighbouring scores, and beyond both ends. Among equally good
    ones the middle one is taken, the lower of two middle ones.
    """
    y, scores = np.asarray(y), np.asarray(scores, dtype=np.float64)
    if not len(y):
        return float("nan")
    values, index = np.unique(scores, return_inverse=True)
    right = np.bincount(index, y == 1, len(values))
    wrong = np.bincount(index, y != 1, len(values))
    # with the threshold above that many of the values
    hits = right.sum() + np.r_[0, np.cumsum(wrong - right)]
    best = np.flatnonzero(hits == hits.max())
    k = int(best[(len(best) - 1) // 2])
    if k in (0, len(values)):
        return float("inf") if k else float("-inf")
    middle = (values[k - 1] + values[k]) / 2
    # neighbours in floating point have no middle
    return float(middle if middle > values[k - 1] else values[k])


def alarm_threshold(correct: Floats, rate: float) -> float:
    """The threshold t of the rule `score <= t raises the alarm` that flags at most a share `rate`
    of correct answers.

    With n correct answers set aside, t is their k-th lowest score, k = floor(rate (n + 1)): a
    further correct answer, drawn like them, is then flagged with probability k / (n + 1) <= rate,
    whatever the distribution (split conformal prediction, Vovk et al. 2005). Where scores are tied,
    t is the highest score that flags at most k of them, or minus infinity.

    Args:
        correct: (example,) scores of correct answers.
        rate: false-alarm rate allowed.

    Returns:
        NaN where k = 0: fewer than 1 / rate - 1 answers (99 for 1 %, 19 for 5 %) cannot place this
        quantile.
    """
    ordered = np.sort(np.asarray(correct, dtype=np.float64))
    k = int(np.floor(rate * (len(ordered) + 1) + 1e-9))  # 0.01 times 100 answers must be one answer
    if k == 0:
        return float("nan")
    flagged = (
        ordered[:k]
        if k == len(ordered) or ordered[k] > ordered[k - 1]
        else ordered[ordered < ordered[k - 1]]
    )
    return float(flagged[-1]) if len(flagged) else float("-inf")
