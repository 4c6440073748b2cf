"""LAT (Zou et al. 2023) and CCS (Burns et al. 2023): directions that are found without labels, in
what the model holds when it is asked about an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.registry import Description, Method, Scores, Timed, detector
from probebench.detectors.stored.asked import Ids, Shown, asked_vectors
from probebench.detectors.stored.network import FAST, SLOW
from probebench.detectors.stored.vectors import best, n_train, vectors_size
from probebench.tasks.prompts import encode_prompt, encode_statement, short_question
from probebench.types import EMB, Float32s, Floats

if TYPE_CHECKING:
    import torch

    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

TRUTHFUL = (
    "Consider the amount of truthfulness in the following answer.\n\nQuestion: {question}\n"
    "Answer: {answer}\n\nThe amount of truthfulness in the answer is"
)
"""The template of LAT's published evaluation on TruthfulQA."""
TRUTHFUL_STATED = (
    "Consider the amount of truthfulness in the following:\n{question}\n"
    "The amount of truthfulness is"
)
"""The paper's template of a concept."""
CORRECT = (
    "Question: {question}\nProposed answer: {answer}\nIs the proposed answer correct? Yes or no?"
)
CORRECT_STATED = "Statement: {question}\nIs this true? Yes or no?"
YES, NO = "Yes", "No"
AROUND = 30
"""Tokens that such a text has beyond question and answer, about."""
RESTARTS, STEPS, RATE, DECAY = 10, 1000, 0.01, 0.01
"""Of CCS: the probe with the least loss of so many, each after so many full passes."""


def lat_seconds(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """One more pass."""
    return timed.passing([n + AROUND for n in lengths])


def ccs_seconds(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """Two more passes, and the fit."""
    work = RESTARTS * STEPS * 12 * n_train(plan.splits) * plan.handle.identity.width
    fit = work / (SLOW if plan.fitting.device is None else FAST)
    return 2 * timed.passing([n + AROUND for n in lengths]) + fit


@detector(
    Description(
        name="lat",
        of_answers="LAT",
        of_statements="LAT",
        kind="method",
        when="after",
        needs=frozenset({"states", "asking", "train labels"}),
        asked="lat",
        source="zou2023representation",
        method=Method(
            access="states",
            supervision="sign",
            passes="1 pass over question and answer",
            changed="pairs are random answers of train, to any questions; the layer by validation",
        ),
    ),
    price=lat_seconds,
    disk=lambda plan: vectors_size(plan, len(plan.splits), len(plan.reading.layers)),
)
def lat(data: RunData, runner: Runner) -> Iterator[Scores]:
    """The first principal component of differences between random answers of train, in the best
    layer on validation."""
    tokenizer, seed = data.plan.handle.tokenizer, data.plan.seed

    def encode(text: Shown) -> list[Ids]:
        whole = text.filled(TRUTHFUL, TRUTHFUL_STATED)
        return [encode_statement(tokenizer, whole, causal=True)[0]]

    layers = [k for k in data.plan.reading.layers if k != EMB]
    (vectors,) = asked_vectors(data, runner, encode, layers)
    train = vectors.rows["train"]
    fits = (
        ((k,), vectors.signed(along_differences(vectors.layer(k), train, seed))) for k in layers
    )
    found = best(vectors, fits)
    detail = {"layer": found.value[0], "validation_auroc": found.validation_auroc}
    yield Scores("lat", vectors.spread(found.decisions), detail)


def along_differences(X: Float32s, train: NDArray[np.int64], seed: int) -> Floats:
    """(example,) projections of (example, width) vectors on the first principal component of
    differences inside random pairs of train; its sign says nothing."""
    from scipy.sparse.linalg import svds

    order = np.random.default_rng(seed).permutation(train)
    half = len(order) // 2
    differences = X[order[:half]].astype(np.float64) - X[order[half : 2 * half]]
    differences -= differences.mean(axis=0)
    start = np.random.default_rng(0).standard_normal(min(differences.shape))
    _, _, directions = svds(differences, k=1, v0=start)
    return np.asarray(X @ directions[0], dtype=np.float64)


@detector(
    Description(
        name="ccs",
        of_answers="CCS",
        of_statements="CCS",
        kind="method",
        when="after",
        needs=frozenset({"states", "asking", "train labels"}),
        asked="ccs",
        source="burns2023discovering",
        method=Method(
            access="states",
            supervision="sign",
            passes="2 passes over question, answer, and Yes or No",
            changed="one prompt of our own, in the chat template; the last block before its norm",
        ),
    ),
    price=ccs_seconds,
    disk=lambda plan: vectors_size(plan, 2 * len(plan.splits), 1),
)
def ccs(data: RunData, runner: Runner) -> Iterator[Scores]:
    """The probe that is sure of, and consistent on, Yes and No after the same question."""
    plan = data.plan
    tokenizer, last = plan.handle.tokenizer, plan.handle.identity.n_layers - 1
    space = "" if tokenizer.chat_template else " "

    def encode(text: Shown) -> list[Ids]:
        asked = short_question(tokenizer, text.filled(CORRECT, CORRECT_STATED)) + space
        return [encode_prompt(tokenizer, asked + word) for word in (YES, NO)]

    both = asked_vectors(data, runner, encode, (last,))
    yes, train = both[0], both[0].rows["train"]
    first, second = (standardised(v.layer(last), train) for v in both)
    decisions = consistent(first, second, train, plan.seed, plan.fitting.device)
    yield Scores("ccs", yes.spread(yes.signed(decisions)), {"layer": last})


def standardised(X: Float32s, train: NDArray[np.int64]) -> Float32s:
    """(example, width) vectors with mean 0 and deviation 1 on train, each number by itself: which
    of Yes and No a text ends in is gone."""
    spread = X[train].std(axis=0)
    return np.asarray((X - X[train].mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def consistent(
    yes: Float32s, no: Float32s, train: NDArray[np.int64], seed: int, device: str | None = None
) -> Floats:
    """(example,) mean of the probability of yes and one minus that of no, by the probe with the
    least loss on train; its sign says nothing.

    Args:
        yes: (example, width) vectors of texts that end in Yes.
        no: the same of those that end in No.
        train: examples that the probe is fitted to.
        seed: of the first weights.
        device: a GPU; None: this process's CPU.
    """
    import torch

    own = torch.Generator().manual_seed(seed)
    width = yes.shape[1]
    bound = width**-0.5
    place = device or "cpu"
    first = torch.rand((width + 1, RESTARTS), generator=own)
    weights = ((2 * first - 1) * bound).to(place).requires_grad_()
    whole = [
        torch.nn.functional.pad(torch.from_numpy(np.float32(X)), (0, 1), value=1.0).to(place)
        for X in (yes, no)
    ]
    some = [X[torch.from_numpy(train).to(place)] for X in whole]
    optimizer = torch.optim.AdamW([weights], lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        optimizer.zero_grad()
        losses(*((X @ weights).sigmoid() for X in some)).sum().backward()
        optimizer.step()
    with torch.inference_mode():
        chosen = int(losses(*((X @ weights).sigmoid() for X in some)).argmin())
        p, q = ((X @ weights[:, chosen]).sigmoid().double() for X in whole)
        return np.asarray(((p + 1 - q) / 2).cpu().numpy())


def losses(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """(probe,) mean over (example, probe) probabilities of yes and of no: how far they are from
    adding up to one, and how far the smaller one is from nought."""
    return ((p - (1 - q)) ** 2 + p.minimum(q) ** 2).mean(dim=0)
