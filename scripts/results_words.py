"""Sentences of docs/results.md, each from the numbers of finished runs; an empty list where there
is nothing to say. Used by `scripts/write_results.py`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd
from results_pictures import depth, detector, short
from results_tables import above_shuffled, named

from probebench.across.transfer_map import predicted_by_angle
from probebench.record.claims import chance, headline, outcome
from probebench.record.run import Run
from probebench.record.tables import default_position, same_token_letters
from probebench.text import as_float, interval, number

READ = 0.9
"""AUROC from which a token of the map of `cities` is said to read well."""
EASY = 0.9
"""AUROC of text alone from which a task says nothing about a model."""


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


def losses(runs: Sequence[Run], negated: pd.DataFrame, limits: Sequence[str]) -> list[str]:
    """What did not work, first; `negated` are transfers to negated statements and back, `limits`
    say what else rows do not show."""
    by = defaultdict[str, list[Run]](list)
    for run in runs:
        by[headline(run.record).outcome].append(run)
    flat = [r for r in runs if as_float(chance(r.record).map_p) >= 0.05]
    easy = [r for r in runs if (d := detector(r, "text")) and d.auroc >= EASY]
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
            f"Text alone reaches {number(EASY, 1)} on {grouped(easy)}: there what a probe "
            "reads of the model cannot be told from what stands in the text."
        )
    return [*lines, *_hindsight(runs), *_untrained(runs), *_won(by["better"], runs)]


def _hindsight(runs: Sequence[Run]) -> list[str]:
    """Against the simpler signal that does best on the test split itself."""
    held = []
    for run in runs:
        rivals = [d for d in run.record.detectors if d.kind == "baseline"]
        hardest = max(rivals, key=lambda d: d.auroc)
        if outcome(hardest.probe_minus_this_95) != "better":
            held.append(run)
    if not held:
        return []
    return [
        "Against the simpler signal that does best on the test examples themselves, which nobody "
        f"could have chosen, the probe is not found better on {len(held)} of {len(runs)} rows: "
        f"{grouped(held)}."
    ]


def _untrained(runs: Sequence[Run]) -> list[str]:
    found = [(r, d) for r in runs if (d := detector(r, "probe_random_model"))]
    if not found:
        return []
    each = said([f"{number(d.auroc, 2)} {interval(d.auroc_95, 2)} on {named(r)}" for r, d in found])
    return [f"The same probe on the same architecture with random weights reaches {each}."]


def _won(won: Sequence[Run], runs: Sequence[Run]) -> list[str]:
    return [
        f"The probe is better than the best simpler signal, paired on the same test examples, on "
        f"{len(won)} of {len(runs)} rows{': ' + grouped(won) if won else ''}."
    ]


def depths(runs: Sequence[Run]) -> list[str]:
    """Where the selected cells lie."""
    lines = []
    for name in dict.fromkeys(map(short, runs)):
        own = [r for r in runs if short(r) == name]
        at = sorted(depth(r, r.record.selection.layer) for r in own)
        places = Counter(r.record.selection.position for r in own).most_common()
        where = f"from {at[0]:.0%} to {at[-1]:.0%}, median" if len(at) > 1 else "at"
        read = said([f"`{p}` ({n})" for p, n in places])
        lines.append(f"- {name}: selected cells by depth {where} {median(at):.0%}; tokens {read}.")
    return [*lines, ""]


def _before(letters: dict[str, str], token: str) -> set[str]:
    """Letters of the columns before this one."""
    names = list(letters)
    return {letters[name] for name in names[: names.index(token)]}


def onsets(run: Run) -> list[str]:
    """The first layer at which each token reads well."""
    matrix = run.matrix("auroc")
    one = same_token_letters(run.record, list(matrix.columns))
    again = [token for token, letter in one.items() if letter in _before(one, token)]
    matrix = matrix.drop(columns=again)
    first = {
        token: next((layer for layer, v in matrix[token].items() if v >= READ), None)
        for token in matrix.columns
    }
    said_of = [f"`{t}` in layer {layer}" for t, layer in first.items() if layer is not None]
    never = [f"`{t}`" for t, layer in first.items() if layer is None]
    same = [f"`{t}`" for t in again]
    if not said_of:
        return []
    return [
        f"{named(run)}: a test AUROC of {number(READ, 1)} is first reached at {said(said_of)}"
        f"{f'; never at {said(never)}' if never else ''}."
        f"{f' Of one token with another: {said(same)}.' if same else ''}",
        "",
    ]


def claims(
    runs: Sequence[Run], transfers: Sequence[Mapping[str, Any]], negated: pd.DataFrame, exact: str
) -> list[str]:
    """Published claims about larger models, held against these runs."""
    above = sum(map(above_shuffled, runs))
    better = sum(headline(r.record).outcome == "better" for r in runs)
    lines = [
        "*True and false statements are linearly separable inside a model* (Marks and Tegmark "
        f"2024, Bürger et al. 2024): {above} of {len(runs)} maps lie above shuffled labels, as "
        f"a cue in the text would too; {better} probes are better than the best simpler signal."
    ]
    if transfers:
        of = {k: sum(t[k] for t in transfers) for k in ("pairs", "above", "free", "better")}
        lines.append(
            f"*One direction serves several tasks* (the same): {of['above']} of {of['pairs']} "
            "transfers lie above chance with their whole interval (of so many, "
            f"{0.025 * of['pairs']:.0f} would by luck), {of['better']} of {of['free']} are better "
            "than the best signal that needs no labels at all; a transferred probe is for where "
            "there are none."
        )
    if not negated.empty:
        lines.append(
            "*Probes of truth fail on negated statements* (Levinstein and Herrmann 2024; Bürger et "
            f"al. 2024 find two directions): {(negated.low > 0.5).sum()} of {len(negated)} are "
            f"found to order them right, {(negated.high < 0.5).sum()} turn the order round."
        )
    return [*lines, f"*The tokens of the exact answer hold the most* (Orgad et al. 2025): {exact}"]


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
        f"splits mean {number(found.spread.mean)}, sd {number(found.spread.sd)}, "
        f"{number(found.spread.min)} to {number(found.spread.max)}; this cell in {found.own_cell}."
        for run in runs
        if (found := run.record.resplits)
    ]
    return (
        ["Other splits of the same examples (`--repeat-splits`):", "", *lines, ""] if lines else []
    )


def between(t: pd.DataFrame) -> pd.DataFrame:
    """Transfers between different tasks at the source's cell, where defined."""
    own = t[(t.kind == "pair") & (t["at"] == "source") & (t.train_task != t.test_task)]
    return own[own.auroc.notna()]


