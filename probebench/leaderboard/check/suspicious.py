"""What a reader should look at twice. None of it rejects a submission."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from probebench.detectors import suite
from probebench.leaderboard.check.shape import finding
from probebench.leaderboard.submission.read import DECISIONS, Decisions, Submission
from probebench.leaderboard.submission.strict import Finding

TOO_GOOD = 0.995
"""An AUROC above this is more often a leak than a result."""
OFF = 0.1
"""The mean of the shuffled-label control this far from 0.5, with an interval that leaves 0.5
out."""
TOO_LONG = 0.01
"""Share of a task's questions that may not fit into a model's context."""
FEW = 50
"""Test examples of the rarer class below which an AUROC says little."""


def suspicious(s: Submission) -> Iterator[Finding]:
    """Everything of one submission that is worth a look."""
    for d in s.record["detectors"]:
        if d["auroc"] > TOO_GOOD:
            yield finding(f"detectors ({d['name']}).auroc", d["auroc"], f"rarely above {TOO_GOOD}")
    control = s.record["controls"]["shuffled_labels"]
    low, high = control["mean_auroc_95"]
    if abs(control["mean_auroc"] - 0.5) > OFF and low is not None and not low <= 0.5 <= high:
        yield finding(
            "controls.shuffled_labels.mean_auroc",
            control["mean_auroc"],
            "about 0.5: labels without meaning",
        )
    yield from _same_within(s)
    yield from _flat(s)
    yield from _few(s.record)
    yield from _unnamed(s.record)
    test = s.decisions.split == "test"
    for y, word in ((1, "correct"), (0, "wrong")):
        rows = s.decisions.values["probe"][test & (s.decisions.label == y)]
        if len(rows) and np.unique(rows).size == 1:
            given = f"one value for all {word} test answers"
            yield Finding(DECISIONS, "d:probe", given, "decisions that differ")


def _few(record: Mapping[str, Any]) -> Iterator[Finding]:
    """Examples that are too few, or left out."""
    first, c = record["detectors"][0], record["comparison"]
    rare = min(first["n_correct"], first["n"] - first["n_correct"])
    if rare < FEW:
        given = f"{rare} test examples of the rarer class"
        yield finding("detectors[0].n_correct", given, f"{FEW} or more")
    left_out = c["n_test"] - c["n_compared"]
    if left_out > 0.1 * c["n_test"]:
        given = f"{left_out} test examples left out"
        yield finding("comparison.n_compared", given, "a tenth at most")
    n, too_long = record["counts"]["all"]["n"], record["data"]["n_too_long"]
    if too_long > TOO_LONG * n:
        yield finding("data.n_too_long", too_long, f"a hundredth of {n} at most")


def _unnamed(record: Mapping[str, Any]) -> Iterator[Finding]:
    """A package or weights that nothing identifies."""
    if record["package"]["commit"] is None:
        due = "a commit; an installed package cannot tell whether its files were changed"
        yield finding("package.commit", None, due)
    revision = record["model"]["revision"]
    if not str(revision or "").strip():
        yield finding("model.revision", revision, "the commit or hash of the weights")


def _flat(s: Submission) -> Iterator[Finding]:
    """Detectors that say the same of every test example."""
    test = s.decisions.split == "test"
    for name, values in s.decisions.values.items():
        there = values[test & np.isfinite(values)]
        if not suite.constant(name) and len(there) and np.ptp(there) == 0:
            yield Finding(
                DECISIONS, f"d:{name}", "one value for all test examples", "decisions that differ"
            )


def _same_within(s: Submission) -> Iterator[Finding]:
    """The probe's decisions under a second name in the same submission."""
    values = s.decisions.values
    for name, other in values.items():
        if name != "probe" and np.array_equal(values["probe"], other, equal_nan=True):
            yield Finding(
                DECISIONS, f"d:{name}", "the decisions of d:probe", "decisions of its own"
            )


def probe_digest(s: Submission) -> str:
    """What tells whether two submissions carry the same decisions: of the selected probe, and
    labels."""
    content = s.decisions.values["probe"].tobytes() + s.decisions.label.tobytes()
    return hashlib.sha256(content).hexdigest()


def example_digests(d: Decisions) -> tuple[str, str]:
    """What tells whether two submissions are on the same examples, and whether these have the same
    splits and groups there."""
    order = np.argsort(d.id)
    ids = "\n".join(d.id[order].tolist()).encode()
    rest = (
        "".join(d.split[order].tolist()).encode()
        + np.unique(d.group[order], return_inverse=True)[1].tobytes()
    )
    return hashlib.sha256(ids).hexdigest(), hashlib.sha256(rest).hexdigest()
