"""Where an alias is mentioned in an answer, and which parts of it are as good as the whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise

from probebench.tasks.judging.names import ONE_NUMBER, QUOTES, REGION, is_numeral
from probebench.tasks.judging.reading.kinds import (
    CITIES,
    DISTINGUISHING,
    GENERIC,
    GIVEN,
    OFFICES,
    RANKS,
)
from probebench.tasks.judging.reading.numerals import is_number
from probebench.tasks.judging.reading.wording import (
    ARTICLES,
    HAS_UNSPACED,
    LITTLE,
    SAYING,
    Wording,
    join,
    words,
)

QUALIFYING = frozenset(
    (
        "american british french dutch spanish portuguese german russian african dominican saint "
        "st los las san santa hong sri"
    ).split()
)
"""First words that a name of two must not lose: American Samoa, San Francisco."""
SUFFIXES = frozenset({"jr", "sr", "junior", "senior"})
WINDOW = 2
"""Extra words that may stand among an alias's words when they come in another order."""
CLOSED_UP = 4
"""Letters from which on an alias may be written together or apart ("sunflowers", "sun flowers")."""
UNIVERSITY = frozenset({"university", "college"})
WHERE = re.compile(
    r"\b(?:where|(?:what|which|whose) (?:\w+ )?"
    r"(?:city|town|country|state|place|village|county|capital|island|location))\b",
    re.IGNORECASE,
)
OR_MORE = re.compile(
    r"\bor (?:older|younger|more|less|later|earlier|above|below|so)\b", re.IGNORECASE
)
ITEM_END = re.compile(r"\s*,\s*(?:and\s+|&\s*)?|\s+and\s+|\s*&\s*")


