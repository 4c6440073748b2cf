"""One cell's probes: the batched solver against a loop of scikit-learn fits, on the same arrays,
cores and labels.

The job of a cell is a grid of 6 values of C on the true labels and 100 fits to shuffled labels at
one C, with decisions on held-out rows. scikit-learn is run (a) as people run it, raw float32,
lbfgs, max_iter=1000, and (b) at an accuracy near the solver's, centred and scaled, tol=1e-6,
max_iter=2000. A loop of 106 fits takes many minutes, so scikit-learn fits the 6 values of C and
`--shuffled` columns, whose time is scaled to 100; our times are medians over `--repeats`.

Vectors resemble hidden states as they come from a model. Those of `tiny` on `people` (layers 0, 3,
7; last_q and exact_answer_before_first) have an RMS of 11 to 114 after centring, a mean of 0.6 to
1.4 times that, 34 to 88 % of their variance in one direction, and 75 % or more in ten of 128; here:
Gaussian, RMS 20, the mean of that size, 40 % of the variance in the first direction and the rest
falling as k^-1.25, in a basis turned by 8 random reflections, and a planted random direction whose
projection alone has AUROC 0.8. Ours and (b) get them centred and divided by that RMS, as the
package does before every fit.

    python scripts/bench_probes.py --quick
    python scripts/bench_probes.py --size 2000 4096 --threads 1
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import bench_auroc
import numpy as np
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from probebench.probes.kinds import C_GRID
from probebench.probes.logistic.solver import LogisticSolver
from probebench.probes.parts import OneScale

SIZES = ((2000, 4096), (2000, 1024), (800, 4096), (8000, 4096))
SHUFFLES, RMS = 100, np.float32(20)
RIVALS: dict[str, dict[str, Any]] = {"a": {"max_iter": 1000}, "b": {"tol": 1e-6, "max_iter": 2000}}


def hidden_states(n: int, d: int, seed: int = 0, held: int = 500) -> tuple[np.ndarray, ...]:
    """Training vectors and labels, then held-out ones."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, d + 1) ** -1.25
    spectrum[0] = 2 / 3 * spectrum[1:].sum()
    Z = rng.standard_normal((n + held, d), dtype=np.float32) * np.sqrt(
        spectrum * d / spectrum.sum()
    ).astype(np.float32)
    for _ in range(8):
        mirror = unit(rng, d)
        Z -= 2 * np.outer(Z @ mirror, mirror)
    y, direction = rng.integers(0, 2, n + held), unit(rng, d)
    gap = np.sqrt(2) * norm.ppf(0.8) * float((Z @ direction).std())
    Z += np.outer((y - 0.5) * gap, direction).astype(np.float32)
    Z /= np.sqrt(np.mean((Z[:n] - Z[:n].mean(0)) ** 2))
    Z = RMS * (Z + rng.standard_normal(d).astype(np.float32))
    return Z[:n], y[:n], Z[n:], y[n:]


def unit(rng: np.random.Generator, d: int) -> np.ndarray:
    vector = rng.standard_normal(d).astype(np.float32)
    return vector / np.linalg.norm(vector)


