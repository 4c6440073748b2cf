"""Which numbers of a finished run each map shows, and what its caption says. Reads the record and
its tables only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probebench.errors import UnknownNameError, UsageError
from probebench.maps.heatmap import plot_components, plot_positions, plot_sublayers
from probebench.models.blocks.layouts import COMPONENTS
from probebench.states.positions import ALIASES, ALL
from probebench.text import part_words, what_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAPS = ("positions", "components", "sublayers", "transfer")
SCORES = ("auroc", "attribution")
TARGETS = {
    "logprob": "the log-probability of the exact answer",
    "probe": "the selected probe's decision",
}
SUBLAYERS = {"ATT": ("attn.o",), "MLP": ("mlp.down", "mlp.out")}
"""Sites whose vectors a sublayer adds to the residual stream; of several, the first that a layer
has."""
NO_SHUFFLES = (
    "This run has no shuffled-label fits to compare with. Run `probebench eval` again with "
    "--shuffles 100."
)
FDR = 0.05
TOP = 10


def cells(scores: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """One row per cell of one split."""
    own = scores[(scores.detector == "cell") & (scores.metric == "auroc") & (scores.split == split)]
    return own.astype(
        {"converged": bool}
    )  # rows of other detectors have none, so the whole column is no boolean


def cell_table(
    record: Mapping[str, Any], scores: pd.DataFrame, site: str, column: str, split: str = "test"
) -> pd.DataFrame:
    """One column of the scores of one site as a table: layers down, positions across."""
    own = cells(scores, split)
    table = own[own.site == site].pivot(index="layer", columns="position", values=column)
    rows = [row for row in record["layers"] if row in table.index]
    return table.loc[rows, record["positions"]].rename_axis(index="layer", columns="position")


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


def positions_map(
    record: Mapping[str, Any],
    scores: pd.DataFrame,
    *,
    site: str = "",
    layers: Sequence[int] | None = None,
    positions: Sequence[str] | None = None,
    hatch: bool = False,
    **options: Any,
) -> Axes:
    """Layer x position map of test AUROC of one site, its best cell by validation marked."""
    site = site or record["selection"]["site"]
    if site not in record["sites"]:
        raise UnknownNameError("site", site, record["sites"])
    best = record["sites"][site]["best"]
    matrix = narrowed(cell_table(record, scores, site, "value"), layers, positions)
    own = cells(scores)[lambda t: t.site == site]
    stuck = own[~own.converged]
    lines = [
        f"{probe_words(record)} on site {site}, test AUROC, {n_words(record, own)}.",
        "No cell could be fitted."
        if best is None
        else f"Marked: cell selected on validation, layer {best['layer']}, {best['position']}, {best['test_auroc']:.3f} "
        f"{interval_words(best['test_auroc_95'])}, n = {best['n_test']:,}. Grey: too few such "
        "tokens.",
    ]
    hatched = None
    if hatch:
        if not np.isfinite(cell_table(record, scores, site, "q").to_numpy(dtype=float)).any():
            raise UsageError(NO_SHUFFLES)
        hatched = (
            ~(narrowed(cell_table(record, scores, site, "q"), layers, positions) <= FDR)
            & matrix.notna()
        )
        lines.append(f"Hatched: not above shuffled labels at a false-discovery rate of {FDR:.0%}.")
    if len(stuck):
        lines.append(f"!: {len(stuck)} fits that did not converge.")
    settings = {
        "selected": best and (best["layer"], best["position"]),
        "title": f"{model_words(record)}" + ("" if site == "resid" else f", {site}"),
        "hatched": hatched,
        "flagged": list(zip(stuck.layer, stuck.position, strict=True)),
    }
    return plot_positions(matrix, **{**settings, "caption": caption(record, lines), **options})


def components_table(
    record: Mapping[str, Any], scores: pd.DataFrame, position: str, column: str = "value"
) -> pd.DataFrame:
    """Layers down, the seven components across: one column of the scores at one position."""
    position = plain_position(position, record["positions"])
    own = cells(scores)
    return _by_component(record, own[own.position == position], column)


def _by_component(record: Mapping[str, Any], rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A table with all seven columns and every block as a row, NaN where a layer does not have a
    component."""
    blocks = [row for row in record["layers"] if row != "emb"]
    own = rows[rows.site.isin(COMPONENTS) & (rows.layer != "emb")]
    if own.empty:
        raise UsageError(
            "This run read no component, so there is no map of components. Run `probebench eval` "
            "again with --sites all, or "
            f"with some of {', '.join(COMPONENTS)}."
        )
    table = own.pivot(index="layer", columns="site", values=column)
    return table.reindex(index=blocks, columns=list(COMPONENTS)).rename_axis(
        index="layer", columns="component"
    )


