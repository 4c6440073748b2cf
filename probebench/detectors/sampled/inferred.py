"""Methods that ask a model of natural-language inference about drawn answers: does one follow from
another, or contradict it?

SelfCheckGPT, NLI (Manakul et al. 2023), and semantic entropy by bidirectional entailment (Kuhn et
al. 2023; Farquhar et al. 2024). Nothing is fitted, so answers of train are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.registry import Need, Scores, Timed, detector
from probebench.detectors.sampled.clusters import clusters
from probebench.detectors.sampled.likelihood import drawn, drawn_row, held_rows, sentences
from probebench.detectors.sampled.meaning import entropies_of
from probebench.models.inference import CONTRADICTION, ENTAILMENT
from probebench.stages.sampling.inference import Inferences, inferences
from probebench.types import Floats, LabelledAnswer

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

NLI: frozenset[Need] = frozenset({"inference model"})
SENTENCE_TOKENS = 25
"""Of one sentence, about, for the dry run."""
FRAME_TOKENS = 3
"""That mark where two texts begin and end."""
CLUSTERED = (
    "answers of the same words are one without asking; any model with labels entailment, neutral "
    "and contradiction"
)


def said(plan: Plan, a: LabelledAnswer) -> str:
    """What is compared of an answer: the reply after thinking, on one line."""
    return " ".join(plan.reply(a.answer)[1].split())


def asked(data: RunData, runner: Runner, wanted: Sequence[tuple[str, str]]) -> Inferences:
    """What the run's inference model says of each (premise, hypothesis)."""
    model = data.plan.beside.nli
    assert model is not None  # the rows need one
    return inferences(model, wanted, runner)


# -- SelfCheckGPT ----------------------------------------------------------------------------------


