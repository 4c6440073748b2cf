"""The probe's AUROC within strata of what else it could be reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.strata import stratified_auroc
from probebench.probes.labels import Labels, split_index
from probebench.scoring.comparison import ends
from probebench.studies.confounds.features import chosen_options
from probebench.types import Floats, LabelledAnswer

PIECES = 10
"""Strata of a number: deciles of train, fewer where values repeat."""


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """A way of putting answers of one kind together."""

    by: str
    """What the answers of a stratum share, such as `answer_tokens x chosen`."""
    of: NDArray[np.int64]
    """(example,) number of its stratum."""


def pieces(column: Floats, train: NDArray[np.int64]) -> NDArray[np.int64]:
    """(example,) decile of a number, by its train values."""
    seen = column[train][np.isfinite(column[train])]
    if not len(seen):
        return np.zeros(len(column), dtype=np.int64)
    at = np.linspace(0, 1, PIECES + 1)[1:-1]
    edges = np.unique(np.quantile(seen, at, method="higher"))
    return np.searchsorted(edges, column, side="right").astype(np.int64)


def strata(answers: Sequence[LabelledAnswer], labels: Labels, model: Floats) -> Iterator[Strata]:
    """Deciles of the length, within the chosen option where there is one; and deciles of the
    decision of the confounds' own model, which stands for all of them at once (a balancing score:
    Rosenbaum and Rubin 1983).

    Args:
        answers: all of the run.
        labels: with their splits.
        model: (example,) decisions of the model of the confounds.
    """
    train = split_index(labels.splits)["train"]
    statements = answers[0].example.label is not None
    lengths = np.array(
        [
            float(a.tokens.n_total if statements else len(a.answer.answer_ids) - a.answer.stopped)
            for a in answers
        ]
    )
    by, of = ("statement_tokens" if statements else "answer_tokens"), pieces(lengths, train)
    chosen = chosen_options(answers)
    if any(c is not None for c in chosen):
        names, codes = np.unique([c or "" for c in chosen], return_inverse=True)
        by, of = f"{by} x chosen", of * len(names) + codes
    yield Strata(by, of)
    yield Strata("confounds", pieces(model, train))


def within(made: Strata, labels: Labels, decisions: Floats, seed: int) -> dict[str, Any]:
    """The probe's AUROC over the test pairs that share a stratum."""
    test = split_index(labels.splits)["test"]
    test = test[np.isfinite(decisions[test])]
    y, scores = labels.y[test], decisions[test]
    draws = Resamples.draw(labels.group_names(test), seed)
    found = stratified_auroc(draws, y, scores, made.of[test])
    return {
        "by": made.by,
        "n": found.n,
        "n_strata": found.n_strata,
        "n_pairs": found.n_pairs,
        "share_of_pairs": found.n_pairs / max(1, int(y.sum()) * int((1 - y).sum())),
        "probe_auroc": auroc(y, scores),
        "auroc": found.auroc,
        "auroc_95": ends(found.interval),
    }
