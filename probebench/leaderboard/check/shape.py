"""What a submitted record must look like before its numbers are looked at.

It is the schema of every record (`probebench.record.schema`), and what only a row of the
leaderboard must keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from pydantic import ValidationError

from probebench.leaderboard.submission.read import RECORD
from probebench.leaderboard.submission.strict import Finding, shown
from probebench.leaderboard.submission.submit import FORMAT
from probebench.record.parts.part import RANKED, problems
from probebench.record.schema import Record


def finding(field: str, given: Any, expected: str) -> Finding:
    """Something wrong in the record."""
    return Finding(RECORD, shown(field, 200).strip("'\""), shown(given), expected)


def is_real(value: Any) -> TypeGuard[float]:
    """A number; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_shape(record: Mapping[str, Any]) -> list[Finding]:
    """Everything in which a record is not what a record is; empty when the rules can rely on it."""
    try:
        typed = Record.from_plain(record, RANKED)
    except ValidationError as error:
        return [finding(p.path, p.given, p.expected) for p in problems(error)]
    if typed.submission is None:
        return [finding("submission", "nothing", "this key")]
    return [*_format(typed.submission.format), *_names(typed)]


def _format(given: int) -> Iterator[Finding]:
    if given != FORMAT:
        yield finding("submission.format", given, repr(FORMAT))


def _names(record: Record) -> Iterator[Finding]:
    """Names that are there twice, and a probe that does not come first."""
    names = [d.name for d in record.detectors]
    for path, some in (
        ("detectors", names),
        ("layers", record.layers),
        ("positions", record.positions),
    ):
        yield from _repeated(path, some)
    if names[0] != "probe":
        yield finding("detectors[0].name", names[0], "probe: the selected cell comes first")


def _repeated(path: str, names: Sequence[str]) -> list[Finding]:
    twice = sorted({n for n in names if list(names).count(n) > 1})
    return [finding(path, name, "each once") for name in twice]
