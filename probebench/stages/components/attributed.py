"""What replacing a component by its mean changes, as stages: means, estimates, and the measured
changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd

from probebench.files import content_key
from probebench.models.blocks.sites import COMPONENTS, SitePlan, plan_sites
from probebench.models.handles import ModelHandle
from probebench.probes.kinds import linear_map
from probebench.record.versions import versions
from probebench.stages.engine import Work
from probebench.stages.parquet import TableStage
from probebench.stages.plan import Plan
from probebench.stages.stage import Finished, Runner
from probebench.states.attribution.changes import changes
from probebench.states.attribution.means import Means, component_means
from probebench.states.attribution.summary import Attribution, attribution_of
from probebench.states.attribution.targets import ProbeTarget
from probebench.types import CellFit, LabelledAnswer

LIMIT = 128
"""Test answers that are looked at, the first ones."""
FEW = 8
"""Of these, answers for which components are replaced in every run; and those of one shard."""


@dataclass(frozen=True, eq=False)
class OfComponents(TableStage):
    """Work on every component, on some answers."""

    plan: Plan
    answers: Sequence[LabelledAnswer]

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        return {
            "answers": self.plan.answer_inputs,
            "ids": content_key({"ids": [a.answer.ids for a in self.answers]}),
            "prompts": [a.tokens.n_prompt for a in self.answers],
            "versions": versions(),
        }

    @property
    def lengths(self) -> list[int]:
        return [len(a.answer.ids) for a in self.answers]

    @property
    def needs(self) -> ModelHandle:
        return self.plan.handle

    def components(self, work: Work) -> SitePlan:
        """Those of every layer."""
        n_layers = self.plan.handle.identity.n_layers
        base = work.models.get(self.needs).base
        return plan_sites(base, n_layers, COMPONENTS, range(n_layers))


@dataclass(frozen=True, eq=False)
class ComponentMeans(OfComponents):
    """Means of every component, which it is replaced by."""

    name: ClassVar[str] = "means"
    title: ClassVar[str] = "Taking means of components"

    def shards(self) -> list[list[int]]:
        """One: means over all of them."""
        return [list(range(len(self.answers)))]

    def compute(self, rows: list[int], work: Work) -> pd.DataFrame:
        loaded = work.models.get(self.needs)
        return component_means(loaded, self.components(work), self.answers).table


@dataclass(frozen=True, eq=False)
class Estimated(OfComponents):
    """What replacing each component by its mean would change, by gradients."""

    means: Finished[pd.DataFrame]
    """Of `ComponentMeans`."""
    target: ProbeTarget | None
    """The probe's decision as a second target, where it is linear."""
    name: ClassVar[str] = "attribution"
    title: ClassVar[str] = "Estimating attribution"
    exact: ClassVar[bool] = False

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        t = self.target
        probe = t and content_key({"weight": t.weight.tolist(), "cell": asdict(t.cell)})
        exact = [a.tokens.exact for a in self.answers]
        return {**super().inputs, "means": self.means.store.key, "exact": exact, "probe": probe}

    def compute(self, rows: list[int], work: Work) -> pd.DataFrame:
        loaded, [(_, means)] = work.models.get(self.needs), self.means.parts()
        some, plan = [self.answers[i] for i in rows], self.components(work)
        found = changes(loaded, plan, Means.of(means), some, self.target, exact=self.exact)
        return found.assign(answer=[rows[i] for i in found.answer])


@dataclass(frozen=True, eq=False)
class Replaced(Estimated):
    """What it does change."""

    name: ClassVar[str] = "ablation"
    title: ClassVar[str] = "Replacing components"
    exact: ClassVar[bool] = True

    def shards(self) -> list[list[int]]:
        """Small ones: each answer goes through the model once for every component."""
        rows = list(range(len(self.answers)))
        return [rows[i : i + FEW] for i in range(0, len(rows), FEW)]


def attributed(
    plan: Plan, runner: Runner, answers: Sequence[LabelledAnswer], fitted: Any, chosen: CellFit
) -> Attribution:
    """What replacing components by their means changes in the answer's log-probability and in the
    selected probe's decision: estimated on the first test answers, and measured on a few of them,
    or on all where that was asked for."""
    linear = linear_map(fitted)
    target = None if linear is None else ProbeTarget(chosen.cell, linear.weight, linear.bias)
    some = [a for a in answers if a.split == "test"][:LIMIT]
    means = runner.run(ComponentMeans(plan, some))
    places = list(range(len(some))) if plan.beside.ablation else sample(some)
    few = [some[i] for i in places]
    estimated, measured = (
        pd.concat([table for _, table in runner.run(stage).parts()], ignore_index=True)
        for stage in (Estimated(plan, some, means, target), Replaced(plan, few, means, target))
    )
    measured = measured.assign(answer=[places[i] for i in measured.answer])
    return attribution_of(estimated, measured, len(some), plan.seed)


def sample(answers: Sequence[LabelledAnswer]) -> list[int]:
    """Which few answers components are replaced for: spread evenly over those with an exact answer,
    or over all where none has one."""
    rows = [i for i, a in enumerate(answers) if a.tokens.exact is not None]
    rows = rows or list(range(len(answers)))
    step = max(len(rows) / FEW, 1.0)
    return [rows[int(i * step)] for i in range(min(FEW, len(rows)))]
