"""Abstention with a guarantee: the decision from which on a detector's answers are given, so that
of the answers given no more than a chosen part is wrong. It is exact of scores that validation had
no part in; the cell and C of a probe were chosen on it (docs/protocol.md has how much that breaks).

Pure functions over arrays, without torch: a run and a check of its `predictions.parquet` go through
the same code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import bootstrap_interval
from probebench.probes.labels import split_index
from probebench.scoring.best import best_on_common
from probebench.scoring.comparison import Comparison, ends
from probebench.types import Detector, Floats, SplitName

LEVELS = (0.05, 0.1, 0.2, 0.3)
"""Parts of the answers given that may be wrong."""
DELTA = 0.1
"""How often, over draws of the validation examples, a threshold may break its level."""
SHARES = 20
"""Thresholds that compete: where 5 %, 10 % ... 100 % of the validation examples are answered."""
NEARLY_ALL = 0.9
"""Part of the probe's examples, of validation and of test, that a detector must score: what it
cannot score it withholds, and one that lacks more would abstain by lack of a token."""
STARTS = (1, 4, 10, 20)
"""Of these each begins a sequence of its own, with a fourth of DELTA: 5 %, 20 %, 50 %, 100 %."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """What validation says at one level."""

    value: float
    """Answers of a higher decision are given; NaN where no threshold holds the level."""
    n: int
    """Validation examples."""
    n_answered: int
    n_wrong: int
    """Wrong ones among the answered."""


def effective(groups: NDArray[np.integer]) -> float:
    """Independent answers that answers of these groups are worth at least: (sum m)^2 / sum m^2 over
    the groups' sizes m (Kish 1965), as if all of a group were right or wrong together."""
    sizes = np.bincount(groups)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(groups) else 0.0


def risk_p(n: float, wrong: float, level: float) -> float:
    """P-value of "more than `level` of the answers given are wrong": that so few are wrong of n, at
    exactly `level` (binomial, continued to n that are no whole numbers by the beta function).

    Args:
        n: independent answers given.
        wrong: how many of them are wrong.
        level: part that may be wrong.
    """
    from scipy.stats import beta

    return 1.0 if wrong >= n else float(beta.sf(level, wrong + 1, n - wrong))


