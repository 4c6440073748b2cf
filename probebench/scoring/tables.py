"""Decisions and scores of a run as tables: what `predictions.parquet` and `scores.parquet` hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from probebench.scoring.comparison import Comparison
from probebench.scoring.score import Result
from probebench.types import Cell, CellFit, LabelledAnswer, ScoreMatrix, layer_name


def predictions_table(answers: Sequence[LabelledAnswer], result: Result) -> pd.DataFrame:
    """`predictions.parquet`: one decision per validation and test example and reported detector.

    `scored` is True for the test examples that the table of detectors is computed on.
    """
    comparison = result.comparison
    rows = [i for i, a in enumerate(answers) if a.split != "train"]
    scored = set(comparison.rows.tolist())
    base = pd.DataFrame(
        {
            "id": [answers[i].example.id for i in rows],
            "group": [answers[i].example.group for i in rows],
            "split": [answers[i].split for i in rows],
            "label": [answers[i].label for i in rows],
            "scored": [i in scored for i in rows],
        }
    )
    reported = [d for d in (*result.detectors, *result.shuffled) if d.name not in comparison.absent]
    return pd.concat(
        [base.assign(detector=d.name, decision=d.decisions[rows]) for d in reported],
        ignore_index=True,
    )


def scores_table(
    matrices: Iterable[ScoreMatrix], fits: Sequence[CellFit], comparison: Comparison
) -> pd.DataFrame:
    """`scores.parquet`: cells (`detector` = `cell`) and reported detectors."""
    by_cell = {f.cell: f for f in fits}
    rows: list[dict[str, Any]] = []
    for m in matrices:
        for i, layer in enumerate(m.layers):
            for j, position in enumerate(m.positions):
                fit = by_cell[Cell(m.site, layer, position)]
                rows.append(
                    {
                        "site": m.site,
                        "layer": layer_name(layer),
                        "position": position,
                        "detector": "cell",
                        "split": m.split,
                        "metric": m.metric,
                        "value": m.values[i, j],
                        "low": m.low[i, j],
                        "high": m.high[i, j],
                        "n": int(m.n[i, j]),
                        "delong_low": m.delong_low[i, j],
                        "delong_high": m.delong_high[i, j],
                        "shuffled": m.shuffled[i, j],
                        "selectivity": m.values[i, j] - m.shuffled[i, j],
                        "p": m.p[i, j],
                        "q": m.q[i, j],
                        "C": fit.C,
                        "converged": fit.converged,
                        "iterations": fit.iterations,
                        "unconverged": fit.unconverged,
                        "masked": fit.masked,
                    }
                )
    for s in comparison.scores:
        common = {
            "site": "",
            "layer": "",
            "position": "",
            "detector": s.name,
            "split": "test",
            "n": s.n,
        }
        rows.append(
            {
                **common,
                "metric": "auroc",
                "value": s.auroc,
                "low": s.interval.low,
                "high": s.interval.high,
            }
        )
        rows += [
            {
                **common,
                "metric": name,
                "value": m.value,
                "low": m.interval.low,
                "high": m.interval.high,
                "n": m.n,
            }
            for name, m in s.metrics.items()
        ]
    return pd.DataFrame(rows)
