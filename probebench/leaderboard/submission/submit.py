"""From a finished run to the files of a submission, or the reasons why not."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from probebench.errors import BadFileError, UsageError
from probebench.files import write_atomic, write_json
from probebench.job.options import OPTIONS
from probebench.leaderboard.submission.names import model_folder, task_folder
from probebench.leaderboard.submission.read import (
    CELL_COLUMNS,
    CELLS,
    DECISIONS,
    DETECTOR_MARK,
    RECORD,
    SHUFFLED_MARK,
    TEXTS,
)
from probebench.options.python import speaks_python
from probebench.record.run import Run
from probebench.record.schema import PROTOCOL_VERSION, Record
from probebench.scoring.comparison import SHUFFLED
from probebench.tasks.schema import list_tasks
from probebench.text import as_float

ADDITIVE = frozenset(o.name for o in OPTIONS if o.changes == "adds")
"""Options that add to a run and change none of its numbers."""
FINER = {"states_dtype": "float32"}
"""Settings under which the same vectors are kept with more digits: some models leave float16."""
REPEATED = 0.005
"""How far an AUROC may be off when a run is made again on another processor."""
FORMAT = 1
"""Of the files of a submission."""
SETTINGS = ("task", "seed", "probe", "solver", "overrides")
"""What a submission keeps of the settings; the rest names places on somebody's machine."""


def overridden(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Of the overrides of a run, those that keep it from ranking."""
    return {k: v for k, v in overrides.items() if k not in ADDITIVE and FINER.get(k) != v}


def refusals(run: Run) -> list[str]:
    """Everything that keeps this run off the leaderboard, one sentence each."""
    return [*_protocol(run.record), *_source(run.record), *_whole(run)]


def _protocol(record: Record) -> Iterator[str]:
    settings = record.settings
    if record.protocol_version != PROTOCOL_VERSION:
        yield (
            f"The run was made under protocol {record.protocol_version}; rows are ranked under "
            f"protocol {PROTOCOL_VERSION}. Run it again."
        )
    changed = overridden(settings.overrides)
    if (limit := changed.pop("limit", None)) is not None:
        yield f"The run has only a part of the examples: --limit {limit}. Run it without."
    if (data := changed.pop("data", None)) is not None:
        files = " --data ".join(map(str, data)) if isinstance(data, list) else data
        yield (
            f"The questions are custom data: --data {files}. Only the task's own pinned data rank."
        )
    if (answers := settings.answers) is not None:
        yield (
            f"The answers were made elsewhere: --answers {answers}. Only answers that the suite "
            "generated rank."
        )
    if (states := changed.pop("states", settings.states)) is not None:
        yield f"The hidden states were made elsewhere: --states {states}."
    for name, value in changed.items():
        words = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
        yield (
            f"A setting of the protocol is overridden: --{name.replace('_', '-')} {words}. Run it "
            "without."
        )
    if record.probe.name != "logistic" and "probe" not in changed:
        yield f"The probe is {record.probe.name!r}; the protocol's is 'logistic'."
    task = record.task
    own = {(t.name, t.version): t.hash for t in list_tasks()}.get((task.name, task.version or 0))
    if own is None:
        yield f"The task {task.name!r}, version {task.version}, is not one of the suite's."
    elif own != task.hash:
        yield (
            f"The task {task.name!r} is not the suite's version {task.version}: its file was "
            "changed."
        )


def _source(record: Record) -> Iterator[str]:
    if record.package.dirty:
        yield (
            "The package was dirty: files under probebench/ or tasks/ differ from its commit. "
            "Commit them and run again."
        )
    if record.model.remote_code is not None:
        yield (
            "The model ran Python code of its own (--trust-remote-code), which nobody here can "
            "run again safely."
        )


def _whole(run: Run) -> Iterator[str]:
    missing = [
        n
        for n in ("predictions.parquet", "scores.parquet", *run.record.files)
        if not (run.folder / n).is_file()
    ]
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        yield (
            f"The run is partial: {names} missing in {run.folder}. The same eval command makes it "
            "whole."
        )
    counts = run.record.counts
    parts = [counts.train.n, counts.validation.n, counts.test.n]
    if sum(parts) != counts.all.n or not all(parts):
        yield f"The run is partial: its splits hold {parts} of {counts.all.n} examples."


@speaks_python()
def write_submission(run: Run, root: Path, *, exact: bool = False) -> Path:
    """Write the files of a submission below `root` (the folder `leaderboards`); its folder.

    Args:
        run: a finished run.
        root: the folder `leaderboards`.
        exact: keep every digit of the decisions.

    Raises:
        UsageError: the run cannot be submitted, with every reason.
        BadFileError: a model or task name that cannot be a folder, or another run of the same row
            is there.
    """
    if reasons := refusals(run):
        raise UsageError(
            f"{run.folder} cannot be submitted:\n" + "\n".join(f"- {reason}" for reason in reasons)
        )
    record = run.record
    folder = root / f"v{record.protocol_version}" / model_folder(record.model)
    folder /= task_folder(record.task.name, record.task.version or 0)
    if (folder / RECORD).exists() and not only_adds(record, Run.load(folder).record):
        raise BadFileError(
            f"{folder} holds another run of this model and task. A row is not replaced by a better "
            "draw; docs/leaderboard.md says how a wrong one is corrected."
        )
    write_atomic(folder / DECISIONS, decisions_bytes(run.predictions, exact=exact))
    write_atomic(folder / CELLS, cells_csv(run.scores).encode())
    write_json(folder / RECORD, submitted_record(record))
    return folder


def only_adds(new: Record, old: Record) -> bool:
    """Is it the run of a row, or that run with more beside it, such as `--repeat-splits`: the same
    examples, cell and figures, and every detector that was there?"""
    if new.key == old.key:
        return True
    found, a, b = {d.name: d for d in new.detectors}, new.selection, old.selection
    return (
        (new.data.sha256, new.task.hash, new.counts) == (old.data.sha256, old.task.hash, old.counts)
        and (a.site, a.layer, a.position) == (b.site, b.layer, b.position)
        and abs(as_float(a.test_auroc) - as_float(b.test_auroc)) <= REPEATED
        and all(
            (own := found.get(d.name)) is not None
            and own.n == d.n
            and abs(own.auroc - d.auroc) <= REPEATED
            for d in old.detectors
        )
    )


def submitted_record(record: Record) -> dict[str, Any]:
    """The run's record without what names places on a machine, and with the format of the
    submission."""
    kept = {
        k: v
        for k, v in record.plain().items()
        if k not in ("states", "files", "settings", "extraction")
    }
    settings = {name: record.settings.get(name) for name in SETTINGS}
    return {**kept, "settings": settings, "submission": {"format": FORMAT}}


def decisions_bytes(predictions: pd.DataFrame, *, exact: bool = False) -> bytes:
    """`decisions.parquet`: one row per validation and test example, one column per detector.

    Groups become codes in the order of their names: the resamples stay the same, and no question is
        published. Numbers are
    single precision wherever that leaves the order and the ties of a detector's decisions as they
    were.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = predictions["detector"].iloc[0]
    base = predictions[predictions["detector"] == first].sort_values("id", ignore_index=True)
    test = (base["split"] == "test").to_numpy()
    columns: dict[str, Any] = {
        "id": pa.array(base["id"].astype(str).tolist(), pa.string()),
        "group": pa.array(
            np.unique(base["group"].to_numpy(dtype=str), return_inverse=True)[1].astype(np.int32)
        ),
        "split": pa.array(base["split"].astype(str).tolist(), pa.string()),
        "label": pa.array(base["label"].to_numpy(dtype=np.int8)),
        "scored": pa.array(base["scored"].to_numpy(dtype=bool)),
    }
    fine: dict[str, str] = {}
    repeated = ["split"]
    for name, part in predictions.groupby("detector", sort=False):
        values = part.set_index("id")["decision"].reindex(base["id"]).to_numpy(dtype=np.float64)
        shuffled = str(name).startswith(SHUFFLED)
        column = (
            f"{SHUFFLED_MARK}{str(name).removeprefix(SHUFFLED)}"
            if shuffled
            else f"{DETECTOR_MARK}{name}"
        )
        kept = np.where(test, values, np.nan) if shuffled else values
        columns[column] = pa.array(kept if exact else compact(kept), from_pandas=True)
        if len(np.unique(values)) < len(values) / 4:
            repeated.append(column)
        else:
            fine[column] = "BYTE_STREAM_SPLIT"
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        buffer,
        compression="zstd",
        compression_level=15,
        use_dictionary=repeated,
        column_encoding=fine,
        store_schema=False,
        row_group_size=len(base),
    )
    return buffer.getvalue()


