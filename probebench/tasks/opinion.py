"""A second opinion on labels: another language model asked whether each answer is right. It never
changes a label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from probebench.types import Example

BY_MODEL = "model"
"""Name of the second judge that is the judge model."""
MAX_NEW_TOKENS = 8
PROMPT = (
    "Does the reply answer the question correctly? Another wording of an accepted answer counts as "
    """correct.
Reply with one word, yes or no.

Question: {question}
Accepted answers: {references}
Reply: {reply}
Correct (yes or no):"""
)


def opinion_prompt(example: Example, answer: str) -> str:
    """What the judging model is asked about one answer."""
    return PROMPT.format(
        question=example.question,
        references="; ".join(example.references[:10]),
        reply=" ".join(answer.split()) or "(nothing)",
    )


def read_opinion(reply: str) -> bool | None:
    """The first yes or no in a reply; None when there is neither."""
    match = re.search(r"\b(yes|no)\b", reply, re.IGNORECASE)
    return None if match is None else match.group(1).lower() == "yes"


def agreement(labels: Sequence[int], opinions: Sequence[bool | None]) -> dict[str, Any]:
    """How often the two agree, over the answers on which there is an opinion; Cohen's kappa is NaN
    with fewer than two classes."""
    from sklearn.metrics import cohen_kappa_score

    pairs = [(y, int(o)) for y, o in zip(labels, opinions, strict=True) if o is not None]
    same = sum(y == o for y, o in pairs)
    both = len({y for y, _ in pairs} | {o for _, o in pairs}) == 2
    return {
        "n": len(labels),
        "with_opinion": len(pairs),
        "agreement": same / len(pairs) if pairs else float("nan"),
        "kappa": float(cohen_kappa_score(*zip(*pairs, strict=True))) if both else float("nan"),
        "only_second_says_correct": sum(y == 0 and o == 1 for y, o in pairs),
        "only_first_says_correct": sum(y == 1 and o == 0 for y, o in pairs),
    }
