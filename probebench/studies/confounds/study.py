"""What a probe could be reading instead of right and wrong: lengths, places, choices, refusals,
sources of the questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import auroc_interval, difference_interval
from probebench.probes.choose import fit_features
from probebench.probes.labels import Labels, split_index
from probebench.scoring.comparison import ends
from probebench.scoring.score import Result
from probebench.studies.confounds.features import Features, features
from probebench.studies.confounds.prompt import answer_in_prompt
from probebench.studies.confounds.regress import residual
from probebench.studies.confounds.strata import strata, within
from probebench.studies.registry import Scored, study
from probebench.types import Floats

if TYPE_CHECKING:
    from probebench.stages.data import RunData

GRID = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse L2 strengths of the linear model of the confounds."""


@study(
    "confounds",
    title="What else it could be reading",
    unasked="Confounds: the run looked for none.",
)
def confounds(run: Scored) -> dict[str, Any]:
    """What lengths, places and sources know, what is left of the probe without it, and whether the
    answer stands in the prompt."""
    data, result = run.data, run.result
    found, decisions = features(data.answers, data.labels), result.selected.decisions
    own = model_of(found, data.labels)
    return {
        "features": list(found.names),
        "left_out": dict(found.left_out),
        **linear(found, data.labels, decisions, data.plan.seed, own),
        "within": [
            within(made, data.labels, decisions, data.plan.seed)
            for made in strata(data.answers, data.labels, own.decisions)
        ],
        "text_embedding": _embedding(result),
        "answer_in_prompt": None if data.statements else _in_prompt(data),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A linear model of the columns of the confounds."""

    decisions: Floats
    """(example,) 0 throughout where there are no confounds."""
    C: float


def model_of(found: Features, labels: Labels) -> Model:
    """Logistic regression on the columns, C by validation."""
    if not found.names:
        return Model(np.zeros(len(labels.y)), float("nan"))
    rows = split_index(labels.splits)
    return Model(*fit_features(found.values, labels.y, rows, GRID, max_iter=2000))


def linear(
    found: Features, labels: Labels, decisions: Floats, seed: int, own: Model
) -> dict[str, Any]:
    """The features' own AUROC, and the probe's after they are regressed out, on the test examples
    that the probe scores.

    `residual` is fitted on train. There the probe has seen the labels: its decisions follow them,
    and through them the features, more than on new examples, so that too much may be taken away.
    `residual_validation` is fitted on validation and stands beside it.

    Args:
        found: the features.
        labels: labels, splits and groups.
        decisions: (example,) of the probe.
        seed: of the bootstrap.
        own: the features' own model.
    """
    if not found.names:
        return {"linear": None, "residual": None, "residual_validation": None}
    there = np.isfinite(decisions)
    rows = {name: at[there[at]] for name, at in split_index(labels.splits).items()}
    test, y = rows["test"], labels.y[rows["test"]]
    draws = Resamples.draw(labels.group_names(test), seed)
    facts = {"n": len(test), "n_correct": int(y.sum()), "probe_auroc": auroc(y, decisions[test])}

    def beside(scores: Floats) -> dict[str, Any]:
        value = auroc(y, scores[test])
        apart = difference_interval(draws, y, decisions[test], scores[test])
        return {
            **facts,
            "auroc": value,
            "auroc_95": ends(auroc_interval(draws, y, scores[test])),
            "probe_minus_this": facts["probe_auroc"] - value,
            "probe_minus_this_95": ends(apart),
        }

    left = {
        split: residual(found.values, decisions, rows[split]) for split in ("train", "validation")
    }
    return {
        "linear": {**beside(own.decisions), "C": own.C},
        "residual": {**beside(left["train"][0]), "fitted_on": "train", "r2": left["train"][1]},
        "residual_validation": {
            **beside(left["validation"][0]),
            "fitted_on": "validation",
            "r2": left["validation"][1],
        },
    }


def _embedding(result: Result) -> dict[str, Any]:
    """The row of the text-embedding baseline, or how to get one."""
    for s in result.comparison.scores:
        if s.name == "text_embedding":
            return {
                "auroc": s.auroc,
                "auroc_95": ends(s.interval),
                "n": s.n,
                "probe_minus_this": s.difference,
                "probe_minus_this_95": ends(s.difference_interval),
            }
    reason = result.comparison.absent.get(
        "text_embedding", "no encoder was given; give one with --encoder DIR"
    )
    return {"auroc": float("nan"), "reason": reason}


def _in_prompt(data: RunData) -> dict[str, Any]:
    """Whether the prompts of a run hold the answer."""
    task, answers = data.plan.task, data.answers
    declared = None if task is None else task.kind == "choice" or task.fields.context is not None
    ids = [list(a.answer.prompt_ids) for a in answers]
    prompts = data.plan.handle.tokenizer.batch_decode(ids)
    return answer_in_prompt(answers, prompts, declared=declared)
