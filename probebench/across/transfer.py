"""Transfer: the probe of each task, applied to the other tasks of the same model. Reads stored
states, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.across.label_free import best_label_free
from probebench.across.topics import topic_cells, topic_names, topic_probes, topics_of
from probebench.across.union import common_cell, union_probe
from probebench.errors import UsageError
from probebench.files import make_folder, write_atomic
from probebench.maps.heatmap import plot_transfer
from probebench.maps.style import save_figure, style
from probebench.metrics.angles import cosine, mahalanobis_cosine
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import auroc_interval
from probebench.metrics.paired import paired
from probebench.progress import Progress
from probebench.record.maps import caption
from probebench.record.reopened import CellProbe, Stored, no_probe, other_model
from probebench.record.run import Run
from probebench.types import Cell, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AT = ("source", "target")
"""Whose selected cell is read."""
OTHERS = "all others"
"""Row of the map whose probe was fitted to every task but the tested one."""
FEWEST = 10
"""Right and wrong test examples, each, below which a topic's numbers are absent: of two examples an
AUROC is 0 or 1."""
MATRICES = ("auroc", "direction_free", "difference", "cosine", "mahalanobis_cosine")


def transfer(
    runs: Sequence[Run | str | Path],
    *,
    topics: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> pd.DataFrame:
    """How the probe of each task does on the other tasks of the same model, and on held-out topics:
    one row per figure.

    Args:
        runs: finished runs of one model with their hidden states, or their folders.
        topics: files that say which topic each statement of a run is of (see
            `probebench.across.topics`).
        progress: where to report to.

    Returns:
        A table whose rows are, by `kind`: `pair` (the probe of `train_task` on `test_task`),
        `all_but_one` (a probe of all other runs on `test_task`; from three runs on), `topic` (a
        probe of a run's other topics on one of its topics). `at` says whose cell is read: the
        `source`'s, chosen on its validation examples, or the `target`'s, with a probe fitted there
        on the source's train examples. `auroc` is never flipped; `direction_free` is max(auroc, 1 -
        auroc). An undefined number is NaN and `why` says the reason. docs/protocol.md defines every
        column.

    Raises:
        UsageError: one run without topics, runs of different models, seeds or probes, two runs of
            one task, or a run that did not read the cell of another.
        BadFileError, StatesError: a run without hidden states.
    """
    loaded = [Run.load(run) for run in runs]
    _check(loaded)
    stored = [Stored(run) for run in loaded]
    labelled = topics_of(stored, topics)
    if len(stored) < 2 and not labelled:
        raise UsageError(
            f"{loaded[0].folder} is one run without topics: transfer needs two runs or more of one "
            "model, or a run of statements "
            f"on several topics with --topics FILE."
        )
    rows = [*(row for owner in stored for row in _at_cell_of(owner, stored)), *_all_but_one(stored)]
    for run, topic in labelled:
        rows += _held_out_topics(run, topic, progress or Progress())
    order = {name: i for i, name in enumerate(s.name for s in stored)}
    kinds = {"pair": 0, "all_but_one": 1, "topic": 2}
    rows.sort(
        key=lambda r: (
            kinds[r["kind"]],
            AT.index(r["at"]),
            order.get(r["train_task"], -1),
            order.get(r["test_task"], -1),
        )
    )
    return pd.DataFrame(rows)


def _check(runs: Sequence[Run]) -> None:
    first = runs[0].record
    for run in runs[1:]:
        pair = f"{runs[0].folder} and {run.folder}"
        if different := other_model(run, first["model"]):
            raise UsageError(
                f"{pair} are not runs of one model: they differ in {', '.join(different)}."
            )
        if run.record["settings"]["seed"] != first["settings"]["seed"]:
            raise UsageError(
                f"{pair} were split with different seeds: groups may stand in both splits."
            )
        kinds = [(r["probe"]["name"], r["settings"].get("width")) for r in (first, run.record)]
        if kinds[0] != kinds[1]:
            said = [f"{name} at width {width}" if width else name for name, width in kinds]
            raise UsageError(
                f"{pair} have different probes, {said[0]} and {said[1]}: transfer compares tasks, "
                "not probes."
            )
    names = [run.record["task"]["name"] for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"Two runs of the task {twice[0]}: give one run per task.")


def _at_cell_of(owner: Stored, runs: Sequence[Stored]) -> Iterator[dict[str, Any]]:
    """All pairs that read the selected cell of one run: it as the source, and it as the target."""
    cell = owner.cell
    if missing := [run for run in runs if not run.has(cell)]:
        raise UsageError(
            f"{missing[0].run.folder} did not read {cell.site} of layer {cell.row}, the cell of "
            f"{owner.run.folder}."
        )
    X = owner.vectors(cell)
    probe = owner.probe_at(cell, X)
    for at in AT:
        yield _pair("pair", at, owner.name, owner, cell, probe, None, X, [owner])
    for run in runs:
        if run is owner:
            continue
        own_X = run.vectors(cell)
        own = run.probe_at(cell, own_X)
        yield _pair("pair", "source", owner.name, run, cell, probe, own, own_X, [owner])
        yield _pair("pair", "target", run.name, owner, cell, own, probe, X, [run])


def _all_but_one(runs: Sequence[Stored]) -> Iterator[dict[str, Any]]:
    """One probe of all other runs for each run, at the others' common cell and at its own."""
    if len(runs) < 3:
        return
    for target in runs:
        others = [run for run in runs if run is not target]
        common = common_cell(others, target)
        for at, cell in (("source", common or target.cell), ("target", target.cell)):
            nowhere = at == "source" and common is None
            probe = (
                no_probe("no cell has a probe in all other runs")
                if nowhere
                else union_probe(others, cell)
            )
            X = target.vectors(cell)
            yield _pair(
                "all_but_one", at, OTHERS, target, cell, probe, target.probe_at(cell, X), X, others
            )


