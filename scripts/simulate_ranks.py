"""How often two equally good models are told apart on the leaderboard, by the number of answers.

    python scripts/simulate_ranks.py --sets 2000

Two models answer different questions of one task: k correct and k wrong test answers each, or k of
the rarer class and 200 of the other, with normal scores of the same AUROC. Printed is the share of
pairs that would be in different rank groups (5 % is nominal): with the standard error of the
decisions alone, which is 0 for a perfect separation, and with the least one.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import norm

from probebench.leaderboard.board.ranks import Estimate, influence, rank_groups, standard_error
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Sides
from probebench.metrics.intervals import least_variance


def estimates(rng: np.random.Generator, fewer: int, more: int, area: float) -> list[Estimate]:
    """One model's AUROC, with its own standard error and with the least one."""
    y = np.repeat([0, 1], [fewer, more])
    scores = rng.normal(size=len(y)) + y * norm.ppf(area) * 2**0.5
    value, sums = auroc(y, scores), influence(y, scores, np.arange(len(y)), len(y))
    least = least_variance(value, Sides(more, fewer, more, fewer))
    own = float(standard_error(sums)) if sums is not None else float("nan")
    return [Estimate(value, own), Estimate(value, max(own, least**0.5))]


def apart(fewer: int, more: int, area: float, sets: int, seed: int = 0) -> tuple[float, float]:
    """Share of pairs in different rank groups: by the own standard error, and by the least one."""
    rng, found = np.random.default_rng(seed), np.zeros(2)
    for _ in range(sets):
        a, b = (estimates(rng, fewer, more, area) for _ in range(2))
        for k in range(2):
            groups = rank_groups([a[k], b[k]])
            found[k] += groups[0] != groups[1]
    own, least = found / sets
    return float(own), float(least)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=2000)
    asked = parser.parse_args()
    areas = (0.76, 0.9, 0.98)
    print(
        "| wrong, correct | " + " | ".join(f"{a:.2f}, own | with the least" for a in areas) + " |"
    )
    print("|" + "---|" * (1 + 2 * len(areas)))
    for fewer, more in (
        *((k, k) for k in (5, 8, 10, 15, 20, 40)),
        *((k, 200) for k in (5, 10, 20)),
    ):
        rates = [rate for a in areas for rate in apart(fewer, more, a, asked.sets)]
        print(
            f"| {fewer}, {more} | " + " | ".join(f"{rate:.1%}" for rate in rates) + " |", flush=True
        )


if __name__ == "__main__":
    main()