def _checking(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """Each sentence of each answer beside each drawn one, which is about as long as the answer."""
    answers = _answer_tokens(plan, lengths)
    return _passes(plan, timed, [(n + SENTENCE_TOKENS, 1 + n // SENTENCE_TOKENS) for n in answers])


@detector(
    drawn_row(
        "selfcheck_nli",
        "SelfCheck, NLI (lower)",
        "manakul2023selfcheckgpt",
        asked="selfcheck-nli",
        needs=NLI,
        passes="the samples, 1 pass of the inference model per sentence and sample",
        changed="the sample is the premise, as in the paper's text; sentences by their marks and "
        "lines; validation and test only",
    ),
    price=_checking,
)
def selfcheck_nli(data: RunData, runner: Runner) -> Iterator[Scores]:
    """Minus the mean, over sentences of the answer and over drawn answers, of the probability that
    the drawn one contradicts the sentence. NaN for an answer without a word."""
    rows, samples = held_rows(data.labels), drawn(data).answers
    parts = {i: sentences(data.plan.reply(data.answers[i].answer)[1]) for i in rows}
    others = {i: [said(data.plan, b) for b in samples[i]] for i in rows}
    found = asked(
        data, runner, [(other, part) for i in rows for part in parts[i] for other in others[i]]
    )
    decisions = np.full(len(data.answers), np.nan)
    for i in rows:
        chances = [contradicted(found.of[o, part]) for part in parts[i] for o in others[i]]
        decisions[i] = -np.mean(chances) if chances else np.nan
    detail = {**found.detail, "mean_sentences": float(np.mean([len(parts[i]) for i in rows]))}
    yield Scores("selfcheck_nli", decisions, detail)


def contradicted(chances: Floats) -> float:
    """The probability of contradiction where neutral is no choice: the softmax of two logits."""
    two = chances[CONTRADICTION] + chances[ENTAILMENT]
    return float(chances[CONTRADICTION] / two) if two else 0.5


# -- semantic entropy ------------------------------------------------------------------------------


def _comparing(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """Any two drawn answers of different words, both ways, the question before each: at most."""
    answers, nli = _answer_tokens(plan, lengths), plan.beside.nli
    if nli is None:
        return 0.0
    questions = [len(nli.tokenizer(e.question)["input_ids"]) for e in plan.examples]
    own = [q for q, split in zip(questions, plan.splits, strict=True) if split != "train"]
    each = max(plan.beside.n_drawn - 1, 0)
    return _passes(plan, timed, [(2 * (q + a), each) for q, a in zip(own, answers, strict=True)])


@detector(
    drawn_row(
        "semantic_entropy_nli",
        "semantic entropy, by NLI (lower)",
        "farquhar2024detecting",
        asked="semantic-entropy",
        access="logits",
        needs=NLI,
        passes="the samples, 1 pass of the inference model per ordered pair of different ones",
        changed=CLUSTERED,
    ),
    drawn_row(
        "semantic_entropy_nli_discrete",
        "semantic entropy, by NLI, discrete (lower)",
        "farquhar2024detecting",
        asked="semantic-entropy",
        needs=NLI,
        passes="the samples, 1 pass of the inference model per ordered pair of different ones",
        changed=CLUSTERED,
    ),
    price=_comparing,
)
def by_inference(data: RunData, runner: Runner) -> Iterator[Scores]:
    """Clusters of answers that follow from one another, each read after its question."""
    rows, samples = held_rows(data.labels), drawn(data).answers
    texts = {
        i: [f"{data.answers[i].example.question.strip()} {said(data.plan, b)}" for b in samples[i]]
        for i in rows
    }
    wanted = [(a, b) for own in texts.values() for a in own for b in own if a != b]
    inferred = asked(data, runner, wanted)
    found = {i: by_entailment(own, inferred.of) for i, own in texts.items()}
    whole, discrete = (np.full(len(data.answers), np.nan) for _ in range(2))
    for i, own in found.items():
        whole[i], discrete[i] = (-value for value in entropies_of(own, samples[i]))
    n_clusters = [int(own.max()) + 1 for own in found.values()]
    detail = {**inferred.detail, "mean_clusters": float(np.mean(n_clusters))}
    yield Scores("semantic_entropy_nli", whole, detail)
    yield Scores("semantic_entropy_nli_discrete", discrete, detail)


def by_entailment(
    texts: Sequence[str], chances: Mapping[tuple[str, str], Floats]
) -> NDArray[np.int64]:
    """(text,) clusters of texts of which each most likely follows from the other.

    Args:
        texts: in the order in which they were drawn.
        chances: (premise, hypothesis) -> (3,) probabilities, for any two different texts.
    """

    def follows(premise: str, hypothesis: str) -> bool:
        return int(np.argmax(chances[premise, hypothesis])) == ENTAILMENT

    def same(i: int, j: int) -> bool:
        a, b = texts[i], texts[j]
        return a == b or (follows(a, b) and follows(b, a))

    return clusters(len(texts), same)


# -- prices ----------------------------------------------------------------------------------------


def _answer_tokens(plan: Plan, lengths: Sequence[int]) -> list[int]:
    """Tokens of each answer of validation and test."""
    prompts = plan.questions.prompt_ids
    return [
        n - len(ids)
        for n, ids, split in zip(lengths, prompts, plan.splits, strict=True)
        if split != "train"
    ]


def _passes(plan: Plan, timed: Timed, pairs: Sequence[tuple[int, int]]) -> float:
    """Seconds of the inference model, as a pass of the run's own model scaled by their size.

    Args:
        plan: the run.
        timed: seconds of the run's own model.
        pairs: tokens of a pair, and pairs per drawn answer, of each example.
    """
    nli, n = plan.beside.nli, plan.beside.n_drawn
    if nli is None:
        return 0.0
    size, own = (m.identity.n_layers * m.identity.width**2 for m in (nli, plan.handle))
    each = timed.passing([tokens + FRAME_TOKENS for tokens, k in pairs for _ in range(k)])
    return n * each * size / own
