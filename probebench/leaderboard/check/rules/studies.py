"""What the studies beside the table say of themselves: no decision tells it, but their numbers
must agree with one another and with those that were computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import sub, truediv
from typing import Any

from probebench.leaderboard.check.recompute import TOLERANCE
from probebench.leaderboard.check.shape import finding, is_real
from probebench.leaderboard.submission.read import Submission
from probebench.leaderboard.submission.strict import Finding

ALWAYS = ("confounds", "near_twins", "labels")
"""Studies that every run under the protocol has."""
ENDS = "_95"
"""How the name of an interval ends, after that of its number."""
APART = (
    ("rate", "n", "of", truediv),
    ("share", "n", "of", truediv),
    ("share", "differ", "examples", truediv),
    ("probe_minus_this", "probe_auroc", "auroc", sub),
    ("difference", "probe_auroc", "baseline_auroc", sub),
    ("difference", "auroc", "baseline_auroc", sub),
)
"""Numbers that follow from two others of the same part."""
AT_MOST = (
    ("n", "of"),
    ("n_correct", "n"),
    ("in_prompt", "n"),
    ("n_groups", "n"),
    ("first_token", "tokens"),
    ("differ", "examples"),
)
"""Counts of a part of those that stand beside them."""
BY_CLASS = ("all", "correct", "wrong")
ABSENT = ("auroc", "auroc_95", "probe_minus_this", "probe_minus_this_95")
"""What a part with a reason why it has no AUROC cannot have."""
UNDEFINED = ("auroc", "difference", "probe_minus_this")
"""Numbers without which resamples have no interval; some others have one all the same."""
BESIDE = ("linear", "residual", "residual_validation")
"""What `confounds` holds against the probe, each on the examples that it scores."""
LEVEL = 0.05
"""Of the tests whose p stand beside 95 % intervals."""
FREE = ("studies", "detail", "settings", "versions")
"""Parts in which names mean what whoever registered them says."""


def check_parts(s: Submission) -> Iterator[Finding]:
    """Shares, differences, intervals and p of every part of the record follow from what stands
    beside them."""
    for path, part in _parts("", s.record):
        for name, a, b, of in APART:
            values = part.get(a), part.get(b), part.get(name)
            if not all(map(is_real, values)) or (of is truediv and not values[1]):
                continue
            if abs((due := of(*values[:2])) - values[2]) > TOLERANCE:
                yield finding(f"{path}{name}", part[name], f"{due!r}, of {a} and {b}")
        for name, ends in part.items():
            if name.endswith(ENDS) and isinstance(ends, list) and len(ends) == 2:
                yield from _check_ends(path, name, part)
        yield from _check_counted(path, part)
        for name in ABSENT if part.get("reason") else ():
            if part.get(name) not in (None, [None, None]):
                yield finding(f"{path}{name}", part[name], "null: a reason says why there is none")


def _check_ends(path: str, name: str, part: Mapping[str, Any]) -> Iterator[Finding]:
    """An interval is around its number, and leaves out 0 where the p beside it says so.

    Both come from one standard error and one distribution. An end within the tolerance of 0 may lie
    on either side of it, as every number may.
    """
    (low, high), stem = part[name], name.removesuffix(ENDS)
    if stem not in part or not is_real(low) or not is_real(high):
        return
    if not is_real(value := part[stem]):
        if stem.endswith(UNDEFINED):
            yield finding(f"{path}{name}", [low, high], f"null, as {stem} is")
    elif not low - TOLERANCE <= value <= high + TOLERANCE:
        yield finding(f"{path}{name}", [low, high], f"an interval around {value!r}")
    if not is_real(p := part.get(f"{stem}_p")):
        return
    if (p < LEVEL and low < -TOLERANCE and high > TOLERANCE) or (
        p > LEVEL and (low > TOLERANCE or high < -TOLERANCE)
    ):
        due = f"{'below' if p > LEVEL else 'above'} {LEVEL}, as {name} has it: {[low, high]}"
        yield finding(f"{path}{stem}_p", p, due)


def _check_counted(path: str, part: Mapping[str, Any]) -> Iterator[Finding]:
    """No part is larger than the whole, and both classes together are all."""
    for name, most in AT_MOST:
        few, many = part.get(name), part.get(most)
        if is_real(few) and is_real(many) and few > many:
            yield finding(f"{path}{name}", few, f"at most {many}, {most}")
    sides = [part.get(name) for name in BY_CLASS]
    for name in ("n", "of"):
        counts: list[Any] = [
            side.get(name) if isinstance(side, Mapping) else None for side in sides
        ]
        if all(map(is_real, counts)) and counts[0] != sum(counts[1:]):
            due = f"{sum(counts[1:])}, of correct and wrong"
            yield finding(f"{path}all.{name}", counts[0], due)


def _parts(path: str, part: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping of a record with where it stands, but for free ones."""
    if isinstance(part, Mapping):
        yield path, part
        for name, inner in part.items():
            if name not in FREE:
                yield from _parts(f"{path}{name}.", inner)
    elif isinstance(part, list):
        for i, inner in enumerate(part):
            yield from _parts(f"{path.removesuffix('.')}[{i}].", inner)


