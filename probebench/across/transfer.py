"""Transfer: the probe of each task, applied to the other tasks of the same model. Reads stored
states, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.across.topics import topic_cells, topic_names, topic_probes, topics_of
from probebench.across.trial import Trial
from probebench.across.union import common_cell, union_probe
from probebench.errors import UsageError
from probebench.options.python import speaks_python
from probebench.progress import Progress
from probebench.record.reopened import Reopened, no_probe, other_model
from probebench.record.run import Run

AT = ("source", "target")
"""Whose selected cell is read."""
OTHERS = "all others"
"""Row of the map whose probe was fitted to every task but the tested one."""
FEWEST = 10
"""Right and wrong test examples, each, below which a topic's numbers are absent: of two examples an
AUROC is 0 or 1."""


@speaks_python()
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
    stored = [Reopened(run) for run in loaded]
    labelled = topics_of(stored, topics)
    if len(stored) < 2 and not labelled:
        raise UsageError(
            f"{loaded[0].folder} is one run without topics: transfer needs two runs or more of one "
            "model, or a run of statements on several topics with --topics FILE."
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


def _at_cell_of(owner: Reopened, runs: Sequence[Reopened]) -> Iterator[dict[str, Any]]:
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
        yield Trial("pair", at, owner.name, owner, cell, probe, None, X, [owner]).row()
    for run in runs:
        if run is owner:
            continue
        own_X = run.vectors(cell)
        own = run.probe_at(cell, own_X)
        yield Trial("pair", "source", owner.name, run, cell, probe, own, own_X, [owner]).row()
        yield Trial("pair", "target", run.name, owner, cell, own, probe, X, [run]).row()


def _all_but_one(runs: Sequence[Reopened]) -> Iterator[dict[str, Any]]:
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
            yield Trial(
                "all_but_one", at, OTHERS, target, cell, probe, target.probe_at(cell, X), X, others
            ).row()


def _held_out_topics(
    run: Reopened, topics: NDArray[np.object_], progress: Progress
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
        yield Trial(
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
        ).row()
