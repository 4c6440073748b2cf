"""An exact answer without any model: the phrase of an answer that its question does not hold.

Answers repeat their question ("The river that flows through Paris is ..."), so what is new in them
carries the answer. The runs of new words are scored by where they stand and by whether they are
what the question asks for: a name, a number, a date. Nothing else is looked at: neither the
accepted answers nor the label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from probebench.tasks.exact.kinds import Stretch, has_capital, is_number, kinds_asked, kinds_of
from probebench.tasks.exact.phrases import BE, FUNCTION, TextWord, cut_words, sentences
from probebench.tasks.judging.polarity import VERB
from probebench.tasks.judging.refusals import refuses
from probebench.types import Span

SHORT = 5
"""Answers whose first sentence has at most this many words are their own exact answer (measured:
docs/tasks.md)."""
KEPT_WORDS = 8
"""Words of what is taken from a sentence that says nothing new."""
LEAD = re.compile(
    r"\s*\**(?:(?:here(?:['’]s| is)\s+)?"
    r"(?:(?:the\s+)?(?:final\s+|correct\s+)?answer(?:\s+is)?\**\s*[:\-]|a\s*:|answer\s*:))\**\s*",
    re.IGNORECASE,
)
"""What some models write before the answer itself."""
OPENING = re.compile(
    r"[\s*_#]*(?:(sure(?: thing)?|of course|certainly|absolutely|ok(?:ay)?|all ?right|well|hmm+"
    r"|hi|hello)|(?:great|good|interesting|excellent) question|no problem|happy to help"
    r"|here(?:['’]s| is) (?:the|your|my)(?: \w+)? answer)[\s*_.!,:]*",
    re.IGNORECASE,
)
"""A sentence that some models begin with, and that says nothing."""
GLUE = frozenset(
    (
        "of the de la le du des del della di da van von der den and & y e in for on at to a an "
        "bin ibn al el"
    ).split()
)
"""Words that may stand between the parts of one name: "Henry of Navarre", "Lord of the Rings"."""
REQUEST = re.compile(r"(?:please|(?:could|can|would) you|if you)\b", re.IGNORECASE)
YES_OR_NO = re.compile(rf"\s*(?:{VERB}|am|should)\b", re.IGNORECASE)
QUOTED = re.compile(r"[\"“«]([^\"“”«»\n]{2,80})[\"”»]|(?<!\w)['‘]([^'‘’\n]{3,80})['’](?!\w)")
PLACES = frozenset("in at on near from through along off to".split())


def new_phrase(question: str, answer: str, *, short: int = SHORT) -> Span | None:
    """The phrase of an answer that its question does not hold; None for an answer without words.

    Args:
        question: what was asked.
        answer: the reply, thinking left out.
        short: words of a first sentence that is its own exact answer.
    """
    parts = sentences(_led(answer, cut_words(answer)))
    if not parts:
        return None
    first = 0
    for one, after in pairwise(parts):
        if not _says_nothing(question, answer, one, after):
            break
        first += 1
    if first:
        parts = sentences(_led(answer, [word for part in parts[first:] for word in part]))
    if len(parts[0]) <= short:
        return Span(parts[0][0].start, parts[0][-1].end)
    asked = cut_words(question)
    runs = _runs(answer, parts, {w.key for w in asked}, _asked_noun(asked))
    if not runs:
        return _last_said(answer, parts[0])
    wanted = kinds_asked(question)
    best = max(enumerate(runs), key=lambda r: _score(r[1], wanted, r[0]))[1]
    return best.named if wanted[0] == "who" else best.span


def _led(answer: str, found: Sequence[TextWord]) -> Sequence[TextWord]:
    """Words without what leads to the answer, unless there are no others."""
    lead = LEAD.match(answer, found[0].start) if found else None
    return [w for w in found if w.start >= (lead.end() if lead else 0)] or found


def _says_nothing(
    question: str, answer: str, first: Sequence[TextWord], second: Sequence[TextWord]
) -> bool:
    """Is a sentence an opening, the mark of a list, or a doubt before what is said all the same? A
    request is no answer; where a number is asked for "1." may be it, and "Certainly." of a question
    of yes or no."""
    text = answer[first[0].start : second[0].start].strip()
    if re.fullmatch(r"1[.)]", text):
        return kinds_asked(question)[1] != "number"
    if opening := OPENING.fullmatch(text):
        word = (opening[1] or "").casefold()
        return not word or not (YES_OR_NO.match(question) or word in question.casefold())
    return refuses(text) and not REQUEST.match(answer, second[0].start)


def _last_said(answer: str, sentence: Sequence[TextWord]) -> Span:
    """Of a sentence that says nothing new: its last quotation, else what follows its verb, else its
    last words."""
    quotes = [
        q for q in _quotes(answer) if sentence[0].start <= q[0] and q[1] <= sentence[-1].end + 1
    ]
    inside = [w for w in sentence if quotes and quotes[-1][0] <= w.start and w.end <= quotes[-1][1]]
    verb = max((i for i, w in enumerate(sentence[:-1]) if w.text.casefold() in BE), default=-1)
    rest = inside or sentence[verb + 1 :][-KEPT_WORDS:]
    return Span(rest[0].start, rest[-1].end)


def _quotes(answer: str) -> list[tuple[int, int]]:
    """Where quotations stand, without their marks."""
    return [m.span(1) if m.group(1) else m.span(2) for m in QUOTED.finditer(answer)]


def _score(run: Stretch, wanted: Sequence[str], index: int) -> float:
    """How much a run looks like what was asked for."""
    kinds, word = kinds_of(run), wanted[0]
    score = max(
        (w for kind, w in zip(wanted[1:], (3.0, 1.5, 0.0), strict=False) if kind in kinds),
        default=0.0,
    )
    near = run.before[-2:]
    score += 1.0 * run.after_verb + 0.7 * run.quoted - 2.5 * run.echo - 2.0 * run.aside
    score -= 2.0 * ("also" in run.before or "aka" in run.before or "formerly" in run.before)
    score += 1.0 * (word == "who" and "by" in near) + 1.0 * (
        word == "where" and bool(PLACES & set(near))
    )
    score += 2.0 * (word == "how many" and run.counted)
    score += 0.5 * (run.sentence == 0 and not run.asked_before)
    score -= 2.5 * (
        len(run.words) == 1
        and run.words[0].text.endswith(("ed", "ing"))
        and run.words[0].text.islower()
    )
    return score - 0.25 * index - 1.0 * run.sentence


def _asked_noun(asked: Sequence[TextWord]) -> set[str]:
    """What kind of thing is asked for: the two words after "which" or "what"."""
    at = next((i for i, w in enumerate(asked) if w.text.casefold() in ("which", "what")), None)
    return set() if at is None else {w.key for w in asked[at + 1 : at + 4]}


def _runs(
    answer: str, parts: Sequence[Sequence[TextWord]], asked: set[str], noun: set[str]
) -> list[Stretch]:
    """Runs of new words, quotations whole."""
    quotes = _quotes(answer)
    result: list[Stretch] = []
    for number, sentence in enumerate(parts):
        colon = next((w.end for w in sentence[:14] if ":" in w.after), None)
        colon = (
            colon
            if colon is not None and any(w.key in asked for w in sentence if w.end <= colon)
            else None
        )
        for first, last in _pieces(sentence, asked, quotes):
            last += _goes_on(sentence, last, noun)
            words = tuple(sentence[first : last + 1])
            before = tuple(w.text.casefold() for w in sentence[max(0, first - 4) : first])
            behind = sentence[last + 1] if last + 1 < len(sentence) else None
            ahead = sentence[first - 1] if first else None
            quoted = any(s <= words[0].start and words[-1].end <= e for s, e in quotes)
            names = [
                w for w in (ahead, behind) if w and w.key in asked - noun and w.text[:1].isupper()
            ]
            touching = [
                w for w in names if not ((w if w is ahead else words[-1]).after).strip(" '’s")
            ]
            result.append(
                Stretch(
                    words=words,
                    before=before,
                    sentence=number,
                    after_verb=any(w.text.casefold() in BE for w in sentence[:first]),
                    echo=bool(touching) and has_capital(words[0]) and not quoted,
                    aside=_in_brackets(answer, words[0].start)
                    or (colon is not None and words[-1].end <= colon),
                    quoted=quoted,
                    counted=behind is not None and behind.key in asked,
                    asked_before=any(
                        w.key in asked and w.text.casefold() not in FUNCTION
                        for w in sentence[:first]
                    ),
                )
            )
    return result


def _pieces(
    sentence: Sequence[TextWord], asked: set[str], quotes: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """First and last word of each run."""
    pieces: list[tuple[int, int]] = []
    first: int | None = None
    last = 0
    for i, word in enumerate(sentence):
        low = word.text.casefold()
        quote = next((q for q in quotes if q[0] <= word.start and word.end <= q[1]), None)
        if first is not None and (i > 0 and _parted(sentence[i - 1], word)):
            pieces.append((first, last))
            first = None
        if quote is not None and any(
            w.key not in asked for w in sentence if quote[0] <= w.start and w.end <= quote[1]
        ):
            first, last = (i if first is None else first), i
            continue
        new = word.key not in asked and (
            low not in FUNCTION
            or (first is not None and has_capital(word) and has_capital(sentence[last]))
        )
        new = new and not (
            re.fullmatch(r"\d+", word.text)
            and word.after.startswith((". ", ") "))
            and first is None
            and i == 0
        )
        if (
            new
            and first is not None
            and i - last > 1
            and not (has_capital(word) or is_number(word))
        ):
            pieces.append((first, last))
            first = None
        if new:
            first, last = (i if first is None else first), i
        elif first is not None and not (
            (low in GLUE or has_capital(word)) and has_capital(sentence[last])
        ):
            pieces.append((first, last))
            first = None
    return [*pieces, (first, last)] if first is not None else pieces


def _goes_on(sentence: Sequence[TextWord], last: int, noun: set[str]) -> bool:
    """Does a name end in what was asked for: "Grand Union Canal", of "which canal"?"""
    behind = sentence[last + 1] if last + 1 < len(sentence) else None
    return (
        behind is not None
        and behind.key in noun
        and all(map(has_capital, (sentence[last], behind)))
        and not _parted(sentence[last], behind)
    )


def _parted(before: TextWord, word: TextWord) -> bool:
    """Does punctuation part two words? A comma inside a date does not."""
    if "," in before.after:
        return not (is_number(before) and is_number(word))
    return re.fullmatch(r"(?:['’]s)?[\s*_.&'’]*", before.after) is None


def _in_brackets(text: str, at: int) -> bool:
    return text.count("(", 0, at) > text.count(")", 0, at)
