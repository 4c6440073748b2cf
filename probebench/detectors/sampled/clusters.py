"""Which drawn answers say the same: by the judge's own equality, by an encoder, or by whatever else
tells two of them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from probebench.tasks.exact.rules import declines
from probebench.tasks.judge import earliest_option, get_judge, words_f1
from probebench.tasks.judging.reading.wording import words
from probebench.types import Example, Floats, LabelledAnswer

Same = Callable[[int, int], bool]
"""Do two answers to one question, by their places, say the same?"""
REFUSED = "\n refused"
"""What every refusal says."""


def clusters(n: int, same: Same) -> NDArray[np.int64]:
    """(answer,) number of the cluster of each answer: the first whose first answer says the same,
    in the order in which they were drawn (Kuhn et al. 2023, algorithm 1)."""
    found, firsts = np.zeros(n, dtype=np.int64), list[int]()
    for i in range(n):
        own = next((k for k, first in enumerate(firsts) if same(first, i)), len(firsts))
        if own == len(firsts):
            firsts.append(i)
        found[i] = own
    return found


def by_judge(judge: str, example: Example, answers: Sequence[LabelledAnswer]) -> NDArray[np.int64]:
    """(answer,) clusters of what the judge takes for one answer, whether it is right or not.

    Two texts are the same where each would be right if the other were the accepted answer. Judges
    that read an option compare the option, and one that takes the nearest reference compares that.
    All answers that do nothing but refuse are one.
    """
    said = [_meaning(judge, example, a) for a in answers]
    accepts = get_judge(judge)

    def accepted(text: str, reference: str) -> bool:
        known = replace(example, references=(reference,), wrong=())
        return accepts(known, text).correct

    def same(i: int, j: int) -> bool:
        a, b = said[i], said[j]
        if a == b or judge in ("choice", "closest") or REFUSED in (a, b):
            return a == b
        return accepted(a, b) and accepted(b, a)

    return clusters(len(said), same)


def _meaning(judge: str, example: Example, a: LabelledAnswer) -> str:
    """What is compared of an answer: the option or reference that it comes down to, its exact
    answer, or all of it. Whether it refuses is read off its words: the judge's own mark stands on
    wrong answers only, and would tell which are."""
    text = said_of(a)
    if declines(a.answer.text):
        return REFUSED
    if judge == "choice":
        span = earliest_option(example, a.answer.text)
        return " ".join(words(a.answer.text[span.start : span.end])) if span else text
    if judge == "closest":
        own = words(a.answer.text)
        shared = {o: words_f1(own, words(o)) for o in (*example.references, *example.wrong)}
        nearest = max(shared, key=lambda option: shared[option], default=text)
        return nearest if shared.get(nearest) else text
    return text


def said_of(a: LabelledAnswer) -> str:
    """The exact answer where one was found, else the whole text, on one line."""
    text = a.answer.text if a.exact is None else a.answer.text[a.exact.start : a.exact.end]
    return " ".join(text.split())


def by_similarity(similar: Floats, least: float) -> NDArray[np.int64]:
    """(answer,) clusters of answers whose (answer, answer) similarity is at least so high."""
    return clusters(len(similar), lambda i, j: bool(similar[i, j] >= least))


# -- entropies over clusters -----------------------------------------------------------------------


def discrete_entropy(found: NDArray[np.int64]) -> float:
    """Entropy in nats of the shares of the clusters (Farquhar et al. 2024, discrete form)."""
    if not len(found):
        return float("nan")
    shares = np.bincount(found)[np.unique(found)] / len(found)
    return float(-np.sum(shares * np.log(shares)))


def semantic_entropy(found: NDArray[np.int64], logprobs: Floats) -> float:
    """Entropy in nats over clusters, each of which has the probabilities of its answers.

    Args:
        found: (answer,) clusters.
        logprobs: (answer,) log-probabilities of the answers, per token. They are brought to a sum
            of one over the answers that were drawn (Farquhar et al. 2024).
    """
    if not len(found) or not np.isfinite(logprobs).all():
        return float("nan")
    mass = np.exp(logprobs - logprobs.max())
    shares = np.bincount(found, weights=mass) / mass.sum()
    return float(-np.sum(shares * np.log(np.maximum(shares, 1e-300))))
