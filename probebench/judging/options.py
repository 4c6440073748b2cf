"""Answers that choose: options of the task, options that the question offers, and lists that name several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from probebench.judging.refusals import is_negated, without_echo
from probebench.judging.wording import SAYING, Wording
from probebench.types import Example, Span

JOINT = re.compile(
    r"[\s\"'“”‘’(]*(?:,|/|;|&|\bor\b|\band\b|\n)+(?:\s*(?:,|\bor\b|\band\b|\bthe\b|\ba\b|\ban\b|either|both|also))*[\s\"'“”‘’(]*",
    re.IGNORECASE,
)
JOINER = re.compile(r"\b(?:or|and)\b", re.IGNORECASE)
OR = re.compile(r"\bor\b", re.IGNORECASE)
COMMA = re.compile(r"[\s\"'“”‘’]*,")
NEAR = 2
"""Words that may stand between an option of the question and its "or"."""


def option_places(options: Iterable[str], answer: str) -> list[tuple[int, int, str]]:
    """Where options stand in the answer on whole words and undenied, earliest first; the longest of those at one place.

    A single letter counts in its own case and not as the article "A"; "C" does not stand in "C++".
    """
    found: list[tuple[int, int, str]] = []
    for option in dict.fromkeys(options):
        body = r"[\s-]+".join(map(re.escape, option.split()))
        if not body:
            continue
        tail = r"(?!\s+[a-z])(?!['’])" if option.strip() in ("A", "I", "a") else ""
        flags = re.NOFLAG if len(option.strip()) == 1 else re.IGNORECASE
        matches = re.finditer(rf"(?<!\w){body}(?![\w+#]){tail}", answer, flags)
        found += [(*m.span(), option) for m in matches if not is_negated(answer, *m.span())]
    found.sort(key=lambda f: (f[0], -f[1]))
    kept: list[tuple[int, int, str]] = []
    for place in found:
        if not kept or place[0] >= kept[-1][1]:
            kept.append(place)
    return kept


def earliest_option(example: Example, answer: str) -> Span | None:
    """Where the first option stands in the answer that is not denied; None where a list names several without choosing.

    The question, repeated word for word, is no answer. The longest of options that begin at one place is taken.
    """
    text = without_echo(example.question, answer)
    found = option_places([*example.references, *example.wrong], text)
    if not found or names_several(text, found):
        return None
    return Span(found[0][0], found[0][1])


def names_several(text: str, found: Sequence[tuple[int, int, str]]) -> bool:
    """Are the first two options different ones that only "or", "and" or a comma joins?"""
    if len(found) < 2 or found[0][2].casefold() == found[1][2].casefold():
        return False
    return bool(JOINT.fullmatch(text, found[0][1], found[1][0]))


def rivals(question: Wording, start: int, end: int) -> list[str] | None:
    """The word that tells the other option, where the question offers these words as one; None where it offers nothing.

    "Which is older, X or Y?" offers X and Y, "between X and Y" too, "with nearby stars or with distant stars" nearby and
    distant: the option may stand a few words from "or", and what both sides share tells nothing.
    """
    words = question.words
    for match in JOINER.finditer(question.text):
        before = [w for w in words if w.end <= match.start()]
        after = [w for w in words if w.start >= match.end()]
        reach = NEAR if match.group().casefold() == "or" else 0
        if len(before) - reach <= end <= len(before):
            shared = {w.form for w in words[start : len(before)]}
            return [next((w.form for w in after if w.form not in shared), "")]
        if len(before) <= start <= len(before) + reach:
            shared = {w.form for w in words[len(before) : end]}
            return [next((w.form for w in reversed(before) if w.form not in shared), "")]
    if COMMA.match(question.text, words[end - 1].end) and end < len(words) and OR.search(question.text, words[end].start):
        return [words[end].form]
    return None


def chosen_first(said: Wording, start: int, others: Iterable[str]) -> bool:
    """Does no rival's word stand before the alias that begins at word `start`?"""
    earlier = {w.form for w in said.words[:start]} - SAYING
    return not earlier.intersection(others)