def _held_out_topics(
    run: Stored, topics: NDArray[np.object_], progress: Progress
) -> Iterator[dict[str, Any]]:
    """Each topic of a run under a probe, and at a cell, of its other topics; one too small to test
    costs no fit."""
    test, y = run.split == "test", run.labels.y
    right, wrong = (
        {t: int((test & (topics == t) & (y == label)).sum()) for t in topic_names(topics)}
        for label in (1, 0)
    )
    tested = [topic for topic in right if min(right[topic], wrong[topic]) >= FEWEST]
    found = {topic: (run.cell, no_probe("")) for topic in right}
    with progress.stage(
        "Holding topics out", len(tested) * len(topic_cells(run)), "fits"
    ) as counter:
        found |= {
            topic: (cell, probe)
            for topic, cell, probe in topic_probes(run, topics, tested, counter)
        }
    for topic, (cell, probe) in found.items():
        names, X = (f"{run.name} without {topic}", f"{run.name}: {topic}"), run.vectors(cell)
        yield _pair(
            "topic",
            "source",
            names[0],
            run,
            cell,
            probe,
            None,
            X,
            [],
            topics == topic,
            names[1],
            FEWEST,
        )


def _pair(
    kind: str,
    at: str,
    source: str,
    target: Stored,
    cell: Cell,
    probe: CellProbe,
    own: CellProbe | None,
    X: NDArray[np.float32],
    seen: Sequence[Stored],
    among: NDArray[np.bool_] | None = None,
    test_name: str | None = None,
    fewest: int = 1,
) -> dict[str, Any]:
    """One row: a probe on the test examples of one task.

    Args:
        kind: of row.
        at: whose cell is read.
        source: name of what the probe was fitted to.
        target: the tested run.
        cell: where.
        probe: what is applied.
        own: the target's own probe at the same cell, for the angle; None where there is none to
            compare with.
        X: the target's vectors there.
        seen: runs that the probe was fitted or chosen on.
        among: (example,) only these of the target's examples; None for all.
        test_name: name of what is tested, where it is not the whole task.
        fewest: right and wrong test examples, each, that the numbers need.
    """
    nan = float("nan")
    row = {
        "kind": kind,
        "at": at,
        "train_task": source,
        "test_task": test_name or target.name,
        "site": cell.site,
        "layer": cell.row,
        "position": cell.position,
        "C": probe.C,
        "validation_auroc": probe.validation_auroc,
    }
    test = (
        (target.split == "test")
        & target.there(cell)
        & (np.ones(len(X), dtype=bool) if among is None else among)
    )
    unseen = target.unseen_by(seen)
    rows = np.flatnonzero(test & unseen)
    y = target.labels.y[rows]
    counts = {
        "n": len(rows),
        "correct": int(y.sum()),
        "twins_left_out": int((test & ~unseen).sum()),
    }
    why = probe.why or (
        ""
        if min(counts["correct"], len(y) - counts["correct"]) >= fewest
        else _too_few(counts, cell, fewest)
    )
    empty = dict.fromkeys(("auroc", "low", "high", "direction_free"), nan)
    numbers = {**empty, **_baseline(target, rows, None), "cosine": nan, "mahalanobis_cosine": nan}
    if not why:
        decisions = probe.decisions(X[rows])
        draws = Resamples.draw(target.labels.group_names(rows), target.seed)
        value, interval = auroc(y, decisions), auroc_interval(draws, y, decisions)
        numbers |= {
            "auroc": value,
            "low": interval.low,
            "high": interval.high,
            "direction_free": max(value, 1 - value),
        }
        numbers |= _baseline(target, rows, decisions)
        if own is not None:
            numbers |= {
                "cosine": cosine(probe.weight, own.weight),
                "mahalanobis_cosine": mahalanobis_cosine(probe.weight, own.weight, X[rows]),
            }
    return {
        **row,
        **{k: numbers[k] for k in empty},
        **counts,
        **{k: v for k, v in numbers.items() if k not in empty},
        "why": why,
    }


