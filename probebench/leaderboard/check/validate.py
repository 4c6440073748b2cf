"""Submissions checked as data, one at a time, in worker processes that may fail without taking the
check along."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from probebench.errors import BadFileError
from probebench.leaderboard.check.submission import Checked, check
from probebench.leaderboard.submission.read import (
    DECISIONS,
    RECORD,
    VERSION_FOLDER,
    find_submissions,
)
from probebench.leaderboard.submission.strict import Broken, Finding, read_bytes, shown
from probebench.record.schema import PROTOCOL_VERSION

MEMORY = 6 * 2**30
"""Bytes of address space of a worker, where the system can limit it."""
AHEAD = 4
"""Submissions per worker that wait: results come in order, and memory does not grow with their
number."""
MOST_CHANGED = 50
"""Submissions in one change."""
OTHERS = 64 * 2**20
"""Bytes of a file beside the submissions, which `leaderboard build` writes."""


def resolve(path: Path, *, empty: bool = False) -> tuple[Path, list[Path]]:
    """The leaderboard's folder and the submissions that a path names: the whole, one model's, or
    one.

    Args:
        path: as its user named it.
        empty: the whole may hold none.

    Raises:
        BadFileError: there is nothing.
    """
    path = path.absolute()
    parents = [path, *path.parents]
    at = next((i for i, p in enumerate(parents[:3]) if VERSION_FOLDER.fullmatch(p.name)), None)
    if path.is_dir() and any(VERSION_FOLDER.fullmatch(p.name) for p in path.iterdir()):
        at = None  # a folder called so above it is somebody's own
    root = parents[at].parent if at is not None else path
    folders = (
        [f for f in find_submissions(root) if path in (f, *f.parents)] if root.is_dir() else []
    )
    if not folders and not (empty and path.is_dir() and path == root):
        raise BadFileError(
            f"{path} holds no submission: a submission is a folder leaderboards/v2/<model>/<task>, "
            "written by `probebench leaderboard submit RUN`."
        )
    return root, folders


def validate(path: Path, base: Path | None = None, workers: int = 2) -> Iterator[Checked]:
    """Check every submission below a path, in order; then what only all of them together show.

    Args:
        path: the folder `leaderboards`, or one submission.
        base: that folder before the change.
        workers: processes; 0 checks in this one.

    Raises:
        BadFileError: there is nothing to check.
    """
    root, folders = resolve(path, empty=base is not None)  # with a base, each row is missed
    if base is not None and root.is_symlink():
        yield Checked(
            root.name, (Finding("folder", "path", "a link", "the folder of the submissions"),)
        )
        return
    if base is not None:  # what stands there is seen before what is new
        folders.sort(key=lambda f: not base.joinpath(*f.parts[-3:]).is_dir())
    seen, changed = Together(), 0
    for report in run_checks(folders, base, workers):
        changed += base is not None and not report.unchanged
        if changed > MOST_CHANGED:
            yield Checked(
                report.path,
                (
                    Finding(
                        "folder", "submissions", f"more than {MOST_CHANGED}", "fewer in one change"
                    ),
                ),
            )
            return
        yield seen.add(report)
    if base is not None and path.absolute() == root:
        yield from _beside(root, base)
        here = {"/".join(f.parts[-3:]) for f in folders}
        for folder in find_submissions(base):
            if (name := "/".join(folder.parts[-3:])) not in here:
                due = "every row of the base: an old branch is merged with it first"
                yield Checked(name, (Finding(RECORD, "row", "removed", due),))


def _beside(root: Path, base: Path) -> Iterator[Checked]:
    """Everything beside the submissions is built from them, and no change of a submission touches
    it."""
    waiting = sorted(
        (p for p in root.iterdir() if not VERSION_FOLDER.fullmatch(p.name)), reverse=True
    )
    while waiting:
        file = waiting.pop()
        if file.is_dir() and not file.is_symlink():
            waiting += sorted(file.iterdir(), reverse=True)
            continue
        path = file.relative_to(root)
        try:
            same = read_bytes(root, str(path), OTHERS) == read_bytes(base, str(path), OTHERS)
        except Broken:
            same = False
        if not same:
            name = shown(str(path)).strip("'")
            yield Checked(
                name,
                (
                    Finding(
                        name,
                        "file",
                        "new or changed",
                        f"only submissions, below v{PROTOCOL_VERSION}/: the rest is built",
                    ),
                ),
            )


class Together:
    """What is kept of each submission, a few hundred bytes, to find rows that stand there twice."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        self.data: dict[tuple[Any, ...], tuple[str, str]] = {}
        self.models: dict[str, str] = {}
        self.groups: dict[tuple[Any, ...], tuple[str, str]] = {}

    def add(self, report: Checked) -> Checked:
        """The report, with what the submissions before it say of it; one that stood there already
        is only remembered."""
        failures, strange = list(report.failures), list(report.suspicious)
        other = self.rows.setdefault(report.path.casefold(), report.path)
        if other != report.path:
            due = f"a row that is not there yet: {shown(other)} differs in case only"
            failures.append(Finding("folder", "name", shown(report.path), due))
        model = report.path.rpartition("/")[0]
        if (other := self.models.setdefault(model.casefold(), model)) != model:
            due = f"a folder that is not there yet: {shown(other)} differs in case only"
            failures.append(Finding("folder", "name", shown(model), due))
        if report.facts:
            if (other := self.keys.setdefault(report.facts["key"], report.path)) != report.path:
                failures.append(
                    Finding(
                        RECORD,
                        "key",
                        shown(report.facts["key"]),
                        f"a run of its own; {shown(other)} is this one",
                    )
                )
            if (
                other := self.digests.setdefault(report.facts["digest"], report.path)
            ) != report.path:
                strange.append(
                    Finding(
                        "decisions.parquet",
                        "d:probe",
                        f"the labels and decisions of {shown(other)}",
                        "its own",
                    )
                )
            *kind, digest = report.facts["data"]
            first, where = self.data.setdefault(tuple(kind), (digest, report.path))
            if first != digest:
                strange.append(
                    Finding(RECORD, "data.sha256", shown(digest), f"{first}, as in {shown(where)}")
                )
            ids, digest = report.facts["examples"]
            first, where = self.groups.setdefault((*kind, ids), (digest, report.path))
            if first != digest:
                due = f"those of {shown(where)}, which has the same examples"
                strange.append(Finding(DECISIONS, "split, group", "other splits or groups", due))
        if report.unchanged:
            return report
        return replace(report, failures=tuple(failures), suspicious=tuple(strange))


