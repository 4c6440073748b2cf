"""The angle between two linear probes: in the space of the vectors, and as the vectors of a task
see it."""

from __future__ import annotations

import numpy as np

from probebench.types import AnyFloats


def cosine(a: AnyFloats | None, b: AnyFloats | None) -> float:
    """Cosine of two weight vectors (width,); NaN where a probe is not linear (None) or has no
    direction."""
    if a is None or b is None:
        return float("nan")
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return _normed(float(a @ b), float(a @ a), float(b @ b))


def mahalanobis_cosine(a: AnyFloats | None, b: AnyFloats | None, X: AnyFloats) -> float:
    """Cosine of two weight vectors under the covariance S of the vectors they are applied to: a'Sb
    / sqrt(a'Sa b'Sb).

    S is the covariance over all rows of `X`, both classes together: our reading of Ying et al. 2026
    (arXiv:2602.20273), who reweight the inner product by the covariance of the test data. This is
    the Pearson correlation of the two probes' decisions over these rows, and it is computed as
    such: S itself, (width, width), is never formed, and directions in which the rows do not vary do
    not count.

    Args:
        a: (width,) weights; None for a probe that is not linear.
        b: (width,) weights of the other probe.
        X: (example, width) vectors.

    Returns:
        NaN where a probe is not linear, there are fewer than two rows, or a probe gives all of them
        one decision.
    """
    if a is None or b is None or len(X) < 2:
        return float("nan")
    directions = np.stack(
        [np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)], axis=1
    )
    centred = np.asarray(X, dtype=np.float64)
    decisions = (centred - centred.mean(axis=0)) @ directions  # (example, 2)
    inner = decisions.T @ decisions
    return _normed(float(inner[0, 1]), float(inner[0, 0]), float(inner[1, 1]))


def _normed(inner: float, first: float, second: float) -> float:
    if not (first > 0 and second > 0):
        return float("nan")
    return float(np.clip(inner / np.sqrt(first) / np.sqrt(second), -1.0, 1.0))
