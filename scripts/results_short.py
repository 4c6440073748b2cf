"""The short answer of docs/results.md, and what else its rows do not show. Used by
`scripts/write_results.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from results_pictures import short
from results_questions import FEW, FORM, form, one_answer, rarer, shows
from results_tables import difference, named, task_words
from results_words import held_together, said, solved_by_text

from probebench.record.claims import headline
from probebench.record.run import Run
from probebench.text import as_float, interval, number

FAR = 0.05
"""By how much an AUROC without some answers differs before it is said among the first things."""


def answer(
    runs: Sequence[Run],
    asked: Sequence[Run],
    contests: Mapping[str, Mapping[str, Any] | None],
    transfers: Sequence[Mapping[str, Any]],
    negated: pd.DataFrame,
) -> list[str]:
    """What holds, in a sentence each.

    Args:
        runs: rows, those of negated statements apart.
        asked: runs on questions.
        contests: by the name of every run on questions; None where tokens cannot be compared.
        transfers: of each model.
        negated: transfers to negated statements and back.
    """
    enough = [run for run in runs if rarer(run) >= FEW]
    by = Counter(headline(run.record).outcome for run in enough)
    easy = {run.record.task.name for run in solved_by_text(runs)}
    lines = [
        f"Right or wrong can be read: on {by['better']} of {len(enough)} rows that hold {FEW} "
        f"right and {FEW} wrong test answers the probe is better than the best simpler signal "
        f"({held_together(enough)[0]} of them when all are tested together), on {by['worse']} it "
        f"is worse, on the others no difference is found.{_alike(enough)}"
    ]
    if not negated.empty:
        lines.append(
            f"It is not truth alone that is read: of {len(negated)} probes of statements carried "
            f"over to their negations, or back, {(negated.high < 0.5).sum()} order them the wrong "
            f"way round and {(negated.low > 0.5).sum()} the right way."
        )
    if transfers:
        counts = "pairs", "above", "better", "worse", "free"
        of = {k: sum(t[k] for t in transfers) for k in counts}
        lines.append(
            f"Probes carry over in part: {of['above']} of {of['pairs']} transfers between tasks of "
            f"statements lie above chance, but a signal fitted to no label is better than "
            f"{of['worse']} of {of['free']} and worse than {of['better']}."
        )
    formed = [r for r in asked if (c := r.record.confounds) and c.residual and rarer(r) >= FEW]
    gone = [r for r in formed if as_float(r.record.confounds.residual.auroc_95[0]) <= 0.5]
    if formed:
        lines.append(
            f"On questions much of it is the form of the answers: with that regressed out nothing "
            f"is left on {len(gone)} of {len(formed)} runs with as many."
        )
    held = [c for run in asked if shows(run, c := contests.get(named(run)))]
    if held:
        won = sum(c["outcome"] == "better" for c in held)
        lines.append(
            f"The exact answer's token is better than the best other one on {won} of {len(held)} "
            "runs that can say."
        )
    if easy:
        lines.append(
            f"Text alone solves {said(sorted(easy))}, where a probe says nothing of a model."
        )
    return lines


def few(runs: Sequence[Run]) -> list[str]:
    """Runs whose splits hold too few of one class to say much."""
    test, validation = _rare(runs, "test"), _rare(runs, "validation")
    lines = []
    if test:
        lines.append(
            f"The rarer of right and wrong has fewer than {FEW} test answers, so that little can "
            f"be told: {test}."
        )
    if validation:
        lines.append(
            f"The rarer of right and wrong has fewer than {FEW} in validation, which chooses cell "
            f"and simpler signal: {validation}."
        )
    return lines


def _rare(runs: Sequence[Run], split: str) -> str:
    """How many answers the rarer class has, where they are few: a task once for its models."""
    by: dict[str, list[str]] = {}
    for run in runs:
        if (n := rarer(run, split)) < FEW:
            of = getattr(run.record.counts, split).n
            by.setdefault(f"{n:,} of {of:,} on {task_words(run)}", []).append(short(run))
    return said([f"{what} ({said(models)})" for what, models in by.items()]) if by else ""


def formal(runs: Sequence[Run]) -> list[str]:
    """Probes that lie above chance, and of which the answer's form leaves nothing."""
    found = []
    for run in runs:
        own, c = run.record.selection.test_auroc_95, run.record.confounds
        left = c.residual.auroc_95[0] if c and c.residual else None
        if left is not None and left <= 0.5 < as_float(own[0]) and (told := form(run)):
            found.append(f"{named(run)}.{told}")
    return [
        f"With the answers' form ({FORM}) regressed out nothing that can be told from chance is "
        f"left of the probe on {line}"
        for line in found
    ]


def outdone(runs: Sequence[Run]) -> list[str]:
    """Rows on which a linear model of the answers' form does more than the best simpler signal."""
    told = []
    for run in runs:
        c, signal = run.record.confounds, headline(run.record).signal
        if not (c and c.linear and signal) or run.record.task.kind == "statements":
            continue
        form = c.linear
        if rarer(run) >= FEW and as_float(form.auroc) > as_float(signal["auroc"]):
            told.append(
                f"{named(run)} ({number(form.auroc, 2)} to {number(signal['auroc'], 2)}; probe "
                f"minus form {difference(form.probe_minus_this, form.probe_minus_this_95)})"
            )
    if not told:
        return []
    return [
        "A linear model of the answers' form, which is fitted as the probe is and is none of the "
        f"simpler signals, has a higher AUROC than the best of them (not tested) on {said(told)}."
    ]


def _alike(runs: Sequence[Run]) -> str:
    """On how many of the rows that the probe wins the model says one thing to all questions."""
    n = sum(one_answer(r) is not None and headline(r.record).outcome == "better" for r in runs)
    return f" On {n} of them the model answers all questions alike." if n else ""


def single(runs: Sequence[Run]) -> list[str]:
    """Rows whose model says one thing to all questions."""
    told = [f"{named(r)} (*{only}*)" for r in runs if (only := one_answer(r)) is not None]
    if not told:
        return []
    return [
        f"To all questions one answer is given on {said(told)}: there right or wrong is a kind of "
        "question, which a probe tells apart without knowing whether the model knows."
    ]


def left(runs: Sequence[Run]) -> list[str]:
    """Rows on which refusals, or answers that were cut off, are a part of what the probe ranks."""
    told = []
    for run in runs:
        probe = run.record.detectors[0].auroc
        told += [
            f"{named(run)} ({number(probe, 2)}; without {part.without} "
            f"{number(part.auroc, 2)} {interval(part.auroc_95, 2)}, {part.baseline_label} "
            f"{number(part.baseline_auroc, 2)})"
            for part in run.record.subsets or ()
            if min(part.n_correct, part.n - part.n_correct) >= FEW
            and abs(as_float(part.auroc) - probe) > FAR
        ]
    return [f"Refusals and answers that were cut off carry a part of {said(told)}."] if told else []