def components_map(
    record: Mapping[str, Any],
    scores: pd.DataFrame,
    attribution: pd.DataFrame | None,
    *,
    score: str = "auroc",
    target: str = "logprob",
    position: str | None = None,
    layers: Sequence[int] | None = None,
    **options: Any,
) -> tuple[Axes, pd.DataFrame]:
    """Layer x component map of test AUROC at one position, or of attribution; with the table it
    shows."""
    if score not in SCORES:
        raise UnknownNameError("score", score, SCORES)
    if score == "auroc":
        position = plain_position(position or default_position(record), record["positions"])
        matrix, title = components_table(record, scores, position), f"test AUROC at {position}"
        own = cells(scores)[lambda t: t.site.isin(COMPONENTS) & (t.position == position)]
        lines = [
            f"{probe_words(record)} on each component's vectors at {position}, "
            f"{n_words(record, own)}.",
            width_words(record),
            "Grey: the layer does not have it, or it was not read.",
        ]
        if len(stuck := own[~own.converged]):
            first = stuck.iloc[0]
            lines.append(
                f"{len(stuck)} fits did not converge, the first: {first.site}, layer {first.layer}."
            )
        widths = component_widths(record)
    else:
        matrix, n = attribution_table(record, attribution, target)
        title, position = f"attribution to {TARGETS[target].removeprefix('the ')}", ""
        lines = [
            f"Mean absolute gradient x activation of {TARGETS[target]}, as a share of the layer's "
            "seven components;",
            f"{n} test answers. Grey: the layer does not have it, or lies above the probe.",
        ]
        widths = None
    label = "Test AUROC" if score == "auroc" else "Share of the layer"
    settings = {
        "title": f"{model_words(record)}: {title}",
        "caption": caption(record, lines),
        "label": label,
        "widths": widths,
    }
    matrix = narrowed(matrix, layers)
    return plot_components(matrix, **{**settings, **options}), matrix


def attribution_table(
    record: Mapping[str, Any], attribution: pd.DataFrame | None, target: str
) -> tuple[pd.DataFrame, int]:
    """Shares of attribution to one target, and over how many answers they are means."""
    if target not in TARGETS:
        raise UnknownNameError("target", target, TARGETS)
    if attribution is None:
        raise UsageError(
            "This run measured no attribution. Run `probebench eval` again with --attribution."
        )
    own = attribution[attribution.target == target]
    if own.empty:
        why = (
            "no test answer has an exact answer"
            if target == "logprob"
            else "its probe is not linear, or reads projected vectors"
        )
        raise UsageError(f"This run measured no attribution to {TARGETS[target]}: {why}.")
    return _by_component(record, own, "share"), int(own.n.max()) if len(own) else 0


