"""How numbers, intervals, labels and cells are written, wherever a person reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, TypeGuard

UNDEFINED = "n/a"
NAMED = 3
"""Names that a line lists at most."""


def defined(value: float | None) -> TypeGuard[float]:
    """Is there a number?"""
    return value is not None and math.isfinite(value)


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A number, or `n/a`; what rounds to zero has no sign."""
    if not defined(value):
        return UNDEFINED
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    return text if float(text.replace(",", "")) else f"{0:.{digits}f}"


def interval(ends: Sequence[float | None] | None, digits: int = 3, *, signed: bool = False) -> str:
    """Both ends in brackets, or `n/a` where one of them is not known."""
    if ends is None or not all(map(defined, ends)):
        return UNDEFINED
    low, high = (number(end, digits, signed=signed) for end in ends)
    return f"[{low}, {high}]"


def what_words(record: Mapping[str, Any]) -> tuple[str, str, str]:
    """What is judged, and what the two labels are called: `answers`, `correct`, `wrong`."""
    return (
        ("statements", "true", "false")
        if record["task"]["kind"] == "statements"
        else ("answers", "correct", "wrong")
    )


def cell_words(cell: Mapping[str, Any]) -> str:
    """A cell of a record: its site, layer and position."""
    return f"{cell['site']}, layer {cell['layer']}, {cell['position']}"


def plain_line(text: str) -> str:
    """Foreign text on one line: breaks as a sign, and nothing that a terminal would obey."""
    lines = "⏎".join(line.strip() for line in text.strip().splitlines())
    return "".join(c if c.isprintable() else "\ufffd" for c in lines)


def clipped(text: str, width: int) -> str:
    """`plain_line` with at most `width` characters; dots stand for what is left out."""
    return cut(plain_line(text), width)


def cut(text: str, width: int, sign: str = "...") -> str:
    """At most `width` characters of a text; the sign stands for what is left out."""
    return text if len(text) <= width else text[: width - len(sign)].rstrip() + sign


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """`a, b, c and 4 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def slug(text: str) -> str:
    """A name for anchors, labels and ids: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def part_words(record: Mapping[str, Any]) -> str:
    """Which examples a run is about where they are not all of its task's own, and what its test
    split is; else nothing."""
    settings, said = record.get("settings") or {}, []
    data = settings.get("data") or ()
    if files := [PurePath(file).name for file in ([data] if isinstance(data, str) else data)]:
        said.append(f"questions of {listed(files)} (--data)")
    if settings.get("answers"):
        said.append(f"answers of {PurePath(settings['answers']).name} (--answers)")
    if settings.get("limit"):
        said.append(f"{settings['limit']:,} examples at most (--limit)")
    if (record.get("data") or {}).get("test_is") == "validation":
        said.append("test is what the file calls validation; it has no test split")
    return "; ".join(said)


def labels_words(record: Mapping[str, Any]) -> str:
    """Where the labels come from: a judge that was asked, or whoever gave them."""
    task, facts = record["task"], record.get("labels")
    judge = f"judge {task.get('judge')}"
    if task.get("kind") == "statements" or (facts and not facts["judged"]):
        return f"labels given with the {what_words(record)[0]}"
    if facts and facts["given"]:
        return f"{judge} for {facts['judged']:,} answers, labels given with {facts['given']:,}"
    return judge
