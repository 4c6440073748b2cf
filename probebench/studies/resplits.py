"""What depends on the split: other splits of the same examples, and folds that test each example
once. Only probes are fitted again, to true labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import auroc_interval
from probebench.probes.choose import CLASS_COVERAGE, COVERAGE
from probebench.probes.labels import Labels
from probebench.scoring.comparison import UNDEFINED, ends
from probebench.scoring.resplit import (
    TESTED,
    Resplit,
    Resplits,
    cross_fitted,
    refit,
    spread,
    spread_facts,
)
from probebench.stages.data import RunData
from probebench.stages.engine import Work
from probebench.stages.fits import Fitted
from probebench.stages.plan import Plan
from probebench.stages.stage import Runner, in_order
from probebench.studies.registry import Concern, Scored, concern, study
from probebench.tasks.split import FOLDS, split_again, split_by_fold, split_folds
from probebench.text import as_float, defined, number
from probebench.types import EMB, CellFit, SplitName

Rule = Literal["splits", "folds"]
FAR = 2
"""Standard deviations over other splits from which on the run's own is far from them."""


@dataclass(frozen=True, eq=False)
class Refits(Fitted):
    """The cell that each of several splits selects among `cells`, with its probe; a shard is one
    split."""

    rule: Rule
    splits: Sequence[Sequence[SplitName]]
    """(split, example). More of one rule go on from those that are there."""
    name: ClassVar[str] = "resplits"
    title: ClassVar[str] = "Fitting other splits"
    unit: ClassVar[str] = "splits"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        rule = [self.rule, FOLDS, COVERAGE, CLASS_COVERAGE]
        return {**super().inputs, "rule": rule, "site": self.cells[0].site}

    @property
    def lengths(self) -> list[int]:
        return [1] * len(self.splits)

    def shards(self) -> list[list[int]]:
        """One split each."""
        return [[i] for i in range(len(self.splits))]

    def compute(self, rows: list[int], work: Work) -> list[CellFit]:
        return [refit(self.job, self.cells, self.splits[i]) for i in rows]


def resplits(data: RunData, runner: Runner) -> Resplits | None:
    """Other splits of a run's examples; None where none were asked for."""
    plan, site = data.plan, data.chosen.cell.site
    n = plan.beside.repeat_splits
    if not n:
        return None
    examples = [a.example for a in data.answers]
    cells = [c for c in plan.reading.cells if c.site == site and c.layer != EMB]
    given = any(e.split is not None for e in examples)

    def found(rule: Rule, ways: Sequence[Sequence[SplitName]]) -> tuple[Resplit, ...]:
        done = runner.run(Refits(plan, data.job, data.states.key, cells, rule, ways))
        return tuple(Resplit(*one) for one in zip(ways, in_order(done), strict=True))

    repeats = found("splits", [split_again(examples, seed) for seed in _seeds(plan)])
    if given:
        return Resplits(site, given, repeats, ())
    folds = split_folds([e.group for e in examples], plan.seed)
    return Resplits(
        site, given, repeats, found("folds", [split_by_fold(folds, k) for k in range(FOLDS)])
    )


def _seeds(plan: Plan) -> range:
    """Of the further splits: those after the run's own."""
    return range(plan.seed + 1, plan.seed + 1 + plan.beside.repeat_splits)


@study(
    "resplits",
    asked=lambda plan: plan.beside.repeat_splits > 0,
    title="What depends on the split",
    unasked="Other splits of the same examples: ask for them with --repeat-splits 20.",
)
def _resplits(run: Scored) -> dict[str, Any] | None:
    found, data = run.resplits, run.data
    if found is None:
        return None
    labels, seed, own = data.labels, data.plan.seed, data.chosen.cell
    results = [_Tested.of(r, labels, seed) for r in found.repeats]
    chosen = Counter(r.fit.cell for r in found.repeats if not r.fit.masked)
    over = spread(np.array([r.auroc for r in results]), np.nan if found.given else TESTED)
    return {
        "rule": "train and validation" if found.given else "all",
        "site": found.site,
        "asked": len(results),
        "spread": {
            **spread_facts(over),
            "standard_error": _root_mean_square([r.standard_error for r in results]),
        },
        "selected": [
            {"layer": cell.row, "position": cell.position, "times": times}
            for cell, times in chosen.most_common()
        ],
        "own_cell": chosen[own],
        "splits": [{"seed": s, **r.facts} for s, r in zip(_seeds(data.plan), results, strict=True)],
        "cross_fitted": _crossed(found.folds, labels, seed) if found.folds else None,
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Tested:
    """What the selected cell of a split gives on its test."""

    auroc: float
    standard_error: float
    """By the cluster bootstrap of this split's test examples alone."""
    facts: dict[str, Any]

    @classmethod
    def of(cls, one: Resplit, labels: Labels, seed: int) -> _Tested:
        nan, fit = float("nan"), one.fit
        if fit.masked:
            return cls(nan, nan, {"reason": fit.masked})
        rows = np.flatnonzero((np.array(one.splits) == "test") & np.isfinite(fit.decisions))
        y, decisions = labels.y[rows], fit.decisions[rows]
        draws = Resamples.draw(labels.group_names(rows), seed)
        both = len(np.unique(y)) == 2
        value = auroc(y, decisions)
        facts = {
            "layer": fit.cell.row,
            "position": fit.cell.position,
            "C": fit.C,
            "validation_auroc": fit.validation_auroc,
            "auroc": value,
            "auroc_95": ends(auroc_interval(draws, y, decisions) if both else UNDEFINED),
            "n": len(rows),
            "n_correct": int(y.sum()),
            "reason": None if both else "one class only in test",
        }
        error = float(np.nanstd(draws.auroc(y, decisions), ddof=1)) if both else nan
        return cls(value, error, facts)


def _crossed(folds: Sequence[Resplit], labels: Labels, seed: int) -> dict[str, Any]:
    """The record's `cross_fitted`."""
    fold, decisions = np.zeros(len(labels.y), dtype=np.int64), np.full(len(labels.y), np.nan)
    for k, one in enumerate(folds):
        test = np.array(one.splits) == "test"
        fold[test], decisions[test] = k, one.fit.decisions[test]
    names = labels.group_names(labels.every)
    found = cross_fitted(labels.y, names, fold, decisions, seed)
    return {
        "auroc": found.auroc,
        "auroc_95": ends(found.interval),
        "n": found.n,
        "n_correct": found.n_correct,
        "n_groups": found.n_groups,
        "folds": [_Tested.of(one, labels, seed).facts for one in folds],
    }


def _root_mean_square(values: Sequence[float]) -> float:
    there = np.array(values)[np.isfinite(values)]
    return float(np.sqrt((there**2).mean())) if len(there) else float("nan")


@concern
def _unlike_others(run: Concern) -> Iterator[str]:
    """The one split is far from what others give, or they select other cells."""
    found, own = run.record.resplits, run.record.selection
    if found is None or not defined(found.spread.sd) or not defined(own.test_auroc):
        return
    over, value, mean = found.spread, as_float(own.test_auroc), as_float(found.spread.mean)
    if abs(value - mean) > FAR * as_float(over.sd):
        yield (
            f"This split is {'better' if value > mean else 'worse'} than others: its test AUROC is "
            f"{number(value)}, that of {over.n} other splits {number(mean)} on average (standard "
            f"deviation {number(over.sd)})."
        )
    if found.own_cell < over.n / 2:
        first = found.selected[0]
        yield (
            f"Which cell is selected depends on the split: this run's in {found.own_cell} of "
            f"{over.n} others, layer {first.layer}, {first.position} in {first.times}."
        )
