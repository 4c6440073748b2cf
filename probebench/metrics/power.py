"""Power: which difference of two AUROCs a number of examples can show, before any of them is
scored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.delong import Z95
from probebench.types import Floats

POWER = Z95 + 0.8416212335729143
"""97.5 % and 80 % quantiles of the normal distribution: a difference of this many standard errors
is found 4 times out of 5 by a two-sided test at 5 %."""


def auroc_covariance(area: float, shared: float, n1: float, n0: float) -> float:
    """Covariance of the estimated AUROCs of two detectors, on the same examples; of one with itself
    its variance.

    The form is that of Hanley and McNeil (1982) and DeLong et al. (1988): pairs of a correct and a
    wrong answer that have both answers, or one, in common. Their probabilities are those of normal
    decisions of one variance in both classes, where Hanley and McNeil take exponential ones.

    Args:
        area: AUROC of both.
        shared: correlation of their decisions within a class; 1 for the variance of one.
        n1: correct answers; a part of one where groups make answers alike.
        n0: wrong ones.
    """
    if not 0 < area < 1:
        return 0.0
    both, one = (_both_below(area, r) - area**2 for r in (shared, shared / 2))
    return float((both + (n1 + n0 - 2) * one) / (n1 * n0))


def _both_below(area: float, correlation: float) -> float:
    """P(U < z and V < z) of two standard normals, z that of P(U < z) = `area` (Owen 1956)."""
    from scipy.special import ndtri, owens_t

    slope = ((1 - correlation) / (1 + correlation)) ** 0.5
    return float(area - 2 * owens_t(ndtri(area), slope))


def detectable_difference(
    area: float, shared: float, n1: int, n0: int, effect: float = 1.0
) -> float:
    """Difference of two AUROCs that a two-sided test at 5 % finds in 80 % of repetitions.

    Args:
        area: AUROC around which both lie.
        shared: correlation of their decisions within a class.
        n1: correct test answers.
        n0: wrong ones.
        effect: by how much groups raise the variance.

    Returns:
        NaN where a class has no answer.
    """
    if min(n1, n0) < 1:
        return float("nan")
    variance = 2 * (auroc_covariance(area, 1, n1, n0) - auroc_covariance(area, shared, n1, n0))
    return float(POWER * np.sqrt(effect * variance))


def end_effect(
    area: float, fewer: int, y: NDArray[np.integer], scores: Floats, group: NDArray[np.integer]
) -> float:
    """By how much groups raise the variance of an AUROC so near to 0 or 1 that its own resamples
    cannot show it: nearer than one of the `fewer` groups. 1 elsewhere.

    It is read from where scores stand inside their own class, which says something even where the
    classes are apart: the design effect (Kish 1965) of the difference of the classes' mean ranks;
    at least 1. What raises correct and wrong answers of a group alike cancels out. A group of
    copies counts as one answer.

    Args:
        area: the AUROC.
        fewer: groups that have an answer of the class of which fewer have one.
        y: (example,) 1 = correct.
        scores: (example,), finite.
        group: (example,) number of each example's group, from 0.
    """
    from scipy.stats import rankdata

    near = 1 / max(1, fewer)
    if near <= area <= 1 - near:
        return 1.0
    off = np.zeros(len(y))
    for value, sign in ((1, 1), (0, -1)):
        own = np.flatnonzero(np.asarray(y) == value)
        share = rankdata(scores[own]) / max(1, len(own))
        off[own] = sign * (share - share.mean()) / len(own)
    alone = float((off**2).sum())
    return max(1.0, float((np.bincount(group, off) ** 2).sum()) / alone) if alone else 1.0


def group_effect(
    groups: Sequence[str],
    alike: float,
    y: NDArray[np.integer] | None = None,
    labels_alike: float = 0.0,
) -> float:
    """By how much groups raise the variance of an AUROC or of a difference of two: the design
    effect (Kish 1965); at least 1.

    What a group has in common raises the decisions of its correct answers, which helps, and of its
    wrong ones, which harms. So it adds up only as far as labels of a group agree, and the
    intraclass correlation of decisions is multiplied by that of labels.

    Args:
        groups: (example,) group of each.
        alike: intraclass correlation of decisions within a class.
        y: (example,) 1 = correct; None where labels are not known.
        labels_alike: intraclass correlation of labels, where they are not known.
    """
    index = np.unique(np.asarray(groups), return_inverse=True)[1]
    sizes = np.bincount(index)
    others = float((sizes**2).sum() / len(groups) - 1)  # of its group, beside an example itself
    if y is None:
        return max(1.0, 1 + others * alike * labels_alike)
    off = np.asarray(y) - np.mean(y)
    if not off.any():
        return 1.0
    agreeing = float((np.bincount(index, off) ** 2).sum() / (off**2).sum() - 1)
    return max(1.0, 1 + alike * agreeing)
