"""Which of several detectors is best, where not all of them score the same examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc_many
from probebench.probes.choose import first_best

LEAST = 0.5
"""Part of the examples that a detector must score to be chosen: else a handful would decide for
all."""


def best_on_common(y: NDArray[np.integer], decisions: NDArray[np.float64]) -> int | None:
    """The detector with the highest AUROC on the examples that all of them score, the first of
    equals.

    Detectors that score less than half of the examples take no part. On examples of its own, one
    that scores the easy ones only would look better than another that beats it there.

    Args:
        y: (example,) 1 = correct.
        decisions: (detector, example), NaN where a detector has no score.

    Returns:
        None where no detector scores half of the examples, or the common ones hold one class only.
    """
    able, common = common_examples(decisions)
    if not len(able):
        return None
    values = auroc_many(np.asarray(y)[common], decisions[np.ix_(able, common)])
    best = first_best(values)
    return None if best is None else int(able[best])


def common_examples(decisions: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which detectors score at least half of the examples, and (example,) which examples all of
    these score.

    Args:
        decisions: (detector, example), NaN where a detector has no score.
    """
    finite = np.isfinite(decisions)
    able = np.flatnonzero(finite.sum(axis=1) >= max(1.0, LEAST * decisions.shape[1]))
    return able.astype(np.int64), np.asarray(finite[able].all(axis=0))