def seconds(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median seconds, and what the last run returned."""
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return median(times), result


def scaled(X: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both centred and divided by one number, learned on the first, as the package does."""
    scale = OneScale().fit(X)
    centre, size = scale.mean_.astype(np.float32), np.float32(scale.scale_)
    return (X - centre) / size, (held - centre) / size


def measure_ours(
    data: tuple[np.ndarray, ...], chosen: float, shuffled: np.ndarray, repeats: int
) -> dict[str, Any]:
    raw, y, raw_held, _ = data
    out: dict[str, Any] = {}
    out["centre and scale"], (X, held) = seconds(lambda: scaled(raw, raw_held), repeats)
    centred = X
    out["floor: one Gram matrix"], _ = seconds(lambda: centred @ centred.T, repeats)
    out["smaller Gram matrix"], gram = seconds(
        lambda: centred @ centred.T if len(X) <= X.shape[1] else centred.T @ centred, repeats
    )
    gram.reshape(-1)[:: len(gram) + 1] += np.float32(gram.trace() / len(gram))
    from scipy.linalg import cholesky

    out["one factor"], _ = seconds(
        lambda: cholesky(gram.copy().T, overwrite_a=True, check_finite=False), repeats
    )
    out["make solver"], solver = seconds(lambda: LogisticSolver(X), repeats)
    out["6 fits"], grid = seconds(lambda: solver.solve(y, C_GRID), repeats)
    for C in dict.fromkeys((chosen, 1.0)):
        out[f"100 fits, C={C:g}"], fits = seconds(lambda C=C: solver.solve(shuffled, C), repeats)
        out[f"steps, C={C:g}"] = int(np.median(fits.iterations)), bool(fits.converged.all())
    out["decisions"], _ = seconds(lambda: (fits.decisions(held), grid.decisions(held)), repeats)
    out["single fit, C=1"], _ = seconds(
        lambda: LogisticSolver(scaled(raw, raw_held)[0]).solve(y, 1.0), repeats
    )
    out["grid"] = grid
    return out


def measure_theirs(
    data: tuple[np.ndarray, ...], Cs: tuple[float, ...], shuffled: np.ndarray, few: int, which: str
) -> dict[Any, Any]:
    X, y, held, _ = data
    A, B = scaled(X, held) if which == "b" else (X, held)
    out: dict[Any, Any] = {}

    def fit(labels: np.ndarray, C: float) -> np.ndarray:
        return LogisticRegression(C=C, **RIVALS[which]).fit(A, labels).decision_function(B)

    for C in C_GRID:
        out[C] = seconds(lambda C=C: fit(y, C), 1)
    for C in Cs:
        out["shuffled", C] = median(
            seconds(lambda j=j, C=C: fit(shuffled[:, j], C), 1)[0] for j in range(few)
        )
    return out


def peak(n: int, d: int) -> tuple[float, float]:
    """MiB of the vectors, and MiB by which a job raises a fresh process's high-water mark above
    what it held before."""
    code = (
        "import sys, resource, numpy as np; sys.path.insert(0, 'scripts'); import bench_probes as "
        "b\n"
        f"X, y, held, _ = b.hidden_states({n}, {d}); X, held = b.scaled(X, held); rng = "
        "np.random.default_rng(1)\n"
        "Y = np.stack([rng.permutation(y) for _ in range(100)], 1)\n"
        "used = lambda: int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()\n"
        "import scipy.linalg; open('/proc/self/clear_refs', 'w').write('5'); before = used()\n"
        "s = b.LogisticSolver(X); s.solve(y, b.C_GRID).decisions(held); s.solve(Y, "
        "1.0).decisions(held)\n"
        "peak = next(int(l.split()[1]) for l in open('/proc/self/status') if "
        "l.startswith('VmHWM')) * 1024\n"
        "print(X.nbytes / 2**20, (peak - before) / 2**20)"
    )
    text = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=True,
    )
    vectors, extra = (float(x) for x in text.stdout.split())
    return vectors, extra