def sublayers_table(
    record: Mapping[str, Any],
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
    position = plain_position(position or default_position(record), record["positions"])
    test, validation = (
        cells(scores, split)[lambda t: t.position == position].set_index(["site", "layer"])
        for split in ("test", "validation")
    )
    rows = []
    for layer in (row for row in record["layers"] if row != "emb"):
        for kind, sites in SUBLAYERS.items():
            known = [s for s in sites if (s, layer) in test.index]
            site = next(
                (s for s in known if np.isfinite(test.at[(s, layer), "value"])),
                known[0] if known else sites[0],
            )
            at = (site, layer)
            found = test.loc[at] if at in test.index else {}
            rows.append(
                {
                    "sublayer": 2 * int(layer) + (1 if kind == "ATT" else 2),
                    "kind": kind,
                    "layer": int(layer),
                    "site": site,
                    "validation_auroc": validation.at[at, "value"]
                    if at in validation.index
                    else np.nan,
                    "auroc": found.get("value", np.nan),
                    "low": found.get("low", np.nan),
                    "high": found.get("high", np.nan),
                    "n": int(found.get("n", 0)),
                    "p": found.get("p", np.nan),
                    "masked": found.get("masked", "this site was not read"),
                }
            )
    table = pd.DataFrame(rows)
    if not np.isfinite(table.auroc).any():
        raise UsageError(
            "This run read no sublayer outputs. Run `probebench eval` again with --sites "
            "attn.o,mlp.down, or all."
        )
    return _chosen(table, TOP if top is None else top, significant=significant)


def _chosen(table: pd.DataFrame, top: int, *, significant: bool) -> pd.DataFrame:
    from probebench.metrics.auroc import fdr

    table = table.assign(q=fdr(table.p.to_numpy(dtype=float)))
    if not significant:
        best = (
            table.validation_auroc.sort_values(ascending=False, kind="stable").dropna().index[:top]
        )
        return table.assign(selected=table.index.isin(best))
    if not np.isfinite(table.p).any():
        raise UsageError(NO_SHUFFLES)
    return table.assign(selected=table.q <= FDR)


def sublayers_map(
    record: Mapping[str, Any],
    scores: pd.DataFrame,
    *,
    position: str | None = None,
    top: int | None = None,
    significant: bool = False,
    **options: Any,
) -> tuple[Axes, pd.DataFrame]:
    """The strip of sublayers, and the table it shows."""
    position = plain_position(position or default_position(record), record["positions"])
    own = cells(scores)[
        lambda t: (
            t.site.isin([s for sites in SUBLAYERS.values() for s in sites])
            & (t.position == position)
        )
    ]
    table = sublayers_table(record, scores, position=position, top=top, significant=significant)
    rule = (
        f"test AUROC above shuffled labels at a false-discovery rate of {FDR:.0%}"
        if significant
        else f"the {TOP if top is None else top} highest validation AUROCs"
    )
    lines = [
        f"Selected (coloured): {rule}; {probe_words(record)} on attn.o and mlp.down at "
        f"{position}, {n_words(record, own)}.",
        "Numbering: attention of layer l is sublayer 2l + 1, its MLP 2l + 2. Hatched: no probe "
        "there.",
        *([width_words(record)] if record["probe"].get("width") else []),
    ]
    settings = {"title": f"{model_words(record)}: sublayers", "caption": caption(record, lines)}
    return plot_sublayers(table, **{**settings, **options}), table


def default_position(record: Mapping[str, Any]) -> str:
    """Where components are compared when nobody says: the end of the exact answer, or what comes
    nearest."""
    wanted = ("exact_answer_last", "statement_last", "-1", record["selection"]["position"])
    return next(name for name in wanted if name in record["positions"])


def component_widths(record: Mapping[str, Any]) -> dict[str, str]:
    """Widths to print below each component."""
    to = record["probe"].get("width")
    words = {}
    for site in COMPONENTS:
        own = record["sites"].get(site, {}).get("widths") or []
        if own:
            words[site] = "-".join(dict.fromkeys((f"{own[0]:,}", f"{own[-1]:,}"))) + (
                f"→{to:,}" if to else ""
            )
    return words


def width_words(record: Mapping[str, Any]) -> str:
    """Whether components were compared at one width."""
    to = record["probe"].get("width")
    if to:
        return (
            f"Components projected to width {to:,} by a random projection, seed "
            f"{record['settings']['seed']}."
        )
    return (
        "Components differ in width (printed below them), wider ones hold more: --width D "
        "compares them at one."
    )


def model_words(record: Mapping[str, Any]) -> str:
    """Model and task."""
    return f"{record['model']['name']} on {record['task']['name']}"


def probe_words(record: Mapping[str, Any]) -> str:
    """The kind of probe."""
    return f"{record['probe']['name']} probe"


def n_words(record: Mapping[str, Any], shown: pd.DataFrame) -> str:
    """How many test examples the cells shown are scored on, and what the positive class is."""
    n = shown[shown.masked == ""].n
    what, positive, _ = what_words(record)
    words = "0" if n.empty else "-".join(dict.fromkeys((f"{int(n.min()):,}", f"{int(n.max()):,}")))
    return f"n = {words} test {what}; positive class: {positive}"


def interval_words(ends: Sequence[float | None]) -> str:
    """A 95 % interval."""
    low, high = ("n/a" if end is None else f"{end:.2f}" for end in ends)
    return f"[{low}, {high}]"


def caption(record: Mapping[str, Any], lines: Sequence[str]) -> str:
    """Small type below a map."""
    part = part_words(record)
    lines = [*lines, *([f"Examples: {part}."] if part else [])]
    return "\n".join(
        [
            *lines,
            f"Protocol {record['protocol_version']}, probebench {record['package']['version']}.",
        ]
    )