def _too_few(counts: dict[str, int], cell: Cell, fewest: int) -> str:
    twins = (
        f", after {counts['twins_left_out']} with a twin in training were left out"
        if counts["twins_left_out"]
        else ""
    )
    needed = (
        "both classes are needed" if fewest == 1 else f"at least {fewest} of each class are needed"
    )
    return (
        f"{counts['n']} test examples with {cell.position}, {counts['correct']} of them "
        f"correct{twins}: {needed}"
    )


def _baseline(target: Stored, rows: NDArray[np.int64], decisions: Floats | None) -> dict[str, Any]:
    """The target's best label-free baseline and its own selected probe, on the examples that all
    can score.

    Args:
        target: the tested run.
        rows: tested examples.
        decisions: of the transferred probe on them; None where it has none.
    """
    nan, baseline = float("nan"), best_label_free(target)
    names = (
        "own_auroc",
        "compared_auroc",
        "baseline_auroc",
        "difference",
        "difference_low",
        "difference_high",
    )
    none: dict[str, Any] = {
        "own_auroc": nan,
        "baseline": baseline,
        **dict.fromkeys(names[1:], nan),
        "n_compared": 0,
    }
    if decisions is None:
        return none
    y = target.labels.y[rows]
    own = target.reported["probe"][rows]
    if np.isfinite(own).all():
        none["own_auroc"] = auroc(y, own)
    if baseline is None:
        return none
    found = paired(
        y,
        y,
        decisions,
        target.reported[baseline][rows],
        target.labels.group_names(rows),
        target.seed,
    )
    none["n_compared"] = found.n
    if found.correct[0] in (0, found.n):
        return none
    return {
        **none,
        "compared_auroc": found.values[0],
        "baseline_auroc": found.values[1],
        "difference": found.difference,
        "difference_low": found.interval.low,
        "difference_high": found.interval.high,
    }


