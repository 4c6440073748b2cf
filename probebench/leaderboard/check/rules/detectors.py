"""The rules on the detectors beside the probe, as their rows have it: which must be there, their
names, and what their decisions must be to one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from probebench.detectors import suite
from probebench.detectors.registry import Input
from probebench.detectors.relations import Relation
from probebench.leaderboard.check.recompute import TOLERANCE
from probebench.leaderboard.check.rules.maps import SITE, better
from probebench.leaderboard.check.shape import finding
from probebench.leaderboard.submission.names import DETECTOR
from probebench.leaderboard.submission.read import CELLS, DECISIONS, DETECTOR_MARK, Submission
from probebench.leaderboard.submission.strict import Finding, shown
from probebench.metrics.auroc import auroc
from probebench.types import Floats


def check_baselines(s: Submission) -> Iterator[Finding]:
    """Every baseline of the protocol is in the table, or absent with a reason."""
    names = {d["name"] for d in s.record["detectors"]}
    absent = s.record["comparison"]["absent"]
    for name in _required(s):
        if name not in names and not absent.get(name, "").strip():
            yield finding(
                "detectors",
                "nothing",
                f"the baseline {name!r}, or comparison.absent.{name} with a reason",
            )
    for name in sorted(names & set(absent)):
        yield finding(f"comparison.absent.{name}", "absent", "not absent: it is in the table")
    for name, reason in absent.items():
        if reason.startswith(suite.SKIPPED):
            yield finding(
                f"comparison.absent.{name}",
                reason,
                "every baseline of the protocol, none of them left out",
            )
        if not DETECTOR.fullmatch(name):
            yield finding("comparison.absent", name, "names of detectors")


def _required(s: Submission) -> list[str]:
    """Names that must be there, `probe_emb` where the map has the embedding row."""
    task: Input = "statements" if s.record["task"]["kind"] == "statements" else "answers"
    found = [name for name, row in suite.known().items() if task in row.required]
    emb = any(c.layer == "emb" and c.validation_auroc is not None for c in s.cells)
    return [*found, "probe_emb"] if emb else found


def check_names(s: Submission) -> Iterator[Finding]:
    """Only detectors of the suite, under their own words and kind."""
    known, given = suite.known(), s.record["task"]["kind"] == "statements"
    for i, row in enumerate(s.record["detectors"]):
        path, name = f"detectors[{i}]", row["name"]
        if (own := known.get(name)) is None or own.label(given) is None:
            yield finding(f"{path}.name", name, "a detector that the suite computes")
            continue
        if row["kind"] != own.kind:
            yield finding(f"{path}.kind", row["kind"], f"{own.kind}, which {name} is")
        if not own.is_called(row["label"], given=given):
            words = f"the suite's words for {name}, {own.label(given)}"
            yield finding(f"{path}.label", row["label"], words)


def check_signals(s: Submission) -> Iterator[Finding]:
    """What holds of the decisions of a baseline, alone and beside those of others, and which
    examples it scores."""
    values = s.decisions.values
    for name, row in suite.known().items():
        for relation in row.relations:
            if name in values and all(part in values for part in relation.parts):
                yield from _broken(name, relation, values)
    yield from _check_covered(values)


def _broken(name: str, relation: Relation, values: Mapping[str, Floats]) -> Iterator[Finding]:
    """Where the decisions of a detector do not keep a relation."""
    wrong = relation.broken(values[name], *(values[part] for part in relation.parts))
    if n := int(np.count_nonzero(wrong)):
        parts = " and ".join(DETECTOR_MARK + part for part in relation.parts)
        yield _of(
            name, relation.given.format(n=n, parts=parts), relation.expected.format(parts=parts)
        )


def _check_covered(values: Mapping[str, Floats]) -> Iterator[Finding]:
    """Detectors of what no example lacks score every example; those of one kind of tokens score the
    same ones."""
    alike: dict[frozenset[str], list[str]] = {}
    for name, row in suite.known().items():
        if name in values and row.covers is not None:
            alike.setdefault(row.covers, []).append(name)
    for covers, names in alike.items():
        absent = {name: np.isnan(values[name]) for name in names}
        if not covers:
            for name in names:
                if n := int(absent[name].sum()):
                    yield _of(name, f"nothing for {n} examples", "a decision for every example")
            continue
        # the one that most agree with: a single column that differs is then the one named
        patterns = Counter(mask.tobytes() for mask in absent.values())
        common = patterns.most_common(1)[0][0]
        like = next(name for name in names if absent[name].tobytes() == common)
        due = f"a decision where {DETECTOR_MARK}{like} has one: both read the same tokens"
        for name in names:
            if n := int(np.count_nonzero(absent[name] != absent[like])):
                yield _of(name, f"{n} examples with one and not the other", due)


def _of(name: str, given: str, expected: str) -> Finding:
    return Finding(DECISIONS, f"{DETECTOR_MARK}{name}", given, expected)


def check_embedding(s: Submission) -> Iterator[Finding]:
    """The embedding row's probe is the best cell of that row, and its decisions give that cell's
    AUROC."""
    at = next((i for i, d in enumerate(s.record["detectors"]) if d["name"] == "probe_emb"), None)
    if at is None or "probe_emb" not in s.decisions.values:
        return
    detail = s.record["detectors"][at].get("detail", {})
    row = [
        c
        for c in s.cells
        if c.site == SITE and c.layer == "emb" and c.validation_auroc is not None and not c.barred
    ]
    own = next((c for c in row if c.position == detail.get("position")), None)
    if own is None or detail.get("layer") != "emb":
        yield finding(f"detectors[{at}].detail", detail, f"a cell of the row emb in {CELLS}")
        return
    if best := better(own, row):
        yield finding(
            f"detectors[{at}].detail.position",
            own.position,
            f"{best.position}, the best of the row emb on validation",
        )
    d = s.decisions
    rows = (d.split == "test") & np.isfinite(d.values["probe_emb"])
    value = auroc(d.label[rows], d.values["probe_emb"][rows])
    if own.auroc is None or abs(own.auroc - value) > TOLERANCE:
        yield Finding(
            CELLS,
            f"{SITE} emb {own.position}, auroc",
            shown(own.auroc),
            f"{value!r}, computed from {DECISIONS}",
        )