def check_studies(s: Submission) -> Iterator[Finding]:
    """Those of every run are there, and are of this run's examples and probe."""
    record = s.record
    absent = [name for name in ALWAYS if not isinstance(record.get(name), Mapping)]
    for name in absent:
        yield finding(name, record.get(name), "what every run under the protocol measures")
    if absent:
        return
    twins, labels = record["near_twins"], record["labels"]
    counts = record["counts"]
    n, rest = counts["test"]["n"], twins["n_test"] - twins["n"]
    due = {
        "near_twins.n_test": (twins["n_test"], n),
        "near_twins.share": (twins["share"], twins["n"] / n if n else None),
        "labels.judged": (labels["judged"], counts["all"]["n"] - (labels.get("given") or 0)),
    }
    due |= dict(_due_of_confounds(s))
    for name, n in _by_class(counts["all"]) if record.get("said") else ():
        due[f"said.commonest.{name}.of"] = record["said"]["commonest"][name]["of"], n
    for field, (given, right) in due.items():
        if not is_real(given) or not is_real(right) or abs(given - right) > TOLERANCE:
            yield finding(field, given, f"{right!r}, as the rest of the record has it")
    if rest < 0 or twins["without"]["n"] > rest:
        yield finding("near_twins.without.n", twins["without"]["n"], f"at most {max(rest, 0):,}")
    yield from _check_twins(twins)
    yield from _check_embedding(s)


def _by_class(counts: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    yield "correct", counts["correct"]
    yield "wrong", counts["n"] - counts["correct"]


def _due_of_confounds(s: Submission) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Field -> given, and what the selected cell says: all of it is on the test examples that the
    probe scores."""
    chosen, confounds = s.record["selection"], s.record["confounds"]
    parts = [(f"confounds.{name}", confounds.get(name)) for name in BESIDE]
    for path, found in parts:
        if found:
            yield f"{path}.n", (found["n"], chosen["n_test"])
            yield f"{path}.probe_auroc", (found["probe_auroc"], chosen["test_auroc"])
            right = chosen.get("n_test_correct", found["n_correct"])
            yield f"{path}.n_correct", (found["n_correct"], right)
    for i, found in enumerate(confounds.get("within", ())):
        path = f"confounds.within[{i}]"
        yield f"{path}.probe_auroc", (found["probe_auroc"], chosen["test_auroc"])
        yield f"{path}.n", (found["n"], min(found["n"], chosen["n_test"]))
        if correct := chosen.get("n_test_correct"):
            pairs = max(1, correct * (chosen["n_test"] - correct))
            yield f"{path}.share_of_pairs", (found["share_of_pairs"], found["n_pairs"] / pairs)


def _check_twins(twins: Mapping[str, Any]) -> Iterator[Finding]:
    """A test text may have a near twin in train and one in validation: it counts once in `n`, and
    in each of both."""
    by, n = twins["by_split"].values(), twins["n"]
    if not max(by, default=0) <= n <= sum(by):
        due = f"from {max(by, default=0):,} to {sum(by):,}, by what by_split counts"
        yield finding("near_twins.n", n, due)
    for i, pair in enumerate(twins["examples"]):
        if pair["cosine"] <= twins["bar"]:
            due = f"above {twins['bar']}, the bar"
            yield finding(f"near_twins.examples[{i}].cosine", pair["cosine"], due)


def _check_embedding(s: Submission) -> Iterator[Finding]:
    """What is said of an encoder of the text is the table's row of it; without one, only why."""
    given = s.record["confounds"]["text_embedding"]
    rows = (d for d in s.record["detectors"] if d["name"] == "text_embedding")
    row = next(rows, None)
    if row is None and not given.get("reason"):
        yield finding("confounds.text_embedding.reason", given.get("reason"), "why it is absent")
    for name in given.keys() - {"reason"}:
        right = ([None, None] if name.endswith(ENDS) else None) if row is None else row.get(name)
        if given[name] != right:
            due = "as in its row of detectors" if row else "null: it has no row in detectors"
            yield finding(f"confounds.text_embedding.{name}", given[name], due)
