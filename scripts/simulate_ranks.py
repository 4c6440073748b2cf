"""How often equally good models are told apart on the leaderboard, by the number of answers, of
models, and of the groups that the wrong answers lie in.

    python scripts/simulate_ranks.py --sets 2000

Two models answer different questions of one task: k correct and k wrong test answers each, or k of
the rarer class and 200 of the other, with normal scores of the same AUROC. Printed is the share of
pairs that would be in different rank groups (5 % is nominal): with the standard error of the
decisions alone, which is 0 for a perfect separation, and with the least one. Then: k models of 200
answers each, whose best leads a group of its own; and two whose 40 wrong answers lie in few groups,
half of the variance of their scores theirs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

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
    value, moved = auroc(y, scores), influence(y, scores, np.arange(len(y)), len(y))
    least = least_variance(value, Sides(more, fewer, more, fewer))
    own = standard_error(moved.sums, moved.groups) if moved is not None else float("nan")
    return [Estimate(value, own), Estimate(value, max(own, least**0.5))]


def in_groups(rng: np.random.Generator, groups: int) -> Estimate:
    """One model's AUROC of 200 correct answers and 40 wrong ones, which lie in so many groups."""
    y = np.repeat([0, 1], [40, 200])
    group = np.r_[np.arange(40) % groups, groups + np.arange(200)]
    shared = rng.normal(size=group.max() + 1)[group]
    scores = (shared + rng.normal(size=len(y))) / 2**0.5 + y * norm.ppf(0.8) * 2**0.5
    value, moved = auroc(y, scores), influence(y, scores, group, int(group.max()) + 1)
    own = standard_error(moved.sums, moved.groups)
    return Estimate(value, max(own, least_variance(value, Sides(200, 40, 200, 40)) ** 0.5))


def some_apart(models: Sequence[Callable[[np.random.Generator], Estimate]], sets: int) -> float:
    """Share of sets of models, each drawn by its function, that make more than one group."""
    rng = np.random.default_rng(0)
    return sum(max(rank_groups([draw(rng) for draw in models])) > 1 for _ in range(sets)) / sets


def of_one_size(rng: np.random.Generator) -> Estimate:
    """One model's AUROC of 100 correct and 100 wrong answers."""
    return estimates(rng, 100, 100, 0.8)[1]


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
    print("\n| models | more than one group |\n|---|---|")
    for models in (2, 3, 5, 10, 30, 100):
        print(f"| {models} | {some_apart([of_one_size] * models, asked.sets):.1%} |", flush=True)
    print("\n| 40 wrong answers in groups | told apart |\n|---|---|")
    for groups in (2, 4, 10, 20, 40):
        draw = partial(in_groups, groups=groups)
        print(f"| {groups} | {some_apart([draw] * 2, asked.sets):.1%} |", flush=True)


if __name__ == "__main__":
    main()
