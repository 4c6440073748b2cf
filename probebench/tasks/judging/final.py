r"""Which number of an answer is its answer: after the last mark, at the end of an equation, else
the last one."""

from __future__ import annotations

import re
from fractions import Fraction

from probebench.tasks.judging.amounts import (
    Amount,
    amounts,
    first_amount,
    read_amount,
    spelled_amounts,
)
from probebench.tasks.judging.refusals import is_negated, up_to_next_question
from probebench.types import Span

MARK = re.compile(
    r"\bA:|####|\\boxed\b|\banswer(?:\*\*)?"
    r"(?:\s+(?:is|are|will be|would be|should be|must be|comes to)\b|\s*[:=])",
    re.IGNORECASE,
)
UNIT = r"(?:\s?(?:[a-z%°$\\]|\^2|\^3|[²³]){1,14})?"
JOINED = re.compile(
    rf"{UNIT}\s*(?P<op>\+|[-−–]|×|÷|/|\*|\\times|\\cdot|\\div|\bx\b|=|≈"
    r"|\b(?:plus|minus|times|divided by|equals)\b"
    r"|,? ?\bwhich (?:is|equals|makes|gives)\b|\bis\b)\s*(?:[$€£]|\\\$)?",
    re.IGNORECASE,
)
EQUALS = frozenset({"=", "≈", "equals", "is"})
OPERATIONS = {
    "+": "+",
    "plus": "+",
    "-": "-",
    "−": "-",
    "–": "-",
    "minus": "-",
    "/": "/",
    "÷": "/",
    "\\div": "/",
    "divided by": "/",
}
OR = re.compile(rf"{UNIT}\s*\bor\s+(?:[$€£])?", re.IGNORECASE)
ASIDE = re.compile(
    r"(?<=\w)\s+\([^()]*\)[\s.!]*$|(?<=\d[.!])\s+\((?:note|rounded|rounding)\b[^()]*\)[\s.!]*$",
    re.IGNORECASE,
)
COUNTS = re.compile(
    r"^\W*there (?:are|is|were|was|will be)\s[^.\n]*?\d[^.\n]*[.\s]*$", re.IGNORECASE
)
"""One sentence that counts things, where "of 12" only says of how many."""
CENTS = re.compile(
    r"(?P<whole>\d[\d,]{0,99}) (?:dollars?|euros?|pounds?)(?:,? and|,)?"
    r" (?P<cents>\d{1,2}) (?:cents?|pence)\b",
    re.IGNORECASE,
)
NOT = re.compile(r"\b(?:not|n['’]t)\s+(?:\w+\s+)?[$€£]?$", re.IGNORECASE)


def final_amount(answer: str) -> Amount | None:
    """The number that the answer gives; None without one, or where two stand to choose from ("5 or
    6")."""
    text = up_to_next_question(answer)
    found = _chosen(text)
    return _with_cents(text, found) if found else None


def _chosen(text: str) -> Amount | None:
    begin = _after_mark(text)
    if begin is not None and (found := _first(text, begin)) is not None:
        return _settled(text, found)
    whole = _first(text, 0)
    if whole is not None and (alone := _alone(text, whole)) is not None:
        return alone
    text = _without_aside(text)
    for numbers in (_without_of(text, amounts(text)), list(spelled_amounts(text))):
        if numbers:
            return next(
                (n for n in reversed(numbers) if not is_negated(text, n.span.start, n.span.end)),
                None,
            )
    return read_amount(text)


def _with_cents(text: str, found: Amount) -> Amount:
    """The whole sum of money where the number is a part of one: "5 dollars and 20 cents"."""
    for match in CENTS.finditer(text):
        if match.start() <= found.span.start < match.end():
            whole = Fraction(match["whole"].replace(",", ""))
            return Amount(whole + Fraction(int(match["cents"]), 100), Span(*match.span()))
    return found


def _without_of(text: str, numbers: list[Amount]) -> list[Amount]:
    """The numbers of one sentence that counts things without those of how many: "There are 5
    apples left in the bag of 12"."""
    if len(numbers) < 2 or not COUNTS.match(text):
        return numbers
    return [n for n in numbers if not text[: n.span.start].endswith(" of ")] or numbers


