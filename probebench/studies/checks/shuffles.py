"""What fits to shuffled labels say of a run, and what shuffles keep."""

from __future__ import annotations

from collections.abc import Iterator

from probebench.record.claims import ALPHA, p_words
from probebench.studies.registry import Concern, concern
from probebench.text import as_float

AWAY = 0.02
"""How far the mean of shuffled labels may lie from 0.5 before it is worth a word,"""
P_AWAY = 0.01
"""and the p-value over repeats (Student's t) from which it counts as away from it."""


@concern
def _controls(run: Concern) -> Iterator[str]:
    """What shuffled labels say."""
    from scipy.stats import t as student

    permutation, shuffled = run.record.controls.permutation, run.record.controls.shuffled_labels
    p = permutation.max_statistic_p
    if permutation.shuffles and p is None:
        yield (
            "Groups leave too little to shuffle: shuffled labels are nearly the true ones, so no "
            "p-value is given."
        )
    if p is not None and p >= ALPHA:
        yield (
            f"No cell of the map beats shuffled labels: the best of all has p = {p:.2f} "
            "(max-statistic)."
        )
    mean, sd, n = as_float(shuffled.mean_auroc), as_float(shuffled.sd), shuffled.repeats
    apart = 2 * float(student.sf(abs(mean - 0.5) / (sd / n**0.5), n - 1)) if sd > 0 else 1.0
    if abs(mean - 0.5) > AWAY and apart < P_AWAY:
        sizes = as_float(shuffled.group_sizes_auroc)
        told = abs(sizes - 0.5) > AWAY and (sizes > 0.5) == (mean > 0.5)
        why = (
            f"the size of an answer's group alone ranks at {sizes:.3f}, and groups exchange labels "
            "with others of their size."
            if told
            else "look for groups that cross the splits, or classes that differ in which tokens "
            "exist; where a direction of the states is strong, few shuffles can fall to one side."
        )
        yield (
            f"Probes of shuffled labels score {mean:.3f} on average over {n}, away from 0.5 "
            f"({p_words(apart)}): {why}"
        )
