"""How often do the 95 % intervals hold the truth? Simulated decisions whose population values are
known.

    python scripts/simulate_coverage.py                 # the table of docs/protocol.md
    python scripts/simulate_coverage.py --datasets 100  # a quick look
    python scripts/simulate_coverage.py --uneven        # some groups are large
    python scripts/simulate_coverage.py --alike         # groups of near copies

A data set holds a validation and a test split of the same size. The label and the decisions each
have a normal part that a group shares and one of the example's own; the share of the group's part
is the intraclass correlation. Seen one at a time all examples are alike in every design, so the
truth is the same with and without groups.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples, percentile_interval
from probebench.metrics.calibration import BINS, fit_platt
from probebench.metrics.delong import delong_difference, delong_interval
from probebench.metrics.intervals import auroc_interval, bootstrap_interval, difference_interval
from probebench.metrics.ranking import ranked
from probebench.scoring.measures import Sample, all_metrics
from probebench.types import Floats, Interval

SHIFTS = 1.0, 0.6
"""How far correct answers stand above wrong ones, in standard deviations, for the two detectors
that are compared."""
SHARED = 0.5
"""Correlation of the two detectors' noise."""
GRID = np.linspace(-7, 8, 6001)
"""Decisions at which population values are integrated."""


@dataclass(frozen=True)
class Design:
    """One way of drawing data sets."""

    n: int
    """Test examples; validation has as many."""
    prevalence: float
    """Share of correct answers."""
    icc: float
    """Intraclass correlation of labels' and decisions' normal parts; 0 = every example its own
    group."""
    shifts: tuple[float, float] = SHIFTS
    """How far correct answers stand above wrong ones, for the two detectors."""
    large: tuple[int, ...] = ()
    """Sizes of groups beside which the others hold two examples each; none: sizes are drawn."""
    size: int = 0
    """Of every group; 0: sizes are drawn."""

    @property
    def name(self) -> str:
        """As it stands in the table."""
        if self.large:
            sizes = ", ".join(map(str, self.large))
            return f"groups of {sizes} and of 2, {self.prevalence:.0%} correct"
        groups = f"groups of {self.size or '2-8'}" if self.icc else "independent"
        kind = f"{groups}, {self.prevalence:.0%} correct"
        high = self.shifts != SHIFTS
        return kind + f", AUROC {norm.cdf(self.shifts[0] / np.sqrt(2)):.2f}" * high


def draw(design: Design, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats, list[str]]:
    """Labels (example,), decisions of both detectors (2, example), and groups of one split."""
    sizes = list(design.large)
    while sum(sizes) < design.n:
        drawn = 2 if design.large else design.size or int(rng.integers(2, 9))
        sizes.append(drawn if design.icc else 1)
    index = np.repeat(np.arange(len(sizes)), sizes)[: design.n]

    def normal() -> Floats:
        group, own = rng.normal(size=len(sizes)), rng.normal(size=design.n)
        return np.sqrt(design.icc) * group[index] + np.sqrt(1 - design.icc) * own

    y = (normal() < norm.ppf(design.prevalence)).astype(np.int64)
    common, first, second = normal(), normal(), normal()
    noise = [np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own for own in (first, second)]
    return (
        y,
        np.array([shift * y + e for shift, e in zip(design.shifts, noise, strict=True)]),
        [str(g) for g in index],
    )


def population(design: Design) -> dict[str, float]:
    """Values that do not depend on anything fitted: AUROC and its difference exactly, AUPRC and PRR
    on two million examples."""
    areas = [float(norm.cdf(shift / np.sqrt(2))) for shift in design.shifts]
    rng, n = np.random.default_rng(0), 2_000_000
    y = (np.arange(n) < round(design.prevalence * n)).astype(np.int64)
    order = ranked(y, design.shifts[0] * y + rng.normal(size=n))
    return {
        "auroc": areas[0],
        "difference": areas[0] - areas[1],
        "auprc": float(order.auprc[0]),
        "prr": float(order.prr[0]),
    }


def fitted_population(
    design: Design, y: NDArray[np.int64], decisions: Floats, threshold: float
) -> dict[str, float]:
    """Population values of what was fitted on one validation split: Brier score, calibration error
    in population bins, accuracy."""
    weights = [
        (1 - design.prevalence) * norm.pdf(GRID),
        design.prevalence * norm.pdf(GRID - design.shifts[0]),
    ]
    wrong, correct = (w * (GRID[1] - GRID[0]) for w in weights)
    p = fit_platt(y, decisions)(GRID)
    mass = wrong + correct
    bins = np.minimum(((np.cumsum(mass) - mass / 2) / mass.sum() * BINS).astype(int), BINS - 1)
    above = threshold <= GRID
    return {
        "brier": float((wrong * p**2 + correct * (1 - p) ** 2).sum()),
        "ece": float(np.abs(np.bincount(bins, p * mass - correct)).sum()),
        "accuracy": float(correct[above].sum() + wrong[~above].sum()),
    }


