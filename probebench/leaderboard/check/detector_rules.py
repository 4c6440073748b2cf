"""The rules on the detectors beside the probe: their names, and what their decisions must be to one
another.

A baseline that was made weak, or lent another one's name, breaks one of these relations for some
example: a mean lies between minimum and maximum, the tokens of the exact answer are tokens of the
answer, a probability is the exponential of its logarithm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from probebench.leaderboard.check.shape import finding
from probebench.leaderboard.submission.read import DECISIONS, DETECTOR_MARK, Submission
from probebench.leaderboard.submission.strict import Finding
from probebench.types import Floats

SLACK = 1e-4
"""Share of a value by which decisions in single precision may miss a relation."""
SCORES = {"logit": "logit", "prob": "probability", "logprob": "log-prob"}
PLACES = {"": "(answer|statement)", "_exact": "exact answer"}
LABELS: Mapping[str, tuple[str, str]] = {
    "probe": ("probe", "probe, selected cell"),
    "probe_emb": ("probe", "probe, embedding row"),
    "probe_random_model": ("control", "probe, random model"),
    "text": ("baseline", r"text only(, question \+ answer)?"),
    "text_question": ("baseline", "text only, question"),
    "text_answer": ("baseline", "text only, answer"),
    "text_embedding": ("baseline", r"text embedding(, question \+ answer)?"),
    **{
        f"{name}_{how}{at}": ("baseline", f"{words} {how}, {place}")
        for name, words in SCORES.items()
        for how in ("mean", "min", "max")
        for at, place in PLACES.items()
    },
    "logprob_sum": ("baseline", "log-prob sum, (answer|statement)"),
    "perplexity": ("baseline", r"perplexity \(lower\), (answer|statement)"),
    "entropy_exact_first": ("baseline", r"entropy \(lower\), exact answer 1st"),
    "length": ("baseline", r"length \(shorter\)"),
    "length_question": ("baseline", r"prompt length \(shorter\)"),
    "majority": ("baseline", "majority class"),
    "p_true": ("baseline", r"p\(True\)(, answer)?"),
    "p_true_exact": ("baseline", r"p\(True\), exact answer"),
    "ensemble_mean": ("ensemble", r"mean of \d{1,4} cells?"),
    "ensemble_stacked": ("ensemble", r"stack of \d{1,4} cells?"),
}
"""Every detector of the suite -> its kind, and its words in tables as a pattern: a row may not lend
itself another's name."""
COMPLETE = (
    "text",
    "text_question",
    "text_answer",
    "text_embedding",
    "length",
    "length_question",
    "majority",
)
"""Detectors that have a decision for every example."""
RANGES = {
    "prob_": (0.0, 1.0),
    "p_true": (0.0, 1.0),
    "logprob_": (-np.inf, 0.0),
    "perplexity": (-np.inf, -1.0),
    "entropy_": (-np.inf, 0.0),
    "length": (-np.inf, 0.0),
}
"""Beginning of a name -> the values that it can take."""


def check_names(s: Submission) -> Iterator[Finding]:
    """Only detectors of the suite, under their own words and kind."""
    for i, row in enumerate(s.record["detectors"]):
        path = f"detectors[{i}]"
        if (own := LABELS.get(row["name"])) is None:
            yield finding(f"{path}.name", row["name"], "a detector that the suite computes")
            continue
        if row["kind"] != own[0]:
            yield finding(f"{path}.kind", row["kind"], f"{own[0]}, which {row['name']} is")
        if not re.fullmatch(own[1], row["label"]):
            yield finding(
                f"{path}.label", row["label"], f"the suite's words for {row['name']}, like {own[1]}"
            )


def check_signals(s: Submission) -> Iterator[Finding]:
    """Ranges, orders and equalities between the decisions of baselines, and which examples they
    score."""
    values = s.decisions.values
    for name in COMPLETE:
        if name in values and (missing := int(np.isnan(values[name]).sum())):
            yield _of(name, f"nothing for {missing} examples", "a decision for every example")
    for name, given in values.items():
        for start, (low, high) in RANGES.items():
            if name.startswith(start) and (
                n := _count((given < low - SLACK) | (given > high + SLACK))
            ):
                yield _of(name, f"{n} values out of range", f"from {low:g} to {high:g}")
    for low_name, high_name in _orders():
        if low_name in values and high_name in values:
            below, above = values[low_name], values[high_name]
            if n := _count(below > above + SLACK * (1 + np.abs(above))):
                yield _of(
                    low_name,
                    f"above {DETECTOR_MARK}{high_name} for {n} examples",
                    "at most that, example by example",
                )
    yield from _check_equal(values)
    for family in (("logit_", "prob_", "logprob_", "perplexity"), ("_exact",)):
        exact = family == ("_exact",)
        names = [
            n
            for n in values
            if "p_true" not in n and ("_exact" in n) is exact and (exact or n.startswith(family))
        ]
        for name in names[1:]:
            if n := _count(np.isnan(values[name]) != np.isnan(values[names[0]])):
                due = (
                    f"a decision where {DETECTOR_MARK}{names[0]} has one: both read the same tokens"
                )
                yield _of(name, f"{n} examples with one and not the other", due)


def _orders() -> Iterator[tuple[str, str]]:
    for name in SCORES:
        for at in PLACES:
            yield f"{name}_min{at}", f"{name}_mean{at}"
            yield f"{name}_mean{at}", f"{name}_max{at}"
        yield f"{name}_min", f"{name}_min_exact"
        yield f"{name}_max_exact", f"{name}_max"
    yield "logprob_sum", "logprob_min"


def _check_equal(values: Mapping[str, Floats]) -> Iterator[Finding]:
    """What two columns say of the same tokens."""
    with np.errstate(over="ignore"):
        pairs: list[tuple[str, tuple[str, ...], Callable[..., Floats]]] = [
            (f"prob_min{at}", (f"logprob_min{at}",), np.exp) for at in PLACES
        ]
        pairs += [("perplexity", ("logprob_mean",), lambda mean: -np.exp(-mean))]
        pairs += [("logprob_sum", ("logprob_mean", "length"), lambda mean, length: -mean * length)]
        for name, parts, formula in pairs:
            if name in values and all(p in values for p in parts):
                due = formula(*(values[p] for p in parts))
                # an exponential multiplies the error of its argument
                steep = np.maximum(1.0, np.abs(values[parts[0]]))
                if n := _count(np.abs(values[name] - due) > SLACK * steep * (np.abs(due) + SLACK)):
                    yield _of(
                        name,
                        f"other values for {n} examples",
                        f"what {' and '.join(DETECTOR_MARK + p for p in parts)} say",
                    )


def _count(wrong: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(wrong))


def _of(name: str, given: str, expected: str) -> Finding:
    return Finding(DECISIONS, f"{DETECTOR_MARK}{name}", given, expected)
