"""Signals that lie in the generation itself: logits, probabilities and entropies of the tokens that
the model wrote.

Signs are fixed in advance, the confident answer being taken for the correct one; none is ever
flipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from probebench.types import Detector, Floats, LabelledAnswer, When

Take = Callable[[LabelledAnswer], slice | None]
REDUCTIONS: dict[str, Callable[[Floats], np.floating]] = {
    "mean": np.mean,
    "min": np.min,
    "max": np.max,
}
SCORES: dict[str, tuple[str, Callable[[LabelledAnswer], Floats], tuple[str, ...]]] = {
    "logit": ("logit", lambda a: a.answer.logits.astype(np.float64), ("mean", "min", "max")),
    "prob": (
        "probability",
        lambda a: np.exp(a.answer.logprobs.astype(np.float64)),
        ("mean", "min", "max"),
    ),
    # the maximum would rank as that of the probability does, which is its exponential
    "logprob": ("log-prob", lambda a: a.answer.logprobs.astype(np.float64), ("mean", "min")),
}
"""Name of a per-token score -> its label, its values by token, and what is taken of them."""


def words(a: LabelledAnswer) -> slice:
    """The generated tokens without the stop token."""
    return slice(0, len(a.answer.answer_ids) - int(a.answer.stopped))


def exact(a: LabelledAnswer) -> slice | None:
    """The tokens of the exact answer; None where there is none."""
    if a.tokens.exact is None:
        return None
    first, last = (i - a.tokens.n_prompt for i in a.tokens.exact)
    return slice(first, last + 1)


def signal_baselines(answers: Sequence[LabelledAnswer], *, statements: bool) -> Iterator[Detector]:
    """Everything that the stored scores of generated tokens give; nothing for encoders, which have
    none.

    Of a statement the tokens after the first count: the first is what the others are predicted
        from.
    """
    if not any(len(a.answer.logprobs) for a in answers):
        return
    when: When = "before" if statements else "after"
    where = "statement" if statements else "answer"
    places: dict[str, tuple[str, Take]] = {"": (where, words)}
    if not statements:
        places["_exact"] = ("exact answer", exact)
    for name, (label, scores, reductions) in SCORES.items():
        for suffix, (place, take) in places.items():
            for reduction in reductions:
                decisions = np.array(
                    [_reduce(scores(a), take(a), REDUCTIONS[reduction]) for a in answers]
                )
                yield Detector(
                    f"{name}_{reduction}{suffix}",
                    f"{label} {reduction}, {place}",
                    decisions,
                    when=when,
                )
    yield Detector("logprob_sum", f"log-prob sum, {where}", each(answers, logprob_sum), when=when)
    yield Detector(
        "perplexity", f"perplexity (lower), {where}", each(answers, negated_perplexity), when=when
    )
    if not statements:
        yield Detector(
            "entropy_exact_first",
            "entropy (lower), exact answer 1st",
            each(answers, negated_entropy),
        )


def each(answers: Sequence[LabelledAnswer], score: Callable[[LabelledAnswer], float]) -> Floats:
    """(example,) one score of each answer."""
    return np.array([score(a) for a in answers], dtype=np.float64)


def _reduce(values: Floats, at: slice | None, reduction: Callable[[Floats], np.floating]) -> float:
    """NaN where there is no token to reduce over."""
    chosen = values[at] if at is not None else values[:0]
    return float(reduction(chosen)) if len(chosen) else float("nan")


def logprob_sum(a: LabelledAnswer) -> float:
    """Log-probability of the whole answer, without its stop token; NaN for an answer without a
    word."""
    return _reduce(a.answer.logprobs.astype(np.float64), words(a), np.sum)


def negated_perplexity(a: LabelledAnswer) -> float:
    """Minus exp of minus the mean log-probability: it ranks answers exactly as that mean does."""
    return -float(np.exp(-_reduce(a.answer.logprobs.astype(np.float64), words(a), np.mean)))


def negated_entropy(a: LabelledAnswer) -> float:
    """Minus the entropy, in nats, of the distribution that the exact answer's first token was taken
    from; NaN without one."""
    at = exact(a)
    return float("nan") if at is None else -float(a.answer.entropies[at.start])


def length(a: LabelledAnswer) -> float:
    """Minus the number of generated tokens, the stop token left out; of a statement, of its tokens
    after the first."""
    return -float(words(a).stop)


def prompt_length(a: LabelledAnswer) -> float:
    """Minus the number of tokens of the prompt."""
    return -float(len(a.answer.prompt_ids))
