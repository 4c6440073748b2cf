"""From a finished run to the files of a submission, or the reasons why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from probebench.errors import BadFileError, UsageError
from probebench.files import missing, with_digits, write_atomic, write_json
from probebench.job.options import OPTIONS
from probebench.leaderboard.submission.names import model_folder, task_folder
from probebench.leaderboard.submission.read import CELLS, DECISIONS, RECORD
from probebench.leaderboard.submission.tables import cells_csv, decisions_bytes
from probebench.options.python import speaks_python
from probebench.record.run import Run
from probebench.record.schema import PROTOCOL_VERSION, Record
from probebench.tasks.schema import list_tasks
from probebench.text import as_float

ADDITIVE = frozenset(o.name for o in OPTIONS if o.changes == "adds")
"""Options that add to a run and change none of its numbers."""
FINER = {"states_dtype": "float32"}
"""Settings under which the same vectors are kept with more digits: some models leave float16."""
REPEATED = 0.005
"""How far an AUROC may be off when a run is made again on another processor."""
DIGITS = 10
"""Of a number in a submitted record: those that the decisions give are checked to 1e-6."""
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
        yield f"A setting of the protocol is overridden: {_asked(name, value)}. Run it without."
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


def _asked(name: str, value: Any) -> str:
    """An option and its value as a command line has them."""
    flag = next((o.flag for o in OPTIONS if o.name == name), f"--{name.replace('_', '-')}")
    if isinstance(value, bool):
        return flag if value else f"--no-{flag.removeprefix('--')}"
    if isinstance(value, Mapping):
        value = value.get("name")
    return f"{flag} {','.join(map(str, value)) if isinstance(value, list | tuple) else value}"


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
    due = ("predictions.parquet", "scores.parquet", *run.record.files)
    if absent := missing(run.folder, due):
        names = ", ".join(dict.fromkeys(absent))
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
    write_json(folder / RECORD, submitted_record(record), lines=True)
    return folder


def only_adds(new: Record, old: Record) -> bool:
    """Is it the run of a row, or that run with more beside it, such as `--repeat-splits`: the same
    examples, cell and figures, and every detector that was there?"""
    if new.key == old.key:
        return True
    found, a, b = {d.name: d for d in new.detectors}, new.selection, old.selection
    return (
        (new.data.sha256, new.task.hash, _sizes(new))
        == (old.data.sha256, old.task.hash, _sizes(old))
        and (a.site, a.layer, a.position) == (b.site, b.layer, b.position)
        and abs(as_float(a.test_auroc) - as_float(b.test_auroc)) <= REPEATED
        and all(
            (own := found.get(d.name)) is not None
            and own.n == d.n
            and abs(own.auroc - d.auroc) <= REPEATED
            for d in old.detectors
        )
    )


def _sizes(record: Record) -> list[tuple[int, int]]:
    """Examples of each split and those of the positive class; a submission has the shares of both
    in fewer digits."""
    c = record.counts
    return [(split.n, split.correct) for split in (c.train, c.validation, c.test)]


def submitted_record(record: Record) -> dict[str, Any]:
    """The run's record without what names places on a machine and the thresholds for abstaining, a
    third of it that no page shows and the decisions give; with the format of the submission, and
    numbers to `DIGITS` digits."""
    left_out = ("states", "files", "settings", "extraction", "abstention")
    kept = {k: v for k, v in record.plain().items() if k not in left_out}
    settings = {name: record.settings.get(name) for name in SETTINGS}
    whole = {**kept, "settings": settings, "submission": {"format": FORMAT}}
    submitted: dict[str, Any] = with_digits(whole, DIGITS)
    return submitted
