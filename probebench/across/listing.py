"""What lies under a folder of runs: finished and unfinished ones, their sizes, and what of them can
be freed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from probebench.errors import BadFileError, LockedError, ProbebenchError, RunError
from probebench.files import elsewhere, joined, missing, remove_tree
from probebench.record.inside.kinds import SPANS, holds_spans
from probebench.record.inside.spans import SpanRun
from probebench.record.run import RECORD, Run
from probebench.store.lock import Lock
from probebench.store.shards import STAGES, manifests

State = Literal["finished", "incomplete", "unfinished", "unreadable"]


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A run directory."""

    folder: Path
    state: State
    run: Run | None
    """None where there is no record that can be read."""
    why: str
    """Why a record cannot be read, or which files are not there; else empty."""
    n_bytes: int
    inside: SpanRun | None = None
    """A run at tokens inside answers, with its record."""

    @property
    def has_states(self) -> bool:
        """Are the hidden states of a finished run still there?"""
        return any(run is not None and run.has_states for run in (self.run, self.inside))


def runs_under(folder: Path) -> list[Listed]:
    """Every run directory in a folder, itself included, sorted by path.

    A run directory holds a record, or stages of a run that has not finished.

    Raises:
        BadFileError: there is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise BadFileError(f"There is no folder {folder}; runs lie in runs/<model>/<task>.")
    try:
        places = sorted(_places(folder))
    except OSError as error:
        raise BadFileError(f"{folder} cannot be read: {error.strerror}.") from None
    return [_listed(at, [p for p in places if at in p.parents]) for at in places]


def _places(folder: Path) -> Iterator[Path]:
    held = list(folder.iterdir())
    names = {path.name for path in held}
    own = RECORD in names or SPANS in names or bool(_stages(folder))
    if own:
        yield folder
    for path in held:
        if own and path.name == STAGES:
            continue  # what lies there belongs to the run
        with suppress(OSError):  # a folder that may not be read hides nothing else
            if path.is_dir() and not path.is_symlink():
                yield from _places(path)


def run_around(folder: Path) -> Path | None:
    """The finished run that a folder lies in, if it lies in one."""
    above = folder.parents if elsewhere(folder) else folder.absolute().parents
    return next((place for place in above if _finished(place)), None)


def run_inside(folder: Path) -> Path | None:
    """A run that lies somewhere under a folder that is none itself, if there is one."""
    if not folder.is_dir():
        return None
    with suppress(OSError):
        return next((place for place in _places(folder) if place != folder and is_run(place)), None)
    return None


def is_run(folder: Path) -> bool:
    """Does a folder hold a run's record, or stages of a run that has not finished?"""
    return _finished(folder) or bool(_stages(folder))


def _finished(folder: Path) -> bool:
    """Is there a record that can be read? A file of that name alone may be anything."""
    for name, load in ((RECORD, Run.load), (SPANS, SpanRun.load)):
        with suppress(ProbebenchError, OSError):
            if (folder / name).is_file():
                load(folder)
                return True
    return False


def _stages(folder: Path) -> list[Path]:
    """Folders of stages in a run directory: those with the list of shards that a stage writes."""
    return [place for place in sorted((folder / STAGES).glob("*")) if manifests(place)]


def _listed(folder: Path, within: Sequence[Path]) -> Listed:
    """A run directory; what lies in runs within it is theirs."""
    size = size_of(folder, within)
    if holds_spans(folder):
        try:
            inside = SpanRun.load(folder)
        except BadFileError as error:
            return Listed(folder, "unreadable", None, str(error), size)
        why = _lacking(folder, inside.record.files)
        return Listed(folder, "incomplete" if why else "finished", None, why, size, inside)
    if not (folder / RECORD).exists():
        return Listed(folder, "unfinished", None, "", size)
    try:
        run = Run.load(folder)
    except BadFileError as error:
        return Listed(folder, "unreadable", None, str(error), size)
    why = _lacking(folder, run.record.files)
    return Listed(folder, "incomplete" if why else "finished", run, why, size)