def simulate(design: Design, datasets: int, seed: int = 0, resamples: int = 1000) -> pd.DataFrame:
    """One row per data set and statistic: truth, value and both ends of the interval; NaN where
    undefined."""
    fixed, rows = population(design), []
    for k in range(datasets):
        rng = np.random.default_rng([seed, k])
        y_validation, (held, _), _ = draw(design, rng)
        y, (a, b), groups = draw(design, rng)
        draws = Resamples.draw(groups, k, resamples)
        metrics = all_metrics(Sample.of(y, y_validation, draws), a, held)
        truth = fixed | fitted_population(
            design, y_validation, held, metrics["accuracy"].detail["threshold"]
        )
        areas = auroc(y, a), auroc(y, a) - auroc(y, b)
        found: list[tuple[str, str, float, Interval]] = [
            ("auroc", "auroc", areas[0], auroc_interval(draws, y, a)),
            ("auroc_percentile", "auroc", areas[0], percentile_interval(draws.auroc(y, a))),
            ("auroc_delong", "auroc", areas[0], delong_interval(y, a)),
            (
                "auroc_logit",
                "auroc",
                areas[0],
                bootstrap_interval(areas[0], draws.auroc(y, a), draws.independent(y)),
            ),
            ("difference", "difference", areas[1], difference_interval(draws, y, a, b)),
            ("difference_delong", "difference", areas[1], delong_difference(y, a, b)),
            *(
                (name, name, metrics[name].value, metrics[name].interval)
                for name in ("auprc", "accuracy", "brier", "ece", "prr")
            ),
        ]
        rows += [(k, name, truth[of], value, i.low, i.high) for name, of, value, i in found]
    return pd.DataFrame(rows, columns=["dataset", "statistic", "truth", "value", "low", "high"])


def coverage(table: pd.DataFrame) -> pd.DataFrame:
    """Per statistic: share of intervals that hold the truth, mean width, mean error, and data sets
    without an interval."""
    defined = table[np.isfinite(table.low)]
    inside = (defined.low <= defined.truth) & (defined.truth <= defined.high)
    by = defined.assign(
        inside=inside, width=defined.high - defined.low, bias=defined.value - defined.truth
    ).groupby("statistic", sort=False)
    found = by[["inside", "width", "bias"]].mean()
    found["undefined"] = table.groupby("statistic").size() - by.size()
    return found


HIGH = [
    Design(n, 0.9, icc, (float(norm.ppf(area)) * 2**0.5, float(norm.ppf(0.9)) * 2**0.5))
    for icc in (0.0, 0.5)
    for area in (0.95, 0.98, 0.99)
    for n in (100, 200, 400)
]
"""Few wrong answers and a detector that nearly separates them, beside one of AUROC .90."""
UNEVEN = [
    Design(n, 0.7, icc, large=large)
    for n, large in (
        (400, (40,)),
        (400, (100,)),
        (400, (200,)),
        (400, (60, 50, 40, 30)),
        (200, (60,)),
    )
    for icc in (0.2, 0.5)
]
"""Some groups are a large part of the whole."""
ALIKE = [
    Design(n, 0.5, icc, (float(norm.ppf(area)) * 2**0.5, float(norm.ppf(0.9)) * 2**0.5), size=8)
    for icc in (0.5, 0.95)
    for area in (0.9, 0.95, 0.97, 0.99)
    for n in (160, 400)
]
"""Answers of a group are alike, up to near copies of one label, and the detector nearly separates
them."""
DESIGNS = [
    Design(n, prevalence, icc)
    for icc in (0.0, 0.5)
    for prevalence in (0.5, 0.85)
    for n in (50, 100, 400)
]


def main() -> None:
    """Print coverage of every statistic under every design, as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument(
        "--high", action="store_true", help="few wrong answers, an AUROC of .95 and more"
    )
    parser.add_argument("--uneven", action="store_true", help="some groups are large")
    parser.add_argument("--alike", action="store_true", help="groups of near copies")
    asked = parser.parse_args()
    designs = HIGH if asked.high else UNEVEN if asked.uneven else ALIKE if asked.alike else DESIGNS
    found = {
        (d.name, d.icc, d.n): coverage(simulate(d, asked.datasets, asked.seed, asked.resamples))
        for d in designs
    }
    for title, column, form in (
        ("Coverage", "inside", "{:.1%}"),
        ("Mean width", "width", "{:.3f}"),
        ("Bias", "bias", "{:+.3f}"),
    ):
        table = pd.DataFrame({key: one[column] for key, one in found.items()}).T
        print(
            f"\n{title}, {asked.datasets} data sets\n\n"
            f"| design | shared | n | {' | '.join(table.columns)} |"
        )
        print("|" + "---|" * (len(table.columns) + 3))
        for (name, icc, n), row in table.iterrows():
            print(f"| {name} | {icc:g} | {n} | {' | '.join(form.format(v) for v in row)} |")


if __name__ == "__main__":
    main()
