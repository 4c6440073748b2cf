"""Numbers, units, months and plurals of words that were read, in one spelling each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from probebench.tasks.judging.reading.british import american
from probebench.tasks.judging.reading.numerals import BOWLS, ROMANS, is_number, ordinal, spelled_out

UNITS = {
    spelling: unit
    for unit, spellings in {
        "km": "km kms kilometre kilometer kilometres kilometers",
        "m": "m metre meter metres meters",
        "cm": "cm cms centimetre centimeter centimetres centimeters",
        "mm": "mm millimetre millimeter millimetres millimeters",
        "ft": "ft foot feet",
        "inch": "inch inches",
        "mile": "mi mile miles",
        "kg": "kg kgs kilo kilos kilogram kilograms kilogramme kilogrammes",
        "lb": "lb lbs pound pounds",
        "mph": "mph",
        "kmh": "kmh kph kmph",
        "hour": "h hr hrs hour hours",
        "minute": "min mins minute minutes",
        "second": "sec secs second seconds",
        "liter": "l litre liter litres liters",
        "gram": "g gram grams gramme grammes",
        "ounce": "oz ounce ounces",
    }.items()
    for spelling in spellings.split()
}
"""Units after a number, one spelling each."""
SPEEDS = {"km": "kmh", "mile": "mph"}
DEGREES = {"c": "celsius", "f": "fahrenheit", "celsius": "celsius", "fahrenheit": "fahrenheit"}
MONTHS = {
    m[:n]: m
    for m in (
        "january february march april june july august september october november december"
    ).split()
    for n in (3, 4)
}
"""Months as they are cut beside a number."""
SHORT = {
    "saint": "st",
    "mount": "mt",
    "doctor": "dr",
    "junior": "jr",
    "senior": "sr",
    "mister": "mr",
    "professor": "prof",
    "bce": "bc",
} | {
    f"{word}ties": f"{n}0s"
    for n, word in enumerate("twen thir for fif six seven eigh nine".split(), start=2)
}
"""Titles, decades and the like that are as often written short."""
SINGULARS = (
    {
        f"{one}es": one
        for one in (
            "bus virus octopus walrus circus cactus platypus fox box ostrich finch leech roach "
            "church beach bench branch peach sandwich torch watch witch match dish brush bush "
            "glass dress cross potato tomato mango hero echo volcano mosquito buffalo tornado"
        ).split()
    }
    | {"wolves": "wolf", "calves": "calf", "loaves": "loaf", "shelves": "shelf", "elves": "elf"}
    | {"thieves": "thief", "knives": "knife", "geese": "goose", "mice": "mouse", "teeth": "tooth"}
    | {"oxen": "ox"}
)
"""Plurals that are more than an s, of common nouns: a rule would take Monroes for Monro and Jesses
for Jess, and Men in Black is not Man in Black."""
AMERICAN = {
    "our": "or",
    "ours": "ors",
    "tre": "ter",
    "tres": "ters",
    "ise": "ize",
    "ised": "ized",
    "isation": "ization",
}
BRITISH = re.compile(r"(?:ours?|tres?|ised?|isation)$")
ORDINAL_ENDING = re.compile(r"(?<=\d)(st|nd|rd|th)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text as it is compared, and the characters it was read from."""

    form: str
    start: int
    end: int


def numbered(text: str, kept: list[Word], *, stems: bool) -> list[Word]:
    """Numbers as digits, units after them in one spelling, plural endings off."""
    endings = (
        {m.start(): m for m in ORDINAL_ENDING.finditer(text)}
        if any(c.isdigit() for c in text)
        else {}
    )
    kept = [w for w in kept if not (w.start in endings and w.form in ("st", "nd", "rd", "th"))]
    result: list[Word] = []
    at = 0
    for form, used in spelled_out([w.form for w in kept]):
        first, last = kept[at], kept[at + used - 1]
        at += used
        if last.end in endings and is_number(form):
            form = ordinal(int(float(form)))
        elif used == 1 and form == first.form:
            following = kept[at].form if at < len(kept) else ""
            form, first = _unit(text, first, result) or (
                _one_spelling(text, first, result, following, stems=stems),
                first,
            )
        if (
            form[0].isdigit()
            and result
            and result[-1].form in ("minus", "negative")
            and is_number(form)
        ):
            form, first = f"-{form}", result.pop()
        result.append(Word(form, first.start, last.end))
    return result


def _unit(text: str, word: Word, before: list[Word]) -> tuple[str, Word] | None:
    """A unit behind a number in one spelling, and where it begins; what it is made of is taken from
    the words before."""
    after_number = bool(before) and is_number(before[-1].form)
    if after_number and word.form in ("sq", "square"):
        return "square", word
    if word.form in UNITS and (after_number or (before and before[-1].form in ("square", "cubic"))):
        return UNITS[word.form], word
    if word.form in ("h", "hr", "hour"):
        n = 2 if len(before) > 2 and before[-1].form == "per" else 1
        if len(before) > n and before[-n].form in SPEEDS and is_number(before[-n - 1].form):
            first = before[-n]
            del before[-n:]
            return SPEEDS[first.form], first
    if (
        word.form in DEGREES
        and before
        and (text[word.start - 1] == "°" or before[-1].form in ("degree", "degrees"))
    ):
        return DEGREES[word.form], before.pop() if before[-1].form in (
            "degree",
            "degrees",
        ) else word
    return None


def _one_spelling(text: str, word: Word, before: list[Word], following: str, *, stems: bool) -> str:
    raw = text[word.start : word.end]
    if raw == "CE" and before and is_number(before[-1].form):
        return "ad"
    if raw in BOWLS and before and before[-1].form in ("bowl", "wrestlemania"):
        return BOWLS[raw]
    if word.form in MONTHS and (following[:1].isdigit() or (before and is_number(before[-1].form))):
        return MONTHS[word.form]
    if raw in ROMANS and len(raw) > 1:
        return ROMANS[raw]
    if (
        raw.islower()
        and (roman := raw.upper()) in ROMANS
        and len(raw) > 1
        and before
        and not is_number(before[-1].form)
    ):
        return ROMANS[roman]
    form = SHORT.get(word.form) or american(word.form)
    return stem(form) if stems else form


def stem(word: str) -> str:
    """The word in American spelling without a plural ending; short words and words in -ss, -us, -is
    stay whole."""
    if word[0].isdigit():
        return word
    if len(word) > 4:
        word = BRITISH.sub(lambda m: AMERICAN[m.group()], word)
    if (one := SINGULARS.get(word)) is not None:
        return one
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