def compact(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, Any]:
    """Decisions in single precision where that leaves their order and ties as they were, else as
    they are."""
    with np.errstate(over="ignore", under="ignore"):
        small = values.astype(np.float32)
    there = np.isfinite(values)
    if not np.isfinite(small[there]).all():
        return values
    order = np.argsort(values[there], kind="stable")
    wide, narrow = values[there][order], small[there][order]
    return small if np.array_equal(wide[1:] > wide[:-1], narrow[1:] > narrow[:-1]) else values


def cells_csv(scores: pd.DataFrame) -> str:
    """`cells.csv`: one row per cell, an empty field where a number is undefined."""
    cells = scores[(scores["detector"] == "cell") & (scores["metric"] == "auroc")]
    by_split = {
        name: part.set_index(["site", "layer", "position"])
        for name, part in cells.groupby("split", sort=False)
    }
    test, validation = by_split["test"], by_split["validation"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CELL_COLUMNS)
    for at, row in test.iterrows():
        other = validation.loc[at]
        numbers = (
            row["value"],
            row["low"],
            row["high"],
            other["n"],
            other["value"],
            row["selectivity"],
            row["p"],
            row["q"],
        )
        words = [_word(v) for v in numbers]
        texts = [text if isinstance(text := row.get(c), str) else "" for c in TEXTS]
        writer.writerow([*at, int(row["n"]), *words, *texts])
    return out.getvalue()


def _word(value: Any) -> str:
    """A number with twelve digits; an empty field when undefined."""
    return (
        ""
        if value is None or not math.isfinite(value)
        else str(int(value))
        if float(value).is_integer()
        else f"{value:.12g}"
    )
