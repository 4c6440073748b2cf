"""The headline without refusals, without answers that were cut off, and within one answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.bootstrap import Resamples
from probebench.metrics.paired import paired
from probebench.metrics.strata import stratified_auroc
from probebench.probes.labels import split_index
from probebench.scoring.comparison import ends
from probebench.stages.data import RunData
from probebench.studies.readable import best_baseline
from probebench.studies.registry import Concern, Scored, concern, study
from probebench.text import clipped, interval, number
from probebench.types import Detector

MOST = 0.5
"""Part of a class from which on one answer is said to make it up."""
FEWEST = 20
"""Answers of a class below which that says nothing."""


@study(
    "subsets",
    asked=lambda plan: not plan.statements,
    title="Without refusals and cut-off answers",
    unasked="Without refusals and cut-off answers: statements have none.",
)
def subsets(run: Scored) -> list[dict[str, Any]]:
    """Probe and best baseline on the test examples that are no refusals, and that were not cut
    off; nothing is chosen or fitted again."""
    data, probe = run.data, run.result.detectors[0]
    answers = data.answers
    left_out = {
        "refusals": np.array([a.refused for a in answers]),
        "answers that were cut off": np.array([a.cut_off for a in answers]),
    }
    test = split_index(data.labels.splits)["test"]
    scored = np.isfinite(probe.decisions)
    chosen = best_baseline(run.result.detectors, data.labels, probe.when, scored)
    rival = chosen.detector if chosen else None
    return [
        {"without": name, "n_left_out": int(out[test].sum()), **facts}
        for name, out in left_out.items()
        if out[test].any() and (facts := _beside(data, probe, rival, test[~out[test]]))
    ]


def _beside(
    data: RunData, probe: Detector, rival: Detector | None, rows: NDArray[np.int64]
) -> dict[str, Any]:
    """Both AUROCs and their difference on some test examples; the probe alone where there is no
    baseline."""
    y, other = data.labels.y[rows], probe if rival is None else rival
    names = data.labels.group_names(rows)
    found = paired(y, y, probe.decisions[rows], other.decisions[rows], names, data.plan.seed)
    facts = {
        "n": found.n,
        "n_correct": found.correct[0],
        "auroc": found.values[0],
        "auroc_95": ends(found.intervals[0]),
    }
    if rival is None:
        return facts
    return facts | {
        "baseline": rival.name,
        "baseline_label": rival.label,
        "baseline_auroc": found.values[1],
        "baseline_auroc_95": ends(found.intervals[1]),
        "difference": found.difference,
        "difference_95": ends(found.interval),
    }


@study(
    "said",
    asked=lambda plan: not plan.statements,
    title="Which answer is given",
    unasked="Which answer is given: statements are not answered.",
)
def said(run: Scored) -> dict[str, Any]:
    """The commonest answer of each class, and the probe's AUROC among answers that say the
    same."""
    data, probe = run.data, run.result.detectors[0]
    words = [_said(data, i) for i in range(len(data.answers))]
    labels, test = data.labels, split_index(data.labels.splits)["test"]
    rows = test[np.isfinite(probe.decisions[test])]
    draws = Resamples.draw(labels.group_names(rows), data.plan.seed)
    _, strata = np.unique([words[i] for i in rows.tolist()], return_inverse=True)
    found = stratified_auroc(draws, labels.y[rows], probe.decisions[rows], strata)
    return {
        "commonest": {
            name: _commonest([words[i] for i in np.flatnonzero(labels.y == value).tolist()])
            for name, value in (("correct", 1), ("wrong", 0))
        },
        "within": {
            "auroc": found.auroc,
            "auroc_95": ends(found.interval),
            "n": found.n,
            "pairs": found.n_pairs,
            "answers": found.n_strata,
        },
    }


def _said(data: RunData, i: int) -> str:
    """What an answer says: its exact answer where one was found, else all of it; case, spaces and
    punctuation around words apart."""
    a = data.answers[i]
    text = a.answer.text[a.exact.start : a.exact.end] if a.exact else data.plan.reply(a.answer)[1]
    return " ".join(re.findall(r"\w+", text.casefold())) or text.strip()


def _commonest(words: Sequence[str]) -> dict[str, Any]:
    answer, n = Counter(words).most_common(1)[0] if words else ("", 0)
    share = n / len(words) if words else float("nan")
    return {"answer": clipped(answer, 80), "n": n, "of": len(words), "share": share}


@concern
def _one_answer(run: Concern) -> Iterator[str]:
    """One answer makes up most of a class."""
    if (found := run.record.said) is None:
        return
    both = {"correct": found.commonest.correct, "wrong": found.commonest.wrong}
    if len({(c.answer, c.share) for c in both.values()}) == 1 and both["correct"].share == 1:
        yield (
            f"Every answer is '{both['correct'].answer}': which of them are right is a matter of "
            "the questions alone, so that the probe tells kinds of questions apart and not whether "
            "the model knows."
        )
        return
    top = [
        f"{name} {c.share:.0%} ('{c.answer}')"
        for name, c in both.items()
        if c.share is not None and c.share > MOST and c.of >= FEWEST
    ]
    if top:
        within = found.within
        value = (
            "no two answers that say the same differ in their label"
            if within.auroc is None
            else f"among answers that say the same the probe has {number(within.auroc)} "
            f"{interval(within.auroc_95, 2)} (n = {within.n:,}, {within.pairs:,} pairs)"
        )
        yield (
            f"One answer makes up most of a class: {', '.join(top)}. A probe may read which answer "
            f"is given; {value}."
        )
