"""Which bar a cell must clear to compete: how often a column without signal wins a map.

    python scripts/simulate_selection.py --sets 200

A map has nine columns of 30 layers whose token every answer has, with an AUROC of .70 in all of
them, and one column of 30 layers that says nothing of right and wrong and whose token only part of
the answers has. Cells of one column share .9 of their noise's variance, columns .5. Validation is a
fifth of the answers. Each row prints, for each bar, the share of data sets in which the column
without signal has the highest validation AUROC of the cells that compete.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from probebench.metrics.auroc import auroc_many
from probebench.probes.labels import MIN_CLASS

LAYERS, COLUMNS, AUROC = 30, 9, 0.70
IN_COLUMN, ACROSS = 0.9, 0.5
"""Shares of the noise's variance that cells of a column, and all cells, have in common."""
Floats = NDArray[np.float64]
Bar = Callable[[NDArray[np.int64], NDArray[np.bool_]], bool]


@dataclass(frozen=True)
class Design:
    """Answers, how many are right, and in which share of each class the rare token exists."""

    n: int
    correct: float
    of_correct: float
    of_wrong: float


def _column(rng: np.random.Generator, n: int, shared: Floats) -> Floats:
    """(layer, example) noise of variance 1."""
    own = rng.standard_normal(n)
    each = rng.standard_normal((LAYERS, n))
    return np.asarray(
        np.sqrt(ACROSS) * shared + np.sqrt(IN_COLUMN - ACROSS) * own + np.sqrt(1 - IN_COLUMN) * each
    )


def covers(overall: float, of_class: float) -> Bar:
    """A bar on the validation answers that have the token, of all and of each class."""

    def clears(y: NDArray[np.int64], there: NDArray[np.bool_]) -> bool:
        shares = [there.mean(), there[y == 1].mean(), there[y == 0].mean()]
        return bool(shares[0] >= overall and min(shares[1:]) >= of_class)

    return clears


def every(y: NDArray[np.int64], there: NDArray[np.bool_]) -> bool:
    """No bar: whatever has both classes competes."""
    return True


BARS: dict[str, Bar] = {
    "none": every,
    "50%": covers(0.5, 0.0),
    "75%": covers(0.75, 0.0),
    "90%": covers(0.9, 0.0),
    "90%, each class 50%": covers(0.9, 0.5),
    "90%, each class 75%": covers(0.9, 0.75),
    "90%, each class 90%": covers(0.9, 0.9),
}


def wins(design: Design, sets: int, seed: int) -> Iterator[dict[str, bool]]:
    """Of each data set and bar: does the column without signal win?"""
    rng, apart = np.random.default_rng(seed), float(norm.ppf(AUROC) * np.sqrt(2))
    done = 0
    while done < sets:
        y = (rng.random(design.n) < design.correct).astype(np.int64)
        there = rng.random(design.n) < np.where(y == 1, design.of_correct, design.of_wrong)
        if min((there & (y == 1)).sum(), (there & (y == 0)).sum()) < MIN_CLASS:
            done += 1  # the cell is masked: it has no probe
            yield dict.fromkeys(BARS, False)
            continue
        held = np.arange(design.n) < design.n // 5
        y, there = y[held], there[held]
        if len(np.unique(y[there])) < 2:
            continue
        shared = rng.standard_normal(len(y))
        full = np.concatenate([_column(rng, len(y), shared) + apart * y for _ in range(COLUMNS)])
        rare = np.where(there, _column(rng, len(y), shared), np.nan)
        won = bool(auroc_many(y, rare).max() > auroc_many(y, full).max())
        done += 1
        yield {name: won and clears(y, there) for name, clears in BARS.items()}


DESIGNS = (
    *(Design(n, 0.5, share, share) for n in (500, 1000, 2000) for share in (0.05, 0.1, 0.2)),
    *(Design(n, 0.5, share, share) for n in (500, 2000) for share in (0.5, 0.8, 0.95)),
    *(Design(n, 0.9, 0.97, share) for n in (500, 1000, 2000) for share in (0.3, 0.6, 0.8)),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print("| answers | correct | token in correct, wrong | " + " | ".join(BARS) + " |")
    print("|" + "---|" * (3 + len(BARS)))
    for design in DESIGNS:
        found = list(wins(design, asked.sets, asked.seed))
        rates = [np.mean([one[name] for one in found]) for name in BARS]
        cells = " | ".join(f"{rate:.1%}" for rate in rates)
        print(
            f"| {design.n:,} | {design.correct:.0%} | {design.of_correct:.0%}, "
            f"{design.of_wrong:.0%} | {cells} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
