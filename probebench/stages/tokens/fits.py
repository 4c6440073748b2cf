"""A probe for every layer at the tokens of spans, the layer chosen on validation, and baselines at
the same tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from probebench.errors import LabelError
from probebench.metrics.calibration import Platt, fit_platt
from probebench.probes.choose import best_cell
from probebench.probes.fit import fit_cell
from probebench.probes.labels import MIN_CLASS, Labels, split_index
from probebench.probes.many_fits import decide, fit_last
from probebench.progress import Progress
from probebench.stages.tokens.plan import SpanPlan
from probebench.stages.tokens.read import SITE, TokenVectors
from probebench.text import counted
from probebench.types import EMB, SPLITS, Cell, CellFit, Floats

TOKEN = "token"
"""The one column of such a run: the token itself."""


class Estimate(NamedTuple):
    """A probe and what it says of every token that was read, those outside spans too."""

    fitted: Any
    decisions: Floats
    """(token,)"""


@dataclass(frozen=True, slots=True, eq=False)
class TokenFits:
    """What came of the probes."""

    layers: tuple[CellFit, ...]
    """One probe per layer, its decisions over the scored tokens."""
    chosen: CellFit
    probe: Estimate
    embedding: Estimate | None
    """The same of the embedding row; None where it was not read, or has no probe."""
    platt: Platt
    """From decisions to the probability that a token is right, on validation."""


def check_tokens(plan: SpanPlan) -> None:
    """Complain about labels to which no probe can be fitted.

    Raises:
        LabelError: a split without one of the classes, or too few tokens of one.
    """
    y, splits = plan.table.y, np.array(plan.token_splits)
    for label, name in ((1, "right"), (0, "wrong")):
        for split in SPLITS:
            if not ((y == label) & (splits == split)).any():
                raise LabelError(
                    f"No token of the {split} split is {name}: "
                    f"{counted(plan.splits.count(split), 'answer')} there. Take more answers (a "
                    "larger --limit, or --data FILE)."
                )
        if (n := int((y == label).sum())) < MIN_CLASS:
            raise LabelError(
                f"{n} tokens are {name}; at least {MIN_CLASS} are needed. Take more answers."
            )


def labels_of(plan: SpanPlan) -> Labels:
    """Labels of the scored tokens."""
    at = np.flatnonzero(plan.table.scored)
    splits, groups = plan.token_splits, plan.token_groups
    return Labels(plan.table.y[at], tuple(splits[i] for i in at), tuple(groups[i] for i in at))


def fit_layers(plan: SpanPlan, vectors: TokenVectors, progress: Progress) -> TokenFits:
    """One probe per layer over the train tokens; C and layer by AUROC over validation tokens.

    Raises:
        LabelError: no layer can have a probe.
    """
    at, labels, found = plan.table.scored, labels_of(plan), list[CellFit]()
    with progress.stage("Fitting probes", len(plan.layers), "layers") as counter:
        for k, layer in enumerate(plan.layers):
            X, cell = vectors.layer(k)[at], Cell(SITE, layer, TOKEN)
            there = np.ones(len(X), dtype=bool)
            found.append(fit_cell(X, there, labels, plan.probe, cell, device=plan.device))
            counter.advance()
    chosen = best_cell(f for f in found if f.cell.layer != EMB)
    if chosen is None:
        raise LabelError(f"No layer could be selected: {found[-1].masked or 'none was read'}.")
    row = next((f for f in found if f.cell.layer == EMB and not f.masked), None)
    probe = _estimate(plan, vectors, chosen, labels)
    held = np.flatnonzero(at)[split_index(labels.splits)["validation"]]
    platt = fit_platt(plan.table.y[held], probe.decisions[held])
    embedding = None if row is None else _estimate(plan, vectors, row, labels)
    return TokenFits(tuple(found), chosen, probe, embedding, platt)


def _estimate(plan: SpanPlan, vectors: TokenVectors, fit: CellFit, labels: Labels) -> Estimate:
    """The probe of a layer whose C is known, fitted again by itself, at every token."""
    X = vectors.layer(plan.layers.index(fit.cell.layer))
    train = np.flatnonzero(plan.table.scored)[split_index(labels.splits)["train"]]
    fitted = fit_last(plan.probe, fit.C, X[train], plan.table.y[train])
    return Estimate(fitted, decide(fitted, X))
