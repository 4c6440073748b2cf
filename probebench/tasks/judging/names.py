"""Whether a mention is meant, or is part of another name, a place or an abbreviation."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from probebench.tasks.judging.reading.dates import MONTHS
from probebench.tasks.judging.reading.kinds import CITIES, OFFICES, RANKS
from probebench.tasks.judging.reading.numerals import ROMANS, is_number
from probebench.tasks.judging.reading.wording import ARTICLES, FUNCTION, SAYING, words

ABBREVIATION = re.compile(r"(?:[A-Z]\.?){1,3}")
REGION = re.compile(r"\s*[^\Wa-z_][\w.'’-]*(?:\s+(?!and\b|or\b)[\w.'’-]+){0,2}\s*")
"""What may be a region after a comma: up to three words, the first in capitals, no "and"."""
AT_PLACE = re.compile(r"\b(?:in|at|from|near|to|of|outside|around)\s+(?:the\s+)?$", re.IGNORECASE)
BEFORE_REGION = re.compile(r",\s*[A-Z]")
LONGER_NAME = re.compile(r"\s+[A-Z]")
FIRST_OF_NAME = re.compile(
    r"\b(North|South|East|West|Northern|Southern|Eastern|Western|New|Equatorial|Papua|American"
    r"|Inner|Outer|Upper|Lower|Baja|Democratic)"
    r"[ -]$",
    re.IGNORECASE,
)
RANK = re.compile(rf"\b({'|'.join(RANKS)})[ -]$", re.IGNORECASE)
PART = re.compile(r"[:,]? (?:Part|Volume|Vol\.?) (?!(?:I|1|One)\b)(?:[IVX]+|\d+|[A-Z][a-z]+)\b")
"""After a title: another part of it."""
OF = re.compile(
    r"^(?:the )?(Gulf|Bank|Treaty|Bay|Strait|Sea|Prince|Princess|King|Queen|Emperor|President|Mayor"
    r"|Governor|Bishop|Archbishop|Lord|Port|Cape|Court|Flag|Capital"
    r"|History) of (?:the )?",
    re.IGNORECASE,
)
"""What is another thing than what it is of, unlike a kingdom or a university."""
CITY = re.compile(r" City\b")
LAST_OF_NAME = re.compile(r"-[A-Z]| (?:I[IVX]{1,3}|V|VI{1,3}|XI{0,3}|XI?V)(?=\s*(?:[.,;:!?)]|$))")
NUMBER_AT_END = re.compile(r" \d{1,2}[\"'”’.]*$")


def names_a_place(text: str, start: int, end: int) -> bool:
    """Is this mention written as a place: "in Munich", "Munich, Germany"?"""
    if LONGER_NAME.match(text, end):
        return False
    return bool(AT_PLACE.search(text, max(0, start - 12), start) or BEFORE_REGION.match(text, end))


def is_other_name(text: str, start: int, end: int, alias: Sequence[str]) -> bool:
    """Is the mention the rest of another name: "South Sudan" for Sudan, "Rocky II" for Rocky,
    "Guinea-Bissau" for Guinea?"""
    before = FIRST_OF_NAME.search(text, max(0, start - 20), start)
    if (
        before
        and before.group(1).casefold() not in alias
        and (before.group(1)[0].isupper() or text.islower())
    ):
        return True
    rank = RANK.search(text, max(0, start - 12), start)
    if rank and alias[-1] in OFFICES and rank.group(1).casefold() not in alias:
        return True
    if PART.match(text, end) or (alias[-1] in CITIES and CITY.match(text, end)):
        return True
    if any(map(is_numeral, alias)):
        return False
    if not text[start : start + 1].isupper():
        return False
    short = start < 30 and alias[-1] not in MONTHS
    return bool(LAST_OF_NAME.match(text, end) or (short and NUMBER_AT_END.match(text, end)))


def is_owner(raw: str, kept: Collection[str], question: Collection[str]) -> bool:
    """Is what is kept of a name only what it is of: "Mexico" for the Gulf of Mexico? "Versailles"
    does where the question says that a treaty is asked for."""
    found = OF.search(raw)
    head = "" if found is None else found.group(1).casefold()[:5]
    if found is None or any(word.startswith(head) for word in question):
        return False
    return set(kept) <= set(words(raw[found.end() :]))


def needs_care(alias: str, form: Sequence[str], question: str) -> bool:
    """Is the alias an abbreviation of up to three letters, or a word that stands in any text?

    A Roman numeral is as good as its digits, unless Roman ones are asked for.
    """
    if len(alias) > 1 and alias in ROMANS and "roman" not in question.casefold():
        return False
    return len(form) <= 3 and (
        bool(ABBREVIATION.fullmatch(alias)) or (len(form) == 1 and form[0] in FUNCTION)
    )


def _is_state(text: str, start: int, end: int, references: Sequence[str]) -> bool:
    """Is a code behind a town that of an American state, where a country of that code is asked for:
    "Los Angeles, CA" and Canada? Is "OK" the beginning of a sentence?"""
    code, before = text[start:end].replace(".", ""), text[max(0, start - 40) : start]
    if code == "OK" and re.search(r"(?:^|[.!?])\W{0,3}$", before):
        return bool(re.match(r"[,.!]\s*\w", text[end : end + 9]))
    country = STATES.get(code)
    behind = re.search(r"[A-Z][\w.'’-]*,\s*$", before)
    return bool(behind) and country in {r.casefold() for r in references}


STATES = {
    "AL": "albania",
    "AR": "argentina",
    "AZ": "azerbaijan",
    "CA": "canada",
    "CO": "colombia",
    "DE": "germany",
    "GA": "gabon",
    "ID": "indonesia",
    "IL": "israel",
    "IN": "india",
    "KY": "cayman islands",
    "LA": "laos",
    "MA": "morocco",
    "MD": "moldova",
    "ME": "montenegro",
    "MN": "mongolia",
    "MT": "malta",
    "NE": "niger",
    "PA": "panama",
    "SC": "seychelles",
    "SD": "sudan",
    "TN": "tunisia",
    "VA": "vatican city",
}
"""Postal codes of American states, and the countries that have the same (ISO 3166)."""


def careful_places(
    text: str, alias: str, references: Sequence[str] = ()
) -> Iterator[tuple[int, int]]:
    """Characters where an abbreviation or a common word is meant and not used, nor the code of an
    American state for that of a country.

    It is the whole answer, stands in quotation marks, ends a sentence that names it, or is written
    in its own capitals in the middle of a text that is not all capitals.
    """
    letters = [c for c in alias if c.isalnum()] if ABBREVIATION.fullmatch(alias) else []
    body = r"\.?".join(map(re.escape, letters)) + r"\.?" if letters else re.escape(alias)
    for match in re.finditer(
        rf"(?<![\w.{'-' if len(letters) == 1 else ''}]){body}(?![\w+#])(?!\.\w)",
        text,
        re.IGNORECASE,
    ):
        meant = _is_meant(text, *match.span(), alias, abbreviation=bool(letters))
        if meant and not _is_state(text, *match.span(), references):
            yield match.span()


def _is_meant(text: str, start: int, end: int, alias: str, *, abbreviation: bool) -> bool:
    before, found, after = text[:start], text[start:end], text[end:]
    around = words(before) + words(after)
    if all(w in SAYING or w in ARTICLES for w in around):
        return bool(not around or not re.match(r"\s*\w", after))
    if (
        before[-1:]
        and after[:1]
        and before[-1] in QUOTES
        and (after[0] in QUOTES or after[1:2] in QUOTES)
    ):
        return True
    if re.search(
        r"(?:\b(?:is|was|are|be|called|named|letter)|:)\W{0,3}$", before, re.I
    ) and not re.search(r"\w", after[:3]):
        return True
    if (
        re.search(r"\bthe $", before)
        and abbreviation
        and found.replace(".", "").lower() in ("us", "uk", "un", "eu")
    ):
        return True
    if re.search(r"\bin $", before) and abbreviation and text.islower() and found not in FUNCTION:
        return True
    lone = found in ("A", "I")
    if abbreviation:
        own = found.isupper() or "." in found.rstrip(".")
        return own and not text.isupper() and not (lone and re.match(r"['’]|\s+\w", after))
    inside = bool(re.search(r"[\w,:]\W*$", before)) and not re.search(r"[.!?]\W*$", before)
    return (
        alias[:1].isupper() and found[:1].isupper() and inside and not text.isupper() and not lone
    )


QUOTES = "\"'“”‘’«»`"


def is_numeral(word: str) -> bool:
    """Is a word of an alias a number, in whichever way it is written?"""
    return is_number(word) or word in ONE_NUMBER or word.endswith("°")


ONE_NUMBER = {"i": "1", "v": "5", "x": "10"}
