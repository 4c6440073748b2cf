"""Free text as words for comparison: what two spellings of one thing have in common.

No case, diacritics, punctuation, articles, little words, possessives or plural endings; numbers as
digits. Each word knows where it stands, so that what surrounds a mention can be looked at.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from probebench.tasks.judging.reading.quantities import in_decimals
from probebench.tasks.judging.reading.spelling import Word, numbered

ARTICLES = frozenset({"a", "an", "the"})
LITTLE = frozenset(
    (
        "in on at of to from by for with and or around about approximately circa typically "
        "between nearly roughly almost"
    ).split()
)
"""Words that decide nothing between an alias and an answer."""
SAYING = frozenset(
    (
        "is are was were be been it he she they that this there his her their its i think believe "
        "would say my"
    ).split()
)
"""Words that only carry the answer in a sentence."""
FUNCTION = (
    ARTICLES
    | LITTLE
    | SAYING
    | frozenset(
        "us me we you him them who whom what which when where why how can could may might will "
        "shall should must do does did has have had am so if but not no nor yes as than then too "
        "very up out off over now here all any some more most one".split()
    )
)
"""Words that stand in any text: an alias that is one of them is looked for with care."""
LETTERS = {
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "ð": "d",
    "þ": "th",
    "æ": "ae",
    "œ": "oe",
    "ı": "i",
    "ħ": "h",
    "ŧ": "t",
    "ŋ": "n",
    "π": "pi",
}
"""Letters that Unicode does not decompose."""
UMLAUTS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"}
    | {"å": "aa", "Å": "Aa", "ø": "oe", "Ø": "Oe"}
)
APOSTROPHES = str.maketrans(dict.fromkeys("\u02bb\u02bc\u02bd\u02bf\u02be\u02b9\ua78c\u2032", "'"))
"""The okina of Hawaiian and its like."""
INITIALS = re.compile(r"(?<![\w.])(?:[A-Z]\.){3,}[A-Z]?(?!\w)(?!\s*[A-Z][a-z])|\b[Pp]h\. ?D\b\.?")
ERA = re.compile(r"(?<=\d )(?:B\. ?C\.(?: ?E\.)?|C\. ?E\.|A\. ?D\.)|\bA\. ?D\.(?= \d)")
WARS = re.compile(r"\bWW ?(I{1,3}|[123])\b")
CLOCK = re.compile(r"(?<=\d) ?([ap])\.? ?m(?!\.?\w)\.?", re.IGNORECASE)
PER_CENT = re.compile(r"\bper cent\b", re.IGNORECASE)
YEARS = re.compile(r"(?<![\d/-])(1\d|20)(\d\d)([-–/])(\d\d)(?![\d/–-]|\.\d)")
"""A span of years whose second one is cut short: "1914-18"."""
DECADE = re.compile(r"\b19(\d0)['’]?s\b")
SPELLED_AND = re.compile(r"\b([A-Z]{1,2}) and ([A-Z])\b")
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff"
)
"""Scripts without spaces between words (Thai, Lao, Burmese, Khmer, Chinese, Japanese), and Korean,
which adds its particles."""
DECADES = r"\b(?:\d\d)?\d0['’]?s\b"
NUMBER = (
    rf"{DECADES}|" r"(?:(?<![^\s(=:])[-−])?(?:\d{1,3}(?:,\s?\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)"
)
POSSESSIVE = r"(?:['’`][sS](?![^\W_]))?"
LETTER_RUN = r"[^\W\d_]+(?:\+\+|[+#](?!\w)|(?<=\b[ABO])-(?=$|[\s.,;)])|(?<=\bAB)-(?=$|[\s.,;)]))?"
TOKEN = re.compile(rf"{NUMBER}|({LETTER_RUN}){POSSESSIVE}")
TOKEN_UNSPACED = re.compile(
    rf"{NUMBER}|[{UNSPACED}]|((?:(?![{UNSPACED}]){LETTER_RUN[:8]})+(?:\+\+|[+#](?!\w))?){POSSESSIVE}"
)
HAS_UNSPACED = re.compile(f"[{UNSPACED}]")
CAMEL = re.compile(r"(?<![^\W_])([a-z]+)(?=[A-Z])")
TIES = "-‐*·'’`."
"""What ties a letter to its neighbour, so that it is no article."""
FOR_A_LETTER = re.compile(r"(?<=[A-Za-z])\$(?=[A-Za-z])(?!(?:m|b|tr)illion)|(?<=\b[A-Z])!(?=[a-z])")
AMPERSAND = re.compile(r"(?<=\b[^\W\d_]) ?& ?(?=[^\W\d_]\b)|(?<=\b[^\W\d_]{2}) ?& ?(?=[^\W\d_]\b)")
VARIANTS = ("cut", "umlauts", "decades", "ampersand", "decimals")
"""Other ways to write a text, by name."""
KEY = re.compile(r"[ -](?:minor|major|flat|sharp|levels?|negative|positive)\b")


@dataclass(frozen=True)
class Wording:
    """A text and its words."""

    text: str
    words: tuple[Word, ...]

    def at(self, start: int, end: int) -> tuple[int, int] | None:
        """The words that stand at these characters; None without one."""
        inside = [i for i, w in enumerate(self.words) if start <= w.start and w.end <= end]
        return (inside[0], inside[-1] + 1) if inside else None

    @cached_property
    def forms(self) -> list[str]:
        """The words as they are compared."""
        return [w.form for w in self.words]

    @cached_property
    def joined(self) -> str:
        """All words without spaces; two numbers side by side stay apart."""
        return join(self.forms)

    @cached_property
    def starts(self) -> dict[int, int]:
        """Place in `joined` to the word that begins there."""
        return self._edges[0]

    @cached_property
    def ends(self) -> dict[int, int]:
        """Place in `joined` to the number of words that end before it."""
        return self._edges[1]

    @cached_property
    def _edges(self) -> tuple[dict[int, int], dict[int, int]]:
        starts, ends, at, before = {}, {}, 0, ""
        for i, form in enumerate(self.forms):
            at += len(_gap(before, form))
            starts[at] = i
            at += len(form)
            ends[at] = i + 1
            before = form
        return starts, ends


def _gap(before: str, form: str) -> str:
    return "|" if before and before[-1].isdigit() and form[0].isdigit() else ""


def join(forms: list[str]) -> str:
    """Words written together ("spider", "man" is "spiderman"); "1", "2" is not "12"."""
    if not any(f[0].isdigit() for f in forms[1:]):
        return "".join(forms)
    parts, before = [], ""
    for form in forms:
        parts.append(_gap(before, form) + form)
        before = form
    return "".join(parts)


def tidy(text: str) -> str:
    """Compatibility forms of characters ("²" is "2"), odd spaces and quotation marks as plain ones,
    letters for "Ke$ha"."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(APOSTROPHES))
    if "." in text:
        text = INITIALS.sub(lambda m: re.sub(r"[. ]", "", m.group()), text)
        text = ERA.sub(lambda m: re.sub(r"[. ]", "", m.group()), text)
    if WARS.search(text):
        text = WARS.sub(r"World War \1", text)
    text = CLOCK.sub(r"\1m", PER_CENT.sub("percent", text))
    text = YEARS.sub(_whole_years, text)
    return (
        FOR_A_LETTER.sub(lambda m: "s" if m.group() == "$" else "i", text)
        if "$" in text or "!" in text
        else text
    )


