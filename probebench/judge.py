"""Judges: is this answer right? Each is one function, registered under the name that task files use.

A judge sees the question's references and the answer's text. It returns a `Verdict`; a refusal is wrong and marked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from probebench.errors import UnknownNameError
from probebench.types import Verdict

Judge = Callable[[Sequence[str], str], Verdict]
JUDGES: dict[str, Judge] = {}

ARTICLES = frozenset({"a", "an", "the"})
NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty".split()
    )
}
REFUSAL = re.compile(
    r"\b(?:i (?:do not|don't|don’t|can not|cannot|can't|can’t) (?:know|answer|say|recall|remember|tell|provide|determine|find)"
    r"|i(?:'m| am|’m) (?:not (?:sure|certain|aware|able)|unable|sorry)|i have no (?:idea|information|knowledge)"
    r"|(?:is|are) (?:not known|unknown to me)|no information (?:about|on|is))\b",
    re.IGNORECASE,
)
WINDOW = 2
"""Extra words that may stand among an alias's words when they come in another order."""


def judge(function: Judge) -> Judge:
    """Register a judge under its function's name, `_judge` left out."""
    JUDGES[function.__name__.removesuffix("_judge")] = function
    return function


def get_judge(name: str) -> Judge:
    """A judge by name.

    Raises:
        UnknownNameError: no such judge.
    """
    if name not in JUDGES:
        raise UnknownNameError("judge", name, JUDGES)
    return JUDGES[name]


def words(text: str) -> list[str]:
    """Words for comparison: no case, diacritics, punctuation, articles or plural endings; number words as digits."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", plain)  # 1,000 is one number
    plain = re.sub(r"(?<=\w)['’`](?=s\b)", "", plain)  # possessive
    found = re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+", plain)
    return [_stem(NUMBER_WORDS.get(w, w)) for w in found if w not in ARTICLES]


def _stem(word: str) -> str:
    """The word without a plural ending; short words and words in -ss, -us, -is stay whole."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def mentions(answer: Sequence[str], alias: Sequence[str]) -> bool:
    """Do the alias's words stand in the answer, in order side by side or in any order within a short window?"""
    n = len(alias)
    if not n:
        return False
    if any(list(answer[i : i + n]) == list(alias) for i in range(len(answer) - n + 1)):
        return True
    if n == 1:
        return False
    wanted = sorted(alias)
    for start in range(len(answer)):
        window = list(answer[start : start + n + WINDOW])
        if window and window[0] in alias and _contains(window, wanted):
            return True
    return False


def _contains(window: list[str], wanted: list[str]) -> bool:
    rest = list(window)
    for word in wanted:
        if word not in rest:
            return False
        rest.remove(word)
    return True


@judge
def aliases_judge(references: Sequence[str], answer: str) -> Verdict:
    """Right when one accepted alias is mentioned, on whole words; or when a short answer is part of an alias's end."""
    if REFUSAL.search(answer) and not any(mentions(words(answer), words(r)) for r in references):
        return Verdict(correct=False, refused=True)
    said = words(answer)
    correct = any(mentions(said, words(reference)) for reference in references if words(reference))
    return Verdict(correct=correct)


@judge
def exact_judge(references: Sequence[str], answer: str) -> Verdict:
    """Right when the answer equals an alias, word for word after normalisation."""
    said = words(answer)
    return Verdict(correct=bool(said) and any(said == words(reference) for reference in references))
