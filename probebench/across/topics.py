"""Topics of a statement task: a probe of all topics but one, tested on the one left out.

The topic of an example stands in a column `topic` of the run's own answers, or in files: rows
(jsonl, json, csv, tsv, parquet) with `topic` beside `id`, `statement` or `question`. A file without
that column is one topic, named after the file, as published statements come in one file per topic.
A statement that files put under two topics has none, and takes no part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import BadFileError, UsageError
from probebench.probes.choose import best_cell, with_bars
from probebench.probes.fit import fit_cells
from probebench.progress import Counter
from probebench.record.reopened import CellProbe, Reopened, no_probe
from probebench.tasks.examples import normalise
from probebench.tasks.local.rows import read_rows
from probebench.types import EMB, Cell

TEXTS = ("statement", "question")
ENDINGS = ("_true_false",)
"""Of file names, taken off topics."""


def topics_of(
    runs: Sequence[Reopened], files: Sequence[str | Path] = ()
) -> list[tuple[Reopened, NDArray[np.object_]]]:
    """Runs that hold two topics or more, each with the topic of every example, None where it is not
    known.

    Raises:
        BadFileError: a file that cannot be read.
        UsageError: files whose statements stand in no run.
    """
    by_id, by_text = _read(files)
    found, known = [], 0
    for run in runs:
        if "topic" in run.answers and not files:
            own = run.answers.topic
            known_there = zip(own, own.notna(), strict=True)
            words = [_word(topic) if there else None for topic, there in known_there]
            topics = np.array(words, dtype=object)
        else:
            ids = [str(i) for i in run.answers.id]
            topics = np.array(
                [by_text.get(t, by_id.get(i)) for i, t in zip(ids, run.texts, strict=True)],
                dtype=object,
            )
        known += sum(topic is not None for topic in topics)
        if len({topic for topic in topics if topic is not None}) > 1:
            found.append((run, topics))
    if files and not found:
        names = ", ".join(Path(file).name for file in files)
        raise UsageError(
            f"--topics {names}: {known} of the examples have a topic, and no run has two topics or "
            "more."
        )
    return found


def _word(topic: Any) -> str | None:
    """A topic as its name, a number too; None where none is given."""
    return None if topic is None or topic == "" else str(topic)


def _read(files: Sequence[str | Path]) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Topic by id, of rows without a text, and by normalised text; None where two are said. Ids
    beside texts are those of the file, and two files may count alike."""
    by_id: dict[str, str | None] = {}
    by_text: dict[str, str | None] = {}
    for file in map(Path, files):
        stem = file.stem
        for ending in ENDINGS:
            stem = stem.removesuffix(ending)
        for row in read_rows(file):
            topic = _word(row.fields.get("topic")) or stem
            text = next((str(row.fields[name]) for name in TEXTS if row.fields.get(name)), None)
            identity = row.fields.get("id")
            if text is None and identity is None:
                raise BadFileError(
                    f"{row.where}: a row of topics needs 'id', 'statement' or 'question' beside "
                    "'topic'."
                )
            known, key = (by_id, str(identity)) if text is None else (by_text, normalise(text))
            if known.setdefault(key, topic) != topic:
                known[key] = None
    return by_id, by_text


def topic_names(topics: NDArray[np.object_]) -> list[str]:
    """The topics that are known, in order."""
    return sorted({str(topic) for topic in topics if topic is not None})


def topic_cells(run: Reopened) -> list[Cell]:
    """Cells that are fitted again for each topic: all of the selected cell's site, but the
    embedding row."""
    layers = [layer for layer in run.reader.site(run.cell.site).layers if layer != EMB]
    return [
        Cell(run.cell.site, layer, position)
        for layer in layers
        for position in run.reader.positions
    ]


def topic_probes(
    run: Reopened, topics: NDArray[np.object_], tested: Sequence[str], counter: Counter
) -> Iterator[tuple[str, Cell, CellProbe]]:
    """Of every tested topic, a probe of the run's other topics at the cell where those do best on
    validation.

    Layer, position and C are chosen without any example of the topic: all cells of the selected
    cell's site are fitted again for each topic, each of which `counter` counts. Examples whose
    topic is not known take no part.
    """
    cells = topic_cells(run)
    for topic in tested:
        used = np.array([t is not None and t != topic for t in topics], dtype=bool)
        reader = dataclasses.replace(run.reader, present=run.reader.present & used[:, None])
        fits = []
        for fit in fit_cells(dataclasses.replace(run.job, reader=reader), cells):
            counter.advance()
            fits.append(fit)
        if (best := best_cell(with_bars(fits, run.job.labels))) is None:
            yield topic, run.cell, no_probe("too few examples of both classes in the other topics")
            continue
        X = run.vectors(best.cell)
        there = run.there(best.cell) & used
        yield topic, best.cell, run.refit(best.cell, X, best.C, best.validation_auroc, among=there)
