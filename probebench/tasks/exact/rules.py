"""Exact-answer rules: which characters of an answer decide whether it is right, found without
looking at the label.

A rule is one function `(task rule, example, answer text) -> Span | None`, registered under the name
that task files use. The rule `model` asks a language model to copy the words (`copying.py`,
`probebench/models/copier.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from probebench.errors import UnknownNameError, UsageError
from probebench.tasks.exact.new_words import new_phrase
from probebench.tasks.exact.phrases import cut_words, sentences
from probebench.tasks.judge import earliest_option, final_number
from probebench.tasks.judging.refusals import (
    only_refuses,
    refuses,
    up_to_next_question,
    without_echo,
)
from probebench.tasks.schema import ExactAnswer
from probebench.types import Example, Span

Rule = Callable[[ExactAnswer, Example, str], Span | None]
RULES: dict[str, Rule] = {}
MODEL_RULE = "model"

FREE = ("new_words", "whole", MODEL_RULE)
"""Rules that need nothing from a task's file, so that any question task can be run with them."""
GOLD = "gold"
"""Looks at the label, for comparison with Orgad et al. 2025."""


def rule(function: Rule) -> Rule:
    """Register a rule under its function's name, `_rule` left out."""
    RULES[function.__name__.removesuffix("_rule")] = function
    return function


def check_rule(exact: ExactAnswer, where: str) -> None:
    """Complain about a rule that cannot work.

    Raises:
        UnknownNameError: no such rule.
        UsageError: patterns missing, broken, or without a group named `exact`.
    """
    if exact.rule not in (MODEL_RULE, *RULES):
        raise UnknownNameError("exact-answer rule", exact.rule, [MODEL_RULE, *RULES])
    if exact.rule != "pattern":
        return
    if not exact.patterns:
        raise UsageError(
            f"{where}: the exact-answer rule 'pattern' needs at least one entry in 'patterns'."
        )
    for pattern in exact.patterns:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise UsageError(
                f"{where}: pattern {pattern!r} is not a regular expression: {error}."
            ) from None
        if "exact" not in groups:
            raise UsageError(
                f"{where}: pattern {pattern!r} has no group named 'exact', written (?P<exact>...)."
            )


@rule
def pattern_rule(exact: ExactAnswer, example: Example, answer: str) -> Span | None:
    """Group `exact` of the first pattern that matches."""
    for pattern in exact.patterns:
        match = re.search(pattern, answer)
        if match and match.group("exact"):
            return Span(*match.span("exact"))
    return None


@rule
def option_rule(exact: ExactAnswer, example: Example, answer: str) -> Span | None:
    """The option that is mentioned first."""
    return earliest_option(example, answer)


@rule
def number_rule(exact: ExactAnswer, example: Example, answer: str) -> Span | None:
    """The number that the answer ends in: the one that the judge `number` reads."""
    return final_number(without_echo(example.question, answer))


@rule
def new_words_rule(exact: ExactAnswer, example: Example, answer: str) -> Span | None:
    """The phrase that the question does not hold; None for a refusal. A next question ends the
    answer."""
    said = up_to_next_question(answer)
    return None if declines(said) else new_phrase(example.question, said)


@rule
def whole_rule(exact: ExactAnswer, example: Example, answer: str) -> Span | None:
    """The whole answer, outer spaces left out."""
    stripped = answer.strip()
    start = answer.find(stripped)
    return Span(start, start + len(stripped)) if stripped else None


def gold_span(example: Example, answer: str) -> Span | None:
    """The first mention of an accepted answer.

    It looks at the label: Orgad et al. 2025 take the exact answer from the references when the
    answer is right and from a model when it is wrong. For comparison only, with `--exact-answer
    gold`.
    """
    spans = [span for reference in example.references if (span := find_words(answer, reference))]
    return min(spans, key=lambda s: (s.start, -s.end)) if spans else None


def find_words(answer: str, said: str) -> Span | None:
    """Where given words stand in an answer; None when they are no part of it.

    Whole words are preferred to parts of words, an exact match to one that ignores case, earlier
    places to later ones.
    """
    for candidate in dict.fromkeys((said.strip(" .\"'`“”‘’"), said.strip())):
        if not candidate:
            continue
        body = r"\s+".join(map(re.escape, candidate.split()))
        for expression in (rf"(?<!\w){body}(?!\w)", body):
            for flags in (re.NOFLAG, re.IGNORECASE):
                match = re.search(expression, answer, flags)
                if match:
                    return Span(*match.span())
    return None


def declines(answer: str) -> bool:
    """Is there no answer in it: nothing but a refusal, or nothing at all?"""
    texts = [answer[p[0].start : p[-1].end + 1] for p in sentences(cut_words(answer))]
    return not texts or (refuses(answer) and all(map(only_refuses, texts)))
