"""Exact-answer rules: which characters of an answer decide whether it is right, found without looking at the label.

A rule is one function `(task rule, example, answer text) -> Span | None`, registered under the name that task files use.
The rule `model` asks the model itself: its prompt and the reading of its reply stand here, the generation in the pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from probebench.errors import UnknownNameError, UsageError
from probebench.tasks.judge import earliest_option, final_number
from probebench.tasks.schema import ExactAnswer
from probebench.types import Example, Span

Rule = Callable[[ExactAnswer, Example, str], Span | None]
RULES: dict[str, Rule] = {}
MODEL_RULE = "model"
MODEL_MAX_NEW_TOKENS = 24
NOT_FOUND = "NONE"

EXTRACTION = """Copy the words of the reply that answer the question, exactly as they stand in it, and nothing else.
If the reply does not answer the question, write NONE.

Question: Who painted the ceiling of the Sistine Chapel?
Reply: The ceiling was painted by Michelangelo between 1508 and 1512.
Words: Michelangelo

Question: What is the longest river in France?
Reply: I'm afraid I can't tell you which river is the longest.
Words: NONE

Question: In what year did the first modern Olympic Games take place?
Reply: They were held in Athens, Greece, in 1896, with athletes from 14 nations.
Words: 1896

Question: Which instrument did Niccolo Paganini play?
Reply: Paganini was famous for playing the violin
Words: the violin

Question: {question}
Reply: {reply}
Words:"""


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
        raise UsageError(f"{where}: the exact-answer rule 'pattern' needs at least one entry in 'patterns'.")
    for pattern in exact.patterns:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise UsageError(f"{where}: pattern {pattern!r} is not a regular expression: {error}.") from None
        if "exact" not in groups:
            raise UsageError(f"{where}: pattern {pattern!r} has no group named 'exact', written (?P<exact>...).")


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
    return final_number(answer)


@rule
def whole_rule(exact: ExactAnswer, example: Example, answer: str) -> Span | None:
    """The whole answer, outer spaces left out."""
    stripped = answer.strip()
    start = answer.find(stripped)
    return Span(start, start + len(stripped)) if stripped else None


def gold_span(example: Example, answer: str) -> Span | None:
    """The first mention of an accepted answer.

    It looks at the label: Orgad et al. 2025 take the exact answer from the references when the answer is right and from a
    model when it is wrong. For comparison only, with `--exact-answer gold`.
    """
    spans = [span for reference in example.references if (span := find_reply(answer, reference))]
    return min(spans, key=lambda s: (s.start, -s.end)) if spans else None


def extraction_prompt(question: str, answer: str) -> str:
    """What the model is asked to find the exact answer in its own reply."""
    return EXTRACTION.format(question=question, reply=" ".join(answer.split()))


def find_reply(answer: str, reply: str) -> Span | None:
    """Where the extracted words stand in the answer; None when they are not a part of it.

    The first line of the reply counts, without quotation marks and a closing full stop. Whole words are preferred to parts
    of words, an exact match to one that ignores case, earlier places to later ones.
    """
    text = reply.strip().splitlines()[0].strip() if reply.strip() else ""
    if text.strip("\"'`“”‘’ .").casefold() == NOT_FOUND.casefold():
        return None
    candidates = dict.fromkeys((text.strip("\"'`“”‘’ ."), text.strip("\"'`“”‘’ "), text))
    for candidate in candidates:
        if not candidate:
            continue
        body = r"\s+".join(map(re.escape, candidate.split()))
        for expression in (rf"(?<!\w){body}(?!\w)", body):
            for flags in (re.NOFLAG, re.IGNORECASE):
                match = re.search(expression, answer, flags)
                if match:
                    return Span(*match.span())
    return None