def _without_aside(text: str) -> str:
    """The text without brackets at its end that explain a number before them: "17 people (5 men and
    12 women)"."""
    shorter = ASIDE.sub("", text)
    return shorter if amounts(shorter) else text


def final_number(answer: str) -> Span | None:
    """Where the answer's number stands."""
    found = final_amount(answer)
    return found.span if found else None


def _after_mark(text: str) -> int | None:
    """Where the last mark ends; the first "####", after which nothing belongs to the answer."""
    marks = list(MARK.finditer(text))
    first = next((m for m in marks if m.group() == "####"), None)
    boxed = [m for m in marks if m.group() == "\\boxed"]
    chosen = first or (boxed[-1] if boxed else marks[-1] if marks else None)
    return chosen.end() if chosen else None


def _first(text: str, start: int) -> Amount | None:
    """The first number from a place on that is not denied, in digits or words."""
    at = start
    while (found := first_amount(text, at)) is not None:
        if not NOT.search(text, start, found.span.start):
            break
        at = found.span.end
    before = text[start : found.span.start] if found else text[start:]
    for spelled in spelled_amounts(before):
        if (found is None or spelled.value != 1) and not NOT.search(before[: spelled.span.start]):
            span = Span(spelled.span.start + start, spelled.span.end + start)
            return Amount(spelled.value, span, spelled=True)
    return found


def _settled(text: str, first: Amount) -> Amount | None:
    """The result of the equation that begins at this number; None where "or" offers another one."""
    sides, end = _chain(text, first)
    alone = [side[0][1] for side in sides if len(side) == 1]
    result = alone[-1] if alone and len(sides) > 1 else _value(sides[-1], end)
    other = OR.match(text, end)
    if (
        other
        and (second := first_amount(text, other.end()))
        and second.span.start <= other.end() + 2
    ):
        return result if result.equals(second) else None
    return result


def _alone(text: str, first: Amount) -> Amount | None:
    """The number of an answer, or of its first line, that is nothing but one expression."""
    sides, end = _chain(text, first)
    if re.search(r"\w", text[: first.span.start]):
        return None
    rest = text[end:].split("\n", 1)[0]
    if len(re.findall(r"\w+", rest)) > 2 or re.search(r"\d", rest):
        return None
    return (
        _settled(text, first)
        if len(sides) > 1 or len(sides[0]) > 1 or re.match(r"[^\n]*\n\s*\S", text[end:])
        else None
    )


def _chain(text: str, first: Amount) -> tuple[list[list[tuple[str, Amount]]], int]:
    """Sides of an equation, each as (operation, number) pairs, and where it ends."""
    sides: list[list[tuple[str, Amount]]] = [[("+", first)]]
    end, many = first.span.end, False
    while (joint := JOINED.match(text, end)) is not None:
        op = joint["op"].lower().strip(" ,")
        op = "=" if op in EQUALS or op.startswith("which") else OPERATIONS.get(op, "*")
        following = first_amount(text, joint.end())
        near = (
            following is not None
            and following.span.start <= joint.end()
            and following.span.end > joint.end()
        )
        bare = joint["op"].lower().endswith("is") and not many
        tight = op == "-" and not text[end : joint.end()].endswith(" ")
        if not near or following is None or bare or (tight and "=" not in text[end : end + 20]):
            break
        sides = (
            [*sides, [("+", following)]]
            if op == "="
            else [*sides[:-1], [*sides[-1], (op, following)]]
        )
        end, many = following.span.end, many or op != "="
    return sides, end


def _value(side: list[tuple[str, Amount]], end: int) -> Amount:
    """What a sum comes to: products before sums."""
    if len(side) == 1:
        return side[0][1]
    terms: list[Fraction] = []
    for op, amount in side:
        value = amount.value
        if op == "*":
            terms[-1] *= value
        elif op == "/":
            terms[-1] = terms[-1] / value if value else terms[-1]
        else:
            terms.append(-value if op == "-" else value)
    return Amount(sum(terms[1:], terms[0]), Span(side[0][1].span.start, end))
