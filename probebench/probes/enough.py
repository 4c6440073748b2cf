"""Whether answers can be probed at all: both classes, often enough, in every split. Asked as soon
as there are labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from probebench.probes.labels import MIN_CLASS
from probebench.text import clipped
from probebench.types import SPLITS, LabelledAnswer, SplitName

SHOWN = 3
"""Answers that a refusal shows."""
SURE = 3
"""Expected number at which a class is absent from a split in only 1 of 20 draws (Poisson: exp(-3) =
.05); also the most that a class of which none was seen among n can be expected to have among n, at
95 % (the rule of three)."""
WIDTH = 66
"""Characters of a question or answer in a refusal: eighty columns with what stands before them."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the words of a refusal need to know of the run beside its answers."""

    statements: bool
    limit: int | None
    """The run's `--limit`; None where all examples are in it."""
    max_new_tokens: int | None
    """Where answers were cut off; None where the model generated none."""
    brought: bool = False
    """True where the answers were made elsewhere."""


def size_note(n: int) -> str | None:
    """That so few examples cannot have enough of both classes, whatever is answered; None when they
    can."""
    if n >= 2 * MIN_CLASS:
        return None
    return (
        f"{n} {'example is' if n == 1 else 'examples are'} too few for a probe, which needs at "
        f"least {MIN_CLASS} correct and {MIN_CLASS} wrong answers: they would be answered, kept "
        f"for `probebench answers`, and then refused. Take {2 * MIN_CLASS} or more, and more the "
        "rarer one class is (--limit N, or a file with more rows)."
    )


def class_trouble(answers: Sequence[LabelledAnswer], asked: Circumstances) -> str | None:
    """Why no probe can be fitted to these labels, how many examples would do, and three of the
    answers; None when one can."""
    right = sum(a.label for a in answers)
    wrong = len(answers) - right
    if min(right, wrong) < MIN_CLASS:
        few = "one class only" if min(right, wrong) == 0 else f"fewer than {MIN_CLASS} of one class"
        needed = _needed(len(answers), min(right, wrong))
        why = (
            f"{_counted(answers, asked)}: {few}. A probe needs at least {MIN_CLASS} of each. "
            f"{_way(needed, answers, asked)}"
        )
    elif (split := _lonely(answers)) is not None:
        own = [a.label for a in answers if a.split == split]
        expected = max(
            SURE * len(answers) ** 2 / (min(right, wrong) * len(own)), 2.0 * len(answers)
        )
        why = (
            f"The {split} split holds {len(own)} {_what(asked)} with {sum(own)} {_right(asked)}: "
            f"one class only. {_way(_rounded(expected), answers, asked, or_else='more groups, ')}"
        )
    else:
        return None
    return "\n".join([why, *(line for a in _picked(answers, asked) for line in _lines(a, asked))])


def cut_off(a: LabelledAnswer, asked: Circumstances) -> bool:
    """Did the answer end because it was as long as it may be? Statements never do."""
    return not asked.statements and a.cut_off


def _lonely(answers: Sequence[LabelledAnswer]) -> SplitName | None:
    """The first split that holds one class only."""
    return next(
        (name for name in SPLITS if len({a.label for a in answers if a.split == name}) < 2), None
    )


def _needed(n: int, rarer: int) -> int:
    """Examples among which the rarer class is expected often enough; of a class never seen, at the
    largest share it may have."""
    return _rounded(MIN_CLASS * n / (rarer or SURE))


def _rounded(n: float) -> int:
    """Up to two digits: an estimate."""
    unit = int(10 ** max(len(str(math.ceil(n))) - 2, 0))
    return math.ceil(n / unit) * unit


def _what(asked: Circumstances) -> str:
    return "statements" if asked.statements else "answers"


def _asked(asked: Circumstances) -> str:
    return "statements" if asked.statements else "questions"


def _right(asked: Circumstances) -> str:
    return "true" if asked.statements else "correct"


def _counted(answers: Sequence[LabelledAnswer], asked: Circumstances) -> str:
    """Numbers of both classes, and of refusals and answers cut off."""
    right = sum(a.label for a in answers)
    if asked.statements:
        return f"{right} true and {len(answers) - right} false statements"
    details = []
    if any(a.judged for a in answers):
        details.append(f"{sum(a.refused for a in answers)} of them refusals")
    limit = f" at {asked.max_new_tokens} tokens" if asked.max_new_tokens else ""
    details.append(f"{sum(cut_off(a, asked) for a in answers)} cut off{limit}")
    if empty := sum(a.empty for a in answers):
        details.append(f"{empty} empty")
    return f"{right} correct and {len(answers) - right} wrong answers ({', '.join(details)})"


def _way(
    needed: int, answers: Sequence[LabelledAnswer], asked: Circumstances, or_else: str = ""
) -> str:
    """How to come to a run that can be probed."""
    right, n = sum(a.label for a in answers), len(answers)
    if min(right, n - right) == 0:
        share = (
            f"a class of which none is among {n} may still have {SURE} of {n}; even then about "
            f"{needed:,} examples are needed"
        )
    else:
        share = f"at this rate about {needed:,} examples are needed"
    more = f"--limit {needed} or " if asked.limit is not None else ""
    source = (
        "--answers FILE with more rows"
        if asked.brought
        else f"--data FILE with more {_asked(asked)}"
    )
    what = f"{share[0].upper()}{share[1:]} ({more}{source}), {or_else}"
    if (
        not asked.statements
        and 2 * sum(cut_off(a, asked) for a in answers) > n
        and asked.max_new_tokens
    ):
        return f"{what}or room for whole answers: most were cut off (--max-new-tokens N)."
    if 2 * sum(a.empty for a in answers) > n and not asked.brought:
        return (
            f"{what}or a prompt that this model answers: most answers are empty, because the first "
            "thing that it wrote ends an answer (`stop` of the task file, or the model's own end)."
        )
    if asked.statements or asked.brought:
        rows = (
            "rows of both classes" if min(right, n - right) == 0 else "more rows of the rarer class"
        )
        return f"{what}or {rows}."
    return f"{what}or a task that this model gets right and wrong."


def _picked(answers: Sequence[LabelledAnswer], asked: Circumstances) -> list[LabelledAnswer]:
    """Three answers, of as many kinds as there are: label, refusal, cut off."""
    kinds: dict[tuple[int, bool, bool], list[LabelledAnswer]] = {}
    for a in answers:
        kinds.setdefault((a.label, a.refused, cut_off(a, asked)), []).append(a)
    turns = (a for rank in range(SHOWN) for own in kinds.values() for a in own[rank : rank + 1])
    return list(islice(turns, SHOWN))


def _lines(a: LabelledAnswer, asked: Circumstances) -> list[str]:
    """One answer in two lines, a statement in one."""
    if asked.statements:
        return [f"  {'true' if a.label else 'false'}: {clipped(a.example.question, WIDTH)}"]
    kind = [
        "correct" if a.label else "wrong",
        *["refusal"] * a.refused,
        *["cut off"] * cut_off(a, asked),
    ]
    question, answer = clipped(a.example.question, WIDTH), clipped(a.answer.text, WIDTH)
    return [f"  {', '.join(kind)}", f"    question: {question}", f"    answer:   {answer}"]
