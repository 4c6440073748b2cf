r"""Does an answer commit itself to a number, or only bound it: "at least 5", "between 4 and 5",
"4 or 5", "x <= 5", "x = \pm 5"?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from probebench.tasks.judging.amounts import Amount, amounts, spelled_amounts
from probebench.tasks.judging.reading.numerals import is_number
from probebench.tasks.judging.refusals import is_negated

FEWER = (
    r"(?:more|less|fewer|greater|higher|lower|larger|smaller|bigger|later|earlier|older|younger)"
)
MONEY = r"(?:[$€£]|\\\$)?"
BOUND_BEFORE = re.compile(
    rf"(?:\b(?:at (?:least|most|the (?:least|most))|{FEWER} than(?: or equal to)?|up to|upwards of"
    r"|over|under|above|below|exceed(?:s|ing)?|in excess of|a (?:minimum|maximum) of)"
    r"|(?:[<>]=?|[≤≥≦≧⩽⩾≠±]|\\(?:l|g)(?:eq?|eqslant|t)\b|\\n?eq?\b|\\pm\b|\+\s?/\s?[-−]"
    r"|\bplus or minus))"
    rf"\s*(?:about |around |approximately )?{MONEY}$",
    re.IGNORECASE,
)
NO_BOUND = re.compile(
    r"(?:[-=–—]>|^\s*>|\n\s*>|<[^<>]*>)\s*$|\bno(?:ne)? (?:\w+ )?other than\s*$"
    r"|\b(?:add|sum|com|came|bring|brought|round|mov|total|amount|count|work|go(?:es)?|went)\w*"
    r"(?: \w+){0,3} up to\s*\W{0,2}$",
    re.IGNORECASE,
)
"""Arrows, quotation marks of Markdown and tags end in ">" too, and what adds up to a number is
that."""
BOUND_AFTER = re.compile(
    rf"\+(?!\s*[\w(\\])|(?:\s?[a-z%°]+)?,? (?:or|and)"
    rf" (?:{FEWER}\b(?! than)|(?:above|below|over|under|up|beyond)\b(?=\s*(?:[.,;:!?)]|$)))",
    re.IGNORECASE,
)
UNIT = r"(?P<unit>(?:\s?-?[a-z%°$\\]{1,14})?)"
RANGE = re.compile(
    rf"{UNIT}\s*(?:,?\s*\b(?P<word>or|to|and|through)\b\s*(?:{MONEY}|(?:perhaps|maybe|even)\s)"
    rf"|[-−–—]{MONEY})",
    re.IGNORECASE,
)
"""What stands between the two numbers of "4 or 5", "4 to 5", "between 4 and 5", "4-5"."""
MOVES = re.compile(
    r"\b(?:from|round\w*|add\w*|ris\w+|rose|gr[eo]w\w*|increas\w+|decreas\w+|reduc\w+|f[ae]ll\w*"
    r"|drop\w*|chang\w+|go(?:es)?|went|go\w+|compar\w+|close\w*|equal\w*|due|next|simplif\w+)\b[^.]*$",
    re.IGNORECASE,
)
"""Before "4 to 5": a verb that makes 5 the result ("It rose from 4 to 5")."""
ASKED = re.compile(
    r"\b(?:least|most|minimum|maximum|fewest|smallest|largest|greatest|lowest|highest|(?:more|less"
    r"|fewer) than|over|under|up to|exceed\w*|inequality)\b",
    re.IGNORECASE,
)
"""Questions after a bound, to which "at least 5" is the answer 5."""

ALLOWED = re.compile(
    r"\b(?:can|could|may|needs?|must|allowed|required|ha(?:ve|s) to|limit|legal|capacity|\w+ing age"
    r"|age of (?:consent|majority|retirement)|rating|rated|perfect score)\b",
    re.IGNORECASE,
)
"""Questions after what is possible or due, to which people take "up to 25" for 25 and "21 and over"
for the drinking age."""
TIME_BOUND = re.compile(r"\b(?:before|after|prior to|(?:later|earlier) than)\s+$", re.IGNORECASE)
TIME = re.compile(r"\b(?:before|after|prior|until|since|by)\b", re.IGNORECASE)
BC = re.compile(r"\s*B\.?\s?C\b", re.IGNORECASE)
MONEYS = {
    money: (re.compile(rf"{sign}\s*$"), re.compile(rf"\s?(?:{sign}|{word}\b)", re.IGNORECASE))
    for money, sign, word in (
        ("dollar", r"(?:[$]|\bUSD)", "(?:US )?dollars?"),
        ("euro", r"(?:€|\bEUR)", "euros?"),
        ("pound", r"(?:£|\bGBP)", "pounds?(?: sterling)?"),
        ("yen", r"(?:¥|\bJPY)", "yen"),
        ("rupee", r"(?:₹|\bRs\.?|\bINR)", "rupees?"),
    )
}
"""What stands before and after a sum of money, by money."""


def is_other_number(
    question: str, text: str, start: int, end: int, alias: str, alias_words: Sequence[str]
) -> bool:
    """Is what stands here, where an alias that is a number was found, another amount: a bound of it
    ("more than 17", "before 1975"), the year BC, other money?"""
    if not any(map(is_number, alias_words)):
        return False
    if other_money(alias, text, start, end):
        return True
    if is_number(alias_words[-1]) and BC.match(text, end):
        return True
    if not is_number(alias_words[0]):
        return False
    asked = ASKED.search(question) or ALLOWED.search(question)
    if not asked and is_bounded(text, start, end):
        return True
    year = len(alias_words) == 1 and len(alias_words[0]) == 4
    return year and bool(TIME_BOUND.search(text[:start])) and not TIME.search(question)


def other_money(alias: str, text: str, start: int, end: int) -> bool:
    """Is an alias that is a sum of money told in other money at this place: "$20" for £20?"""
    own, told = _money(alias, 0, len(alias)), _money(text, start, end)
    return own is not None and told is not None and own != told


def _money(text: str, start: int, end: int) -> str | None:
    """The money of the first number of this part of a text."""
    digits = re.search(r"\d[\d.,]*", text[start:end])
    if digits is None:
        return None
    before, after = text[: start + digits.start()], text[start + digits.end() :]
    return next(
        (m for m, (sign, word) in MONEYS.items() if sign.search(before[-8:]) or word.match(after)),
        None,
    )


def commits(question: str, text: str, found: Amount) -> bool:
    """Does the answer say that this number of it is the one, and not a range's end, a bound that
    the question did not ask for, or denied?"""
    start, end = found.span.start, found.span.end
    if is_bounded(text, start, end) and not ASKED.search(question):
        return False
    return not in_range(text, found) and not is_negated(text, start, end)


def is_bounded(text: str, start: int, end: int) -> bool:
    """Is the number at this place only a bound ("at least 5", "5 or more"), or has it either
    sign?"""
    before = text[max(0, start - 40) : start]
    if BOUND_BEFORE.search(before) and not NO_BOUND.search(before):
        return True
    return bool(BOUND_AFTER.match(text, end))


def in_range(text: str, found: Amount) -> bool:
    """Is the number one end of a range, or one of two to choose from?

    "1/2 or 0.5" and "1 hour or 60 minutes" tell one thing twice, and "from 4 to 5" after a verb its
    result.
    """
    numbers = list(spelled_amounts(text)) if found.spelled else amounts(text)
    return any(
        _are_ends(text, first, second)
        for first, second in pairwise(numbers)
        if found.span in (first.span, second.span)
    )


def _are_ends(text: str, first: Amount, second: Amount) -> bool:
    joint = RANGE.fullmatch(text, first.span.end, second.span.start)
    if joint is None or first.clock or second.clock or _is_same(first, second):
        return False
    before, word = text[: first.span.start], (joint["word"] or "").lower()
    if word == "and" and not re.search(r"\bbetween\b[^\d]*$", before, re.IGNORECASE):
        return False
    if word == "to" and MOVES.search(before):
        return False
    after = re.match(r"\s?-?([a-z]+)", text[second.span.end :], re.IGNORECASE)
    one, other = joint["unit"].strip(" -").lower(), after.group(1).lower() if after else ""
    return word != "or" or not one or not other or one == other


def _is_same(first: Amount, second: Amount) -> bool:
    """The same number, as far as a decimal is written ("1/3 or 33.3%")."""
    if first.equals(second):
        return True
    x, y = (abs(a.value / 100 if a.percent else a.value) for a in (first, second))
    return (x.denominator > 1 or y.denominator > 1) and abs(x - y) * 200 < max(x, y)
