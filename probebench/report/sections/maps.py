"""Where it is readable: the maps of a run, and its best layer at each position."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import numpy as np
import pandas as pd

from probebench.errors import UsageError
from probebench.maps.colours import CHANCE
from probebench.record.captions import n_words
from probebench.record.parts.measured import PositionBest, SelectionFacts
from probebench.record.run import Run
from probebench.record.schema import Record
from probebench.record.tables import TARGETS, attribution_table, cells, default_position
from probebench.record.words import agreement_words, ranked, terms
from probebench.report.blocks import INTERVAL, Column, Figure, N, Number, Row, Table, TableCell
from probebench.report.format import between, count, interval, number
from probebench.text import extremes

POSITIONS = (
    Column("Position"),
    Column("Readable", optional=True),
    Column("Best layer", True),
    Column("C", True, optional=True),
    Column("Validation", True),
    Column("Test AUROC", True),
    INTERVAL,
    N,
)


def positions_figure(run: Run) -> tuple[Figure, Table]:
    """The layer x position map of the selected cell's site, and its numbers."""
    s, words = run.record["selection"], terms(run.record)
    site = s.site
    matrix = run.matrix("auroc", site=site)
    n = n_words(run.record, cells(run.scores)[lambda t: t.site == site])
    grey = " Grey: too few such tokens." if matrix.isna().to_numpy().any() else ""
    below = " Violet: below chance." if (matrix < CHANCE).to_numpy().any() else ""
    caption = (
        f"Test AUROC of one probe per layer (down) and token position (across), site {site}; "
        f"positive class: {words.right}. Framed: the cell chosen on validation, layer {s.layer}, "
        f"{s.position}, {number(s.test_auroc)} {interval(s.test_auroc_95)}, n = {s.n_test:,}. Each "
        f"cell is over the test {words.what} that have its token ({n}).{grey}{below} "
        "Each cell is unbiased; the highest of them all is not."
    )
    alt = (
        f"Heatmap of test AUROC, {spread(matrix, 'layer', 'position')} Chosen on validation: "
        f"layer {s.layer}, {s.position}, {number(s.test_auroc)}, n = {s.n_test:,}."
    )
    plot = partial(run.plot, "positions", site=site, title="", caption="")
    title = f"Test AUROC by layer and position, site {site}"
    return Figure(caption, alt, plot, wide=True), matrix_table(matrix, "map", title, "Layer")


def component_figures(run: Run) -> list[tuple[Figure, Table]]:
    """Maps of components, attribution and sublayers, as far as the run read them."""
    position = default_position(run.record)
    drawn = [partial(_components, run, position), partial(_sublayers, run, position)]
    drawn += [partial(_attribution, run, target) for target in TARGETS]
    found = []
    for draw in drawn:
        with suppress(UsageError):  # what this map shows was not read or not measured
            found.append(draw())
    return found


def _components(run: Run, position: str) -> tuple[Figure, Table]:
    matrix = run.components(position=position)
    n = n_words(run.record, cells(run.scores)[lambda t: t.position == position])
    caption = f"Test AUROC of one probe per layer and component at {position}, {n}." + (
        " Grey: not there in this layer, or not read." if matrix.isna().to_numpy().any() else ""
    )
    alt = f"Heatmap of test AUROC, {spread(matrix, 'layer', 'component')}"
    figure = Figure(caption, alt, partial(run.plot, "components", title="", caption=""), wide=True)
    title = f"Test AUROC by layer and component at {position}"
    return figure, matrix_table(matrix, "components", title, "Layer")


def _sublayers(run: Run, position: str) -> tuple[Figure, Table]:
    strip = run.sublayers(position=position)
    chosen = ", ".join(
        f"{row.kind} {row.sublayer} ({number(row.auroc)})"
        for row in strip[strip.selected].itertuples()
    )
    figure = Figure(
        f"Sublayers with the highest validation AUROC at {position}, n = "
        f"{extremes(strip.n[strip.n > 0])} test examples: attention of layer l is number 2l + 1, "
        "its MLP 2l + 2. Below each its test AUROC.",
        f"Strip of {len(strip)} sublayers; selected, with test AUROC: {chosen}.",
        partial(run.plot, "sublayers", title="", caption=""),
        wide=True,
    )
    columns = (
        Column("Sublayer"),
        Column("Kind"),
        Column("Layer", True),
        Column("Validation", True),
        Column("Test", True),
    )
    rows = tuple(
        Row(
            (str(r.sublayer), r.kind, str(r.layer), _cell(r.validation_auroc), _cell(r.auroc)),
            bool(r.selected),
        )
        for r in strip.itertuples()
    )
    caption = f"AUROC of each sublayer's output at {position}"
    return figure, Table("sublayers", caption, columns, rows, folded=True)


