"""Which of several detectors is best, where not all of them score the same examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc_many
from probebench.probes.choose import first_best, too_few


def best_on_common(y: NDArray[np.integer], decisions: NDArray[np.float64]) -> int | None:
    """The detector with the highest AUROC on the examples that all of them score, the first of
    equals.

    Those compete that score as many examples as a cell must (`too_few`). On examples of its own,
    one that scores the easy ones only would look better than another that beats it there. And where
    one that scores only some took part, all would be judged on these: on answers that hold an exact
    answer, say, where a signal that tells these from the others says nothing.

    Args:
        y: (example,) 1 = correct.
        decisions: (detector, example), NaN where a detector has no score.

    Returns:
        None where no detector scores enough of the examples, or the common ones hold one class.
    """
    able, common = common_examples(y, decisions)
    if not len(able):
        return None
    values = auroc_many(np.asarray(y)[common], decisions[np.ix_(able, common)])
    best = first_best(values)
    return None if best is None else int(able[best])


def common_examples(
    y: NDArray[np.integer], decisions: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which detectors compete, and (example,) which examples all of these score.

    Args:
        y: (example,) 1 = correct.
        decisions: (detector, example), NaN where a detector has no score.
    """
    finite, y = np.isfinite(decisions), np.asarray(y)
    able = [k for k, there in enumerate(finite) if there.any() and too_few(y, there) is None]
    return np.array(able, dtype=np.int64), np.asarray(finite[able].all(axis=0))
