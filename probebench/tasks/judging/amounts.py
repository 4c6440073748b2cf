r"""Numbers as people write them: fractions, signs, thousands, exponents, LaTeX, clock times, number
words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from probebench.tasks.judging.reading.numerals import SCALES, TENS, UNITS, spelled_out
from probebench.types import Span

GAP = "[ \u00a0\u2009\u202f]"
DIGITS = (
    r"(?:\d{1,3}(?:\{,\}\d{3})+(?!\d)(?:\.\d+)?"  # 9{,}500
    r"|\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)(?:\.\d+)?"  # 1,000 and 1,00,000
    r"|\d{1,3}(?:\.\d{3})+,\d+(?!\d)|\d{1,3}(?:\.\d{3}){2,}(?!\d)"  # 1.234,50 and 1.000.000
    r"|\d{1,3}(?:['’_]\d{3})+(?!\d)(?:\.\d+)?"  # 1'000
    rf"|\d{{1,3}}(?:(?:{GAP}|\\,|\\ )\d{{3}})+(?!\d)(?:\.\d+)?"  # 1 000 000
    r"|\d+(?:\.\d+)?|\.\d+)"
)
VULGAR = {
    "½": "1/2",
    "⅓": "1/3",
    "⅔": "2/3",
    "¼": "1/4",
    "¾": "3/4",
    "⅕": "1/5",
    "⅖": "2/5",
    "⅗": "3/5",
    "⅘": "4/5",
    "⅙": "1/6",
    "⅚": "5/6",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
    "⅞": "7/8",
}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")
RAISED = (
    r"(?:(?:\*\*|\s?\^)\{?([-−]?\d{1,3})(?!\d)\}?|([⁻⁰¹²³⁴⁵⁶⁷⁸⁹][⁰¹²³⁴⁵⁶⁷⁸⁹]{0,2})(?![⁰¹²³⁴⁵⁶⁷⁸⁹]))"
)
PERCENT = re.compile(r"\s?(?:\\?%|percent\b|per cent\b)", re.IGNORECASE)
AMOUNT = re.compile(
    r"(?<![\d.^])(?<!\^\{)(?<![^\W\d_])(?:"
    r"(?P<fracwhole>\d+)?\s?\\[dt]?frac\s*\{?\s*(?P<top>[-−]?[\d.]+)\s*\}?\s*\{?\s*(?P<bottom>[\d.]+)\s*\}?"
    r"|(?P<clock>\d{1,4}:\d{1,4}(?::\d{1,4})*)(?![\d:])(?:\s?(?P<half>[ap])\.?m\b\.?)?"
    r"|(?P<mixed>\d+)(?:\s|\s?-|\s+and\s+)(?P<mixtop>\d+)\s?[/⁄]\s?(?P<mixbottom>\d+)(?![\d/])"
    r"|(?P<whole>\d+)?\s?(?P<vulgar>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])"
    rf"|(?P<numerator>{DIGITS})\s?[/⁄]\s?(?P<denominator>\d+(?:\.\d+)?)(?![\d/])"
    rf"|(?P<digits>{DIGITS})(?:[eE](?P<exponent>[-+−]?\d{{1,3}})(?!\w)"
    rf"|\s?(?:×|\\times|\\cdot|[x*·])\s?10{RAISED}|{RAISED}"
    r"|(?:\s(?=[tmb])|(?=(?-i:[kKM])\b))(?P<scale>(?:thousand|million|billion|trillion|(?<!\s)[km])\b))?"
    r")",
    re.IGNORECASE,
)
GLUED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?")
CURRENCY_BEFORE = re.compile(
    r"(?:[$€£¥₹]|\\\$|\b(?:US|A|C|NZ|HK|S)\$|\b(?:USD|EUR|GBP|Rs\.?|INR))\s?$", re.IGNORECASE
)
MINUS_BEFORE = re.compile(r"(?:[-−–]|\b(?:minus|negative))(\s?)$", re.IGNORECASE)
SHORT_SCALES = {"k": 10**3, "m": 10**6}
AND_A_HALF = re.compile(r"\s+and\s+a\s+half\b", re.IGNORECASE)
NUMBER_WORDS = {*UNITS, *TENS, *SCALES}
FRACTION_WORDS = {
    word: Fraction(1, n)
    for n, singular in {
        2: "half",
        3: "third",
        4: "quarter",
        5: "fifth",
        6: "sixth",
        8: "eighth",
        10: "tenth",
    }.items()
    for word in (singular, f"{singular}s", "halves" if n == 2 else singular)
} | {"fourth": Fraction(1, 4), "fourths": Fraction(1, 4)}


@dataclass(frozen=True, slots=True)
class Amount:
    """One number in a text."""

    value: Fraction
    span: Span
    clock: tuple[str, ...] = ()
    """Parts of a time or ratio written with colons ("3", "30", and "a" or "p"); `value` is then
    meaningless."""
    percent: bool = False
    spelled: bool = False
    """Written in words."""

    def equals(self, other: Amount) -> bool:
        """The same number; a time only equals a time, and 20 % is 20 and 0.2. A third is .33, as
        far as it is written."""
        if self.clock or other.clock:
            n = min(len(self.clock), len(other.clock))
            return bool(n) and self.clock[:n] == other.clock[:n]
        if self.value == other.value:
            return True
        if self.percent != other.percent:
            share, rest = (self, other) if self.percent else (other, self)
            if share.value / 100 == rest.value:
                return True
        return self._rounds(other) or other._rounds(self)

    def _rounds(self, exact: Amount) -> bool:
        """Is this a decimal with two places or more of a fraction that no decimal ends?"""
        rest = exact.value.denominator
        for prime in (2, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return False
        return any(self.value == round(exact.value, places) for places in range(2, 9))


def amounts(text: str) -> list[Amount]:
    """All numbers of the text in digits, in order."""
    return [_amount(text, match) for match in AMOUNT.finditer(text)]


def first_amount(text: str, start: int = 0) -> Amount | None:
    """The first number in digits from a place on."""
    match = AMOUNT.search(text, start)
    return _amount(text, match) if match else None


def read_amount(text: str) -> Amount | None:
    """The first number of a text, in digits, glued to a letter ("Idaho1"), or in words; None
    without one."""
    found = first_amount(text)
    if found is None and (glued := GLUED.search(text)):
        found = Amount(_decimal(glued.group()), Span(*glued.span()))
    return found or next(spelled_amounts(text), None)


def spelled_amounts(text: str) -> Iterator[Amount]:
    """Numbers in words: "twelve", "two hundred and five", "three and a half", "two thirds"."""
    tokens = [(m.group().casefold(), m.start(), m.end()) for m in re.finditer(r"[^\W\d_]+", text)]
    i = 0
    while i < len(tokens):
        word = tokens[i][0]
        if word == "half" or (word in FRACTION_WORDS and i and tokens[i - 1][0] in ("a", "one")):
            yield Amount(FRACTION_WORDS[word], Span(tokens[i][1], tokens[i][2]), spelled=True)
            i += 1
            continue
        if word not in NUMBER_WORDS or (word == "one" and i and tokens[i - 1][0] == "no"):
            i += 1
            continue
        run = _run(text, tokens, i)
        form, _ = spelled_out([w for w, _, _ in run if w != "and"])[0]
        value, end, i = Fraction(form.rstrip("°")), run[-1][2], i + len(run)
        following = [w for w, _, _ in tokens[i : i + 3]]
        if (
            following[:1]
            and following[0] in FRACTION_WORDS
            and following[0] not in ("second", "half")
            and value < 100
        ):
            value, end, i = value * FRACTION_WORDS[following[0]], tokens[i][2], i + 1
        elif following == ["and", "a", "half"]:
            value, end, i = value + Fraction(1, 2), tokens[i + 2][2], i + 3
        begin = run[0][1]
        minus = re.search(r"\b(?:minus|negative)\s+$", text[:begin], re.IGNORECASE)
        yield Amount(
            -value if minus else value, Span(minus.start() if minus else begin, end), spelled=True
        )


def _run(text: str, tokens: list[tuple[str, int, int]], i: int) -> list[tuple[str, int, int]]:
    """Number words side by side that make one number."""
    run = [tokens[i]]
    for word, start, end in tokens[i + 1 :]:
        if re.fullmatch(r"[\s-]+|,\s", text[run[-1][2] : start]) is None:
            break
        if word not in NUMBER_WORDS and not (word == "and" and run[-1][0] in SCALES):
            break
        longer = [*run, (word, start, end)]
        if word != "and" and len(spelled_out([w for w, _, _ in longer if w != "and"])) > 1:
            break
        run = longer
    while run[-1][0] == "and":
        run.pop()
    return run


def _amount(text: str, match: re.Match[str]) -> Amount:
    start, end = match.start(), match.end()
    begin, negative = _sign(text, start)
    clock: tuple[str, ...] = ()
    value = Fraction(0)
    if match["clock"]:
        clock = (
            *(part.lstrip("0") or "0" for part in match["clock"].split(":")),
            *filter(None, [(match["half"] or "").lower()]),
        )
    elif match["top"]:
        value = _decimal(match["fracwhole"] or "0") + _ratio(match["top"], match["bottom"])
    elif match["mixed"]:
        value = _decimal(match["mixed"]) + _ratio(match["mixtop"], match["mixbottom"])
    elif match["vulgar"]:
        value = _decimal(match["whole"] or "0") + Fraction(VULGAR[match["vulgar"]])
    elif match["numerator"]:
        value = _ratio(match["numerator"], match["denominator"])
    else:
        value = _scaled(_decimal(match["digits"]), match)
        if half := AND_A_HALF.match(text, end):
            value, end = value + Fraction(1, 2), half.end()
    percent = bool(PERCENT.match(text, end))
    return Amount(-value if negative else value, Span(begin, end), clock, percent)


def _scaled(value: Fraction, match: re.Match[str]) -> Fraction:
    ten, ten_up, power, power_up = match.groups()[-5:-1]
    if match["exponent"]:
        return value * Fraction(10) ** int(match["exponent"].translate(SUPERSCRIPTS))
    if ten or ten_up:
        return value * Fraction(10) ** int((ten or ten_up).translate(SUPERSCRIPTS))
    if (power or power_up) and abs(value) < 10**6 and value:
        return value ** int((power or power_up).translate(SUPERSCRIPTS))
    return (
        value * SHORT_SCALES.get(scale, SCALES.get(scale, 1))
        if (scale := (match["scale"] or "").casefold())
        else value
    )


def _ratio(top: str, bottom: str) -> Fraction:
    below = _decimal(bottom)
    return _decimal(top) / below if below else Fraction(0)


def _decimal(digits: str) -> Fraction:
    """Digits with separators of thousands as a number; "1.234,50" and "1.000.000" are read as
    written on the continent."""
    plain = re.sub(r"[\s{}\\'’_\u00a0\u2009\u202f]", "", digits).replace("−", "-").rstrip(".")
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+", plain):
        plain = plain.replace(".", "").replace(",", ".")
    elif plain.count(".") > 1:
        plain = plain.replace(".", "")
    plain = plain.replace(",", "")
    # by way of a decimal, since Python reads no text of more than 4,300 digits as an integer
    return Fraction(Decimal(plain)) if plain.strip("-.") else Fraction(0)


def _sign(text: str, start: int) -> tuple[int, bool]:
    """Where the number begins with its sign, and whether it is negative. A minus between two
    numbers is a subtraction."""
    currency = CURRENCY_BEFORE.search(text, max(0, start - 8), start)
    at = currency.start() if currency else start
    minus = MINUS_BEFORE.search(text, max(0, at - 10), at)
    inner = False
    if minus is None and currency and text[start - 1 : start] in "-−":
        inner = True
    if minus is None:
        return start, inner
    before = text[: minus.start()]
    word = minus.group().strip().isalpha()
    last = before.rstrip()[-1:]
    if last.isdigit() or last in tuple(")%]}"):
        return start, False
    if not word and before and not before[-1].isspace() and before[-1] not in "(=:[{$*\"'“‘<>≈#|":
        return start, False
    if not word and minus.group(1) and last not in tuple("=:(≈"):
        return start, False
    return minus.start(), True
