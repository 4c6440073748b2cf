"""Kinds of things: what a question asks for, and what a run of words is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from probebench.tasks.exact.phrases import TextWord
from probebench.types import Span

MONTHS = frozenset(
    "january february march april may june july august september october november december "
    "jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
NUMBERS = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred thousand million billion trillion dozen once twice half".split()
)


def is_number(word: TextWord) -> bool:
    """Is it a number, in digits or in words?"""
    return any(c.isdigit() for c in word.text) or word.text.casefold() in NUMBERS


def kinds_of(run: Stretch) -> set[str]:
    """What a run is: any of `number`, `date`, `decade`, `name`; `other` when it is none."""
    texts = [w.text for w in run.words]
    kinds = {"number"} if any(map(is_number, run.words)) else set()
    if any(re.fullmatch(r"1\d{3}s?|20\d\ds?", t) or t.casefold() in MONTHS for t in texts):
        kinds.add("date")
    if any(re.fullmatch(r"\d*\d0['’]?s", t) for t in texts):
        kinds.add("decade")
    if any(t.casefold() in MONTHS for t in texts):
        kinds.add("month")
    if run.quoted or any(map(has_capital, run.words)):
        kinds.add("name")
    return kinds or {"other"}


def kinds_asked(question: str) -> tuple[str, ...]:
    """The question word, then the kinds it asks for, the most wanted first."""
    low = question.casefold()
    rules = (
        (
            r"\bhow (?:many|much|old|long|tall|far|big|high|often|fast|deep|large|wide)\b",
            ("how many", "number", "other"),
        ),
        (r"\b(?:what|which) (?:number|percentage|percent|age)\b", ("how many", "number", "other")),
        (r"\b(?:what|which) decade\b", ("when", "decade", "date", "number")),
        (r"\b(?:what|which) month\b", ("when", "month", "name")),
        (
            r"\b(?:what|which) (?:\w+ )?(?:year|date|day|century)\b|\bwhen\b",
            ("when", "date", "number", "name"),
        ),
        (r"\bwho\b|\bwhom\b|\bwhose\b", ("who", "name", "other")),
        (
            r"\bwhere\b"
            r"|\b(?:what|which) (?:city|country|state|town|place|county|island|continent)\b",
            ("where", "name", "other"),
        ),
    )
    hits = [(m.start(), kinds) for pattern, kinds in rules if (m := re.search(pattern, low))]
    return min(hits)[1] if hits else ("what", "name", "number", "other")


@dataclass(frozen=True, slots=True)
class Stretch:
    """New words that stand side by side."""

    words: tuple[TextWord, ...]
    before: tuple[str, ...]
    """The four words before it, folded to lower case, the nearest last."""
    sentence: int
    after_verb: bool
    """A form of "to be" stands before it in its sentence."""
    echo: bool
    """It continues a name of the question: "FIFA" of "the 2018 FIFA World Cup"."""
    aside: bool
    """In brackets, or before a colon that follows an echo of the question."""
    quoted: bool
    counted: bool
    """The next word is one of the question's: "163 episodes"."""
    asked_before: bool
    """A word of the question stands before it in its sentence."""

    @property
    def span(self) -> Span:
        return Span(self.words[0].start, self.words[-1].end)

    @property
    def named(self) -> Span:
        """Without the words before the name: "Joan Ferris" of "actor Joan Ferris"."""
        first = next((w for w in self.words if has_capital(w)), self.words[0])
        return Span(first.start, self.words[-1].end)


def has_capital(word: TextWord) -> bool:
    """Does it begin like a name, or with a currency's sign?"""
    return word.text[:1].isupper() or word.text[:1] in "$€£¥"
