"""How numbers, intervals and long texts are written, wherever a person reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TypeGuard

UNDEFINED = "n/a"
NAMED = 3
"""Names that a line lists at most."""


def defined(value: float | None) -> TypeGuard[float]:
    """Is there a number?"""
    return value is not None and math.isfinite(value)


def as_float(value: float | None) -> float:
    """A number of a record, where null stands for an undefined one."""
    return float("nan") if value is None else float(value)


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A number, or `n/a`; what rounds to zero has no sign."""
    if not defined(value):
        return UNDEFINED
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    return text if float(text.replace(",", "")) else f"{0:.{digits}f}"


def and_more(names: str) -> str:
    """Of names with commas between, the first and how many more: `a.csv and 6 more`."""
    first, *more = names.split(", ")
    return f"{first} and {len(more)} more" if more else first


def counted(n: int, what: str) -> str:
    """How many of a thing: `1 group`, `2,000 groups`."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def interval(ends: Sequence[float | None] | None, digits: int = 3, *, signed: bool = False) -> str:
    """Both ends in brackets, or `n/a` where one of them is not known."""
    if ends is None or not all(map(defined, ends)):
        return UNDEFINED
    low, high = (number(end, digits, signed=signed) for end in ends)
    return f"[{low}, {high}]"


def enough(ends: Sequence[float | None]) -> int:
    """Digits that show an interval: two, three where an end lies within a hundredth of zero, and at
    most four until ends that differ no longer look alike."""
    known = {end for end in ends if defined(end)}
    least = 3 if any(abs(end) < 0.01 for end in known) else 2
    told = (n for n in range(least, 4) if len({number(end, n) for end in known}) == len(known))
    return next(told, 4)


def extremes(counts: Iterable[int]) -> str:
    """One count, or the lowest and the highest of several: `540` or `210-540`; 0 for none."""
    known = sorted(map(int, counts)) or [0]
    return "-".join(dict.fromkeys((f"{known[0]:,}", f"{known[-1]:,}")))


def plain_line(text: str) -> str:
    """Foreign text on one line: breaks as a sign, and nothing that a terminal would obey."""
    lines = "⏎".join(line.strip() for line in text.strip().splitlines())
    return "".join(c if c.isprintable() else "\ufffd" for c in lines)


def cut(text: str, width: int, sign: str = "...") -> str:
    """A text with at most `width` characters; `sign` stands for what is left out."""
    return text if len(text) <= width else text[: width - len(sign)].rstrip() + sign


def clipped(text: str, width: int) -> str:
    """`plain_line` with at most `width` characters; dots stand for what is left out."""
    return cut(plain_line(text), width)


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """`a, b, c and 4 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def size(n_bytes: int) -> str:
    """Bytes in the largest decimal unit that leaves one digit before the point."""
    for unit, step in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if n_bytes >= step:
            return f"{n_bytes / step:.1f} {unit}"
    return f"{n_bytes} B"


def slug(text: str) -> str:
    """A name for anchors, labels and ids: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"
