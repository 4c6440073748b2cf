"""What a detector's decisions must be, alone or beside those of others, example by example.

A baseline that was made weak, or lent another one's name, breaks one of these relations for some
example: a mean lies between minimum and maximum, the tokens of the exact answer are tokens of the
answer, a probability is the exponential of its logarithm. Whoever reads decisions that a stranger
sent can check them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probebench.types import Floats

SLACK = 1e-4
"""Share of a value by which decisions in single precision may miss a relation."""


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """One thing that holds of the decisions of every example."""

    broken: Callable[..., NDArray[np.bool_]]
    """(example,) where it does not hold, from the detector's own decisions and those of `parts`;
    NaN breaks nothing."""
    given: str
    """What stands there instead; `{n}` is the number of examples, `{parts}` the other detectors."""
    expected: str
    parts: tuple[str, ...] = ()
    """Names of the other detectors."""


def between(low: float, high: float) -> Relation:
    """From `low` to `high`."""
    return Relation(
        lambda own: (own < low - SLACK) | (own > high + SLACK),
        "{n} values out of range",
        f"from {low:g} to {high:g}",
    )


def at_most(other: str) -> Relation:
    """No higher than another one's."""
    return Relation(
        lambda own, above: own > above + SLACK * (1 + np.abs(above)),
        "above {parts} for {n} examples",
        "at most that, example by example",
        (other,),
    )


def equal_to(formula: Callable[..., Floats], *parts: str) -> Relation:
    """What a formula makes of others'; the first of them stands in its exponent, if any does."""

    def broken(own: Floats, *others: Floats) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):
            due = formula(*others)
        # an exponential multiplies the error of its argument
        steep = np.maximum(1.0, np.abs(others[0]))
        return np.asarray(np.abs(own - due) > SLACK * steep * (np.abs(due) + SLACK))

    return Relation(broken, "other values for {n} examples", "what {parts} say", parts)


def counts(what: str) -> Relation:
    """Minus a number of things."""
    return Relation(
        lambda own: np.isnan(own) | (own > 0) | (own != np.rint(own)),
        "a value that is no count",
        f"minus the number of {what}",
    )


def constant() -> Relation:
    """One and the same."""
    return Relation(
        lambda own: own != own[:1], "several values", "the same decision for every example"
    )