def _lacking(folder: Path, files: Sequence[str]) -> str:
    """Which of its files a run directory lacks; empty where it has all."""
    absent = missing(folder, files)
    return f"{', '.join(absent)} missing; the same eval command makes it whole." if absent else ""


def size_of(place: Path, but: Sequence[Path] = ()) -> int:
    """Bytes of all files in a folder, but for those in some folders within it; links are not
    followed."""
    apart = set(but)
    total = 0
    for p in place.rglob("*"):
        with suppress(OSError):  # a run that goes on renames its files meanwhile
            if p.is_file() and not p.is_symlink() and apart.isdisjoint(p.parents):
                total += p.stat().st_size
    return total


@dataclass(frozen=True, slots=True)
class Freeable:
    """A folder that can be deleted, and what is lost with it."""

    place: Path
    n_bytes: int
    run: Path
    """The run directory that it belongs to."""


def freeable(
    listed: Sequence[Listed], *, states: bool = False, unfinished: bool = False
) -> list[Freeable]:
    """Stages that can be deleted: of finished runs what their record does not rest on.

    Args:
        listed: the runs.
        states: also the hidden states of finished runs, without which probes, transfer and
            comparisons of sites are gone, and the answer tokens that they were asked to keep.
        unfinished: also what unfinished runs, and those that lack files, would go on from.
    """
    found = []
    for own in listed:
        if own.state == "unreadable" or (
            own.state in ("unfinished", "incomplete") and not unfinished
        ):
            continue
        record = next((run.record for run in (own.run, own.inside) if run is not None), None)
        kept = set() if states or own.run is None else _tokens(own.run)
        if record is not None and record.states is not None and not states:
            kept.add(joined(own.folder, record.states))
        found += [
            Freeable(place, size_of(place), own.folder)
            for place in _stages(own.folder)
            if place not in kept
        ]
    return found


def _tokens(run: Run) -> set[Path]:
    """Folders of the answer tokens that a run was asked to keep."""
    return {run.folder / d.tokens for d in run.record.detectors if d.tokens is not None}


@dataclass(frozen=True, slots=True, eq=False)
class Freed:
    """What became of folders that were to be deleted."""

    n_bytes: int
    """That are gone."""
    busy: list[Path]
    """Run directories that were left alone because another process works in them."""
    failed: dict[Path, str]
    """What is still there, and why."""


def removed(place: Path) -> str:
    """Delete a file, or of a folder all that can be deleted; why something is left, or nothing.

    The target of a link belongs to whoever made the link: a folder that is one stays.
    """
    if not elsewhere(place) and place.is_symlink():
        return (
            f"it is a link to {place.resolve()}; delete that yourself, where nothing else needs it"
        )
    try:
        if place.is_file():
            place.unlink()
            return ""
        if not elsewhere(place):
            shutil.rmtree(place, ignore_errors=True)  # one file that stays keeps no other
        if place.exists():
            remove_tree(place)
    except OSError as error:
        at = Path(error.filename).name if error.filename else place.name
        return f"{at}: {error.strerror or error}"
    return ""


def free(found: Sequence[Freeable]) -> Freed:
    """Delete them; a run that is being computed keeps everything."""
    n_bytes, busy, failed = 0, [], {}
    for folder in dict.fromkeys(f.run for f in found):
        places = [own for own in found if own.run == folder]
        try:
            with Lock(folder):
                for own in places:
                    why = removed(own.place)
                    if why:
                        failed[own.place] = why
                    left = size_of(own.place) if why and own.place.is_dir() else 0
                    n_bytes += own.n_bytes - min(left, own.n_bytes)
        except LockedError:
            busy.append(folder)
        except RunError:  # the lock cannot be written
            failed |= {own.place: f"{folder} cannot be written to" for own in places}
    return Freed(n_bytes, busy, failed)
