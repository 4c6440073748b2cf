"""The section on further answers: error types with a probe each, answer selection, soft targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import auroc_interval
from probebench.probes.fit import fit_cell
from probebench.probes.labels import MIN_CLASS
from probebench.scoring.comparison import ends
from probebench.stages.data import RunData
from probebench.studies.registry import Scored, study
from probebench.studies.sampled.choice import selection
from probebench.studies.sampled.shares import share_facts
from probebench.studies.sampled.soft import soft_targets
from probebench.studies.sampled.types import TYPES, type_masks
from probebench.types import SPLITS, Cell

UNMEASURED: Mapping[str, Any] = {"auroc": float("nan"), "auroc_95": [float("nan")] * 2, "C": None}


@study(
    "sampled",
    asked=lambda plan: plan.beside.drawing is not None,
    title="Further answers to each question",
    unasked="Error types and answer selection: ask for further answers with --samples 10.",
)
def _sampled(run: Scored) -> dict[str, Any] | None:
    data, samples, vectors = run.data, run.data.samples, run.sampled
    if samples is None or vectors is None:
        return None
    types, chosen = type_masks(samples), run.result.selected
    return {
        "n_samples": samples.n,
        "temperature": samples.temperature,
        "top_p": samples.top_p,
        "site": chosen.cell.site,
        "layer": chosen.cell.row,
        "position": chosen.cell.position,
        "share_correct": float(samples.correct.mean()),
        "types": [type_facts(data, chosen.cell, name, mask) for name, mask in types.items()],
        "selection": selection(data, samples, vectors, run.fitted, types),
        "soft_targets": soft_targets(data, samples, chosen),
    }


def type_facts(data: RunData, cell: Cell, name: str, mask: NDArray[np.bool_]) -> dict[str, Any]:
    """How many examples are of a type, in test with an interval, and the test AUROC of a probe of
    the selected cell that tells them from all others: fitted on train, C by validation.

    Args:
        data: the run.
        cell: whose vectors of the greedy answer are read.
        name: of the type.
        mask: (example,) which are of it.
    """
    labels = replace(data.labels, y=mask.astype(np.int64))
    test = np.flatnonzero(np.asarray(labels.splits) == "test")
    draws = Resamples.draw(labels.group_names(test), data.plan.seed)
    facts = {
        "type": name,
        "meaning": TYPES[name],
        "n": int(mask.sum()),
        "n_test": int(mask[test].sum()),
        "of_test": len(test),
        **share_facts("share", mask[test].astype(np.float64), draws),
    }
    if reason := too_few(data, mask):
        return {**facts, **UNMEASURED, "n_probed": 0, "reason": reason}
    there = data.job.reader.there(cell.position)
    fit = fit_cell(
        data.job.vectors(cell), there, labels, data.job.probe, cell, device=data.job.device
    )
    scored = test[np.isfinite(fit.decisions[test])]
    own = Resamples.draw(labels.group_names(scored), data.plan.seed)
    y, decisions = labels.y[scored], fit.decisions[scored]
    found = auroc(y, decisions) if len(scored) else float("nan")
    return {
        **facts,
        "auroc": found,
        "auroc_95": ends(auroc_interval(own, y, decisions)) if np.isfinite(found) else [found] * 2,
        "C": None if np.isnan(fit.C) else fit.C,
        "n_probed": len(scored),
        "reason": fit.masked or None,
    }


def too_few(data: RunData, mask: NDArray[np.bool_]) -> str:
    """Why a type can have no probe; empty where it can."""
    fewer = min(int(mask.sum()), int((~mask).sum()))
    if fewer < MIN_CLASS:
        what = "of it" if mask.sum() <= (~mask).sum() else "not of it"
        return f"{fewer} questions are {what}; at least {MIN_CLASS} are needed"
    splits = np.asarray(data.labels.splits)
    for name in SPLITS:
        if len(set(mask[splits == name].tolist())) < 2:
            return f"all {name} questions are of one kind"
    return ""