def threshold_at(
    y: NDArray[np.integer],
    decisions: Floats,
    groups: NDArray[np.integer],
    level: float,
    lowest: float = -np.inf,
) -> Threshold:
    """The threshold that answers most among those at which validation rejects that the risk is
    above `level`: learn then test (Angelopoulos et al. 2021), the family-wise error held by fixed
    sequences from several starts.

    Selective risk need not fall with the threshold, so that conformal risk control does not apply.

    Args:
        y: (validation example,) 1 = correct.
        decisions: (validation example,) -inf: withheld at any threshold.
        groups: (validation example,) number of each one's group.
        level: part of the answers given that may be wrong.
        lowest: threshold at which nothing of these is withheld that has a score.
    """
    n, order = len(y), np.argsort(-decisions, kind="stable")
    found = Threshold(float("nan"), n, 0, 0)
    ranks = [n * k // SHARES for k in range(1, SHARES + 1)]
    cuts = [max(float(decisions[order[k]]), lowest) if k < n else lowest for k in ranks]
    for start in STARTS:
        for cut in cuts[start - 1 :]:
            given = decisions > cut
            m, wrong = int(given.sum()), int((y[given] != 1).sum())
            worth = effective(groups[given])
            if not m or risk_p(worth, wrong * worth / m, level) > DELTA / len(STARTS):
                break
            if m > found.n_answered:
                found = Threshold(cut, n, m, wrong)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What detectors abstain on: the examples of the selected probe. Which these are, and what is
    withheld for lack of a score, no label decides, so that validation and test are alike."""

    detectors: tuple[Detector, ...]
    """The probe first; -inf where one has no score."""
    test: NDArray[np.int64]
    validation: NDArray[np.int64]
    groups: NDArray[np.int64]
    """(example,) number of each one's group."""
    draws: Resamples
    """Of the test examples."""


def abstention(
    detectors: Sequence[Detector],
    y: NDArray[np.integer],
    splits: Sequence[SplitName],
    groups: Sequence[str],
    comparison: Comparison,
    seed: int,
) -> dict[str, Any]:
    """Thresholds by level of every detector, what they give on test, and the curve of risk against
    coverage of the probe and of the baseline that is best on validation.

    Args:
        detectors: decisions over the same examples.
        y: (example,) 1 = correct.
        splits: (example,) split of each.
        groups: (example,) what the cluster bootstrap draws.
        comparison: of these detectors.
        seed: of the resamples.
    """
    y, names = np.asarray(y), {s.name for s in comparison.scores}
    validation, test = split_index(splits)["validation"], comparison.rows
    rows = validation[np.isfinite(detectors[0].decisions[validation])]
    able = tuple(
        replace(d, decisions=np.where(np.isfinite(d.decisions), d.decisions, -np.inf))
        for d in detectors
        if d.name in names
        and all(np.isfinite(d.decisions[at]).mean() >= NEARLY_ALL for at in (rows, test) if len(at))
    )
    draws = Resamples.draw([groups[i] for i in test], seed)
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    data = Compared(able, test, rows, codes, draws)
    baselines = [d for d in able if d.kind == "baseline"]
    held = y[data.validation]
    beside = np.array([d.decisions[data.validation] for d in baselines])
    best = best_on_common(held, beside) if baselines else None
    drawn = [able[0], *([] if best is None else [baselines[best]])]
    return {
        "delta": DELTA,
        "n": len(test),
        "n_wrong": int((y[test] != 1).sum()),
        "base_risk": float(np.mean(y[test] != 1)),
        "n_validation": len(held),
        "effective_validation": effective(codes[data.validation]),
        "detectors": [
            {"name": d.name, "label": d.label, "levels": list(_levels(d, y, data))} for d in able
        ],
        "curves": [
            {"name": d.name, "label": d.label, "points": list(_curve(d, y, data))} for d in drawn
        ],
    }


def _levels(d: Detector, y: NDArray[np.integer], data: Compared) -> Iterator[dict[str, Any]]:
    """Each level's threshold, and what it gives on test."""
    held, codes = data.validation, data.groups[data.validation]
    lowest, scored = -np.inf, d.decisions[held][np.isfinite(d.decisions[held])]
    if len(scored) and not np.isfinite(d.decisions[np.concatenate([held, data.test])]).all():
        lowest = float(np.nextafter(scored.min(), -np.inf))
    for level in LEVELS:
        found = threshold_at(y[held], d.decisions[held], codes, level, lowest)
        facts = {
            "level": level,
            "threshold": found.value if np.isfinite(found.value) else None,
            "answers_all": found.value == -np.inf,
            "n_answered_validation": found.n_answered,
            "n_wrong_validation": found.n_wrong,
        }
        if np.isnan(found.value):
            wrong = float(np.mean(y[held] != 1)) if len(held) else float("nan")
            yield {**facts, "reason": _reason(wrong, effective(codes), level)}
        else:
            yield {**facts, **_given(d.decisions[data.test] > found.value, y[data.test], data)}


def _reason(wrong: float, worth: float, level: float) -> str:
    """Why no threshold holds a level."""
    least = int(np.ceil(np.log(DELTA / len(STARTS)) / np.log1p(-level)))
    if worth < least:
        return (
            f"{worth:.0f} independent validation answers are too few: {least} without an error "
            "would be needed"
        )
    return (
        f"no threshold keeps the error below {level:g} for certain enough on validation, where "
        f"{wrong:.1%} of all answers are wrong"
    )


def _given(given: NDArray[np.bool_], y: NDArray[np.integer], data: Compared) -> dict[str, Any]:
    """Coverage and risk of the answers given among the test examples, with intervals by group."""
    wrong, counts = given & (y != 1), data.draws.counts.astype(np.float64)
    coverage, risk = float(given.mean()), float("nan")
    answered = counts @ given
    if given.any():
        risk = float(wrong.sum() / given.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        risks = counts @ wrong / answered
    every = np.ones(len(y), dtype=bool)
    return {
        "n_answered": int(given.sum()),
        "coverage": coverage,
        "coverage_95": ends(
            bootstrap_interval(coverage, answered / counts.sum(axis=1), data.draws.n_groups(every))
        ),
        "risk": risk,
        "risk_95": ends(bootstrap_interval(risk, risks, data.draws.n_groups(given))),
    }


def _curve(d: Detector, y: NDArray[np.integer], data: Compared) -> Iterator[dict[str, Any]]:
    """Risk where so many of the test examples are answered, those of the highest decisions first;
    ties go together."""
    scores, truth, last = d.decisions[data.test], y[data.test], 0
    for k in range(1, SHARES + 1):
        rank = max(1, len(scores) * k // SHARES)
        given = (scores >= np.sort(scores)[::-1][rank - 1]) & np.isfinite(scores)
        if int(given.sum()) > last:
            last = int(given.sum())
            facts = _given(given, truth, data)
            yield {name: facts[name] for name in ("n_answered", "coverage", "risk", "risk_95")}
