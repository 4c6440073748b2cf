"""Words and sentences of a text, as characters: where an exact answer may begin and end.

A word begins and ends where a reader would say so: outer punctuation is left out, signs that belong
to it ("$", "C++", "-3") stay, a possessive ending may be left out, and scripts without spaces count
every character as one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

CHUNK = re.compile(r"[^\s/–—|]+")
OPENING = "\"'`“”‘’„«»()[]{}<>*_~,.;:!?¿¡…。、，！？：；「」『』（）【】《》〈〉·"
"""Punctuation that never begins a word; a sign of currency or of a number does."""
CLOSING = OPENING + "-"
POSSESSIVE = re.compile(r"(?<=\w)['’]s$", re.IGNORECASE)
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Thai, Lao, Burmese, Khmer, kana and Han."""
TITLES = frozenset("st mr mrs ms dr jr sr vs no prof gen lt col sgt ft mt".split())
"""Abbreviations that end no sentence."""

BE = frozenset("is are was were be been being".split())
FUNCTION = BE | frozenset(
    "a an the this that these those it its he she they his her their him them we our you your i my "
    "me one ones am do does did done has have had having can could will would shall should may "
    "might must of in on at to from by for with about into onto over under between among during "
    "after before since until through within and or but nor so yet as than then also too not no "
    "only just both either neither each there here who whom whose which what when where why how if "
    "because while although though such other another some any all most more many much very called "
    "named known said referred refers considered believed often usually generally typically "
    "originally first actually probably likely approximately about around circa roughly nearly "
    "almost however therefore including includes include starring ranges range means consists "
    "contains takes place type types kind kinds sort sorts name names term terms answer question "
    "yes total following according".split()
)
"""Words that carry an answer but are none themselves."""


@dataclass(frozen=True, slots=True)
class TextWord:
    """One word of a text."""

    start: int
    end: int
    text: str
    after: str
    """What stands between it and the next word: a space, or punctuation that ends a phrase."""

    @property
    def key(self) -> str:
        """For comparison: no case, diacritics or plural ending."""
        return fold(self.text)

    @property
    def says(self) -> bool:
        """False for function words, which carry an answer but are none themselves."""
        return self.text.casefold() not in FUNCTION


def fold(text: str) -> str:
    """A word for comparison: no case, diacritics, marks, or the endings that inflect it in
    English."""
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
    ).casefold()
    plain = re.sub(r"['’]s$|[^\w+#%]", "", plain)
    for ending in ("ing", "ies", "ed", "es", "s"):
        if (
            plain.endswith(ending)
            and len(plain) - len(ending) >= 3
            and not plain.endswith(("ss", "us", "is"))
        ):
            return plain[: -len(ending)]
    return plain


def cut_words(text: str) -> list[TextWord]:
    """The words of a text, in their order."""
    spans: list[tuple[int, int]] = []
    for chunk in CHUNK.finditer(text):
        start, end = _stripped(text, *chunk.span())
        if start >= end:
            continue
        last = start
        for one in UNSPACED.finditer(text, start, end):
            if one.start() > last:
                spans.append((last, one.start()))
            spans.append(one.span())
            last = one.end()
        if last < end:
            spans.append((last, end))
    ends = [start for start, _ in spans[1:]] + [len(text)] * bool(spans)
    return [TextWord(s, e, text[s:e], text[e:n]) for (s, e), n in zip(spans, ends, strict=True)]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """A chunk without the punctuation around it; of initials the full stop stays inside only
    ("U.S.", "C++", "-3")."""
    while start < end and text[start] in OPENING:
        start += 1
    while end > start and text[end - 1] in CLOSING:
        end -= 1
    if found := POSSESSIVE.search(text[start:end]):
        end = start + found.start()
    return start, end


def sentences(found: Sequence[TextWord]) -> list[list[TextWord]]:
    """Words by sentence; a line is one too, and initials and titles end none."""
    result: list[list[TextWord]] = [[]]
    for word in found:
        result[-1].append(word)
        if "\n" in word.after or (
            re.search(r"[.!?]['\"”’)\]*_]*\s", word.after) and not _abbreviation(word.text)
        ):
            result.append([])
    return [s for s in result if s]


def _abbreviation(text: str) -> bool:
    return (
        (len(text) == 1 and text.isalpha())
        or re.fullmatch(r"(?:\w\.)+\w", text) is not None
        or text.casefold() in TITLES
    )