def bench(n: int, d: int, repeats: int, few: int, memory: bool) -> None:
    data = hidden_states(n, d)
    rng = np.random.default_rng(1)
    shuffled = np.stack([rng.permutation(data[1]) for _ in range(SHUFFLES)], 1)
    X, held = scaled(data[0], data[2])
    solver = LogisticSolver(X)
    held = solver.solve(data[1], C_GRID).decisions(held)
    chosen = C_GRID[
        int(np.argmax([roc_auc_score(data[3], held[:, j]) for j in range(len(C_GRID))]))
    ]
    del solver
    Cs = tuple(dict.fromkeys((chosen, 1.0)))
    ours = measure_ours(data, chosen, shuffled, repeats)
    theirs = {which: measure_theirs(data, Cs, shuffled, few, which) for which in RIVALS}
    print(f"\n### n={n}, d={d}; chosen C={chosen:g}\n")
    print("| | ours, s | (a), s | (a) / ours | (b), s | (b) / ours |\n|---|---|---|---|---|---|")
    ready = ours["centre and scale"] + ours["make solver"]
    base = ready + ours["6 fits"] + ours["decisions"]
    rows: list[tuple[str, float, list[float]]] = []
    for C in Cs:
        loops = [
            sum(t[c][0] for c in C_GRID) + SHUFFLES * t["shuffled", C] for t in theirs.values()
        ]
        rows.append((f"job, 100 shuffled at C={C:g}*", base + ours[f"100 fits, C={C:g}"], loops))
    rows.append(
        ("6 fits", ready + ours["6 fits"], [sum(t[c][0] for c in C_GRID) for t in theirs.values()])
    )
    rows.append(("single fit, C=1", ours["single fit, C=1"], [t[1.0][0] for t in theirs.values()]))
    for name, mine, loops in rows:
        print(
            f"| {name} | {mine:.3f} | "
            + " | ".join(f"{x:.2f} | {x / mine:.1f}x" for x in loops)
            + " |"
        )
    print(
        f"\n\\* scikit-learn: 6 timed fits + 100 times the median of {few} timed shuffled fits; "
        "decisions included on both sides.\n"
    )
    floor = ours["floor: one Gram matrix"]
    print("| part | s | of one n x n Gram matrix |\n|---|---|---|")
    for name, value in ours.items():
        if isinstance(value, float):
            print(f"| {name} | {value:.4f} | {value / floor:.2f} |")
    print(
        "\n"
        + "; ".join(
            f"{k}: median {v[0]}, all converged {v[1]}"
            for k, v in ours.items()
            if k.startswith("steps")
        ),
        end="; ",
    )
    mine = ours["grid"].decisions(scaled(data[0], data[2])[1])
    far = max(
        np.abs(mine[:, j] - theirs["b"][C][1]).max() / theirs["b"][C][1].std()
        for j, C in enumerate(C_GRID)
    )
    print(
        f"grid steps {ours['grid'].iterations.tolist()}, converged {ours['grid'].converged.all()}"
    )
    print(
        f"\nlargest difference from (b) on held-out decisions, in their standard deviations: "
        f"{far:.1e} ((b) is no oracle)"
    )
    if memory:
        print("\nvectors {:.0f} MiB; the job raises the peak by {:.0f} MiB".format(*peak(n, d)))
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        action="append",
        metavar=("N", "D"),
        help="repeatable; default: four sizes",
    )
    parser.add_argument("--repeats", type=int, default=3, help="of our side")
    parser.add_argument(
        "--shuffled", type=int, default=3, help="shuffled columns that scikit-learn fits"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=0,
        help="BLAS threads of both sides; 0: as the environment says",
    )
    parser.add_argument(
        "--no-memory",
        action="store_true",
        help="skip the peak, which runs the job once more in a new process",
    )
    parser.add_argument("--quick", action="store_true", help="n=400, d=512, one repeat")
    options = parser.parse_args()
    sizes = (
        [(400, 512)]
        if options.quick
        else [tuple(s) for s in options.size]
        if options.size
        else SIZES
    )
    warnings.simplefilter("ignore")  # lbfgs that stops at max_iter is part of what is measured
    print(f"`python {' '.join(sys.argv)}`, BLAS threads: {options.threads or 'environment'}")
    with threadpool_limits(options.threads or None):
        for n, d in sizes:
            bench(
                n,
                d,
                1 if options.quick else options.repeats,
                1 if options.quick else options.shuffled,
                not options.no_memory,
            )
    print("\n### AUROC of all cells\n")
    print("\n".join(bench_auroc.rows()))
    import resource  # POSIX only, as /proc is

    print(
        f"\npeak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} "
        "MiB"
    )


if __name__ == "__main__":
    main()
