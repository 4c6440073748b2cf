"""What the studies beside the table say of themselves: no decision tells it, but their numbers
must agree with one another and with those that were computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import sub, truediv
from typing import Any

from probebench.leaderboard.check.recompute import TOLERANCE
from probebench.leaderboard.check.shape import finding, is_real
from probebench.leaderboard.submission.read import CELLS, Submission
from probebench.leaderboard.submission.strict import Finding, shown

ALWAYS = ("confounds", "near_twins", "labels")
"""Studies that every run under the protocol has."""
ENDS = "_95"
"""How the name of an interval ends, after that of its number."""
APART = {
    "rate": ("n", "of", truediv),
    "probe_minus_this": ("probe_auroc", "auroc", sub),
    "difference": ("probe_auroc", "baseline_auroc", sub),
}
"""Numbers that follow from two others of the same part."""


def check_parts(s: Submission) -> Iterator[Finding]:
    """Shares, differences and intervals of every part of the record follow from what stands beside
    them."""
    for path, part in _parts("", s.record):
        for name, (a, b, of) in APART.items():
            values = part.get(a), part.get(b), part.get(name)
            if not all(map(is_real, values)) or (name == "rate" and not values[1]):
                continue
            if abs((due := of(*values[:2])) - values[2]) > TOLERANCE:
                yield finding(f"{path}{name}", part[name], f"{due!r}, of {a} and {b}")
        for name, ends in part.items():
            value = part.get(name.removesuffix(ENDS)) if name.endswith(ENDS) else None
            if not is_real(value) or not isinstance(ends, list) or not all(map(is_real, ends)):
                continue
            if not ends[0] - TOLERANCE <= value <= ends[1] + TOLERANCE:
                yield finding(f"{path}{name}", ends, f"an interval around {value!r}")


def _parts(path: str, part: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping of a record with where it stands."""
    if isinstance(part, Mapping):
        yield path, part
        for name, inner in part.items():
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
    twins, counts, chosen = record["near_twins"], record["counts"], record["selection"]
    rest = twins["n_test"] - twins["n"]
    for field, given, due in (
        ("near_twins.n_test", twins["n_test"], counts["test"]["n"]),
        ("labels.judged", record["labels"]["judged"], counts["all"]["n"] - _given(record)),
        ("near_twins.share", twins["share"], twins["n"] / twins["n_test"]),
    ):
        if not is_real(given) or abs(given - due) > TOLERANCE:
            yield finding(field, given, f"{due!r}")
    if rest < 0 or twins["without"]["n"] > rest:
        yield finding("near_twins.without.n", twins["without"]["n"], f"at most {max(rest, 0):,}")
    for name in ("linear", "residual"):
        found = record["confounds"].get(name)
        if not found or found["n"] != chosen["n_test"]:
            continue
        if abs(found["probe_auroc"] - chosen["test_auroc"]) > TOLERANCE:
            due = f"{chosen['test_auroc']!r}, selection.test_auroc on the same examples"
            yield finding(f"confounds.{name}.probe_auroc", found["probe_auroc"], due)


def _given(record: Mapping[str, Any]) -> int:
    given = record["labels"].get("given")
    return given if isinstance(given, int) else 0


def check_cells(s: Submission) -> Iterator[Finding]:
    """An interval of a cell holds its AUROC."""
    for c in s.cells:
        if c.auroc is None or c.low is None or c.high is None:
            continue
        if not c.low - TOLERANCE <= c.auroc <= c.high + TOLERANCE:
            at = f"{c.site} {c.layer} {c.position}, auroc"
            yield Finding(CELLS, at, shown(c.auroc), f"between {c.low!r} and {c.high!r}")
