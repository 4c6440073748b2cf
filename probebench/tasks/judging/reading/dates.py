"""Calendar dates in all their spellings, so that the fourteenth of May is found however it is
written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MONTHS = {
    name: number
    for number, names in enumerate(
        "january,jan february,feb march,mar april,apr may june,jun july,jul august,aug "
        "september,sept,sep october,oct november,nov december,dec".split(),
        start=1,
    )
    for name in names.split(",")
}
MONTH = rf"(?P<month>{'|'.join(sorted(MONTHS, key=len, reverse=True))})\b\.?"
DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
YEAR = r"(?P<year>\d{4})"
DATE = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{DAY}(?: of)?[ -]{MONTH}(?:,? (?:in )?|-){YEAR}\b",
        rf"\b{MONTH} {DAY}(?:,? ?(?:in )?){YEAR}\b",
        r"\b(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})\b",
        r"\b(?P<day>\d{1,2})[-/.](?P<month>\d{1,2})[-/.](?P<year>\d{4})\b",
        r"\b(?P<month>\d{1,2})[-/.](?P<day>\d{1,2})[-/.](?P<year>\d{4})\b",
        rf"\b(?<!\d ){MONTH},? (?:of )?{YEAR}\b",
    )
]


@dataclass(frozen=True, slots=True)
class Date:
    """A date and where it stands."""

    year: int
    month: int
    day: int | None
    start: int
    end: int

    def is_within(self, other: Date) -> bool:
        """The other date, or its month without a day: "in May 2009" for 14 May 2009."""
        return (self.year, self.month) == (other.year, other.month) and self.day in (
            None,
            other.day,
        )


def dates(text: str) -> Iterator[Date]:
    """All dates of the text with at least a month and a year; digits alone are read both ways where
    both are possible."""
    if not any(c.isdigit() for c in text):
        return
    for pattern in DATE:
        for match in pattern.finditer(text):
            found = match.groupdict()
            month = MONTHS.get(found["month"].casefold()) or (
                int(found["month"]) if found["month"].isdecimal() else 0
            )
            day = int(found["day"]) if found.get("day") else None
            if 1 <= month <= 12 and (day is None or 1 <= day <= 31):
                yield Date(int(found["year"]), month, day, *match.span())


def whole_date(text: str) -> Date | None:
    """The date that a text is, with a day; None where it says anything else."""
    text = text.strip(" .")
    return next(
        (d for d in dates(text) if d.day is not None and (d.start, d.end) == (0, len(text))), None
    )
