"""The bar that a transferred probe has to clear: what anyone could read without a label."""

from __future__ import annotations

import numpy as np

from probebench.detectors import suite
from probebench.record.reopened import Reopened
from probebench.scoring.best import best_on_common


def best_label_free(run: Reopened) -> str | None:
    """The detector with the best validation AUROC among those fitted to no label, all on the same
    examples.

    None where there is none (see `best_on_common`).
    """
    free = [name for name in run.reported if suite.label_free(name)]
    if not free:
        return None
    rows = np.flatnonzero(run.split == "validation")
    decisions = np.array([run.reported[name][rows] for name in free])
    best = best_on_common(run.labels.y[rows], decisions)
    return None if best is None else free[best]
