"""Judges: is this answer right? Each is one function, registered under the name that task files use.

A judge sees the example (question, references, wrong answers) and the answer's text. It returns a `Verdict`; a refusal
is wrong and marked.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from probebench.errors import UnknownNameError
from probebench.types import Example, Span, Verdict

Judge = Callable[[Example, str], Verdict]
JUDGES: dict[str, Judge] = {}

ARTICLES = frozenset({"a", "an", "the"})
LITTLE = frozenset("in on at of to from by for with and or around about approximately circa typically".split())
"""Words that decide nothing between an alias and an answer."""
SAYING = frozenset("is are was were be been it he she they that this there his her their its".split())
"""Words that only carry the answer in a sentence."""
NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty".split()
    )
}
TENS = {word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)}
SUFFIXES = frozenset({"jr", "sr", "ii", "iii"})
REFUSAL = re.compile(
    r"\b(?:i (?:do not|don't|don’t|can not|cannot|can't|can’t) (?:know|answer|say|recall|remember|tell|provide|determine|find)"
    r"|i(?:'m| am|’m) (?:not (?:sure|certain|aware|able)|unable|sorry)|i have no (?:idea|information|knowledge)"
    r"|(?:is|are) (?:not known|unknown to me)|no information (?:about|on|is))\b",
    re.IGNORECASE,
)
NUMBER = re.compile(r"(?<![\w.])-?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|(?<![\d.])-?(?:\d+(?:\.\d+)?|\.\d+)")
MARK = re.compile(r"\bA:|####|\banswer(?: is|:)", re.IGNORECASE)
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


def words(text: str, *, cut: bool = False) -> list[str]:
    """Words for comparison: no case, diacritics, punctuation, little words or plural endings; number words as digits.

    A text of little words only keeps them. With `cut`, words that have run together ("isIdaho") are cut before capitals.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    plain = (re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain) if cut else plain).casefold()
    plain = re.sub(r"(?<=\d),\s?(?=\d{3}\b)", "", plain)  # 1,000 is one number
    plain = re.sub(r"(?<=\w)['’`](?=s\b)", "", plain)  # possessive
    found = [w for w in re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+", plain) if w not in ARTICLES]
    kept = [w for w in found if w not in LITTLE] or found
    return [_stem(w) for w in _numbers(kept)]


def _numbers(found: Sequence[str]) -> Iterator[str]:
    """Number words up to ninety-nine as digits."""
    rest = iter(range(len(found)))
    for i in rest:
        word, following = found[i], found[i + 1] if i + 1 < len(found) else ""
        unit = NUMBER_WORDS.get(following, "")
        if word in TENS and unit.isdigit() and 0 < int(unit) < 10:
            next(rest, None)
            yield str(TENS[word] + int(unit))
        else:
            yield str(TENS[word]) if word in TENS else NUMBER_WORDS.get(word, word)


def _stem(word: str) -> str:
    """The word without a plural ending; short words and words in -ss, -us, -is stay whole."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def mentions(answer: Sequence[str], alias: Sequence[str]) -> bool:
    """Do the alias's words stand in the answer, in order side by side or in any order within a short window?

    An initial stands for a name that begins with it ("B. R. Ambedkar"), as long as one word is there in full.
    """
    n = len(alias)
    if not n:
        return False
    for start in range(len(answer) - n + 1):
        pairs = list(zip(answer[start : start + n], alias, strict=True))
        if all(_same(x, y) for x, y in pairs) and any(x == y for x, y in pairs):
            return True
    if n == 1:
        return False
    windows = (list(answer[start : start + n + WINDOW]) for start, word in enumerate(answer) if word in alias)
    return any(_contains(window, alias) for window in windows)


def _same(x: str, y: str) -> bool:
    if x == y:
        return True
    short, long = sorted((x, y), key=len)
    return len(short) == 1 and short.isalpha() and long.startswith(short)


def _contains(window: list[str], wanted: Sequence[str]) -> bool:
    rest = list(window)
    for word in wanted:
        if word not in rest:
            return False
        rest.remove(word)
    return True


def forms(alias: str, known: Sequence[Sequence[str]]) -> Iterator[str]:
    """What people write for an alias: without brackets, a place without its region, a name without middle name or suffix.

    "Munich, Bavaria" gives "Munich"; "Voight, John" gives no "Voight" where "John Voight" is among the `known` aliases.
    """
    yield re.sub(r"\([^)]*\).*", "", alias)
    place, comma, region = alias.partition(",")
    one_comma = bool(comma and place.strip() and "," not in region)
    if one_comma and not any(c.isdigit() for c in alias) and words(f"{region} {place}") not in known:
        yield place
    names = [w for w in alias.replace(",", " ").split() if w.strip(".").casefold() not in SUFFIXES]
    if len(names) == 3 and all(w[0].isupper() and w.casefold() not in ARTICLES | LITTLE for w in names):
        yield f"{names[0]} {names[-1]}"


def is_part(answer: Sequence[str], alias: Sequence[str], question: Sequence[str]) -> bool:
    """Is all that the answer says beyond the question a distinctive part of the alias?

    Its words stand in the alias in the same order, and they are at least half of it or its end: "Madeira" for "Madeira
    Island", "Luke Combs" for "Luke Albert Combs", "1936" for "October 1936".
    """
    said = [w for w in answer if w not in question and w not in SAYING]
    if not said or len(said) >= len(alias):
        return False
    rest = iter(alias)
    in_order = all(word in rest for word in said)
    return in_order and (2 * len(said) >= len(alias) or said[-1] == alias[-1])


@judge
def aliases_judge(example: Example, answer: str) -> Verdict:
    """Right when an accepted alias is mentioned on whole words, or when the answer is a distinctive part of one."""
    said, asked = words(answer), words(example.question)
    aliases = [words(reference) for reference in example.references]
    aliases += [words(form) for reference in example.references for form in forms(reference, aliases)]
    mentioned = any(mentions(said, alias) for alias in aliases)
    if not mentioned and (apart := words(answer, cut=True)) != said:
        mentioned = any(mentions(apart, words(reference, cut=True)) for reference in example.references)
    if not mentioned and REFUSAL.search(answer):
        return Verdict(correct=False, refused=True)
    return Verdict(correct=mentioned or any(is_part(said, alias, asked) for alias in aliases))


@judge
def exact_judge(example: Example, answer: str) -> Verdict:
    """Right when the answer equals an alias, word for word after normalisation."""
    said = words(answer)
    return Verdict(correct=bool(said) and any(said == words(reference) for reference in example.references))


@judge
def choice_judge(example: Example, answer: str) -> Verdict:
    """Right when the option mentioned first in the answer is the right one."""
    return _compare(example, answer, earliest_option(example, answer), words)


@judge
def number_judge(example: Example, answer: str) -> Verdict:
    """Right when the answer's number equals the reference as a number."""
    return _compare(example, answer, final_number(answer), number)


def _compare(example: Example, answer: str, span: Span | None, read: Callable[[str], object]) -> Verdict:
    """Right when the deciding part of the answer reads the same as a reference; without one the answer is wrong."""
    if span is None:
        return Verdict(correct=False, refused=bool(REFUSAL.search(answer)))
    said = read(answer[span.start : span.end])
    return Verdict(correct=any(said == read(reference) for reference in example.references))


@judge
def closest_judge(example: Example, answer: str) -> Verdict:
    """Right when the answer shares more words with some right reference than with any wrong one (best F1 of words)."""
    said = words(answer)
    right, wrong = (max((_f1(said, words(t)) for t in texts), default=0.0) for texts in (example.references, example.wrong))
    return Verdict(correct=right > wrong, refused=right == 0.0 and bool(REFUSAL.search(answer)))


def _f1(a: Sequence[str], b: Sequence[str]) -> float:
    shared = sum((Counter(a) & Counter(b)).values())
    return 2 * shared / (len(a) + len(b)) if shared else 0.0


def earliest_option(example: Example, answer: str) -> Span | None:
    """Where the first option stands in the answer, on whole words; the longest of options that begin at one place."""
    found: list[tuple[int, int]] = []
    for option in {*example.references, *example.wrong}:
        body = r"[\s-]+".join(map(re.escape, option.split()))
        match = re.search(rf"(?<!\w){body}(?!\w)", answer, re.IGNORECASE) if body else None
        if match:
            found.append((match.start(), -match.end()))
    return Span(min(found)[0], -min(found)[1]) if found else None


def final_number(answer: str) -> Span | None:
    """Where the answer's number stands: the first after the last mark ("A:", "####", "answer is"), else the last of all."""
    marks = [m.end() for m in MARK.finditer(answer)]
    after = NUMBER.search(answer, marks[-1]) if marks else None
    last = after or next(reversed(list(NUMBER.finditer(answer))), None)
    return Span(*last.span()) if last else None


def number(text: str) -> float | None:
    """A number as written by people: separators of thousands, currency and percent signs left out."""
    match = NUMBER.search(text)
    return float(match.group().replace(",", "").replace(" ", "")) if match else None
