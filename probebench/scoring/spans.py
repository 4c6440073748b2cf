"""Numbers of decisions at tokens: by token, and by span through the token that looks worst or the
last one; answers are drawn whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import RESAMPLES, Resamples
from probebench.metrics.intervals import auroc_interval, difference_interval
from probebench.types import Floats, Interval

Level = Literal["token", "span_max", "span_last"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""Each token; each span by the least decision of its tokens (the highest alarm); each span by its
last token."""
FEWEST, ROOM = 200, 2**27
"""Least number of resamples, and how many numbers they may be: with very many tokens there are
fewer."""


class SpanRows(NamedTuple):
    """One labelled span, as rows of a table of tokens."""

    rows: slice
    label: int
    group: str


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What is ranked at one level."""

    y: NDArray[np.int64]
    """(unit,) 1 = right."""
    groups: tuple[str, ...]
    """(unit,)."""
    scores: Mapping[str, Floats]
    """Detector -> (unit,)."""


def units_of(
    level: Level,
    decisions: Mapping[str, Floats],
    tokens: tuple[NDArray[np.int64], NDArray[np.int64], Sequence[str]],
    spans: Sequence[SpanRows],
) -> Units:
    """Tokens or spans with the decisions of every detector.

    Args:
        level: which.
        decisions: detector -> (token,) over the whole table.
        tokens: which tokens are ranked, and label and group of each of these.
        spans: the spans that are ranked.
    """
    if level == "token":
        at, y, groups = tokens
        return Units(y, tuple(groups), {name: d[at] for name, d in decisions.items()})

    def of(d: Floats) -> Floats:
        return np.array(
            [d[s.rows].min() if level == "span_max" else d[s.rows][-1] for s in spans], dtype=float
        )

    labels = np.array([s.label for s in spans], dtype=np.int64)
    groups = tuple(s.group for s in spans)
    return Units(labels, groups, {name: of(d) for name, d in decisions.items()})


def draws_of(groups: Sequence[str], seed: int) -> Resamples:
    """Groups drawn whole, as often as memory allows.

    Args:
        groups: (unit,).
        seed: of the draws.
    """
    n = max(FEWEST, min(RESAMPLES, ROOM // max(len(groups), 1)))
    return Resamples.draw(groups, seed, n)


def rows_of(level: Level, units: Units, reference: str, seed: int) -> list[dict[str, Any]]:
    """AUROC of every detector with its interval, and the reference's minus it, paired; the units
    that all of them score.

    Args:
        level: as the rows have it.
        units: what is ranked.
        reference: the detector that the others are held against.
        seed: of the bootstrap.
    """
    there = np.all([np.isfinite(s) for s in units.scores.values()], axis=0)
    y, groups = units.y[there], [g for g, own in zip(units.groups, there, strict=True) if own]
    counted = {"n": len(y), "n_wrong": int((y == 0).sum()), "groups": len(set(groups))}
    both, scores = len(np.unique(y)) == 2, {n: s[there] for n, s in units.scores.items()}
    draws = draws_of(groups, seed) if both else None
    found = []
    for name, own in scores.items():
        row: dict[str, Any] = {"detector": name, "level": level, **counted}
        row |= {"auroc": None, "auroc_95": (None, None)}
        row |= {"difference": None, "difference_95": (None, None)}
        if draws is not None:
            row |= {"auroc": auroc(y, own), "auroc_95": _ends(auroc_interval(draws, y, own))}
            if name != reference:
                gap = difference_interval(draws, y, scores[reference], own)
                row["difference"] = auroc(y, scores[reference]) - row["auroc"]
                row["difference_95"] = _ends(gap)
        found.append(row)
    return found


def _ends(interval: Interval) -> tuple[float | None, float | None]:
    low, high = interval.low, interval.high
    return (float(low), float(high)) if np.isfinite([low, high]).all() else (None, None)