def transferred(model: str, t: pd.DataFrame) -> dict[str, Any]:
    """How many probes of a model hold on another task: counts of pairs, and a sentence."""
    pairs = between(t)
    free = pairs[pairs.difference.notna()]
    of = {
        "pairs": len(pairs),
        "above": int((pairs.low > 0.5).sum()),
        "below": int((pairs.high < 0.5).sum()),
        "free": len(free),
        "better": int((free.difference_low > 0).sum()),
        "worse": int((free.difference_high < 0).sum()),
    }
    r = {
        name: f"{number(v['r'], 2)} over {v['pairs']} pairs"
        for name, v in predicted_by_angle(t).items()
    }
    sentence = (
        f"{model}: of {of['pairs']} pairs of different tasks {of['above']} lie above .5 with their "
        f"whole interval, {of['below']} below it; median {number(pairs.auroc.median(), 2)} where "
        f"the targets' own probes have {number(pairs.own_auroc.median(), 2)}. Against the target's "
        f"best signal without labels: better in {of['better']}, worse in {of['worse']} of "
        f"{of['free']}. AUROC against the cosine of the two directions: r = {r['cosine']}, with "
        f"the target's covariance {r['mahalanobis_cosine']}."
    )
    return {**of, "sentence": sentence}


def parts(run: Run) -> list[str]:
    """How far the parts of a block are from the residual stream."""
    best = [s.best for name, s in run.record.sites.items() if s.best and name != "resid"]
    if not best:
        return []
    at = sorted(as_float(cell.test_auroc) for cell in best)
    return [
        f"- The best cells of its {len(best)} parts, by validation, have test AUROCs from "
        f"{number(at[0], 3)} to {number(at[-1], 3)}, the residual stream's has "
        f"{number(run.record.selection.test_auroc, 3)} "
        f"{interval(run.record.selection.test_auroc_95, 3)}."
    ]


def agreement(run: Run) -> list[str]:
    """Do estimates rank components as replacing them does?"""
    found = run.record.attribution
    return [
        *(
            f"- {row.target}: estimates and measured changes have a rank correlation of "
            f"{number(row.spearman, 2)} {interval(row.spearman_95, 2)} over "
            f"{row.n_components} parts of layers, on {row.n} answers."
            for row in (found.agreement if found else ())
        ),
        "",
    ]


def apart(run: Run) -> list[str]:
    """Is a part read best where replacing it changes most?"""
    measured = run.components("ablation_probe").stack()
    estimated = run.components("attribution_probe").stack()
    whole = len(measured) == len(estimated)  # else only some components were replaced
    changes, read = (measured if whole else estimated), run.components("auroc")
    layer, part = changes.idxmax()
    at = default_position(run.record)
    first = {name: next((i for i, v in read[name].items() if v >= READ), None) for name in read}
    reached = [f"`{name}` in layer {i}" for name, i in first.items() if i is not None]
    n = next((row.n for row in run.record.attribution.agreement if row.target == "probe"), 0)
    beside = (
        f"measured on {n} answers; estimated on all: {number(estimated[layer, part], 1)}"
        if whole
        else "estimated"
    )
    lines = [
        f"Replacing a part by its mean changes the selected probe's decision most at `{part}` of "
        f"layer {layer}, by {number(changes[layer, part], 1)} units on average ({beside}); a probe "
        f"on that part has a test AUROC of {number(read.loc[layer, part], 2)} at `{at}`."
    ]
    if reached:
        lines.append(
            f"At `{at}` a test AUROC of {number(READ, 1)} is first reached by {said(reached)}."
        )
    return [*lines, ""]
