"""How often something is said to add to the baselines, or to beat all of them, that does not.

    python scripts/simulate_added.py --sets 200

Four baselines read one signal each with noise of their own. The probe reads the first baseline's
signal once more and nothing else (nothing to add), is one more of the same strength (as good as the
best), or has a signal of its own. Printed are the shares of data sets in which the interval of the
difference of the two stacks lies above 0, and in which every paired interval does.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from probebench.scoring.added import added
from probebench.scoring.comparison import evaluate_detectors
from probebench.tasks.split import split_of
from probebench.types import Detector

Floats = NDArray[np.float64]
STRENGTHS = (1.0, 0.8, 0.6, 0.2)
"""How far correct answers stand above wrong ones in each baseline, in standard deviations."""
PROBES = ("nothing to add", "as good as the best", "a signal of its own")


def rates(n: int, probe: str, sets: int, seed: int = 0) -> tuple[float, float]:
    """Shares of data sets in which the probe is said to add, and to beat all baselines."""
    adds = beats = 0
    for k in range(sets):
        rng = np.random.default_rng([seed, n, k])
        y = rng.integers(0, 2, n)
        groups = [f"{k}-{i // 2}" for i in range(n)]
        signals = [s * y + rng.normal(size=n) for s in STRENGTHS]
        own: dict[str, Floats] = {
            "nothing to add": signals[0] + 0.5 * rng.normal(size=n),
            "as good as the best": STRENGTHS[0] * y + rng.normal(size=n),
            "a signal of its own": 1.8 * y + rng.normal(size=n),
        }
        rows = [Detector("probe", "probe", own[probe], "probe")]
        rows += [Detector(f"b{i}", f"b{i}", s) for i, s in enumerate(signals)]
        splits = tuple(split_of(g) for g in groups)
        table = evaluate_detectors(rows, y, splits, groups, 0).scores
        found = added(rows, table, y, splits, groups, 0)
        assert found is not None
        adds += found["difference_95"][0] > 0
        beats += found["against_all"]["better"]
    return adds / sets, beats / sets


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=200)
    asked = parser.parse_args()
    print("| answers | probe | said to add | said to beat all |")
    print("|---|---|---|---|")
    for n in (500, 1000, 2000):
        for probe in PROBES:
            adds, beats = rates(n, probe, asked.sets)
            print(f"| {n:,} | {probe} | {adds:.1%} | {beats:.1%} |", flush=True)


if __name__ == "__main__":
    main()
