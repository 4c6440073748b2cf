"""The tables that a finished run's maps show, from its record and its scores."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np
import pandas as pd

from probebench.errors import UnknownNameError, UsageError
from probebench.models.blocks.layouts import COMPONENTS
from probebench.record.schema import Record
from probebench.states.positions import ALIASES, ALL

TARGETS = {
    "logprob": "the log-probability of the exact answer",
    "probe": "the selected probe's decision",
}
EFFECTS = ("attribution", "ablation")
"""Scores of the map of components that say what replacing one changes: estimated, and measured."""
SUBLAYERS = {"ATT": ("attn.o",), "MLP": ("mlp.down", "mlp.out")}
"""Sites whose vectors a sublayer adds to the residual stream; of several, the first that a layer
has."""
METRICS = {
    "auroc": "value",
    "auroc_low": "low",
    "auroc_high": "high",
    "n": "n",
    "delong_low": "delong_low",
    "delong_high": "delong_high",
    "shuffled": "shuffled",
    "selectivity": "selectivity",
    "p": "p",
    "q": "q",
}
"""What `Run.matrix` can show of the cells, and its column of the scores."""
NO_SHUFFLES = (
    "This run has no shuffled-label fits to compare with. Run `probebench eval` again with "
    "--shuffles 100, and without --skip shuffles."
)
SAME = 0.95
"""Part of the answers in which columns with one letter are one token."""
FDR = 0.05
TOP = 10


def cells(scores: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """One row per cell of one split."""
    own = scores[(scores.detector == "cell") & (scores.metric == "auroc") & (scores.split == split)]
    # rows of other detectors have none, so the whole column is no boolean
    return own.astype({"converged": bool})


def cell_table(
    record: Record, scores: pd.DataFrame, site: str, column: str, split: str = "test"
) -> pd.DataFrame:
    """One column of the scores of one site as a table: layers down, positions across."""
    own = cells(scores, split)
    table = own[own.site == site].pivot(index="layer", columns="position", values=column)
    rows = [row for row in record["layers"] if row in table.index]
    return table.loc[rows, record["positions"]].rename_axis(index="layer", columns="position")


def matrix(
    record: Record, scores: pd.DataFrame, metric: str, *, split: str, site: str
) -> pd.DataFrame:
    """The table of `Run.matrix`.

    Raises:
        UnknownNameError: a metric, split or site that the run does not have.
    """
    known = cells(scores, split)
    for kind, value, names in (
        ("metric", metric, METRICS),
        ("split", split, ("validation", "test")),
        ("site", site, sorted(set(known.site))),
    ):
        if value not in names:
            raise UnknownNameError(kind, value, names)
    if known.value.notna().any() and not known[METRICS[metric]].notna().any():
        there = [name for name, column in METRICS.items() if known[column].notna().any()]
        why = NO_SHUFFLES if split == "test" else "Shuffled labels are of the test split alone."
        raise UnknownNameError(f"metric of the {split} split:", metric, there, why)
    return cell_table(record, scores, site, METRICS[metric], split)


def narrowed(
    table: pd.DataFrame, layers: Sequence[int] | None, positions: Sequence[str] | None = None
) -> pd.DataFrame:
    """The wanted rows (the embedding row stays) and columns of a table.

    Raises:
        UnknownNameError: a layer or position that the run did not read.
    """
    if layers is not None:
        for layer in layers:
            if str(layer) not in table.index:
                raise UnknownNameError("layer", str(layer), [str(i) for i in table.index])
        table = table.loc[[row for row in table.index if row == "emb" or int(row) in set(layers)]]
    if positions is None or ALL in positions:
        return table
    wanted = {plain_position(name, list(table.columns)) for name in positions}
    return table[[name for name in table.columns if name in wanted]]


def plain_position(name: str, known: Sequence[str]) -> str:
    """A position of a run, by its own name or an alias.

    Raises:
        UnknownNameError: one that the run did not read.
    """
    plain = ALIASES.get(name, name)
    if plain not in known:
        raise UnknownNameError("position", name, known)
    return plain


def best_of_layers(test: pd.DataFrame, validation: pd.DataFrame) -> pd.Series:
    """Of each layer the test value of the column that is highest on validation, the first of
    equals: the highest on test would be a maximum of noise. NaN where none is known."""
    known = validation.reindex_like(test).where(test.notna())
    best = [
        float(test.at[layer, row.idxmax()]) if row.notna().any() else np.nan
        for layer, row in known.iterrows()
    ]
    return pd.Series(best, test.index, dtype=float, name="best by validation")


def components_table(
    record: Record, scores: pd.DataFrame, position: str, column: str = "value", split: str = "test"
) -> pd.DataFrame:
    """Layers down, the seven components across: one column of the scores at one position."""
    position = plain_position(position, record.positions)
    own = cells(scores, split)
    return _by_component(record, own[own.position == position], column)


def _by_component(record: Record, rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A table with all seven columns and every block as a row, NaN where a layer does not have a
    component."""
    blocks = [row for row in record.layers if row != "emb"]
    own = rows[rows.site.isin(COMPONENTS) & (rows.layer != "emb")]
    if own.empty:
        raise UsageError(
            "This run read no component, so there is no map of components. Run `probebench eval` "
            f"again with --sites all, or with some of {', '.join(COMPONENTS)}."
        )
    table = own.pivot(index="layer", columns="site", values=column)
    return table.reindex(index=blocks, columns=list(COMPONENTS)).rename_axis(
        index="layer", columns="component"
    )


