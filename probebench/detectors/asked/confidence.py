"""Verbalised confidence: the model is asked in words how likely its answer is to be right (Lin et
al. 2022), after it has answered (the second stage of Tian et al. 2023), in whole per cent (Xiong et
al. 2024).

A reply that is no whole number from 0 to 100 says nothing: it has no score and is counted, and
nothing is put in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from probebench.detectors.asked.p_true_prompts import asked_text
from probebench.detectors.registry import Description, Method, Scores, Timed, detector
from probebench.detectors.relations import between
from probebench.files import content_key
from probebench.models.generate import Request, generate
from probebench.models.handles import ModelHandle
from probebench.models.passes.batches import BATCH_TOKENS, Budget
from probebench.stages.data import RunData
from probebench.stages.engine import Models, Work
from probebench.stages.parquet import AnswersStage
from probebench.stages.plan import Plan
from probebench.stages.stage import Runner, in_order
from probebench.tasks.prompts import encode_prompt, short_question
from probebench.types import Answer, LabelledAnswer

MAX_NEW_TOKENS = 8
"""Tokens of a reply: a number, its sign, and a word before it."""
ASKED_TOKENS = 60
"""About how many the question itself has, for the dry run."""
LAST = 100
"""Per cent that are certain."""
ANSWERED = """Question: {question}
Answer: {answer}
How likely is it that this answer is correct? Reply with one whole number from 0 (certainly wrong) \
to 100 (certainly correct), and nothing else.
Confidence:"""
STATED = """Statement: {question}
How likely is it that this statement is true? Reply with one whole number from 0 (certainly false) \
to 100 (certainly true), and nothing else.
Confidence:"""
REPLY = re.compile(
    r"(?:(?:confidence|probability|answer)\s*[:=]\s*)?(\d{1,3})\s*(?:%|per ?cent)?\s*[.,;]?",
    re.IGNORECASE,
)
"""The first line of a reply that says a number: alone, or after its name."""


def parse(reply: str) -> float:
    """The probability that a reply says, from 0 to 1; NaN where it says none.

    The first line that holds anything must be a whole number from 0 to 100 and nothing else but
    its name and a per-cent sign: `0.9` could be nine tenths or nearly nothing, and words around a
    number could turn its meaning.
    """
    lines = reply.strip().splitlines()
    found = REPLY.fullmatch(lines[0].strip(" *`")) if lines else None
    value = int(found[1]) if found else LAST + 1
    return value / LAST if value <= LAST else float("nan")


@dataclass(frozen=True, eq=False)
class AskedConfidence(AnswersStage):
    """What the model replies when it is asked how likely its answers are to be right."""

    plan: Plan
    prompts: Sequence[tuple[int, ...]]
    name: ClassVar[str] = "confidence"
    title: ClassVar[str] = "Asking for confidence"
    budget_name: ClassVar[str] = "confidence"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        prompts = content_key({"prompts": self.prompts, "tokens": MAX_NEW_TOKENS})
        return {"answers": self.plan.answer_inputs, "prompts": prompts}

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.prompts]

    @property
    def needs(self) -> ModelHandle:
        return self.plan.handle

    def first_budget(self, models: Models) -> Budget:
        return Budget(BATCH_TOKENS // 2)

    def compute(self, rows: list[int], work: Work) -> list[Answer]:
        handle = self.plan.handle
        # a base model goes on with another question where a line ends
        texts = () if handle.tokenizer.chat_template else ("\n",)
        return generate(
            work.models.get(handle),
            [Request(str(i), self.prompts[i]) for i in rows],
            MAX_NEW_TOKENS,
            handle.stop_ids,
            texts,
            budget=work.budget(),
        )


def _price(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """A pass over each question about an answer of validation or test, and one a new token."""
    held = [n for n, split in zip(lengths, plan.splits, strict=True) if split != "train"]
    steps = MAX_NEW_TOKENS * len(held)
    return timed.passing([n + ASKED_TOKENS + MAX_NEW_TOKENS for n in held]) + timed.projecting(
        steps
    )


@detector(
    Description(
        name="verbalised_confidence",
        of_answers="verbalised confidence",
        of_statements="verbalised confidence",
        kind="method",
        when="after",
        needs=frozenset({"asking"}),
        relations=(between(0.0, 1.0),),
        asked="verbalised-confidence",
        method=Method(
            access="text",
            supervision="none",
            passes=f"one, and {MAX_NEW_TOKENS} tokens",
            changed="asked zero-shot and greedily in words of our own, in whole per cent; a reply "
            "that is no such number has no score",
        ),
        source="tian2023just",
    ),
    price=_price,
)
def verbalised_confidence(data: RunData, runner: Runner) -> Iterator[Scores]:
    """What the model says when asked how likely its answer is to be correct.

    Nothing is fitted, so training examples are not asked about. NaN where the reply is no number,
    and where the question does not fit into the context.
    """
    plan, limit = data.plan, data.plan.handle.max_length
    held = [i for i, a in enumerate(data.answers) if a.split != "train"]
    prompts = {i: _prompt(plan, data.answers[i]) for i in held}
    room = float("inf") if limit is None else limit - MAX_NEW_TOKENS
    rows = [i for i in held if len(prompts[i]) <= room]
    replies = (
        in_order(runner.run(AskedConfidence(plan, [prompts[i] for i in rows]))) if rows else []
    )
    decisions = np.full(len(data.answers), np.nan)
    decisions[rows] = [parse(r.text) for r in replies]
    said = decisions[rows]
    detail = {
        "n_asked": len(rows),
        "n_unparsed": int(np.isnan(said).sum()),
        "n_too_long": len(held) - len(rows),
        "n_values": len(np.unique(said[np.isfinite(said)])),
    }
    yield Scores("verbalised_confidence", decisions, detail)


def _prompt(plan: Plan, a: LabelledAnswer) -> tuple[int, ...]:
    """What the model is asked about one answer, or about a statement."""
    tokenizer, template = plan.handle.tokenizer, STATED if plan.statements else ANSWERED
    line = " ".join(plan.reply(a.answer)[1].split()) or "(nothing)"
    asked = asked_text(plan.task, a.example).strip()
    return encode_prompt(
        tokenizer, short_question(tokenizer, template.format(question=asked, answer=line))
    )
