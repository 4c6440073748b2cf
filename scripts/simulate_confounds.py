"""What is left of a probe that encodes nothing but a function of the length, once the length is
regressed out in several ways.

    python scripts/simulate_confounds.py --sets 20

Labels depend on the function alone, and the probe's decision is the function with noise; in the
last row labels are encoded and the length says nothing. Regressed out on train (the first 600 of
1,000 examples), the AUROC is that of all others. The last column is what a run does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import KBinsDiscretizer, SplineTransformer

from probebench.metrics.auroc import auroc
from probebench.studies.confounds.regress import expanded, residual

Floats = NDArray[np.float64]
N, TRAIN, NOISE = 1000, 600, 0.3
CURVES: dict[str, Callable[[Floats], Floats]] = {
    "abs(z)": np.abs,
    "z^2": lambda z: z**2,
    "z > .3": lambda z: (z > 0.3).astype(float),
    "abs(z) < .7": lambda z: (np.abs(z) < 0.7).astype(float),
    "sin 3z": lambda z: np.sin(3 * z),
}


def bins(n: int) -> Callable[[Floats], Floats]:
    """Bins of as many train examples each."""

    def columns(z: Floats) -> Floats:
        cut = KBinsDiscretizer(
            n, encode="onehot-dense", strategy="quantile", quantile_method="averaged_inverted_cdf"
        )
        return np.asarray(cut.fit(z[:TRAIN, None]).transform(z[:, None]))[:, 1:]

    return columns


def spline(knots: int) -> Callable[[Floats], Floats]:
    """A cubic spline with knots at quantiles of train."""

    def columns(z: Floats) -> Floats:
        curve = SplineTransformer(knots, knots="quantile", include_bias=False)
        return np.asarray(curve.fit(z[:TRAIN, None]).transform(z[:, None]))

    return columns


WAYS: dict[str, Callable[[Floats], Floats]] = {
    "line": lambda z: z[:, None],
    "5 bins": bins(5),
    "10 bins": bins(10),
    "spline, 6 knots": spline(6),
    "spline, 8 knots": spline(8),
}


def left(rng: np.random.Generator, curve: Callable[[Floats], Floats] | None) -> list[float]:
    """AUROC of the probe, and of what each way leaves of it."""
    z = np.log(rng.integers(3, 120, N).astype(float))
    z = (z - z.mean()) / z.std()
    if curve is None:
        y = rng.integers(0, 2, N)
        decision = 1.9 * y + rng.normal(size=N)
    else:
        encoded = curve(z)
        encoded = (encoded - encoded.mean()) / encoded.std()
        y = (rng.random(N) < 1 / (1 + np.exp(-2 * encoded))).astype(int)
        decision = encoded + NOISE * rng.normal(size=N)
    test, rows = np.arange(N) >= TRAIN, np.arange(TRAIN)
    found = [auroc(y[test], decision[test])]
    for columns in WAYS.values():
        A = np.column_stack([np.ones(N), columns(z)])
        weight = np.linalg.lstsq(A[rows], decision[rows], rcond=None)[0]
        found.append(auroc(y[test], (decision - A @ weight)[test]))
    own, _ = residual(expanded(z, rows), decision, rows)
    return [*found, auroc(y[test], own[test])]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=20)
    asked = parser.parse_args()
    print("| encoded | probe | " + " | ".join(WAYS) + " | spline, deciles and ridge |")
    print("|" + "---|" * (3 + len(WAYS)))
    for name, curve in [*CURVES.items(), ("labels", None)]:
        rng = np.random.default_rng(0)
        means = np.mean([left(rng, curve) for _ in range(asked.sets)], axis=0)
        cells = " | ".join(f"{m:.2f}".removeprefix("0") for m in means)
        print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
