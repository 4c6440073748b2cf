"""Where it is readable: the maps of a run, and its best layer at each position."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import numpy as np
import pandas as pd

from probebench.errors import UsageError
from probebench.record.parts.measured import PositionBest, SelectionFacts
from probebench.record.run import Run
from probebench.record.schema import Record
from probebench.record.shown.components import shown_components, shown_effects
from probebench.record.shown.positions import shown_positions
from probebench.record.shown.sublayers import shown_sublayers
from probebench.record.tables import TARGETS, default_position
from probebench.record.words import agreement_words, ranked
from probebench.report.blocks import INTERVAL, Column, Figure, N, Number, Row, Table, TableCell
from probebench.report.format import between, count, number

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
    s = run.record["selection"]
    shown = shown_positions(run.record, run.scores, s.site)
    caption = (
        f"{_one_line(shown.caption)} Each cell is over the test examples that have its token, and "
        "unbiased; the highest of them all is not."
    )
    alt = (
        f"Heatmap of test AUROC, {spread(shown.matrix, 'layer', 'position')} Chosen on validation: "
        f"layer {s.layer}, {s.position}, {number(s.test_auroc)}, n = {s.n_test:,}."
    )
    plot = partial(run.plot, "positions", site=s.site, title="", caption="")
    title = f"Test AUROC by layer and position, site {s.site}"
    table = matrix_table(shown.matrix, "map", title, "Layer")
    return Figure(caption, alt, plot, wide=True, title=title), table


def _one_line(caption: str) -> str:
    """The small type of a picture as the sentences beside it."""
    return " ".join(caption.splitlines())


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
    shown = shown_components(run.record, run.scores, position)
    alt = f"Heatmap of test AUROC, {spread(shown.matrix, 'layer', 'component')}"
    plot = partial(run.plot, "components", title="", caption="")
    title = f"Test AUROC by layer and component at {position}"
    figure = Figure(_one_line(shown.caption), alt, plot, wide=True, title=title)
    return figure, matrix_table(shown.matrix, "components", title, "Layer")


def _sublayers(run: Run, position: str) -> tuple[Figure, Table]:
    shown = shown_sublayers(run.record, run.scores, position)
    strip = shown.table
    chosen = ", ".join(
        f"{row.kind} {row.sublayer} ({number(row.auroc)})"
        for row in strip[strip.selected].itertuples()
    )
    figure = Figure(
        _one_line(shown.caption),
        f"Strip of {len(strip)} sublayers; selected, with test AUROC: {chosen}.",
        partial(run.plot, "sublayers", title="", caption=""),
        wide=True,
        title="Sublayers by their outputs",
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
    shown = shown_effects(record, run.attribution, target, score)
    caption = _one_line(shown.caption)
    if old:
        title = f"Share of gradient x activation of {words}, by an earlier version"
    else:
        how = "estimated" if score == "attribution" else "measured, since estimates rank otherwise"
        title = f"Mean absolute change of {words} when a component is replaced by its mean, {how}"
    if not old and score == "ablation":
        caption += f" Measured, since estimates rank otherwise. {agreement_words(record, target)}"
    figure = Figure(
        caption.strip(),
        f"Heatmap of {score}, {spread(shown.matrix, 'layer', 'component')}",
        partial(run.plot, "components", score=score, target=target, title="", caption=""),
        wide=True,
        title=title,
    )
    return figure, matrix_table(shown.matrix, f"attribution-{target}", title, "Layer")


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