def run_checks(folders: Sequence[Path], base: Path | None, workers: int) -> Iterator[Checked]:
    """A report per folder, in order. A worker that dies takes no other submission along."""
    if not workers:
        yield from (check(folder, base) for folder in folders)
        return
    waiting = deque(folders)
    while waiting:
        pending: deque[tuple[Path, Future[Checked]]] = deque()
        with _pool(workers) as pool:
            try:
                while waiting or pending:
                    while waiting and len(pending) < AHEAD * workers:
                        pending.append((waiting[0], pool.submit(check, waiting[0], base)))
                        waiting.popleft()
                    report = pending[0][1].result()
                    pending.popleft()
                    yield report
                continue
            except BrokenProcessPool:
                pass
        again = [folder for folder, _ in pending]
        yield from _one_by_one(again, base)


def _one_by_one(folders: Iterable[Path], base: Path | None) -> Iterator[Checked]:
    """Each in a process of its own, so that the one that ends it is known."""
    for folder in folders:
        with _pool(1) as pool:
            try:
                yield pool.submit(check, folder, base).result()
            except BrokenProcessPool:
                given = "content that ended the process that read it"
                what = Finding("decisions.parquet", "file", given, "a file that can be read")
                yield Checked("/".join(folder.parts[-3:]), (what,))


def _pool(workers: int) -> ProcessPoolExecutor:
    import multiprocessing

    return ProcessPoolExecutor(
        max_workers=workers, mp_context=multiprocessing.get_context("spawn"), initializer=_limit
    )


def _limit() -> None:
    """Bound a worker's memory where the system can."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
