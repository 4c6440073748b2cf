"""Judges: is this answer right? Each is one function, registered under the name that task files
use.

A judge sees the example (question, references, wrong answers) and the answer's text. It returns a
`Verdict`; a refusal is wrong and marked. What stands after a next question ("Q:") is no part of the
answer, nor is the question repeated.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from probebench.errors import UnknownNameError
from probebench.tasks.judging.amounts import read_amount
from probebench.tasks.judging.bounds import commits
from probebench.tasks.judging.final import final_amount, final_number
from probebench.tasks.judging.mentions import Aliases
from probebench.tasks.judging.options import earliest_option
from probebench.tasks.judging.polarity import polarity_of, restated, wanted_polarity
from probebench.tasks.judging.reading.wording import words
from probebench.tasks.judging.refusals import (
    after_turn,
    in_refusal,
    refuses,
    up_to_next_question,
    without_echo,
)
from probebench.types import Example, Verdict

__all__ = ["JUDGES", "Judge", "earliest_option", "final_number", "get_judge", "judge", "words_f1"]

Judge = Callable[[Example, str], Verdict]
JUDGES: dict[str, Judge] = {}


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


def own_words(example: Example, answer: str) -> str:
    """The answer without the question repeated word for word and without what runs on after it."""
    return without_echo(example.question, up_to_next_question(answer))


@judge
def aliases_judge(example: Example, answer: str) -> Verdict:
    """Right when an accepted alias is mentioned, or when the answer is a distinctive part of one.

    Where the accepted answer is yes or no, the first of the two decides.
    """
    text = own_words(example, answer)
    if (wanted := wanted_polarity(example.references)) is not None:
        refused = refuses(text)
        told = polarity_of(after_turn(text) if refused else text)
        told = restated(example.question, text) if told is None else told
        return Verdict(correct=told is wanted, refused=refused and told is None)
    correct = Aliases(example).accept(text)
    return Verdict(correct=correct, refused=not correct and refuses(text))


@judge
def exact_judge(example: Example, answer: str) -> Verdict:
    """Right when the answer equals an alias, word for word after normalisation."""
    said = words(up_to_next_question(answer))
    return Verdict(
        correct=bool(said) and any(said == words(reference) for reference in example.references)
    )


@judge
def choice_judge(example: Example, answer: str) -> Verdict:
    """Right when the option mentioned first in the answer is the right one; wrong when a list names
    several."""
    span = earliest_option(example, answer)
    if span is None:
        return Verdict(correct=False, refused=refuses(own_words(example, answer)))
    said, right = answer[span.start : span.end], example.references
    # "glass" and "glasses" are two where both are options
    stems = not any(words(option) == words(one) for option in example.wrong for one in right)
    found = words(said, stems=stems)
    return Verdict(correct=any(found == words(one, stems=stems) for one in right))


STATED = re.compile(r"[;,] (?:(?:so|and|but|then) )?(?:the )?\w+ (?:is|are|=) \S{0,2}$", re.I)
"""A clause of its own that gives a number: "I cannot find any error; the answer is 100"."""


@judge
def number_judge(example: Example, answer: str) -> Verdict:
    """Right when the answer's number equals the reference as a number, and the answer commits
    itself to it: no range, no bound that was not asked for, no refusal."""
    text = own_words(example, answer)
    found = final_amount(text)
    if found is None or (
        in_refusal(text, found.span.start) and not STATED.search(text[: found.span.start])
    ):
        return Verdict(correct=False, refused=refuses(text))
    if not commits(example.question, text, found):
        return Verdict(correct=False)
    accepted = [
        amount for reference in example.references if (amount := read_amount(reference)) is not None
    ]
    return Verdict(correct=any(found.equals(amount) for amount in accepted))


@judge
def closest_judge(example: Example, answer: str) -> Verdict:
    """Right when the answer shares more words with some right reference than with any wrong one
    (best F1 of words)."""
    text = own_words(example, answer)
    if not text.strip():
        return Verdict(correct=False)
    said = words(text)
    right, wrong = (
        max((words_f1(said, words(t)) for t in texts), default=0.0)
        for texts in (example.references, example.wrong)
    )
    return Verdict(correct=right > wrong, refused=right == 0.0 and refuses(text))


def words_f1(a: Sequence[str], b: Sequence[str]) -> float:
    """F1 of the words that two texts share, each as often as it stands in both."""
    shared = sum((Counter(a) & Counter(b)).values())
    return 2 * shared / (len(a) + len(b)) if shared else 0.0
