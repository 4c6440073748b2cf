"""Sentences of docs/results.md, each from the numbers of finished runs; an empty list where there
is nothing to say. Used by `scripts/write_results.py`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median

import numpy as np
import pandas as pd
from results_pictures import depth, detector, short
from results_tables import above_shuffled, difference, named

from probebench.leaderboard.board.ranks import step_down
from probebench.record.claims import chance, headline, of_its_time, outcome
from probebench.record.run import Run
from probebench.record.tables import same_token_letters
from probebench.text import as_float, interval, number

READ = 0.9
"""AUROC from which a token of the map of `cities` is said to read well."""
EASY = 0.9
"""AUROC of text alone from which a task says nothing about a model."""
LEAK = 0.05
"""How far from 0.5 the mean of shuffled labels must lie, its interval beside it, to be spoken
of."""
LEVEL = 0.02
"""How far below the selected cell's validation AUROC a layer counts as as good."""
TWINS = 0.2
"""Share of near twins from which they are spoken of."""


def said(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; `none`."""
    *first, last = names or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def grouped(runs: Sequence[Run]) -> str:
    """Tasks by models: `cities and facts (SmolLM2-135M); inventors (gemma-3-270m and others)`."""
    tasks: dict[str, list[str]] = {}
    for run in runs:
        tasks.setdefault(short(run), []).append(run.record.task.name)
    models: dict[tuple[str, ...], list[str]] = {}
    for model, names in tasks.items():
        models.setdefault(tuple(names), []).append(model)
    return "; ".join(f"{said(names)} ({said(some)})" for names, some in models.items())


def solved_by_text(runs: Sequence[Run]) -> list[Run]:
    """Those whose text alone tells right from wrong."""
    return [r for r in runs if (d := detector(r, "text")) and d.auroc >= EASY]


def losses(runs: Sequence[Run], negated: pd.DataFrame, limits: Sequence[str]) -> list[str]:
    """What did not work, first; `negated` are transfers to negated statements and back, `limits`
    say what else rows do not show."""
    by = defaultdict[str, list[Run]](list)
    for run in runs:
        by[headline(run.record).outcome].append(run)
    flat = [r for r in runs if as_float(chance(r.record).map_p) >= 0.05]
    easy = solved_by_text(runs)
    lines = []
    if turned := _turned(negated):
        lines.append(
            f"What these probes read is not truth alone: {turned}. Each is scored where it was "
            "never trained; a statement and its negation differ in a word."
        )
    lines += limits
    if by["worse"]:
        lines.append(f"The best simpler signal is better than the probe on {grouped(by['worse'])}.")
    if by["undecided"]:
        lines.append(
            f"No difference between the probe and the best simpler signal was found on "
            f"{len(by['undecided'])} of {len(runs)} rows: {grouped(by['undecided'])}."
        )
    if by["chance"]:
        lines.append(
            "The best simpler signal ranks the wrong way round, and the probe is not above 0.5 "
            f"either, on {grouped(by['chance'])}."
        )
    if flat:
        lines.append(
            f"No cell of the map is above shuffled labels (max-statistic, 5 %) on {grouped(flat)}."
        )
    if easy:
        lines.append(
            f"The text alone (TF-IDF) reaches {number(EASY, 1)} on {grouped(easy)}: there what a "
            "probe reads of the model cannot be told from what stands in the text."
        )
    more = (_hindsight, _twins, _ensembles, _leaks, _untrained)
    return [*lines, *(line for of in more for line in of(runs)), *_won(by["better"], runs)]


def _hindsight(runs: Sequence[Run]) -> list[str]:
    """Against the simpler signal that comes nearest on the test split itself."""
    held = [r for r in runs if r.record.added and not r.record.added.against_all.better]
    if not held:
        return []
    return [
        "Against each simpler signal, paired and one by one, with the one that comes nearest on "
        "the test examples themselves, which nobody could have chosen, the probe is not found "
        f"better on {len(held)} of {len(runs)} rows: {grouped(held)}."
    ]


def _untrained(runs: Sequence[Run]) -> list[str]:
    found = [(r, d) for r in runs if (d := detector(r, "probe_random_model"))]
    if not found:
        return []
    each = said([f"{number(d.auroc, 2)} {interval(d.auroc_95, 2)} on {named(r)}" for r, d in found])
    return [f"The same probe on the same architecture with random weights reaches {each}."]


def held_together(runs: Sequence[Run]) -> tuple[int, int]:
    """On how many rows the probe is better when all are tested together (Holm, 5 %), and how many
    are."""
    tested = [(r, f.difference_p) for r in runs if (f := of_its_time(r.record))]
    tested = [(r, p) for r, p in tested if p is not None]
    held = step_down(np.array([p for _, p in tested]), np.arange(len(tested), 0, -1))
    better = [headline(r.record).outcome == "better" for r, _ in tested]
    return int((held & np.array(better)).sum()), len(tested)


def _won(won: Sequence[Run], runs: Sequence[Run]) -> list[str]:
    """On how many rows the probe is better, also where they are looked at together."""
    held, tested = held_together(runs)
    adds = [r for r in won if (a := r.record.added) and as_float(a.difference_95[0]) > 0]
    return [
        f"The probe is better than the best simpler signal, paired on the same test examples, on "
        f"{len(won)} of {len(runs)} rows{': ' + grouped(won) if won else ''}. Models share the "
        f"test examples of a task; {held} of these rows are left when all {tested} are "
        f"tested together (Holm, 5 %), and on {len(adds)} the probe also adds to all simpler "
        "signals taken together."
    ]


def _ensembles(runs: Sequence[Run]) -> list[str]:
    """Where several cells together hold more than the one that was selected."""
    more = []
    for run in runs:
        several = [d for d in run.record.detectors if d.kind == "ensemble"]
        if any(outcome(d.probe_minus_this_95) == "worse" for d in several):
            more.append(run)
    if not more:
        return []
    return [
        "One cell is not all that a model holds: the mean or the stack of probes of several cells "
        f"is better than the selected one on {len(more)} of {len(runs)} rows: {grouped(more)}."
    ]


def _leaks(runs: Sequence[Run]) -> list[str]:
    """Where a probe of shuffled labels is above 0.5 too."""
    means = [(r, r.record.controls.shuffled_labels) for r in runs]
    found = [(r, m) for r, m in means if m and abs(as_float(m.mean_auroc) - 0.5) > LEAK]
    found = [(r, m) for r, m in found if not m.mean_auroc_95[0] <= 0.5 <= m.mean_auroc_95[1]]
    if not found:
        return []
    each = said(
        [
            f"{number(m.mean_auroc, 2)} {interval(m.mean_auroc_95, 2)} on {named(r)}"
            for r, m in found
        ]
    )
    return [
        f"Labels that were shuffled between groups of one size still give probes of {each}, on "
        "average over 20: shuffles keep the size of a group, and where a direction of the states "
        "is strong each lies far from 0.5. *Any cell* allows for that, a comparison with 0.5 does "
        "not."
    ]


def depths(runs: Sequence[Run]) -> list[str]:
    """Where the selected cells lie, where there is something to select."""
    solved = solved_by_text(runs)
    runs = [r for r in runs if above_shuffled(r) and r not in solved]
    lines = []
    for name in dict.fromkeys(map(short, runs)):
        own = [r for r in runs if short(r) == name]
        at = sorted(depth(r, r.record.selection.layer) for r in own)
        places = Counter(r.record.selection.position for r in own).most_common()
        where = f"from {at[0]:.0%} to {at[-1]:.0%}, median" if len(at) > 1 else "at"
        read = said([f"`{p}` ({n})" for p, n in places])
        reach = median(map(_reach, own))
        lines.append(
            f"- {name}: selected cells by depth {where} {median(at):.0%}; tokens {read}. Layers "
            f"within {number(LEVEL, 2)} of the selected one's validation AUROC reach over "
            f"{reach:.0%} of the depth (median over tasks)."
        )
    if not lines:
        return [""]
    return [
        "Of tasks with a map above shuffled labels that text alone does not solve:",
        "",
        *lines,
        "",
    ]


def _reach(run: Run) -> float:
    """Over what share of the depth the cells reach whose validation AUROC is about the selected
    cell's."""
    best = as_float(run.record.selection.validation_auroc)
    good = run.matrix(split="validation").max(axis="columns") >= best - LEVEL
    at = [depth(run, str(layer)) for layer in good.index[good]]
    return max(at) - min(at) if at else 0.0


def _twins(runs: Sequence[Run]) -> list[str]:
    """What is left where much of the test split nearly stands in train or validation too."""
    many = [(r, f) for r in runs if (f := r.record.near_twins) and as_float(f.share) >= TWINS]
    if not many:
        return []
    told, gone = [], []
    for run, found in many:
        rest = found.without
        if rest.probe_auroc is None:
            gone.append(run)
            continue
        told.append(
            f"{number(rest.probe_auroc, 2)} {interval(rest.probe_auroc_95, 2)}, "
            f"{difference(rest.difference, rest.difference_95)} to the signal, on {named(run)} "
            f"({found.share:.0%})"
        )
    nothing = [f"nothing is left on {grouped(gone)}"] if gone else []
    return [
        f"At least {TWINS:.0%} of the test texts have a near twin in train or validation on "
        f"{len(many)} rows. Without them: {'; '.join([*told, *nothing])}."
    ]


def _before(letters: dict[str, str], token: str) -> set[str]:
    """Letters of the columns before this one."""
    names = list(letters)
    return {letters[name] for name in names[: names.index(token)]}


def first_layers(matrix: pd.DataFrame) -> dict[str, str | None]:
    """Column -> the first layer from which it reads well; None where none does."""
    return {
        name: next((layer for layer, v in matrix[name].items() if v >= READ), None)
        for name in matrix
    }


def onsets(run: Run) -> list[str]:
    """The first layer at which each token reads well."""
    matrix = run.matrix("auroc")
    one = same_token_letters(run.record, list(matrix.columns))
    again = [token for token, letter in one.items() if letter in _before(one, token)]
    matrix = matrix.drop(columns=again)
    first = first_layers(matrix)
    said_of = [f"`{t}` in layer {layer}" for t, layer in first.items() if layer is not None]
    never = [f"`{t}`" for t, layer in first.items() if layer is None]
    same = [f"`{t}`" for t in again]
    if not said_of:
        return []
    return [
        f"{named(run)}: a test AUROC of {number(READ, 1)} is first reached at {said(said_of)}"
        f"{f'; never at {said(never)}' if never else ''}."
        f"{f' The same token as one before it: {said(same)}.' if same else ''}",
        "",
    ]


def _turned(negated: pd.DataFrame) -> str:
    """Which probes order a statement's negation, or what it negates, the wrong way round; empty
    where none does."""
    if negated.empty or (below := negated[negated.high < 0.5]).empty:
        return ""
    return (
        f"{len(below)} of {len(negated)} probes order the negations of their statements, or the "
        f"statements that theirs negate, the wrong way round with their whole interval "
        f"(AUROC {number(below.auroc.min(), 2)} to {number(below.auroc.max(), 2)}), "
        f"{(negated.low > 0.5).sum()} the right way"
    )


def splits(runs: Sequence[Run]) -> list[str]:
    """What other splits of the same examples give."""
    lines = [
        f"- {named(run)}: {number(run.record.selection.test_auroc)} here; {found.spread.n} other "
        f"splits mean {number(found.spread.mean)} {interval(found.spread.mean_95, 2)}, sd "
        f"{number(found.spread.sd)}, "
        f"{number(found.spread.min)} to {number(found.spread.max)}; this cell in {found.own_cell}."
        for run in runs
        if (found := run.record.resplits)
    ]
    return (
        ["Other splits of the same examples (`--repeat-splits`):", "", *lines, ""] if lines else []
    )
