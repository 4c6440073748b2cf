"""Numbers as words: cardinals, ordinals, scales and Roman numerals become digits, so that spellings
of one number are equal."""

from __future__ import annotations

import re
from collections.abc import Sequence

UNITS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
}
TENS = {
    word: 10 * n
    for n, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
}
SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
ORDINALS = {
    word: number
    for number, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
        "thirteenth fourteenth fifteenth "
        "sixteenth seventeenth eighteenth nineteenth twentieth".split(),
        start=1,
    )
} | {
    "thirtieth": 30,
    "fortieth": 40,
    "fiftieth": 50,
    "sixtieth": 60,
    "seventieth": 70,
    "eightieth": 80,
    "ninetieth": 90,
}
ONES = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
BOWLS = {
    ten + one: str(10 * n + k)
    for n, ten in enumerate(("", "X", "XX", "XXX", "XL", "L", "LX"))
    for k, one in enumerate(ONES)
    if ten + one
}
"""Roman numerals up to LXIX, of which some are words as well (XL, LI)."""
ROMANS = {roman: number for roman, number in BOWLS.items() if roman != "XL" and roman[0] != "L"}
"""Roman numerals that are read as numbers wherever they stand."""
ORDINAL = "°"
"""Marks the ordinals that stand in any text: "first" and "1st" are `1°`, which alone is not the
number 1."""
NUMERAL = re.compile(r"-?\d{1,99}(?:\.\d{1,99})?")
"""A run of more digits is a model that goes round in circles: it stays a word."""


def is_number(word: str) -> bool:
    """Does the word, as `spelled_out` leaves it, stand for a number?"""
    return NUMERAL.fullmatch(word) is not None


def plain(value: float) -> str:
    """A number's one spelling: no `.0`, no exponent."""
    return str(int(value)) if value == int(value) else f"{value:.10f}".rstrip("0")


def ordinal(value: int) -> str:
    """An ordinal as a word for comparison: from the fourth on it is as good as the number ("Henry
    the Eighth", "5th")."""
    return f"{value}{ORDINAL}" if value < 4 else str(value)


def spelled_out(found: Sequence[str]) -> list[tuple[str, int]]:
    """Lower-case words with numbers as digits, each with the count of words it was made of.

    "nineteen", "eighty", "four" is `1984`; "two", "hundred" is `200`; "1.5", "million" is
    `1500000`; "eighth" is `8`, "first" is `1°`.
    """
    result: list[tuple[str, int]] = []
    i = 0
    while i < len(found):
        value, used, is_ordinal = _number(found, i)
        if value is None or (found[i] == "second" and result and is_number(result[-1][0])):
            result.append((found[i], 1))
            i += 1
            continue
        result.append((ordinal(int(value)) if is_ordinal else plain(value), used))
        i += used
    return result


def _number(found: Sequence[str], i: int) -> tuple[float | None, int, bool]:
    """The number that begins at word i: value (None without one), words used, whether it is an
    ordinal."""
    word = found[i]
    if word[0].isdigit() or (word[0] == "-" and len(word) > 1):
        if not NUMERAL.fullmatch(word) or (word[0] == "0" and word.isdigit()):
            return None, 1, False
        value = float(word) if "." in word else int(word)
        scale = SCALES.get(found[i + 1], 0) if i + 1 < len(found) else 0
        return (value * scale, 2, False) if scale else (value, 1, False)
    if word not in UNITS and word not in TENS and word not in ORDINALS and word not in SCALES:
        return None, 1, False
    return _words(found, i)


def _words(found: Sequence[str], start: int) -> tuple[float | None, int, bool]:
    """A number written in words alone; a year's two halves ("nineteen eighty-four") are read
    together."""
    total, group, i, last = 0, 0, start, ""
    while i < len(found):
        word = found[i]
        if (
            word in UNITS
            and last not in ("unit", "teen")
            and not (last == "ten" and UNITS[word] >= 10)
        ):
            group += UNITS[word]
            last = "unit" if UNITS[word] < 10 else "teen"
        elif word in TENS and last in ("", "scale"):
            group, last = group + TENS[word], "ten"
        elif (
            last in ("teen", "ten")
            and total == 0
            and 10 <= group <= 21
            and (word in TENS or UNITS.get(word, 0) >= 10)
        ):
            group, last = (
                100 * group + TENS.get(word, UNITS.get(word, 0)),
                "ten" if word in TENS else "teen",
            )
        elif word in SCALES:
            if SCALES[word] == 100:
                if last == "scale":
                    break
                group = (group or 1) * 100
            else:
                total, group = total + (group or 1) * SCALES[word], 0
            last = "scale"
        elif (
            word in ORDINALS
            and (last != "unit" and last != "teen")
            and (last != "ten" or ORDINALS[word] < 10)
        ):
            return float(total + group + ORDINALS[word]), i + 1 - start, True
        else:
            break
        i += 1
    return float(total + group), i - start, False
