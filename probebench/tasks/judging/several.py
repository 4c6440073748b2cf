"""Answers that name several things and choose none: "Oslo or Bergen", "Oslo; Bergen; Molde"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from probebench.tasks.judging.options import VERB_OR_END
from probebench.tasks.judging.reading.wording import SAYING, words
from probebench.tasks.judging.refusals import SENTENCE_END

SEVERAL = re.compile(
    r"\b(?:list|names?|two|three|four|five|six|seven|ten|several|some|all|both|pair|either|any|are"
    r"|were|do|(?<![\d.,-])(?:[2-9]|[1-9]\d{1,2})(?= (?!(?:bce?|ad|ce|[ap]m)\b)[a-z])|"
    r"(?:what|which|name)(?: \w+){0,2} \w+[^s\Wu]s)\b",
    re.IGNORECASE,
)
LIST_ITEM_END = re.compile(
    r"\s*(?:(?<!\d),|,(?!\d{3}))\s*(?:and\s+|or\s+)?|\s+(?:and|or)\s+"
    r"|\s*;\s*(?:and\s+|or\s+)?|\s+\|\s+|\s*\n\s*(?:[-*•]|\d+[.)])?\s*"
)
LETTERED = re.compile(r"(?:^|\s)\(?[A-Ea-e][).]\s+")
"""Options written out: "A) Paris B) Lyon C) Nice"."""
LINE_MARK = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])\s+", re.MULTILINE)
ASKED = re.compile(r"\?\s+(?:or\s+)?", re.IGNORECASE)
"""Between the items of "Oslo? Bergen? Molde?"."""
MAYBE = r"(?:maybe|perhaps|possibly|probably|even|else|it (?:could|might|may) be)"
LEAD = rf"(?:(?:the|an?|in|at|{MAYBE})\s+){{0,2}}"
ITEM = r"(?:[\"'“‘(]?[A-Z0-9][\w.'’-]*(?:\s+(?:of |the |de |and )?[A-Z0-9][\w.'’-]*){0,3}[\"'”’)]?)"
WORDS = r"(?:(?:the |an? )?[\w'’-]+(?: [\w'’-]+){0,2})"
END = r"(?=[\s\"'”’)]*(?:[.?!,;]|$))"
NO_ITEM = (
    r"(?!(?:so|less|more|fewer|another|other|others|something|not|rather|thereabouts|at|near|around"
    r"|later|earlier|older|younger|above|below|simply|just|also|as|in|it|they|he|she|you|we|its)\b)"
)
HEDGED = [
    re.compile(
        rf"{ITEM}(?:(?<=\w\w)\s?/\s?(?=\w\w){ITEM}|\s+or\s+{LEAD}{ITEM}"
        rf"|(?:\s*,\s*{LEAD}{ITEM})+\s*,?\s+or\s+{LEAD}{ITEM})"
    ),
    re.compile(rf"{ITEM},?\s+(?:or\s+)?{MAYBE}\s+(?:(?:in|at|the|an?)\s+)?{ITEM}{END}"),
    re.compile(rf"{ITEM},?\s+(?:or\s+)?(?:(?:could|might|may) be)\s+{LEAD}{ITEM}{END}"),
    re.compile(rf"{ITEM}\s+\(or\s+{LEAD}{ITEM}\)"),
    re.compile(rf"(?<!\w){WORDS},\s+or\s+{MAYBE}\s+{NO_ITEM}{WORDS}{END}", re.IGNORECASE),
]
"""Things of which one is it: in capitals or digits anywhere; in small letters, where "or" mostly
joins two names of one thing ("the dawn or sunrise"), with "maybe" alone."""
PARTS = re.compile(rf"\s*,?\s*\(?\bor\s+(?:{MAYBE}\s+)?|\s*,\s*|\s?/\s?|\s+(?={MAYBE}\s)")
LEADING = re.compile(rf"^(?:{MAYBE}|(?:could|might|may) be|either)\s+", re.IGNORECASE)
OPEN = re.compile(r"\bor\b|/|\b(?:maybe|perhaps|possibly|could|might|may)\b", re.IGNORECASE)
"""Quick look: without one of these nothing is left open."""
HEDGES = frozenset(
    "either could might may possibly perhaps maybe probably likely answer not sure but".split()
)


def left_open(text: str, start: int, end: int, known: Iterable[str]) -> list[str]:
    """The things that the answer leaves open where the mention is one of them: "Paris or Lyon",
    "either Paris, London, or Rome".

    Nothing new stands before them in their sentence. "24 hours, or a day" says one thing twice.
    Empty where it is no such list.
    """
    if not OPEN.search(text):
        return []
    found = next(
        (
            m
            for pattern in HEDGED
            for m in pattern.finditer(text)
            if m.start() <= start and end <= m.end()
        ),
        None,
    )
    if found is None:
        return []
    begin = max((m.end() for m in SENTENCE_END.finditer(text, 0, found.start())), default=0)
    known = set(known)
    new = [
        w
        for w in words(text[begin : start if _in_first(found, start) else found.start()])
        if w not in known and w not in SAYING and w not in HEDGES
    ]
    items = [LEADING.sub("", item).strip(" ()") for item in PARTS.split(found.group())]
    return [] if new else [item for item in items if item]


def _in_first(found: re.Match[str], at: int) -> bool:
    """Does this place lie in the first thing of a match, in front of which nothing new may
    stand?"""
    joint = PARTS.search(found.group())
    return joint is not None and at < found.start() + joint.start()


def asks_for_several(question: str) -> bool:
    """Does the question ask for more than one thing?"""
    return bool(SEVERAL.search(question))


def bare_list(text: str) -> list[str]:
    """The items of an answer that is a list and nothing else; empty where it is none.

    Three items with "and" or "or", between bars or semicolons, or on marked lines, two that are
    asked, or four without: "Munich, Bavaria, Germany" is one place.
    """
    text = text.strip()
    asked = [item.strip() for item in ASKED.split(text.removesuffix("?"))]
    if text.endswith("?") and len(asked) > 1 and _alike(asked):
        return asked
    text = text.rstrip(".")
    lettered = LETTERED.split(text)
    several = len(lettered) > 3 and not lettered[0].strip()
    marked = len(LINE_MARK.findall(text)) > 2
    text = LINE_MARK.sub("", text, count=1) if LINE_MARK.match(text) else text
    found = [item for item in (lettered if several else LIST_ITEM_END.split(text)) if item.strip()]
    least = 3 if re.search(r"\b(?:and|or)\b|;|\s\|\s", text) else 4
    in_line = len(found) >= least and re.search(r"[,;]|\s\|\s", text)
    in_lines = "\n" in text and (marked or len(found) > 3)
    return found if _alike(found) and (several or in_line or in_lines) else []


def _alike(found: list[str]) -> bool:
    """Are these short, and all in capitals or none?"""
    capital = {
        re.sub(r"^(?:the|an?) ", "", item.strip("\"'“”‘’*").strip())[:1].islower() for item in found
    }
    return len(capital) == 1 and all(
        len(item.split()) <= 4 and not VERB_OR_END.search(item) for item in found
    )
