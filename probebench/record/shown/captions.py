"""What the small type below a map says: the probe, the examples, the marked cell, the data."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from probebench.maps.colours import below_chance
from probebench.record.claims import p_words
from probebench.record.parts.measured import TestedCell
from probebench.record.schema import Record
from probebench.record.words import part_words, terms
from probebench.text import clipped, extremes, interval, number

ORIGIN = 80
"""Letters of a source that a caption shows."""
VIOLET = "Violet: below chance."
BEST = "Right: of each layer the test AUROC of its best {} by validation."
LARGEST = "Right: the largest of each layer."


def caption(record: Record, lines: Sequence[str]) -> str:
    """Small type below the map of a run."""
    own = not (record.settings.get("data") or record.settings.get("answers"))
    data = [clipped(record.data.origin, ORIGIN)] if own and record.data.origin else []
    said = "; ".join([*data, *filter(None, [part_words(record)])])
    return "\n".join([*lines, *([f"Examples: {said}."] if said else []), version_words(record)])


def parts_words(records: Sequence[Record]) -> list[str]:
    """Which examples runs of several tasks are about, where they are not all of their tasks'
    own."""
    said = {record.task.name: part_words(record) for record in records}
    if len(set(said.values())) == 1:
        return [f"Examples of each task: {words}." for words in set(said.values()) if words]
    named = [f"{name}: {words}" for name, words in said.items() if words]
    return [f"Examples of {'; of '.join(named)}."]


def undefined_words(matrix: pd.DataFrame) -> list[str]:
    """What grey and violet mean on a map of transfer, of those that are on it."""
    grey = ["Grey: not defined."] if matrix.isna().to_numpy().any() else []
    return [*grey, *([VIOLET] if below_chance(matrix) else [])]


def version_words(record: Record) -> str:
    """What the numbers were made under."""
    return f"Protocol {record.protocol_version}, probebench {record.package.version}."


def model_words(record: Record) -> str:
    """Model and task."""
    return f"{record.model.name} on {record.task.name}"


def probe_words(record: Record) -> str:
    """The kind of probe."""
    return f"{record.probe.name} probe"


def n_words(record: Record, shown: pd.DataFrame) -> str:
    """How many test examples the cells shown are scored on, and what the positive class is."""
    n, words = shown[shown.masked == ""].n, terms(record)
    return f"n = {extremes(n)} test {words.what}; positive class: {words.right}"


def marked_words(best: TestedCell) -> str:
    """The cell that is framed."""
    return (
        f"Marked: cell selected on validation, layer {best.layer}, {best.position}, "
        f"{number(best.test_auroc)} {interval(best.test_auroc_95, 2)}, n = {best.n_test:,}."
    )


def chance_words(record: Record, site: str, *, whole: bool) -> list[str]:
    """How often shuffled labels make a map whose best cell is as high; nothing of a map that was
    not held against them.

    Args:
        record: of the run.
        site: of the map.
        whole: are all of its cells shown?
    """
    found = record.controls.permutation
    if found.site != site or found.max_statistic_p is None:
        return []
    p = p_words(found.max_statistic_p)
    best = "Best cell" if whole else "Best cell of the whole map"
    return [f"{best} against the best of {found.shuffles:,} maps of shuffled labels: {p}."]


def smallest_words(record: Record, cells: pd.DataFrame, *, shown: int) -> list[str]:
    """Whether any of the cells of a map beats shuffled labels; nothing where none were fitted.

    The record holds the best of whole shuffled maps for the selected cell's site only, so this
    corrects by their number.

    Args:
        record: of the run.
        cells: of the whole map.
        shown: how many of them are on the picture.
    """
    p, shuffles = cells.p.dropna(), record.controls.permutation.shuffles
    if p.empty:
        return []
    least = p_words(min(1.0, len(p) * float(p.min())))
    of = "" if shown == len(cells) else " of the whole map"
    return [
        f"{shuffles:,} shuffles of the labels, Student's t: {least} for the best of {len(p):,} "
        f"cells{of} (smallest p times their number, Bonferroni)."
    ]


def width_words(record: Record) -> str:
    """Whether components were compared at one width."""
    to = record.probe.width
    if to:
        return (
            f"Components projected to width {to:,} by a random projection, seed "
            f"{record.settings.seed}."
        )
    return (
        "Components differ in width (printed below them), wider ones hold more: --width D "
        "compares them at one."
    )