def attribution_table(
    record: Record, attribution: pd.DataFrame | None, target: str, score: str = "attribution"
) -> tuple[pd.DataFrame, int]:
    """Mean absolute changes of one target, and over how many answers they are means.

    Args:
        record: of the run.
        attribution: the run's table; that of a run of protocol 1 holds shares of gradient x
            activation instead.
        target: `logprob` or `probe`.
        score: `attribution` for estimates, `ablation` for what replacing components changed.

    Raises:
        UsageError: the run did not measure it.
    """
    if target not in TARGETS:
        raise UnknownNameError("target", target, TARGETS)
    if attribution is None:
        raise UsageError(
            "This run measured no attribution. Run `probebench eval` again with --attribution."
        )
    if (old := "score" not in attribution) and score != "attribution":
        raise UsageError(
            "This run is of an earlier version, which replaced no component. Run `probebench eval` "
            "again with --attribution."
        )
    own = attribution[attribution.target == target]
    own = own if old else own[own.score == score]
    if own.empty:
        why = (
            "no test answer has an exact answer"
            if target == "logprob"
            else "its probe is not linear, reads projected vectors, or stands below every component"
        )
        raise UsageError(f"This run measured no attribution to {TARGETS[target]}: {why}.")
    return _by_component(record, own, "share" if old else "mean_abs"), int(own.n.max())


def sublayers_table(
    record: Record,
    scores: pd.DataFrame,
    *,
    position: str | None = None,
    top: int | None = None,
    significant: bool = False,
) -> pd.DataFrame:
    """One row per sublayer: number, kind, layer, site, validation and test AUROC, p, q, selected or
    not.

    Attention of layer l is sublayer 2l + 1, its MLP 2l + 2.

    Raises:
        UsageError: the run read neither `attn.o` nor `mlp.down`, or has no shuffled labels to be
            significant against.
    """
    position = plain_position(position or default_position(record), record.positions)
    test, validation = (
        cells(scores, split)[lambda t: t.position == position].set_index(["site", "layer"])
        for split in ("test", "validation")
    )
    table = pd.DataFrame(
        _sublayer(layer, kind, test, validation)
        for layer in record.layers
        if layer != "emb"
        for kind in SUBLAYERS
    )
    if not np.isfinite(table.auroc).any():
        if {site for sites in SUBLAYERS.values() for site in sites} & set(scores.site):
            raise UsageError(
                f"No sublayer output was scored at {position}: too few answers have such a token. "
                f"Name another with --position, of {', '.join(record.positions)}."
            )
        raise UsageError(
            "This run read no sublayer outputs. Run `probebench eval` again with --sites "
            "attn.o,mlp.down, or all."
        )
    return _chosen(table, TOP if top is None else top, significant=significant)


def _sublayer(
    layer: str, kind: str, test: pd.DataFrame, validation: pd.DataFrame
) -> dict[str, Any]:
    """The row of one sublayer, from its cells by site and layer of both splits."""
    sites = SUBLAYERS[kind]
    known = [s for s in sites if (s, layer) in test.index]
    scored = [s for s in known if np.isfinite(test.at[(s, layer), "value"])]
    site = [*scored, *known, sites[0]][0]
    at = (site, layer)
    found = test.loc[at] if at in test.index else {}
    return {
        "sublayer": 2 * int(layer) + (1 if kind == "ATT" else 2),
        "kind": kind,
        "layer": int(layer),
        "site": site,
        "validation_auroc": validation.at[at, "value"] if at in validation.index else np.nan,
        "auroc": found.get("value", np.nan),
        "low": found.get("low", np.nan),
        "high": found.get("high", np.nan),
        "n": int(found.get("n", 0)),
        "p": found.get("p", np.nan),
        "masked": found.get("masked", "this site was not read"),
    }


def _chosen(table: pd.DataFrame, top: int, *, significant: bool) -> pd.DataFrame:
    from probebench.metrics.permutation import fdr

    table = table.assign(q=fdr(table.p.to_numpy(dtype=float)))
    if not significant:
        best = (
            table.validation_auroc.sort_values(ascending=False, kind="stable").dropna().index[:top]
        )
        return table.assign(selected=table.index.isin(best))
    if not np.isfinite(table.p).any():
        raise UsageError(NO_SHUFFLES)
    return table.assign(selected=table.q <= FDR)


def default_position(record: Record) -> str:
    """Where components are compared when nobody says: the end of the exact answer, or what comes
    nearest."""
    wanted = ("exact_answer_last", "statement_last", "-1", record.selection.position)
    return next(name for name in wanted if name in record.positions)


def same_token_letters(record: Record, positions: Sequence[str]) -> dict[str, str]:
    """A letter for each set of columns that are one token in nearly all answers."""
    found = record.coincidences
    of: dict[str, str] = {}
    for same in found.same if found else ():
        if same.share >= SAME and {same.position, same.same_as} <= set(positions):
            free = ascii_lowercase[len(set(of.values())) % 26]
            of[same.position] = of.setdefault(same.same_as, free)
    return of
