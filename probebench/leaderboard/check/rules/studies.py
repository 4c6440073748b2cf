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
    ("probe_minus_this", "probe_auroc", "auroc", sub),
    ("difference", "probe_auroc", "baseline_auroc", sub),
    ("difference", "auroc", "baseline_auroc", sub),
)
"""Numbers that follow from two others of the same part."""
FREE = ("studies", "detail", "settings", "versions")
"""Parts in which names mean what whoever registered them says."""


def check_parts(s: Submission) -> Iterator[Finding]:
    """Shares, differences and intervals of every part of the record follow from what stands beside
    them."""
    for path, part in _parts("", s.record):
        for name, a, b, of in APART:
            values = part.get(a), part.get(b), part.get(name)
            if not all(map(is_real, values)) or (name == "rate" and not values[1]):
                continue
            if abs((due := of(*values[:2])) - values[2]) > TOLERANCE:
                yield finding(f"{path}{name}", part[name], f"{due!r}, of {a} and {b}")
        for name, ends in part.items():
            value = part.get(name.removesuffix(ENDS)) if name.endswith(ENDS) else None
            if not is_real(value) or not isinstance(ends, list) or len(ends) != 2:
                continue
            low, high = ends
            if is_real(low) and is_real(high) and not low - TOLERANCE <= value <= high + TOLERANCE:
                yield finding(f"{path}{name}", ends, f"an interval around {value!r}")


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
    counts, chosen = record["counts"], record["selection"]
    n, rest = counts["test"]["n"], twins["n_test"] - twins["n"]
    due = {
        "near_twins.n_test": (twins["n_test"], n),
        "near_twins.share": (twins["share"], twins["n"] / n if n else None),
        "labels.judged": (labels["judged"], counts["all"]["n"] - (labels.get("given") or 0)),
    }
    for name in ("linear", "residual", "residual_validation"):
        if found := record["confounds"].get(name):
            path = f"confounds.{name}"
            due[f"{path}.n"] = found["n"], chosen["n_test"]
            due[f"{path}.probe_auroc"] = found["probe_auroc"], chosen["test_auroc"]
    for field, (given, right) in due.items():
        if not is_real(given) or not is_real(right) or abs(given - right) > TOLERANCE:
            yield finding(field, given, f"{right!r}, as the rest of the record has it")
    if rest < 0 or twins["without"]["n"] > rest:
        yield finding("near_twins.without.n", twins["without"]["n"], f"at most {max(rest, 0):,}")
