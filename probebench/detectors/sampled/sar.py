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
AT_ONCE = 50
"""Questions whose texts are in memory together."""


def seconds(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """A pass of the encoder for every token of every drawn answer of validation and test, priced as
    one of the run's own model."""
    n = plan.beside.n_drawn
    total = 0.0
    prompts = map(len, plan.questions.prompt_ids)
    for whole, prompt, split in zip(lengths, prompts, plan.splits, strict=True):
        if split != "train":
            total += n * max(whole - prompt, 1) * timed.passing([whole])
    return total


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
    held, decisions = held_rows(data.labels), np.full(len(data.answers), np.nan)
    samples = drawn(data).answers
    for k in range(0, len(held), AT_ONCE):
        some = held[k : k + AT_ONCE]
        decisions[some] = _block(data, runner, some, [samples[i] for i in some])
    yield Scores("sar", decisions)


def _block(
    data: RunData, runner: Runner, held: Sequence[int], samples: Sequence[Sequence[LabelledAnswer]]
) -> list[float]:
    """Minus SAR of some questions."""
    tokenizer, found = data.plan.handle.tokenizer, []
    asked = [data.answers[i].example.question for i in held]
    texts = [
        [[f"{question} {text}" for text in pieces(tokenizer, a)] for a in some]
        for question, some in zip(asked, samples, strict=True)
    ]
    vectors = vectors_of(data, runner, [t for some in texts for own in some for t in own])
    for some, own in zip(samples, texts, strict=True):
        Z = [np.array([vectors[text] for text in one], dtype=np.float64) for one in own]
        relevance = [1 - np.abs(one[1:] @ one[0]) for one in Z]
        whole = np.array([one[0] for one in Z])
        found.append(-shifted([_logprobs(a) for a in some], relevance, whole @ whole.T))
    return found


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
