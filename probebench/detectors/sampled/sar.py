"""SAR (Duan et al. 2024): how likely the drawn answers are, where tokens that carry the meaning
count more, and answers that say the same stand up for one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from probebench.detectors.registry import Scores, Timed, detector
from probebench.detectors.sampled.encoded import vectors_of
from probebench.detectors.sampled.likelihood import drawn, drawn_row, held_rows
from probebench.detectors.signals import words as own_tokens
from probebench.types import Floats, LabelledAnswer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

TEMPERATURE = 0.001
"""By which the similar answers' share is divided, as published."""
TYPICAL = 32
"""Tokens of a drawn answer, about, for the dry run."""


def seconds(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """A pass of the encoder for every token of every drawn answer of validation and test."""
    n = 0 if plan.beside.drawing is None else plan.beside.drawing.n
    held = [x for x, split in zip(lengths, plan.splits, strict=True) if split != "train"]
    return n * TYPICAL * timed.passing([min(length, 64) for length in held])


@detector(
    drawn_row(
        "sar",
        "SAR (lower)",
        "duan2024shifting",
        asked="sar",
        access="logits",
        needs=frozenset({"encoder"}),
        passes="the samples, 1 pass of the encoder per token of each",
        changed="the cosine of an encoder's vectors instead of a cross-encoder; validation and "
        "test only",
        relations=False,
    ),
    price=seconds,
)
def sar(data: RunData, runner: Runner) -> Iterator[Scores]:
    """Minus SAR over tokens and sentences, for validation and test."""
    samples, held = drawn(data).answers, held_rows(data.labels)
    tokenizer = data.plan.handle.tokenizer
    texts = {i: [pieces(tokenizer, a) for a in samples[i]] for i in held}
    asked = {i: data.answers[i].example.question for i in held}
    every = [f"{asked[i]} {text}" for i in held for own in texts[i] for text in own]
    vectors = vectors_of(data, runner, every)
    decisions = np.full(len(data.answers), np.nan)
    for i in held:
        Z = [np.array([vectors[f"{asked[i]} {t}"] for t in own], dtype=float) for own in texts[i]]
        logprobs = [_logprobs(a) for a in samples[i]]
        relevance = [1 - np.abs(own[1:] @ own[0]) for own in Z]
        whole = np.array([own[0] for own in Z])
        decisions[i] = -shifted(logprobs, relevance, whole @ whole.T)
    yield Scores("sar", decisions)


def pieces(tokenizer: PreTrainedTokenizerBase, a: LabelledAnswer) -> list[str]:
    """The answer's text, and then the same without each of its tokens."""
    ids = list(a.answer.answer_ids[own_tokens(a)])
    without = [ids[:k] + ids[k + 1 :] for k in range(len(ids))]
    return list(tokenizer.batch_decode([ids, *without], skip_special_tokens=True))


def _logprobs(a: LabelledAnswer) -> Floats:
    return a.answer.logprobs[own_tokens(a)].astype(np.float64)


def shifted(logprobs: Sequence[Floats], relevance: Sequence[Floats], alike: Floats) -> float:
    """SAR of one question; NaN where no answer has a token.

    Args:
        logprobs: (answer,) of (token,) log-probabilities.
        relevance: (answer,) of (token,) how much the text changes without it.
        alike: (answer, answer) similarity.
    """
    there = [k for k, own in enumerate(logprobs) if len(own)]
    if not there:
        return float("nan")
    tokens = [_weighed(logprobs[k], relevance[k]) for k in there]
    p, similar = np.exp(-np.array(tokens)), alike[np.ix_(there, there)]
    others = similar @ p - np.diag(similar) * p
    return float(np.mean(-np.log(np.maximum(p + others / TEMPERATURE, 1e-300))))


def _weighed(logprobs: Floats, relevance: Floats) -> float:
    """Minus the log-probabilities, weighed by relevance; plain mean where nothing is relevant."""
    relevance = np.maximum(relevance, 0)  # a cosine of one may be a little more
    total = relevance.sum()
    weights = relevance / total if total > 0 else np.full(len(relevance), 1 / len(relevance))
    return float(-np.sum(weights * logprobs))
