"""p(True): what the model says when it is asked whether its answer is true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from probebench.detectors.asked.p_true_prompts import asked_text, letter_tokens, p_true_prompts
from probebench.detectors.registry import Description, Scores, detector
from probebench.detectors.relations import between
from probebench.files import content_key
from probebench.models.handles import ModelHandle
from probebench.models.passes.batches import BATCH_TOKENS, Budget
from probebench.models.passes.choices import choice_scores
from probebench.stages.data import RunData
from probebench.stages.engine import Models, Work
from probebench.stages.parquet import TableStage
from probebench.stages.plan import Plan
from probebench.stages.stage import Runner
from probebench.tasks.prompts import encode_prompt
from probebench.types import Floats, LabelledAnswer

Ids = tuple[int, ...]
Pair = tuple[Ids, Ids] | None
"""Both prompts about one answer, as token ids; None where nothing can be asked."""


@dataclass(frozen=True, eq=False)
class AskedTrue(TableStage):
    """`share` and `mass` of p(True): a row per example and kind, kinds of one example together."""

    plan: Plan
    kinds: Mapping[str, Sequence[Pair]]
    """Kind -> (example,) what is asked."""
    name: ClassVar[str] = "p-true"
    title: ClassVar[str] = "Asking for p(True)"
    budget_name: ClassVar[str] = "p-true"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        prompts = content_key({"pairs": dict(self.kinds)})
        return {"answers": self.plan.answer_inputs, "prompts": prompts}

    @cached_property
    def lengths(self) -> list[int]:
        return [
            sum(len(ids) for pair in both if pair for ids in pair)
            for both in zip(*self.kinds.values(), strict=True)
        ]

    @property
    def needs(self) -> ModelHandle:
        return self.plan.handle

    def first_budget(self, models: Models) -> Budget:
        return Budget(BATCH_TOKENS // 2)

    def compute(self, rows: list[int], work: Work) -> pd.DataFrame:
        letters = letter_tokens(self.plan.handle.tokenizer)
        pairs = [pairs[i] for i in rows for pairs in self.kinds.values()]
        # an answer may be its own exact answer
        unique = list(dict.fromkeys(ids for pair in pairs if pair for ids in pair))
        each = len(unique) / len(rows)
        found = choice_scores(work.models.get(self.needs), unique, *letters, work.budget(), each)
        scores = dict(zip(unique, found, strict=True))
        return pd.DataFrame([_averages(pair, scores) for pair in pairs])


@detector(
    Description(
        name="p_true",
        of_answers="p(True), answer",
        of_statements="p(True)",
        when="after",
        needs=frozenset({"asking"}),
        required=frozenset({"answers"}),
        relations=(between(0.0, 1.0),),
        skip="p-true",
        source="kadavath2022language",
    ),
    Description(
        name="p_true_exact",
        of_answers="p(True), exact answer",
        of_statements=None,
        when="after",
        needs=frozenset({"asking", "exact answer"}),
        relations=(between(0.0, 1.0),),
        skip="p-true",
    ),
)
def p_true(data: RunData, runner: Runner) -> Iterator[Scores]:
    """What the model says when asked whether its answer is true, and whether its exact answer is.

    Nothing is fitted, so training examples are not asked about. NaN also where a prompt does not
    fit into the context.
    """
    plan, answers = data.plan, data.answers
    kinds = ("p_true",) if data.statements else ("p_true", "p_true_exact")
    rows = [i for i, a in enumerate(answers) if a.split != "train"]
    prompts = {
        name: [_pair(plan, answers[i], exact=name == "p_true_exact") for i in rows]
        for name in kinds
    }
    asked = {name: [_fitting(plan, pair) for pair in pairs] for name, pairs in prompts.items()}
    values = np.full((len(answers), len(kinds), 2), np.nan)
    for shard, table in runner.run(AskedTrue(plan, asked)).parts():
        both = table[["share", "mass"]].to_numpy().reshape(len(shard), len(kinds), 2)
        values[[rows[i] for i in shard]] = both
    test = [i for i, a in enumerate(answers) if a.split == "test"]
    for k, name in enumerate(kinds):
        mass = values[test, k, 1][np.isfinite(values[test, k, 1])]
        pairs = zip(prompts[name], asked[name], strict=True)
        detail = {
            "letter_mass": float(mass.mean()) if len(mass) else float("nan"),
            "n_too_long": sum(whole is not None and pair is None for whole, pair in pairs),
        }
        yield Scores(name, values[:, k, 0], detail)


def _pair(plan: Plan, a: LabelledAnswer, *, exact: bool) -> Pair:
    """Both prompts about one answer; None without an exact answer to ask about."""
    if exact and a.exact is None:
        return None
    if exact and a.exact:
        said = a.answer.text[a.exact.start : a.exact.end]
    else:
        said = plan.reply(a.answer)[1]
    tokenizer, asked = plan.handle.tokenizer, asked_text(plan.task, a.example)
    first, second = p_true_prompts(tokenizer, asked, None if plan.statements else said)
    return encode_prompt(tokenizer, first), encode_prompt(tokenizer, second)


def _fitting(plan: Plan, pair: Pair) -> Pair:
    """The same, or None where it does not fit into the context."""
    limit = plan.handle.max_length
    return pair if pair and (limit is None or max(map(len, pair)) <= limit) else None


def _averages(pair: Pair, scores: Mapping[Ids, Floats]) -> dict[str, float]:
    """p(True) over both orders, and how much of all probability the two letters have; NaN where
    nothing was asked."""
    if pair is None:
        return {"share": np.nan, "mass": np.nan}
    (a, mass), (other_a, other_mass) = (scores[ids] for ids in pair)
    # the second order has True at B
    return {"share": (a + (1 - other_a)) / 2, "mass": (mass + other_mass) / 2}
