"""Shares and counts in words as one decimal: half, three quarters, 50 %, a dozen, one and a half
million. Percentages without a word of their own stay (5 % is not 0.05)."""

from __future__ import annotations

import re

from probebench.tasks.judging.reading.numerals import SCALES, TENS, UNITS, plain

COUNTS = {"a": 1, "an": 1} | {w: n for w, n in (UNITS | TENS).items() if n}
PARTS = {
    "half": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}
COUNT = rf"(?P<count>\b(?:{'|'.join(COUNTS)})|\b\d{{1,3}})"
SCALE = rf"(?:\s+(?P<scale>{'|'.join(SCALES)})\b)?"
QUANTITIES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{COUNT}\s+and\s+a\s+(?P<half>half){SCALE}",
        rf"\b(?P<half>half)\s+a\s+(?P<scale>{'|'.join(SCALES)}|dozen)\b",
        rf"{COUNT}[\s-](?P<part>{'|'.join(PARTS)})(?:s\b|\b)(?!\s+of\s+(?:a|an)\b)",
        rf"{COUNT}\s+(?P<scale>dozen)\b",
        r"(?<![\w/.-])(?P<top>\d{1,2})/(?P<bottom>\d{1,2})(?![\w/]|\.\d)",
        r"(?<![\w.,])(?P<percent>25|50|75)(?:\s?%|\s+per\s?cent\b)",
        r"\b(?P<half>half)\b",
    )
]


def in_decimals(text: str) -> str:
    """The text with its shares and counts as decimals: "three quarters" is "0.75"."""
    for pattern in QUANTITIES:
        text = pattern.sub(_decimal, text)
    return text


def _decimal(match: re.Match[str]) -> str:
    found = match.groupdict()
    if found.get("percent"):
        return plain(float(found["percent"]) / 100)
    if found.get("top"):
        bottom = int(found["bottom"])
        return plain(int(found["top"]) / bottom) if bottom else match.group()
    said = (found.get("count") or "").casefold()
    count = float(said) if said.isdecimal() else float(COUNTS.get(said, 0))
    if found.get("part"):
        return plain(count / PARTS[found["part"].casefold()])
    value = count + (0.5 if found.get("half") else 0)
    return plain(value * (SCALES | {"dozen": 12}).get((found.get("scale") or "").casefold(), 1))
