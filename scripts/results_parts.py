"""Sentences of docs/results.md on the parts of a block. Used by `scripts/write_results.py`."""

from __future__ import annotations

import pandas as pd
from results_questions import FEW, rarer
from results_words import READ, first_layers, said

from probebench.record.run import Run
from probebench.record.tables import default_position
from probebench.text import as_float, interval, number


def parts(run: Run) -> list[str]:
    """How far the parts of a block are from the residual stream."""
    best = [s.best for name, s in run.record.sites.items() if s.best and name != "resid"]
    if not best:
        return []
    at, test = sorted(as_float(cell.test_auroc) for cell in best), run.record.counts.test
    little = (
        f" With fewer than {FEW} of a class the colours of its maps are mostly chance."
        if rarer(run) < FEW
        else ""
    )
    return [
        f"- Test holds {test.n:,} examples with {test.correct:,} right.{little} The best cells of "
        f"its {len(best)} parts, by validation, have test AUROCs from "
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
            f"{row.n_components} parts of layers (components times layers), on {row.n} answers: "
            "the map of estimates is an order in bulk, and its largest need not be the largest "
            "measured."
            for row in (found.agreement if found else ())
        ),
        "",
    ]


def apart(run: Run) -> list[str]:
    """Which parts matter to the probe by replacing them, and from which layer each is read well."""
    table, read = run.attribution, run.components("auroc")
    rows = table[table.target == "probe"].sort_values("mean_abs", ascending=False)
    estimated, measured = (rows[rows.score == of] for of in ("attribution", "ablation"))
    whole = len(measured) == len(estimated)  # else only some components were replaced
    first, *others = (measured if whole else estimated).head(3).itertuples()
    how = f"measured on {first.n:,} answers" if whole else f"estimated on {first.n:,} answers"
    at = default_position(run.record)
    lines = [
        "Replacing a part by its mean changes the selected probe's decision most at "
        f"{_place(first)}, by {_change(first)} of log-odds on average, then at "
        f"{said([f'{_place(o)} ({_change(o)})' for o in others])}, {how}"
        f"{'' if _differ(first, others[0]) else ': the first two lie within two standard errors'}. "
        f"A probe on the first has a test AUROC of "
        f"{number(read.loc[str(first.layer), first.site], 2)} at `{at}`."
    ]
    if whole:
        lines.append(_of_estimates(estimated, measured))
    reached = first_layers(read)
    told = [f"`{name}` in layer {i}" for name, i in reached.items() if i is not None]
    if told and rarer(run) >= FEW:
        lines.append(
            f"At `{at}` a test AUROC of {number(READ, 1)} is first reached by {said(told)}."
        )
    return [*lines, ""]


def _of_estimates(estimated: pd.DataFrame, measured: pd.DataFrame) -> str:
    """Where the part that estimates put first stands by measuring."""
    top = next(estimated.itertuples())
    places = [(m.site, m.layer) for m in measured.itertuples()]
    return (
        f"The part that estimates on {top.n:,} answers put first, {_place(top)}, is number "
        f"{places.index((top.site, top.layer)) + 1} of {len(places)} by measuring."
    )


def _place(row: object) -> str:
    return f"`{row.site}` of layer {row.layer}"


def _change(row: object) -> str:
    """A mean absolute change with its standard error."""
    return f"{number(row.mean_abs, 1)} ± {number(row.se, 1)}"


def _differ(first: object, second: object) -> bool:
    """Are two changes more than two standard errors of their difference apart, taken as
    independent?"""
    return first.mean_abs - second.mean_abs > 2 * (first.se**2 + second.se**2) ** 0.5
