"""Signals that lie in the generation itself: logits, probabilities and entropies of the tokens that
the model wrote, how many there are, and which answer is the more frequent one.

Signs are fixed in advance, the confident answer being taken for the correct one; none is ever
flipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from probebench.detectors.registry import Description, Input, Need, Scores, detector
from probebench.detectors.relations import Relation, at_most, between, constant, counts, equal_to
from probebench.probes.labels import split_index
from probebench.types import Floats, LabelledAnswer

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.stage import Runner

Take = Callable[[LabelledAnswer], slice | None]
Score = Callable[[LabelledAnswer], float]
REDUCTIONS: dict[str, Callable[[Floats], np.floating]] = {
    "mean": np.mean,
    "min": np.min,
    "max": np.max,
}


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A number that each generated token has."""

    label: str
    values: Callable[[LabelledAnswer], Floats]
    """(answer token,) of one answer."""
    taken: tuple[str, ...]
    """What is taken of them."""


SCORES = {
    "logit": TokenScore(
        "logit", lambda a: a.answer.logits.astype(np.float64), ("mean", "min", "max")
    ),
    "prob": TokenScore(
        "probability",
        lambda a: np.exp(a.answer.logprobs.astype(np.float64)),
        ("mean", "min", "max"),
    ),
    # the maximum would rank as that of the probability does, which is its exponential
    "logprob": TokenScore(
        "log-prob", lambda a: a.answer.logprobs.astype(np.float64), ("mean", "min")
    ),
}
ANSWERS: frozenset[Input] = frozenset({"answers"})
BOTH: frozenset[Input] = frozenset({"answers", "statements"})
SCORED: frozenset[Need] = frozenset({"token scores"})
SCORED_EXACT: frozenset[Need] = frozenset({"token scores", "exact answer"})
INF = float("inf")


def words(a: LabelledAnswer) -> slice:
    """The generated tokens without the stop token. Of a statement the tokens after the first count:
    the first is what the others are predicted from."""
    return slice(0, len(a.answer.answer_ids) - int(a.answer.stopped))


def exact(a: LabelledAnswer) -> slice | None:
    """The tokens of the exact answer; None where there is none."""
    if a.tokens.exact is None:
        return None
    first, last = (i - a.tokens.n_prompt for i in a.tokens.exact)
    return slice(first, last + 1)


def each(answers: Sequence[LabelledAnswer], score: Score) -> Floats:
    """(example,) one score of each answer."""
    return np.array([score(a) for a in answers], dtype=np.float64)


def signal(row: Description) -> Callable[[Score], Score]:
    """Register a function of one answer."""

    def register(score: Score) -> Score:
        def make(data: RunData, runner: Runner) -> Iterator[Scores]:
            yield Scores(row.name, each(data.answers, score))

        detector(row)(make)
        return score

    return register


def _reduce(values: Floats, at: slice | None, reduction: Callable[[Floats], np.floating]) -> float:
    """NaN where there is no token to reduce over."""
    chosen = values[at] if at is not None else values[:0]
    return float(reduction(chosen)) if len(chosen) else float("nan")


# -- one number out of those of many tokens --------------------------------------------------------


def _relations(name: str, how: str, at: str) -> tuple[Relation, ...]:
    """A mean lies between the extremes, and those of a part between those of the whole."""
    found = []
    if name != "logit":
        found.append(between(*((0.0, 1.0) if name == "prob" else (-INF, 0.0))))
    if how == "min":
        found.append(at_most(f"{name}_mean{at}"))
    if how == "mean" and "max" in SCORES[name].taken:
        found.append(at_most(f"{name}_max{at}"))
    if how == "min" and not at:
        found.append(at_most(f"{name}_min_exact"))
    if how == "max" and at:
        found.append(at_most(f"{name}_max"))
    if (name, how) == ("prob", "min"):
        found.append(equal_to(np.exp, f"logprob_min{at}"))
    return tuple(found)


