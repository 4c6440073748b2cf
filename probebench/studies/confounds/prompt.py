"""Whether the answer stands in the prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from probebench.types import LabelledAnswer

IN_PROMPT = 0.5
"""Part of the prompts from which on the answer is said to stand in the prompt."""


def answer_in_prompt(
    answers: Sequence[LabelledAnswer], prompts: Sequence[str], *, declared: bool | None
) -> dict[str, Any]:
    """In how many prompts an accepted answer stands, word for word without case and punctuation;
    all and by class.

    Args:
        answers: with their references; those without any are not counted.
        prompts: rendered, in the order of `answers`.
        declared: whether the task gives a context or options.

    Returns:
        `flag` is True where the task says so, or the answer stands in at least half of the prompts;
        None where nothing is known.
    """
    hits: dict[int, list[bool]] = {0: [], 1: []}
    for a, prompt in zip(answers, prompts, strict=True):
        known = [words for r in a.example.references if (words := _words(r)).strip()]
        if known:
            text = _words(prompt)
            hits[a.label].append(any(words in text for words in known))
    both = hits[0] + hits[1]
    rate = float(np.mean(both)) if both else float("nan")
    facts = {
        name: {
            "n": sum(part),
            "of": len(part),
            "rate": float(np.mean(part)) if part else float("nan"),
        }
        for name, part in (("all", both), ("correct", hits[1]), ("wrong", hits[0]))
    }
    flag = True if declared else (rate >= IN_PROMPT if both else declared)
    return {"flag": flag, "declared": declared, **facts}


def _words(text: str) -> str:
    return " " + " ".join(re.findall(r"[^\W_]+", text.casefold())) + " "
