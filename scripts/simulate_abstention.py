"""How often does a threshold chosen on validation keep the error among answered questions below its
level?

    python scripts/simulate_abstention.py                # the table of docs/protocol.md
    python scripts/simulate_abstention.py --draws 100    # a quick look

Decisions are normal, moved by `strength` for correct answers; of a group's answers, a part is right
or wrong together. The true risk above a threshold follows from the normal distribution. A draw
breaks the guarantee where a threshold is given and its true risk is above the level; that may
happen in at most 10 % of the draws. Rules: ours; as if all answers were independent; one sequence
that begins at 5 % coverage; Bonferroni over all 20 thresholds; and the largest coverage whose risk
on validation is below the level (no guarantee), which is what conformal risk control would take.

*Best of* so many equally good cells is the one with the highest AUROC on the same examples: what a
run does with its probe, and what the guarantee leaves out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from probebench.metrics.auroc import auroc_many
from probebench.scoring.abstention import DELTA, SHARES, effective, risk_p, threshold_at
from probebench.types import Floats


@dataclass(frozen=True)
class Design:
    """One way of drawing validation examples."""

    n: int
    size: int
    """Of a group."""
    together: float
    """Chance that an answer is that of its group."""
    wrong: float
    """Part of all answers."""
    strength: float
    """Standard deviations between right and wrong."""
    cells: int = 1
    """Equally good ones, of which the best on these examples is taken."""
    alike: float = 0.0
    """Part of their variance that the cells share."""

    @property
    def name(self) -> str:
        """As it stands in the table."""
        groups = f", groups of {self.size}" if self.size > 1 else ""
        best = f", best of {self.cells} cells ({self.alike:.0%} shared)" if self.cells > 1 else ""
        return f"{self.n}{groups}, {self.wrong:.0%} wrong, {self.strength:g}{best}"


@dataclass(frozen=True, eq=False)
class Drawn:
    """Validation examples."""

    y: NDArray[np.int64]
    decisions: Floats
    groups: NDArray[np.int64]


Rule = Callable[[Drawn, float], float]


def draw(design: Design, rng: np.random.Generator) -> Drawn:
    """Some validation examples."""
    groups = np.arange(design.n) // design.size
    n_groups = int(groups[-1]) + 1
    right = rng.random(n_groups) > design.wrong
    apart = rng.random(design.n) > design.together
    y = np.where(apart, rng.random(design.n) > design.wrong, right[groups]).astype(np.int64)
    shared = np.sqrt(design.together)
    noise = shared * rng.normal(size=n_groups)[groups] + np.sqrt(1 - design.together) * rng.normal(
        size=design.n
    )
    decisions = design.strength * y + noise
    if design.cells > 1:
        own = rng.normal(size=(design.cells, design.n))
        many = design.strength * y + (design.alike**0.5 * noise + (1 - design.alike) ** 0.5 * own)
        decisions = many[np.argmax(auroc_many(y, many))]
    return Drawn(y, decisions, groups)


def true_risk(design: Design, threshold: float) -> float:
    """Part of the answers above a threshold that are wrong, over all answers that there could
    be."""
    wrong = design.wrong * norm.sf(threshold)
    right = (1 - design.wrong) * norm.sf(threshold - design.strength)
    return float(wrong / (wrong + right)) if wrong + right else 0.0


def _steps(drawn: Drawn) -> list[tuple[float, int, int, float]]:
    """Threshold, answered, wrong, effective answers, at each share."""
    n, order, found = len(drawn.y), np.sort(drawn.decisions)[::-1], []
    for k in range(1, SHARES + 1):
        rank = n * k // SHARES
        cut = float(order[rank]) if rank < n else -np.inf
        given = drawn.decisions > cut
        wrong = int((drawn.y[given] == 0).sum())
        found.append((cut, int(given.sum()), wrong, effective(drawn.groups[given])))
    return found


def independent(drawn: Drawn, level: float) -> float:
    """Ours, as if each answer were a group of its own."""
    return threshold_at(drawn.y, drawn.decisions, np.arange(len(drawn.y)), level).value


def ours(drawn: Drawn, level: float) -> float:
    """The rule of a run."""
    return threshold_at(drawn.y, drawn.decisions, drawn.groups, level).value


def one_sequence(drawn: Drawn, level: float) -> float:
    """A sequence from 5 % coverage on with all of DELTA."""
    best = float("nan")
    for cut, m, wrong, worth in _steps(drawn):
        if risk_p(worth, wrong * worth / m, level) > DELTA:
            break
        best = cut
    return best


def bonferroni(drawn: Drawn, level: float) -> float:
    """All thresholds, each with a twentieth of DELTA."""
    held = [
        cut
        for cut, m, wrong, worth in _steps(drawn)
        if risk_p(worth, wrong * worth / m, level) <= DELTA / SHARES
    ]
    return held[-1] if held else float("nan")


def plain(drawn: Drawn, level: float) -> float:
    """The largest coverage whose (wrong + 1) / (answered + 1) is below the level."""
    held = [cut for cut, m, wrong, _ in _steps(drawn) if (wrong + 1) / (m + 1) <= level]
    return held[-1] if held else float("nan")


RULES: Mapping[str, Rule] = {
    "ours": ours,
    "independent": independent,
    "one sequence": one_sequence,
    "Bonferroni": bonferroni,
    "plain": plain,
}


def simulate(design: Design, level: float, draws: int) -> dict[str, tuple[float, float]]:
    """By rule: how often the level is broken, and the mean coverage (0 without a threshold)."""
    broken = dict.fromkeys(RULES, 0.0)
    covered = dict.fromkeys(RULES, 0.0)
    for k in range(draws):
        drawn = draw(design, np.random.default_rng([design.n, design.size, k]))
        for name, rule in RULES.items():
            cut = rule(drawn, level)
            if np.isnan(cut):
                continue
            broken[name] += true_risk(design, cut) > level
            share = design.wrong * norm.sf(cut)
            share += (1 - design.wrong) * norm.sf(cut - design.strength)
            covered[name] += float(share)
    return {name: (broken[name] / draws, covered[name] / draws) for name in RULES}


DESIGNS = (
    Design(200, 1, 0.0, 0.3, 1.5),
    Design(1000, 1, 0.0, 0.3, 1.5),
    Design(1000, 1, 0.0, 0.3, 0.0),
    Design(400, 1, 0.0, 0.6, 2.5),
    Design(1000, 1, 0.0, 0.105, 0.3),
    Design(400, 4, 0.7, 0.3, 1.5),
    Design(1000, 8, 0.9, 0.3, 1.5),
    Design(1000, 8, 0.9, 0.105, 0.3),
    Design(400, 1, 0.0, 0.22, 0.0, cells=300),
    Design(400, 1, 0.0, 0.22, 0.0, cells=300, alike=0.8),
    Design(400, 1, 0.0, 0.3, 1.5, cells=300),
    Design(400, 1, 0.0, 0.3, 1.5, cells=300, alike=0.8),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    args = parser.parse_args()
    print("| validation, separation | level | " + " | ".join(RULES) + " |")
    print("|---|---|" + "---|" * len(RULES))
    for design in DESIGNS:
        for level in (0.1, 0.2):
            found = simulate(design, level, args.draws)
            cells = " | ".join(f"{broken:.3f} ({cover:.2f})" for broken, cover in found.values())
            print(f"| {design.name} | {level:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