def _token_signal(name: str, how: str, at: str) -> None:
    label, values = SCORES[name].label, SCORES[name].values
    row = Description(
        name=f"{name}_{how}{at}",
        of_answers=f"{label} {how}, {'exact answer' if at else 'answer'}",
        of_statements=None if at else f"{label} {how}, statement",
        family=name,
        when="after",
        needs=SCORED_EXACT if at else SCORED,
        required=ANSWERS if at or name != "logprob" else BOTH,
        relations=_relations(name, how, at),
    )
    take: Take = exact if at else words
    signal(row)(lambda a: _reduce(values(a), take(a), REDUCTIONS[how]))


for _name in SCORES:
    for _at in ("", "_exact"):
        for _how in SCORES[_name].taken:
            _token_signal(_name, _how, _at)


@signal(
    Description(
        name="logprob_sum",
        of_answers="log-prob sum, answer",
        of_statements="log-prob sum, statement",
        family="logprob",
        when="after",
        needs=SCORED,
        relations=(
            between(-INF, 0.0),
            at_most("logprob_min"),
            equal_to(lambda mean, length: -mean * length, "logprob_mean", "length"),
        ),
    )
)
def logprob_sum(a: LabelledAnswer) -> float:
    """Log-probability of the whole answer, without its stop token; NaN for an answer without a
    word."""
    return _reduce(a.answer.logprobs.astype(np.float64), words(a), np.sum)


@signal(
    Description(
        name="perplexity",
        of_answers="perplexity (lower), answer",
        of_statements="perplexity (lower), statement",
        family="perplexity",
        when="after",
        needs=SCORED,
        relations=(between(-INF, -1.0), equal_to(lambda mean: -np.exp(-mean), "logprob_mean")),
    )
)
def negated_perplexity(a: LabelledAnswer) -> float:
    """Minus exp of minus the mean log-probability: it ranks answers exactly as that mean does."""
    return -float(np.exp(-_reduce(a.answer.logprobs.astype(np.float64), words(a), np.mean)))


@signal(
    Description(
        name="entropy_exact_first",
        of_answers="entropy (lower), exact answer 1st",
        of_statements=None,
        family="entropy",
        when="after",
        needs=SCORED_EXACT,
        relations=(between(-INF, 0.0),),
    )
)
def negated_entropy(a: LabelledAnswer) -> float:
    """Minus the entropy, in nats, of the distribution that the exact answer's first token was taken
    from; NaN without one."""
    at = exact(a)
    return float("nan") if at is None else -float(a.answer.entropies[at.start])


# -- without any score -----------------------------------------------------------------------------


@signal(
    Description(
        name="length",
        of_answers="length (shorter)",
        of_statements="length (shorter)",
        family="length",
        when="after",
        needs=frozenset({"token counts"}),
        required=BOTH,
        relations=(counts("generated tokens"),),
    )
)
def length(a: LabelledAnswer) -> float:
    """Minus the number of generated tokens, the stop token left out; of a statement, of its tokens
    after the first."""
    return -float(words(a).stop)


@signal(
    Description(
        name="length_question",
        of_answers="prompt length (shorter)",
        of_statements=None,
        family="length",
        when="before",
        needs=frozenset({"token counts"}),
        relations=(between(-INF, 0.0),),
    )
)
def prompt_length(a: LabelledAnswer) -> float:
    """Minus the number of tokens of the prompt."""
    return -float(len(a.answer.prompt_ids))


@detector(
    Description(
        name="majority",
        of_answers="majority class",
        of_statements="majority class",
        family="majority",
        when="before",
        needs=frozenset({"train labels"}),
        required=BOTH,
        relations=(constant(),),
    )
)
def majority(data: RunData, runner: Runner) -> Iterator[Scores]:
    """The class that most train examples have; the same for all."""
    train = split_index(data.labels.splits)["train"]
    value = float(data.labels.y[train].mean() >= 0.5)
    yield Scores("majority", np.full(len(data.answers), value))
