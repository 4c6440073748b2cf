"""Answer selection: one of several drawn answers, chosen in different ways, beside the greedy one
(Orgad et al. 2025, arXiv:2410.02707, section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.sampled.likelihood import replied
from probebench.detectors.signals import words
from probebench.metrics.bootstrap import Resamples
from probebench.stages.data import RunData
from probebench.stages.sampling.at_cell import SampleVectors
from probebench.stages.sampling.samples import Samples
from probebench.studies.sampled.clusters import clusters, largest, said
from probebench.studies.sampled.shares import difference_facts, share_facts
from probebench.tasks.exact.rules import GOLD, declines
from probebench.types import Floats, LabelledAnswer, Span


def selection(
    data: RunData,
    samples: Samples,
    vectors: SampleVectors,
    probe: Any,
    types: Mapping[str, NDArray[np.bool_]],
) -> dict[str, Any]:
    """The record's `sampled.selection`: accuracy on test by each way of choosing, overall and by
    type, with paired differences to greedy and of the probe's choice to each."""
    rows, decisions = vectors.rows, vectors.decisions(probe)
    outcomes = chosen(data, samples, rows, decisions)
    draws = Resamples.draw(data.labels.group_names(rows), data.plan.seed)
    by_type = []
    for name, mask in types.items():
        there = mask[rows]
        if there.any():
            own = {way: values[there] for way, values in outcomes.items()}
            by_type.append({"type": name, "ways": _facts(own, draws.among(there))})
    return {
        "n": len(rows),
        "ways": _facts(outcomes, draws),
        "by_type": by_type,
        "n_undecided": int(np.isnan(decisions).all(axis=1).sum()),
    }


def chosen(
    data: RunData, samples: Samples, rows: NDArray[np.int64], decisions: Floats
) -> dict[str, Floats]:
    """(example,) of each way: 1 where the chosen answer is correct, 0 where it is wrong.

    Of a random choice it is the share of correct answers, which is what it comes to. The majority
    knows no label: it is the first answer of the largest cluster. Where no answer has the probe's
    token, none an exact answer, or none a word, the first is taken. `any` is no way to choose, but
    the most that one could reach.

    Args:
        data: the run.
        samples: the drawn answers.
        rows: (row,) the examples.
        decisions: (row, sample) what the probe says, NaN where it says nothing.
    """
    correct = samples.correct[rows].astype(np.float64)
    some = [samples.answers[i] for i in rows.tolist()]
    each = np.arange(len(rows))
    plain = [[replied(data.plan, a) for a in answers] for answers in some]
    logprobs = np.array([[_logprob(a) for a in answers] for answers in plain])
    gold = data.plan.exact.name == GOLD
    picks = {
        "majority": np.array([_majority(a, gold=gold) for a in plain], dtype=np.int64),
        "logprob": logprobs.argmax(axis=1),
        "probe": np.where(np.isnan(decisions), -np.inf, decisions).argmax(axis=1),
    }
    return {
        "greedy": data.labels.y[rows].astype(np.float64),
        "random": correct.mean(axis=1),
        **{way: correct[each, at] for way, at in picks.items()},
        "any": correct.max(axis=1),
    }


def _facts(outcomes: Mapping[str, Floats], draws: Resamples) -> list[dict[str, Any]]:
    """Each way with its differences."""
    return [
        {
            "way": way,
            "n": len(values),
            **share_facts("accuracy", values, draws),
            "minus_greedy": None
            if way == "greedy"
            else difference_facts(values, outcomes["greedy"], draws),
            "probe_minus": None
            if way == "probe"
            else difference_facts(outcomes["probe"], values, draws),
        }
        for way, values in outcomes.items()
    ]


def _majority(answers: Sequence[LabelledAnswer], *, gold: bool) -> int:
    """The first answer of the largest cluster. A refusal is one by its words, since the judge marks
    wrong answers only, and an exact answer that was found by the label is not looked at."""
    own = [replace(a, exact=Span(0, len(a.answer.text))) if gold else a for a in answers]
    most = largest(clusters([said(a, refused=declines(a.answer.text)) for a in own]))
    return 0 if most is None else most.members[0]


def _logprob(a: LabelledAnswer) -> float:
    """Log-probability of the whole answer, without its stop token and the thoughts before it; -inf
    where nothing is left: no answer is not the likeliest one."""
    own = a.answer.logprobs[words(a)].astype(np.float64)
    return float(own.sum()) if len(own) else -np.inf
