"""Decisions and scores of a run as tables: what `predictions.parquet` and `scores.parquet` hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from probebench.scoring.comparison import Comparison, DetectorScore
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
    cells = [row for m in matrices for row in _cells(m, {f.cell: f for f in fits})]
    return pd.DataFrame([*cells, *(row for score in comparison.scores for row in _metrics(score))])


def _cells(m: ScoreMatrix, fits: Mapping[Cell, CellFit]) -> Iterator[dict[str, Any]]:
    """A row per cell of a matrix."""
    for i, layer in enumerate(m.layers):
        for j, position in enumerate(m.positions):
            fit = fits[Cell(m.site, layer, position)]
            yield {
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
                "barred": fit.barred,
            }


def _metrics(s: DetectorScore) -> Iterator[dict[str, Any]]:
    """A row per metric of a detector, its AUROC first."""
    place = {"site": "", "layer": "", "position": "", "detector": s.name, "split": "test"}
    first = {"metric": "auroc", "value": s.auroc, "low": s.interval.low, "high": s.interval.high}
    yield {**place, "n": s.n, **first}
    for name, m in s.metrics.items():
        own = {"metric": name, "value": m.value, "low": m.interval.low, "high": m.interval.high}
        yield {**place, "n": m.n, **own}
