"""Evidence for a protocol decision: scale each feature, or all features by one number, before L2
logistic regression?

    python scripts/compare_scaling.py RUN [RUN ...]

Reads the hidden states of finished runs, fits every cell both ways with the protocol's grid of C,
and prints the mean test AUROC over cells, the difference with its standard error over cells, and
the cell that validation selects under each.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression

from probebench.metrics.auroc import auroc
from probebench.probes.kinds import C_GRID
from probebench.probes.labels import split_index
from probebench.record.run import Run
from probebench.states.reader import StatesReader
from probebench.types import EMB


def fit(X: np.ndarray, y: np.ndarray, rows: dict, one_scale: bool) -> tuple[float, float]:
    """(validation AUROC, test AUROC) at the C that validation prefers."""
    train, validation, test = (rows[s] for s in ("train", "validation", "test"))
    centre = X[train].mean(0)
    scale = X[train].std(0)
    scale = np.sqrt((scale**2).mean()) if one_scale else np.where(scale > 0, scale, 1.0)
    Z = (X - centre) / scale
    best = (-1.0, float("nan"))
    for C in C_GRID:
        model = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-6, max_iter=200).fit(
            Z[train], y[train]
        )
        scores = model.decision_function(Z)
        value = auroc(y[validation], scores[validation])
        if value > best[0]:
            best = value, auroc(y[test], scores[test])
    return best


def main(folders: list[str]) -> None:
    print(
        "| run | cells | mean test AUROC, each feature | one scale | difference | selected: each "
        "feature | one scale |"
    )
    print("|---|---|---|---|---|---|---|")
    for folder in folders:
        run = Run.load(folder)
        reader = StatesReader.open(run.folder / run.record["states"])
        answers = run.answers
        y, rows = answers.label.to_numpy(), split_index(answers.split.tolist())
        results = []
        for layer in (k for k in reader.layers if k != EMB):
            for j, position in enumerate(reader.positions):
                there = reader.present[:, j]
                X = reader.cell(layer, position)
                here = {s: r[there[r]] for s, r in rows.items()}
                results.append([*fit(X, y, here, False), *fit(X, y, here, True)])
        r = np.array(results)
        d = r[:, 1] - r[:, 3]
        chosen = [r[r[:, 0].argmax(), 1], r[r[:, 2].argmax(), 3]]
        name = (
            f"{run.record['model']['name'].rstrip('/').split('/')[-1]} on "
            f"{run.record['task']['name']}"
        )
        difference = f"{d.mean():+.4f} +- {d.std(ddof=1) / len(d) ** 0.5:.4f}"
        means = f"{r[:, 1].mean():.3f} | {r[:, 3].mean():.3f}"
        print(
            f"| {name} | {len(r)} | {means} | {difference} | {chosen[0]:.3f} | {chosen[1]:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