def _attribution(run: Run, target: str) -> tuple[Figure, Table]:
    record, words = run.record, TARGETS[target]
    old = record.attribution is None
    score = "attribution" if old or ranked(record, target) else "ablation"
    matrix, n = attribution_table(record, run.attribution, target, score)
    if old:
        title = f"Share of gradient x activation of {words}, by an earlier version"
    else:
        how = "estimated" if score == "attribution" else "measured, since estimates rank otherwise"
        title = f"Mean absolute change of {words} when a component is replaced by its mean, {how}"
    figure = Figure(
        f"{title}; n = {n} test answers. {agreement_words(record, target)}".strip(),
        f"Heatmap of {score}, {spread(matrix, 'layer', 'component')}",
        partial(run.plot, "components", score=score, target=target, title="", caption=""),
        wide=True,
    )
    return figure, matrix_table(matrix, f"attribution-{target}", title, "Layer")


def matrix_table(matrix: pd.DataFrame, name: str, caption: str, corner: str) -> Table:
    """The numbers behind a map, folded away."""
    columns = (Column(corner), *(Column(str(c), right=True) for c in matrix.columns))
    rows = [Row((str(i), *(_cell(v) for v in matrix.loc[i]))) for i in matrix.index]
    return Table(name, caption, columns, tuple(rows), folded=True)


def _cell(value: float) -> Number:
    return Number(float(value) if np.isfinite(value) else None)


def spread(matrix: pd.DataFrame, down: str, across: str) -> str:
    """Size and extremes of a map in words."""
    size = f"{matrix.shape[0]} {down}s by {matrix.shape[1]} {across}s."
    values = matrix.to_numpy(dtype=float)
    if not np.isfinite(values).any():
        return f"{size} No cell could be scored."
    ends = []
    for word, at in (("lowest", np.nanargmin(values)), ("highest", np.nanargmax(values))):
        i, j = np.unravel_index(at, values.shape)
        ends.append(
            f"{word} {number(float(values[i, j]))} at {down} {matrix.index[i]}, {matrix.columns[j]}"
        )
    return f"{size} From {' to '.join(ends)}."


def positions_tables(record: Record) -> list[Table]:
    """The per-position table of the paper beside the selected cell; all other positions folded."""
    rows, s = record.by_position, record.selection
    notes = (
        "The layer of each position is the one with the highest validation AUROC; n: test "
        "examples that have the token.",
    )
    best = "each at its best layer by validation"
    tables = []
    if paper := [r for r in rows if r.paper]:
        own = (_position(r) for r in paper if r.position != s.position)
        caption = f"Test AUROC at the positions that the paper reports, {best}"
        lines = (_selected(s), *own)
        tables.append(Table("positions", caption, POSITIONS, lines, notes))
    if rows:
        caption, lines = f"Test AUROC at every position, {best}", tuple(map(_position, rows))
        tables.append(Table("all-positions", caption, POSITIONS, lines, notes, folded=True))
    return [table.lean() for table in tables]


def _position(r: PositionBest) -> Row:
    """One position's best cell."""
    if r.layer is None:
        masked = f"masked: {r.masked}" if r.masked else "masked"
        return Row((r.position, r.when or "", masked, *[""] * 5))
    return Row((r.position, r.when or "", r.layer, *_tested(r)))


def _selected(s: SelectionFacts) -> Row:
    """The selected cell, which the others are read against."""
    return Row((f"{s.position} (selected)", s.readable or "", s.layer, *_tested(s)), strong=True)


def _tested(r: PositionBest | SelectionFacts) -> tuple[TableCell, ...]:
    """C, the AUROC on validation, and that on test with its interval and n."""
    return (
        "" if r.C is None else f"{r.C:g}",
        Number(r.validation_auroc),
        Number(r.test_auroc),
        between(r.test_auroc_95),
        count(r.n_test),
    )
