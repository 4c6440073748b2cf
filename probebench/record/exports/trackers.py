"""A run in an experiment tracker: wandb, or trackio, which speaks the same words.

Neither is installed with the suite. Where they send what they are given, and as whom, is theirs to
know: their own settings hold (`WANDB_MODE`, `WANDB_API_KEY`, `TRACKIO_SPACE_ID` and others).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from probebench.errors import NotLoggedError, ProbebenchError, RunError, UnknownNameError
from probebench.files import elsewhere
from probebench.models.optional import need
from probebench.record.exports.scores import scores
from probebench.record.run import Run
from probebench.types import layer_number

TRACKERS = ("trackio", "wandb")
PROJECT = "probebench"
"""Where runs are put, unless `WANDB_PROJECT` or `TRACKIO_PROJECT` says another."""
MAP = "heatmap.png"


def check_trackers(flag: str, names: tuple[str, ...]) -> None:
    """Are they known, and there?

    Raises:
        UsageError: one is not known, or not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UnknownNameError(flag, name, TRACKERS)
        need(f"{flag} {name}", name)


def log_run(run: Run, tracker: str) -> None:
    """Put a finished run into a tracker: its settings, every number with its interval and n, the
    selected position layer by layer, and its map.

    Args:
        run: a finished run.
        tracker: one of `TRACKERS`.

    Raises:
        UsageError: the tracker is not installed.
        RunError: the tracker refuses; the run is finished all the same.
    """
    need(f"Logging to {tracker}", tracker)
    try:
        _log(run, import_module(tracker), os.environ.get(f"{tracker.upper()}_PROJECT") or PROJECT)
    # whatever a tracker raises, it is not the run that failed
    except (Exception, SystemExit) as error:
        raise RunError(
            f"The run in {run.folder} is finished, but {tracker} did not take it: "
            f"{type(error).__name__}: {error}. To try again: probebench export {run.folder} --to "
            f"{tracker}"
        ) from error


def log_to_all(run: Run, trackers: Sequence[str]) -> None:
    """Put a finished run into every tracker; one that refuses keeps no other from it.

    Raises:
        NotLoggedError: trackers refuse, with what each said.
    """
    refused = []
    for tracker in trackers:
        try:
            log_run(run, tracker)
        except ProbebenchError as error:
            refused.append(str(error))
    if refused:
        raise NotLoggedError("\n".join(refused), run)


def _log(run: Run, tracker: Any, project: str) -> None:
    r = run.record
    config = {
        "settings": r.settings.plain(),
        "model": r.model.plain(),
        "task": r.task.plain(),
        "versions": dict(r.versions),
        "selected": f"{r.selection.site}, layer {r.selection.layer}, {r.selection.position}",
        "key": r.key,
        "warnings": list(r.warnings),
    }
    tracker.init(project=project, name=f"{r.model.name} on {r.task.name}", config=config)
    try:
        curve = run.matrix("auroc", split="validation", site=r.selection.site)
        values = curve[r.selection.position].dropna()
        for layer, value in values.items():
            tracker.log({"layer/validation_auroc": float(value)}, step=layer_number(str(layer)) + 1)
        numbers: dict[str, Any] = {}
        for score in scores(r):
            at = score.name.replace(".", "/")
            numbers |= {at: score.value, f"{at}_n": score.n}
            if score.interval is not None:
                numbers |= {f"{at}_low": score.interval.low, f"{at}_high": score.interval.high}
        with _picture(run) as picture:
            if picture is not None:
                numbers["map"] = tracker.Image(str(picture))
            tracker.log(numbers, step=r.model.n_layers + 1)
    finally:
        tracker.finish()


@contextmanager
def _picture(run: Run) -> Iterator[Path | None]:
    """The map in a folder of this machine, which trackers read from; None where there is none."""
    path = run.folder / MAP
    if not path.is_file():
        yield None
    elif not elsewhere(path):
        yield path
    else:
        with TemporaryDirectory() as folder:
            copy = Path(folder) / MAP
            copy.write_bytes(path.read_bytes())
            yield copy
