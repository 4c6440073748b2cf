"""How likely the drawn answers are, and how alike: predictive entropy, lexical similarity, and
SelfCheck's n-grams."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from probebench.detectors.registry import (
    Access,
    Description,
    Method,
    Need,
    Scores,
    Supervision,
    detector,
)
from probebench.detectors.relations import between
from probebench.detectors.signals import words as own_tokens
from probebench.probes.labels import Labels, split_index
from probebench.stages.sampling.samples import Samples
from probebench.tasks.exact.rules import GOLD
from probebench.types import LabelledAnswer, Span

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

WORD = re.compile(r"\w+")
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
NAN = float("nan")
SAMPLES: frozenset[Need] = frozenset({"samples"})


def drawn_row(
    name: str,
    label: str,
    source: str,
    *,
    asked: str,
    access: Access = "text",
    needs: frozenset[Need] = frozenset(),
    passes: str = "the samples",
    changed: str = "",
    relations: bool = True,
    supervision: Supervision = "none",
) -> Description:
    """The row of a method that reads drawn answers.

    Args:
        name: of the row.
        label: its words in tables.
        source: key of its paper.
        asked: its name for `--detectors`.
        access: how deep it looks.
        needs: what it needs beside the samples.
        passes: what it costs, in words.
        changed: in what it differs from its paper.
        relations: are its decisions at most 0?
        supervision: what of the labels it uses.
    """
    return Description(
        name=name,
        of_answers=label,
        of_statements=None,
        kind="method",
        when="after",
        needs=needs | SAMPLES,
        asked=asked,
        source=source,
        relations=(between(-np.inf, 0.0),) if relations else (),
        method=Method(access=access, supervision=supervision, passes=passes, changed=changed),
    )


def drawn(data: RunData) -> Samples:
    """The drawn answers of a run whose rows need them, each without the model's thoughts, and
    without an exact answer that was found by the label."""
    assert data.samples is not None
    gold = data.plan.exact.name == GOLD
    plain = [[replied(data.plan, a) for a in some] for some in data.samples.answers]
    answers = tuple(tuple(replace(a, exact=None) if gold else a for a in some) for some in plain)
    return replace(data.samples, answers=answers)


def replied(plan: Plan, a: LabelledAnswer) -> LabelledAnswer:
    """An answer as what is said to the user: thoughts are no part of it, neither of its text nor of
    its tokens, which they come before as the prompt does."""
    thinking, n_prompt = a.tokens.thinking, a.tokens.n_prompt
    if thinking is None or thinking.final == n_prompt:
        return a
    own, (start, text) = a.answer, plan.reply(a.answer)
    at = len(own.answer_ids) if thinking.final is None else thinking.final - n_prompt
    answer = replace(
        own,
        prompt_ids=own.ids[: n_prompt + at],
        answer_ids=own.answer_ids[at:],
        stopped=own.stopped and at < len(own.answer_ids),
        text=text,
        logprobs=own.logprobs[at:],
        logits=own.logits[at:],
        entropies=own.entropies[at:],
    )
    exact = None if a.exact is None else Span(a.exact.start - start, a.exact.end - start)
    return replace(a, answer=answer, exact=exact, tokens=replace(a.tokens, n_prompt=n_prompt + at))


def held_rows(labels: Labels) -> list[int]:
    """Examples of validation and test, which a table shows."""
    rows = split_index(labels.splits)
    return [int(i) for i in (*rows["validation"], *rows["test"])]


def mean_logprob(a: LabelledAnswer) -> float:
    """Mean log-probability of an answer's tokens, its stop token left out unless it is all there
    is; NaN without any."""
    every = a.answer.logprobs.astype(np.float64)
    values = every[own_tokens(a)]
    return float(np.mean(values if len(values) else every)) if len(every) else NAN


@detector(
    drawn_row(
        "predictive_entropy",
        "predictive entropy, per token (lower)",
        "malinin2021uncertainty",
        asked="predictive-entropy",
        access="logits",
    )
)
def predictive_entropy(data: RunData, runner: Runner) -> Iterator[Scores]:
    """Mean over the drawn answers of their mean log-probability: minus the length-normalised
    entropy."""
    found = [_present_mean([mean_logprob(a) for a in some]) for some in drawn(data).answers]
    yield Scores("predictive_entropy", np.array(found, dtype=np.float64))


def _present_mean(values: Sequence[float]) -> float:
    """Over the answers that have a word."""
    there = [v for v in values if np.isfinite(v)]
    return float(np.mean(there)) if there else NAN


@detector(
    drawn_row(
        "lexical_similarity",
        "lexical similarity (Rouge-L)",
        "fomicheva2020unsupervised",
        asked="lexical-similarity",
        changed="Rouge-L, as in Kuhn et al. 2023, instead of Meteor",
        relations=False,
    )
)
def lexical_similarity(data: RunData, runner: Runner) -> Iterator[Scores]:
    """Mean Rouge-L over pairs of drawn answers."""
    found = []
    for some in drawn(data).answers:
        texts = [said(a.answer.text) for a in some]
        pairs = {
            (a, b): rouge_l(a, b) for a, b in {tuple(sorted(p)) for p in combinations(texts, 2)}
        }
        every = [pairs[min(a, b), max(a, b)] for a, b in combinations(texts, 2)]
        found.append(np.mean(every) if every else NAN)
    yield Scores("lexical_similarity", np.array(found, dtype=np.float64))


def said(text: str) -> tuple[str, ...]:
    """The words of a text, in lower case."""
    return tuple(WORD.findall(text.lower()))


def rouge_l(a: Sequence[str], b: Sequence[str]) -> float:
    """F1 of the longest common subsequence of two lists of words (Lin 2004); 1 where both are
    empty."""
    if not a or not b:
        return float(len(a) == len(b))
    row = np.zeros(len(b) + 1, dtype=np.int64)
    for word in a:
        match = np.array([word == other for other in b])
        before = row.copy()
        row[1:] = np.maximum(before[1:], before[:-1] + match)
        row = np.maximum.accumulate(row)
    return float(2 * row[-1] / (len(a) + len(b)))


@detector(
    drawn_row(
        "selfcheck_ngram",
        "SelfCheck, unigrams (max)",
        "manakul2023selfcheckgpt",
        asked="selfcheck-ngram",
        changed="words by letters and digits, sentences by their marks and lines",
    )
)
def selfcheck_ngram(data: RunData, runner: Runner) -> Iterator[Scores]:
    """The log-probability of the least likely word of each sentence of the answer, among the words
    of it and of the drawn answers; mean over sentences."""
    found = [
        least_likely(replied(data.plan, a).answer.text, [b.answer.text for b in some])
        for a, some in zip(data.answers, drawn(data).answers, strict=True)
    ]
    yield Scores("selfcheck_ngram", np.array(found, dtype=np.float64))


def sentences(text: str) -> list[str]:
    """The sentences of a text that hold a word."""
    return [part for part in SENTENCE.split(text) if WORD.search(part)]


def least_likely(answer: str, samples: Sequence[str]) -> float:
    """Minus SelfCheck's unigram score with the maximum over words; NaN without a word."""
    counts = Counter(word for text in (answer, *samples) for word in said(text))
    total = sum(counts.values())
    own = [min(np.log(counts[w] / total) for w in said(part)) for part in sentences(answer)]
    return float(np.mean(own)) if own else NAN
