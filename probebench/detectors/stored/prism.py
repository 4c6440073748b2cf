"""PRISM (Zhang et al. 2025): the network of SAPLMA on what the model holds when it is asked whether
the answer is true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from probebench.detectors.registry import Description, Method, Scores, Timed, detector
from probebench.detectors.stored.asked import Ids, Shown, asked_vectors
from probebench.detectors.stored.network import Recipe
from probebench.detectors.stored.saplma import SHAPE, by_epoch
from probebench.detectors.stored.vectors import vectors_size
from probebench.tasks.prompts import encode_statement

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

TEMPLATE = "Does the statement '{statement}' accurately reflect the truth?"
"""The prompt of the paper's published figures."""
AROUND = 10
"""Tokens that it has beyond the statement, about."""
RECIPE = Recipe(hidden=SHAPE, epochs=10, batch=32, rate=1e-3, dropout=0.2, balanced=True)


def seconds(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """One more pass, and the fit."""
    return timed.passing([n + AROUND for n in lengths]) + RECIPE.seconds(plan, 1)


@detector(
    Description(
        name="prism",
        of_answers="PRISM",
        of_statements="PRISM",
        kind="method",
        when="after",
        needs=frozenset({"states", "asking", "train labels"}),
        asked="prism",
        source="zhang2025prompt",
        method=Method(
            access="states",
            supervision="labels",
            passes="1 pass over question and answer",
            changed="the published prompt, not one chosen anew; an answer is shown after its "
            "question; the last block before its norm; vectors scaled by one number; the epoch by "
            "AUROC",
        ),
    ),
    price=seconds,
    disk=lambda plan: vectors_size(plan, len(plan.splits), 1),
)
def prism(data: RunData, runner: Runner) -> Iterator[Scores]:
    """A network on the last token of the question about the answer, in the last layer."""
    plan = data.plan
    last = plan.handle.identity.n_layers - 1

    def encode(text: Shown) -> list[Ids]:
        asked = TEMPLATE.format(statement=text.statement)
        return [encode_statement(plan.handle.tokenizer, asked, causal=True)[0]]

    (vectors,) = asked_vectors(data, runner, encode, (last,))
    decisions, detail = by_epoch(vectors, last, RECIPE, plan)
    yield Scores("prism", decisions, detail)
