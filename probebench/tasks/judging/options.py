"""Answers that choose: options of the task, and options that the question offers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise

from probebench.tasks.judging.polarity import is_determiner
from probebench.tasks.judging.reading.wording import SAYING, Wording
from probebench.tasks.judging.refusals import (
    in_refusal,
    is_negated,
    up_to_next_question,
    without_echo,
)
from probebench.tasks.judging.rejected import is_taken_back
from probebench.types import Example, Span

JOINT = re.compile(
    r"[\s\"'“”‘’(]*(?:,|/|;|&|\bor\b|\band\b|\n)+"
    r"(?:\s*(?:,|\b(?:or|and|the|an?|either|both|also)\b))*[\s\"'“”‘’(]*",
    re.IGNORECASE,
)
AROUND = r"[\s\"'“”‘’()\[\]*_]*"
MARK = r"(?:,|/|;|&|\||\bor\b|\band\b|\bvs\b\.?|\n|(?<=\s)[-–—•*](?=\s)|\(?\b[a-e1-9][.):])"
LISTED = re.compile(
    rf"{AROUND}(?:{MARK}{AROUND})+(?:\s*(?:,|\b(?:or|and|the|an?|either|both|also)\b))*{AROUND}",
    re.IGNORECASE,
)
"""What stands between two options of a list, written out in any way."""
JOINER = re.compile(r"\b(?:or|and)\b", re.IGNORECASE)
OR = re.compile(r"\bor\b", re.IGNORECASE)
VERB_OR_END = re.compile(r"\b(?:is|was|are|were|has|had|than)\b|[.!?;]")
COMMA = re.compile(r"[\s\"'“”‘’]*,")
NEAR = 2
"""Words that may stand between an option of the question and its "or"."""


ASKED_BACK = re.compile(r"[\"'”’]?\?\s*no\b", re.IGNORECASE)
"""After a mention that the answer only asks about: "Paris? No, it is Lyon"."""
FAR_FROM = re.compile(r"\bfar from (?:being )?$", re.IGNORECASE)
NO = re.compile(r"\b(?:no|nothing|hardly|lacks(?: any)?)\s+$", re.IGNORECASE)
"""Before an option that the answer says is not there: "no contradiction"."""
ARTICLE = re.compile(r"(?:the|an?)\s+(?=\w{3})", re.IGNORECASE)
APOSTROPHES = str.maketrans(dict.fromkeys("‘’ʼʻ", "'"))


def flat(text: str) -> str:
    """The text with plain apostrophes and without accents, of the same length."""
    if text.isascii():
        return text
    return "".join(unicodedata.normalize("NFD", c)[0] for c in text.translate(APOSTROPHES))


def option_places(options: Iterable[str], answer: str) -> list[tuple[int, int, str]]:
    """Where options stand in the answer on whole words and undenied, earliest first; the longest of
    those at one place.

    A single letter counts in its own case, unless it is all that is said, and not as the article
    "A"; "C" does not stand in "C++". An option's own article may be left out.
    """
    plain = flat(answer)
    found: list[tuple[int, int, str]] = []
    for option in dict.fromkeys(options):
        article = ARTICLE.match(flat(option))
        rest = flat(option)[article.end() :] if article else flat(option)
        body = r"[\s-]+".join(map(re.escape, rest.split()))
        if not body:
            continue
        if article:
            body = rf"(?:{article.group().strip()}[\s-]+)?{body}"
        tail = r"(?!\s+(?!(?:or|and)\b)[a-z])(?!['’])" if option.strip() in ("A", "I", "a") else ""
        flags = (
            re.NOFLAG
            if len(option.strip()) == 1 and re.search(r"\w\W*\w", answer)
            else re.IGNORECASE
        )
        matches = re.finditer(rf"(?<!\w){body}(?![\w+#]){tail}", plain, flags)
        found += [(*m.span(), option) for m in matches if _counts(answer, *m.span())]
    found.sort(key=lambda f: (f[0], -f[1]))
    kept: list[tuple[int, int, str]] = []
    for place in found:
        if not kept or place[0] >= kept[-1][1]:
            kept.append(place)
    return kept


def _counts(answer: str, start: int, end: int) -> bool:
    return not (
        is_negated(answer, start, end)
        or is_determiner(answer, start, end)
        or in_refusal(answer, start)
        or ASKED_BACK.match(answer, end)
        or FAR_FROM.search(answer, 0, start)
        or NO.search(answer, max(0, start - 12), start)
        or is_taken_back(answer, start, end)
    )


def earliest_option(example: Example, answer: str) -> Span | None:
    """Where the first option stands in the answer that is not denied; None where a list names
    several without choosing.

    The question, repeated word for word, is no answer. The longest of options that begin at one
    place is taken.
    """
    text = without_echo(example.question, up_to_next_question(answer))
    options = {o.casefold() for o in (*example.references, *example.wrong)}
    found = option_places([*example.references, *example.wrong], text)
    listed = n_listed(text, found, len(options))
    if listed == len(options) > 1:  # the question's own list, after which one may be chosen
        found = found[listed:]
        listed = n_listed(text, found, len(options))
    if not found or listed > 1:
        return None
    return Span(found[0][0], found[0][1])


def n_listed(text: str, found: Sequence[tuple[int, int, str]], n_options: int) -> int:
    """How many different options the text begins with that stand in one list: joined by "or",
    "and", commas, lines or the marks of a list; all of them also by spaces alone."""
    run, said = 0, set[str]()
    for k, (start, _, option) in enumerate(found):
        if option.casefold() in said or (k and not LISTED.fullmatch(text, found[k - 1][1], start)):
            break
        said.add(option.casefold())
        run = k + 1
    close = [text[a[1] : b[0]] for a, b in pairwise(found[:n_options])]
    whole = {option.casefold() for _, _, option in found[:n_options]}
    bare = n_options > 2 and len(whole) == n_options and not any(gap.strip() for gap in close)
    return n_options if bare else run


def rivals(question: Wording, start: int, end: int) -> list[str] | None:
    """The word that tells the other option, where the question offers these words as one; None
    where it offers nothing.

    "Which is older, X or Y?" offers X and Y, "between X and Y" too, "with nearby stars or with
    distant stars" nearby and distant: the option may stand a few words from "or", and what both
    sides share tells nothing.
    """
    asked = question.words
    for match in JOINER.finditer(question.text):
        before = [w for w in asked if w.end <= match.start()]
        after = [w for w in asked if w.start >= match.end()]
        reach = NEAR if match.group().casefold() == "or" else 0
        if len(before) - reach <= end <= len(before):
            shared = {w.form for w in asked[start : len(before)]}
            return [next((w.form for w in after if w.form not in shared), "")]
        if len(before) <= start <= len(before) + reach:
            shared = {w.form for w in asked[len(before) : end]}
            return [next((w.form for w in reversed(before) if w.form not in shared), "")]
    if (
        COMMA.match(question.text, asked[end - 1].end)
        and end < len(asked)
        and OR.search(question.text, asked[end].start)
    ):
        return [asked[end].form]
    return None


def chosen_first(said: Wording, start: int, others: Iterable[str]) -> bool:
    """Does no rival's word stand before the alias that begins at word `start`, unless it is
    denied?"""
    known = set(others) - SAYING
    return not any(
        w.form in known and not is_negated(said.text, w.start, w.end) for w in said.words[:start]
    )


def joined_by_or(said: Wording, end: int, others: Iterable[str]) -> bool:
    """Is the next word after the mention that of a rival, with only "or", "and" or a comma between
    ("X or Y")?"""
    if end >= len(said.words):
        return False
    following = next((w for w in said.words[end:] if w.form in set(others)), None)
    if following is None or is_negated(said.text, following.start, following.end):
        return False
    between = said.text[said.words[end - 1].end : following.start]
    return len(between) < 40 and bool(JOINT.match(between)) and not VERB_OR_END.search(between)