def places(text: Wording, alias: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Word ranges where the alias's words stand: side by side, written together, or in any order
    within a short window.

    An initial stands for a name that begins with it ("B. R. Ambedkar"), as long as the last word is
    there in full.
    """
    n = len(alias)
    if not n or not text.words:
        return
    yield from side_by_side(text, alias)
    if n == 1:
        return
    yield from _initials(text.forms, alias)
    if not any(HAS_UNSPACED.match(word) for word in alias):
        yield from _any_order(text.forms, [_as_number(word) for word in alias])


def side_by_side(text: Wording, alias: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Word ranges where the alias's words stand in order, written together or apart."""
    wanted = join(list(alias))
    at = text.joined.find(wanted)
    while at >= 0:
        start, end = text.starts.get(at), text.ends.get(at + len(wanted))
        if start is not None and end is not None:
            same = end - start == len(alias) and text.forms[start:end] == list(alias)
            if same or (len(wanted) >= CLOSED_UP and not wanted.isdigit()):
                yield start, end
        at = text.joined.find(wanted, at + 1)


def _initials(said: Sequence[str], alias: Sequence[str]) -> Iterator[tuple[int, int]]:
    n, last = len(alias), _cardinal(alias[-1])
    for end, word in enumerate(said, start=1):
        if end < n or not (
            _same_name(word, last) or (_same(word, last) and len(word) + len(last) > 2)
        ):
            continue
        pairs = list(zip(said[end - n : end], alias, strict=True))
        full = [x == y and len(x) > 1 for x, y in pairs]
        named = any(full[1:]) or (full[0] and _same_name(word, last))
        if named and all(_same(x, _cardinal(y)) for x, y in pairs):
            yield end - n, end


def _same_name(x: str, y: str) -> bool:
    return _cardinal(x) == y or ONE_NUMBER.get(x) == y or ONE_NUMBER.get(y) == x


def _same(x: str, y: str) -> bool:
    if _same_name(x, y):
        return True
    short, long = sorted((x, y), key=len)
    return len(short) == 1 and short.isalpha() and long.startswith(short)


def _cardinal(word: str) -> str:
    """Henry the Eighth is Henry VIII: in a name of several words, an ordinal is its number."""
    return word[:-1] if word.endswith("°") else word


def _as_number(word: str) -> str:
    """World War I is the First World War."""
    return ONE_NUMBER.get(word) or _cardinal(word)


def _any_order(said: Sequence[str], alias: Sequence[str]) -> Iterator[tuple[int, int]]:
    n, known = len(alias), set(alias)
    ordered = all(map(is_number, alias))  # 3-2 is not 2-3
    has_initial = any(len(word) == 1 and word.isalpha() for word in alias)
    for start, word in enumerate(said):
        if _as_number(word) not in known:
            continue
        window = [_as_number(w) for w in said[start : start + n + WINDOW]]
        rest = list(alias)
        for length, w in enumerate(window, start=1):
            if w in rest:
                if ordered and w != rest[0]:
                    break
                rest.remove(w)
                if not rest:
                    extra = [x for x in window[:length] if x not in known]
                    if not (has_initial and any(len(x) == 1 for x in extra)) and not (
                        (known & UNIVERSITY and "state" in extra) or "quincy" in extra
                    ):
                        yield start, start + length
                    break


@dataclass(frozen=True, slots=True)
class Form:
    """An alias as people write it."""

    raw: str
    words: tuple[str, ...]
    dropped: str = ""
    """The middle name that was left out."""
    place: bool = False
    """Cut before a comma: counts where a place is named."""


def forms(alias: str, known: Sequence[Sequence[str]]) -> Iterator[Form]:
    """What people write for an alias: without brackets, a place without its region, a name without
    middle name or suffix.

    "Munich, Bavaria" gives "Munich"; "Voight, John" gives no "Voight" where "John Voight" is among
    the `known` aliases, and a title ("The Lion, the Witch and the Wardrobe") is not cut.
    """
    if "(" in alias:
        short = re.sub(r"\([^)]*\).*", "", alias)
        yield Form(short, tuple(words(short)))
    for either in (
        re.split(r"\s+or\s+", alias) if " or " in alias and not OR_MORE.search(alias) else ()
    ):
        yield Form(either, tuple(words(either)))
    place, comma, region = alias.partition(",")
    has_region = (
        comma and place.strip() and REGION.fullmatch(region) and not any(c.isdigit() for c in alias)
    )
    if has_region and words(f"{region} {place}") not in known:
        yield Form(place, tuple(words(place)), place=True)
    names = [w for w in alias.replace(",", " ").split() if w.strip(".").casefold() not in SUFFIXES]
    if (
        len(names) == 3
        and alias.count(",") < 2
        and all(w[0].isupper() and w.casefold() not in ARTICLES | LITTLE for w in names)
    ):
        middle = "".join(words(names[1]))
        another = middle in DISTINGUISHING or (middle == "state" and names[2].lower() in UNIVERSITY)
        if not another and not _numeral_name(names[1]):
            short = f"{names[0]} {names[-1]}"
            yield Form(short, tuple(words(short)), dropped=middle)


def _numeral_name(word: str) -> bool:
    return any(is_numeral(w) and w not in ONE_NUMBER for w in words(word))


def is_hyphenated(alias: str) -> bool:
    """Is the alias one word with a hyphen, which has no parts ("Guinea-Bissau")?"""
    return "-" in alias and len(alias.split()) == 1


def stands_alone(symbol: str, text: str) -> bool:
    """Does an alias without letters and digits ("/") stand in the text with space or quotation
    marks around it?"""
    edge = re.escape(QUOTES) + r"\s(),.:"
    return (
        bool(symbol.strip())
        and re.search(rf"(?:^|[{edge}]){re.escape(symbol.strip())}(?:$|[{edge}])", text) is not None
    )


def items(alias: str) -> list[str]:
    """The items of an alias that is a list: "France, Germany and Belgium"."""
    return [item for item in ITEM_END.split(alias) if item.strip()] if "," in alias else [alias]


def literally(alias: str, text: str) -> bool:
    """Does the alias stand in the text with its little words, articles aside ("In Time" does not in
    "and time")?"""
    body = [w for w in re.findall(r"\w+", alias) if w.casefold() not in ARTICLES]
    if not any(w.casefold() in LITTLE for w in body):
        return True
    return (
        re.search(r"\b" + r"\W+".join(map(re.escape, body)) + r"\b", text, re.IGNORECASE)
        is not None
    )


def is_part(said: Sequence[str], alias: Sequence[str], question: Sequence[str]) -> bool:
    """Is all that the answer says beyond the question a distinctive part of the alias?

    Its words stand in the alias in the same order, and they are at least half of it or its end:
    "Madeira" for "Madeira Island", "Luke Combs" for "Luke Albert Combs", "1936" for "October 1936".
    A part that loses a number or a word like "West" or "New" is another thing.
    """
    kept = [w for w in said if w not in question and w not in SAYING]
    if not kept or len(kept) >= len(alias) or len(set(alias)) == 1:  # Duran is not Duran Duran
        return False
    rest = iter(alias)
    if not all(word in rest for word in kept):
        return False
    lost = [w for w in alias if w not in kept]
    if any(w in DISTINGUISHING for w in lost) or (
        any(map(_decides, lost)) and not any(map(is_numeral, kept))
    ):
        return False
    told = [int(w) for w in kept if _is_year(w)]
    if any(abs(int(w) - year) > 1 for w in lost if _is_year(w) for year in told):
        return False  # 1653 for 1632-1653, but 2014 for the season 2014-15
    if alias[-1] in SUFFIXES and alias[-2] in lost:  # Martin Luther for Martin Luther King Jr.
        return False
    if len(alias) == 2 and lost[0] in QUALIFYING:
        return False
    if "bc" in lost or _is_another(kept, alias):
        return False
    # George W. for George H. W.
    if any(len(x) == len(y) == 1 and (x in kept) != (y in kept) for x, y in pairwise(alias)):
        return False
    return 2 * len(kept) >= len(alias) or kept[-1] == alias[-1]


def _is_another(kept: Sequence[str], alias: Sequence[str]) -> bool:
    """Does this part of a name tell another thing, or only a kind or a given name: "Sea" for Red
    Sea, "Mexico" for Mexico City, "president" for vice president, "Marie" for Marie Curie?"""
    if all(w in GENERIC for w in kept):
        return True
    first, last = alias[0], alias[-1]
    if last == "city" and last not in kept and first in CITIES:
        return True
    if first in RANKS and first not in kept and last in OFFICES:
        return True
    return len(alias) < 4 and list(kept) == [first] and first in GIVEN and len(last) > 2


def loses_letter(kept: AbstractSet[str], form: Form) -> bool:
    """Is only a letter kept or lost of a name that a letter decides: "Vitamin" for Vitamin C, "E"
    for E flat?"""
    if len(form.words) != 2 or form.dropped or "," in form.raw:
        return False
    letters = [w for w in form.words if len(w) == 1 and w.isalpha()]
    return kept <= set(letters) or (form.words[1] in letters and form.words[1] not in kept)


def _decides(word: str) -> bool:
    """Is this a number that names one of several: a numeral, but not a year?"""
    return is_numeral(word) and not _is_year(word)


def _is_year(word: str) -> bool:
    return len(word) == 4 and word.isdecimal()