def transfer_matrix(table: pd.DataFrame, column: str = "auroc", at: str = "source") -> pd.DataFrame:
    """One column of the table of `transfer` as train tasks x test tasks, in the order of the runs;
    `all others` below them."""
    own = table[(table["at"] == at) & table.kind.isin(["pair", "all_but_one"])]
    matrix = own.pivot(index="train_task", columns="test_task", values=column)
    names = list(dict.fromkeys(own[own.kind == "pair"].train_task))
    return (
        matrix.loc[[*names, *([OTHERS] if OTHERS in matrix.index else [])], names]
        .rename_axis("train_task")
        .astype(float)
    )


def predicted_by_angle(table: pd.DataFrame) -> dict[str, Any]:
    """Pearson correlation, over the pairs of different tasks, between each kind of cosine and the
    AUROC; NaN below four pairs."""
    pairs = table[(table.kind == "pair") & (table.train_task != table.test_task)]
    pairs = pairs.drop_duplicates(
        ["train_task", "test_task", "site", "layer", "position"]
    )  # both may have chosen one cell
    found: dict[str, Any] = {}
    for name in ("cosine", "mahalanobis_cosine"):
        both = pairs[[name, "auroc"]].dropna()
        defined = len(both) > 3 and bool((both.std() > 0).all())
        found[name] = {
            "r": float(both.corr().iloc[0, 1]) if defined else float("nan"),
            "pairs": len(both),
        }
    return found


def transfer_map(runs: Sequence[Run], **options: Any) -> tuple[Axes, pd.DataFrame]:
    """The train x test map of a set of runs of one model, and its numbers as a long table."""
    table = transfer(runs)
    return draw_transfer(table, runs[0].record, **options), table


def draw_transfer(
    table: pd.DataFrame, record: dict[str, Any], at: str = "source", **options: Any
) -> Axes:
    """The map of a table of `transfer`, at the cells of the train tasks or of the test tasks."""
    pairs = table[(table.kind == "pair") & (table["at"] == at)]
    cell = (
        "the train task's selected cell"
        if at == "source"
        else "the test task's selected cell, fitted on the train task"
    )
    lines = [
        f"{record['probe']['name']} probe of {cell}, test AUROC on the test task, never flipped;",
        f"n = {int(pairs.n.min())} to {int(pairs.n.max())} per cell; framed: its own task. Grey: "
        "not defined.",
    ]
    if OTHERS in set(table.train_task):
        lines.append("Lowest row: one probe of all tasks but the tested one.")
    settings = {
        "title": f"{record['model']['name']}: transfer between tasks",
        "caption": caption(record, lines),
    }
    return plot_transfer(transfer_matrix(table, at=at), **{**settings, **options})


def write_transfer(
    table: pd.DataFrame,
    record: dict[str, Any],
    folder: Path,
    formats: Sequence[str] = ("png", "svg"),
) -> list[Path]:
    """Write the long table, its matrices as csv, and the two maps; of topics alone, the table only.

    Raises:
        UsageError: the folder cannot be written to.
    """
    make_folder(folder)
    files = {"transfer.csv": table.to_csv(index=False, float_format="%.6f")}
    several = table[table.kind == "pair"].test_task.nunique() > 1
    for at in AT if several else ():
        for column in MATRICES:
            files[f"transfer_{at}_{column}.csv"] = transfer_matrix(table, column, at).to_csv(
                float_format="%.6f"
            )
    for name, content in files.items():
        write_atomic(folder / name, content.encode())
    paths = [folder / name for name in files]
    for at in AT if several else ():
        with style("publication"):
            name = "transfer" if at == "source" else "transfer_target"
            paths += save_figure(draw_transfer(table, record, at), folder, name, formats)
    return paths
