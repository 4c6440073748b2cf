"""Transfer: the selected probe of each run, applied to the other tasks of the same model. Reads stored states, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probebench.errors import UsageError
from probebench.maps.heatmap import plot_transfer
from probebench.maps.numbers import caption
from probebench.run import Run
from probebench.scoring.metrics import Resamples, auroc, percentile_interval
from probebench.types import EMB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAME = ("revision", "tokenizer", "chat_template", "dtype", "attention")
"""What must agree for two runs to be of one model."""


def transfer_scores(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per train and test task: the AUROC of the train task's selected probe on the test task's test examples.

    The cell is the one chosen on the train task's validation examples; nothing is chosen on the test task. An AUROC below
    0.5 is reported as it is; `direction_free` is max(auroc, 1 - auroc), the figure of Orgad et al. 2025.

    Raises:
        UsageError: runs of different models, two runs of one task, or a run that did not read the cell of another.
        BadFileError, StatesError: a run without its probe or hidden states.
    """
    _check(runs)
    return pd.DataFrame([_score(source, target) for source in runs for target in runs])


def _check(runs: Sequence[Run]) -> None:
    first = runs[0].record["model"]
    for run in runs[1:]:
        different = [name for name in SAME if run.record["model"][name] != first[name]]
        if different:
            raise UsageError(f"{runs[0].folder} and {run.folder} are not runs of one model: they differ in {', '.join(different)}.")
        if run.record["settings"]["seed"] != runs[0].record["settings"]["seed"]:
            raise UsageError(f"{runs[0].folder} and {run.folder} were split with different seeds: groups may stand in both splits.")
    names = [run.record["task"]["name"] for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"Two runs of the task {twice[0]}: give one run per task.")


def _score(source: Run, target: Run) -> dict[str, Any]:
    probe, cell = source.probe(), source.record["selection"]
    states, answers = target.states(), target.answers
    layer = EMB if cell["layer"] == "emb" else int(cell["layer"])
    row = {"train_task": source.record["task"]["name"], "test_task": target.record["task"]["name"], "site": cell["site"],
           "layer": cell["layer"], "position": cell["position"]}  # fmt: skip
    test = np.flatnonzero(answers.split == "test")
    there = states.there(cell["position"])[test] if cell["position"] in states.positions else np.zeros(len(test), dtype=bool)
    rows = test[there]
    y = answers.label.to_numpy()[rows]
    if cell["site"] not in states.sites or layer not in states.site(cell["site"]).layers:
        raise UsageError(f"{target.folder} did not read {cell['site']} of layer {cell['layer']}, the cell of {source.folder}.")
    if len(np.unique(y)) < 2:  # the position does not exist there, or hardly
        nan = float("nan")
        return {**row, "auroc": nan, "low": nan, "high": nan, "direction_free": nan, "n": len(rows), "correct": int(y.sum())}
    decisions = np.asarray(probe.decision_function(states.cell(layer, cell["position"], cell["site"])[rows]), dtype=np.float64)
    draws = Resamples.draw([str(g) for g in answers.group.to_numpy()[rows]], target.record["settings"]["seed"])
    interval, value = percentile_interval(draws.auroc(y, decisions)), auroc(y, decisions)
    return {**row, "auroc": value, "low": interval.low, "high": interval.high, "direction_free": max(value, 1 - value),
            "n": len(rows), "correct": int(y.sum())}  # fmt: skip


def transfer_map(runs: Sequence[Run], **options: Any) -> tuple[Axes, pd.DataFrame]:
    """The train x test map of a set of runs of one model, and its scores as a long table."""
    scores, record = transfer_scores(runs), runs[0].record
    names = [run.record["task"]["name"] for run in runs]
    matrix = scores.pivot(index="train_task", columns="test_task", values="auroc").loc[names, names]
    lines = [
        f"{record['probe']['name']} probe of the train task's selected cell, test AUROC on the test task, never flipped;",
        f"n = {int(scores.n.min())} to {int(scores.n.max())} per column; framed: its own task. Grey: no such token there.",
    ]
    settings = {"title": f"{record['model']['name']}: transfer between tasks", "caption": caption(record, lines)}
    return plot_transfer(matrix, **{**settings, **options}), scores