def in_capitals(references: Sequence[str]) -> list[str]:
    """References without codes that also stand there in capitals: data sets list one in every case
    ("DE", "De", "de") beside the name, and in small letters it is a word of some language. Of three
    letters "Max" may be a name beside "MAX".
    """
    known, words_ = set(references), {r.casefold() for r in references}
    return [
        r
        for r in references
        if not (
            len(words_) > 1
            and r.isalpha()
            and (len(r) == 2 or (len(r) == 3 and r.islower()))
            and r != r.upper()
            and r.upper() in known
        )
    ]


def _whole_years(match: re.Match[str]) -> str:
    century, first, joint, second = match.groups()
    return f"{century}{first}{joint}{century}{second}" if first < second else match.group()


def variants(text: str) -> dict[str, str]:
    """Other ways to write the text that change its words, by name; only those that differ from
    it."""
    found = {}
    if (cut := CAMEL.sub(r"\1 ", text)) != text:
        found["cut"] = cut
    if not text.isascii() and (umlauts := text.translate(UMLAUTS)) != text:
        found["umlauts"] = umlauts
    if (decades := DECADE.sub(r"\1s", text)) != text:
        found["decades"] = decades
    if (spelled := SPELLED_AND.sub(r"\1&\2", text)) != text:
        found["ampersand"] = spelled
    if (decimals := in_decimals(text)) != text:
        found["decimals"] = decimals
    return found


def read(text: str, *, stems: bool = True) -> Wording:
    """The text's words, plural endings off with `stems`. A text of little words only keeps them,
    one of articles only too."""
    text = AMPERSAND.sub("", tidy(text)) if "&" in text else tidy(text)
    pattern = TOKEN_UNSPACED if not text.isascii() and HAS_UNSPACED.search(text) else TOKEN
    mixed = not text.isupper()
    full: list[Word] = []
    kept: list[int] = []
    articles = set[int]()
    for match in pattern.finditer(text):
        raw = match.group(1) or match.group()
        start = match.start()
        form = fold(raw)
        if not form:
            continue
        number = len(full)
        full.append(Word(form, start, start + len(raw)))
        if form in ARTICLES and not _is_letter(text, start, start + len(raw)):
            articles.add(number)
        elif form not in LITTLE or (mixed and len(raw) > 1 and raw.isupper()):
            kept.append(number)
    if not kept:
        kept = [i for i in range(len(full)) if i not in articles] or list(range(len(full)))
    return Wording(text, tuple(numbered(text, [full[i] for i in kept], stems=stems)))


def words(text: str, *, stems: bool = True) -> list[str]:
    """The text's words as they are compared."""
    return read(text, stems=stems).forms


def fold(raw: str) -> str:
    """One word without case and diacritics; digits without separators of thousands."""
    if raw.isascii():
        return raw.lower() if raw[0].isalpha() else re.sub(r"[,\s']", "", raw)
    low = raw.casefold().replace("−", "-")
    marks = unicodedata.normalize("NFD", "".join(LETTERS.get(c, c) for c in low))
    return unicodedata.normalize("NFC", "".join(c for c in marks if unicodedata.combining(c) < 200))


def _is_letter(text: str, start: int, end: int) -> bool:
    """Is this article's spelling something else: "Vitamin A", "A-ha", "hepatitis A virus",
    "M*A*S*H", the end of "Qur'an"?"""
    after = text[end : end + 2]
    if start >= 2 and text[start - 1] in TIES and text[start - 2].isalnum():
        return True
    if end - start != 1:
        return False
    if (after[:1] in tuple(TIES) and after[1:].isalpha()) or (
        text[start] == "A" and KEY.match(text, end)
    ):
        return True
    before = text[:start].rstrip()
    inside = (
        bool(before) and text[start - 1] == " " and (before[-1].isalnum() or before[-1] in ",:")
    )
    return (
        text[start] == "A"
        and inside
        and not (after[:1] == " " and after[1:].isupper())
        and before[-1:] != ":"
    )
