"""What docs/results.md says of transfers, and of published claims. Used by
`scripts/write_results.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd
from results_tables import above_shuffled, read_transfers
from results_words import said, solved_by_text

from probebench.across.transfer_map import predicted_by_angle
from probebench.record.claims import headline
from probebench.record.run import Run
from probebench.text import as_float, number

SEPARATE = 0.95
"""Test AUROC from which statements are said to be nearly separated."""


def claims(
    runs: Sequence[Run], transfers: Sequence[Mapping[str, Any]], negated: pd.DataFrame, exact: str
) -> list[str]:
    """Published claims about larger models, held against these runs."""
    above = sum(map(above_shuffled, runs))
    better = sum(headline(r.record).outcome == "better" for r in runs)
    near = [r for r in runs if as_float(r.record.selection.test_auroc) >= SEPARATE]
    lines = [
        "*True and false statements are linearly separable inside a model* (Marks and Tegmark "
        f"2024, Bürger et al. 2024): {above} of {len(runs)} maps lie above shuffled labels "
        f"(each at 5 %), as a cue in the text would too; an AUROC of {number(SEPARATE, 2)} or more "
        f"is reached on {len(near)}, {len(solved_by_text(near))} of them on tasks that text alone "
        f"solves; {better} probes are better than the best simpler signal."
    ]
    if transfers:
        counts = "pairs", "above", "below", "free", "better", "worse"
        of = {k: sum(t[k] for t in transfers) for k in counts}
        lines.append(
            f"*One direction serves several tasks* (the same): of {of['pairs']} transfers "
            f"{of['above']} lie above chance with their whole interval and {of['below']} below it "
            f"(about {0.025 * of['pairs']:.0f} each would by luck; those to one task share its "
            "test examples). Against the best signal that is fitted to no label, which the "
            f"target's validation labels choose, {of['better']} are better and {of['worse']} "
            f"worse, of {of['free']}."
        )
    if not negated.empty:
        lines.append(
            "*Probes of truth fail on negated statements* (Levinstein and Herrmann 2024; Bürger et "
            f"al. 2024 find two directions): {(negated.low > 0.5).sum()} of {len(negated)} are "
            f"found to order them right, {(negated.high < 0.5).sum()} turn the order round."
        )
    return [*lines, f"*The tokens of the exact answer hold the most* (Orgad et al. 2025): {exact}"]


def medians(transfers: Mapping[str, Mapping[str, Any]], solved: Sequence[str]) -> str:
    """The models' median transfer between tasks that text alone does not solve, from their tables;
    nothing where none of them is solved so."""
    left_out = [t for t in solved if any(t in of["tasks"] for of in transfers.values())]
    if not left_out:
        return ""
    found = {model: _between_others(of["table"], left_out) for model, of in transfers.items()}
    told = [f"{number(median(v), 2)} ({model}, {len(v)} pairs)" for model, v in found.items() if v]
    return f"Without {said(left_out)}, which text alone solves, the medians are {said(told)}."


def _between_others(table: Sequence[str], left_out: Sequence[str]) -> list[float]:
    """AUROCs of a table of transfers, off its diagonal, without some tasks."""
    values = read_transfers(table)
    tasks = [name for name in values.columns if name not in left_out]
    return [
        float(values.loc[train, test])
        for train in tasks
        for test in tasks
        if train != test and pd.notna(values.loc[train, test])
    ]


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
        f"best signal that is fitted to no label: better in {of['better']}, worse in "
        f"{of['worse']} of {of['free']}. AUROC against the cosine of the two directions: r = "
        f"{r['cosine']}, with the target's covariance {r['mahalanobis_cosine']}."
    )
    return {**of, "sentence": sentence}
