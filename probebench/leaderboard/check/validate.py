"""Submissions checked as data, one at a time, in worker processes that may fail without taking the
check along."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from probebench.errors import BadFileError
from probebench.leaderboard.check.rules import RULES
from probebench.leaderboard.check.shape import check_shape
from probebench.leaderboard.check.suspicious import example_digests, probe_digest, suspicious
from probebench.leaderboard.check.task_data import suite, task_data
from probebench.leaderboard.submission.names import folder_problem
from probebench.leaderboard.submission.read import (
    DECISIONS,
    FILES,
    RECORD,
    RERUN,
    VERSION_FOLDER,
    find_submissions,
    fingerprint,
    read_submission,
)
from probebench.leaderboard.submission.strict import (
    JSON_BYTES,
    Broken,
    Finding,
    read_bytes,
    read_json,
    shown,
)

MEMORY = 6 * 2**30
"""Bytes of address space of a worker, where the system can limit it."""
AHEAD = 4
"""Submissions per worker that wait: results come in order, and memory does not grow with their
number."""
MOST_FINDINGS = 40
MOST_CHANGED = 50
"""Submissions in one change."""
OTHERS = 64 * 2**20
"""Bytes of a file beside the submissions, which `leaderboard build` writes."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one submission."""

    path: str
    """`v1/<model>/<task>`."""
    failures: tuple[Finding, ...] = ()
    suspicious: tuple[Finding, ...] = ()
    unchecked: tuple[str, ...] = ()
    """What could not be checked here, and why."""
    unchanged: bool = False
    """The same bytes as in the base: not looked at again."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of a valid one: model, task, and the selected probe's numbers."""

    @property
    def ok(self) -> bool:
        return not self.failures


def check(folder: Path, base: Path | None = None) -> Report:
    """Check one submission.

    Args:
        folder: `.../v<protocol>/<model>/<task>`.
        base: the leaderboard's folder before the change; rows that stand there may not change.
    """
    path = "/".join(folder.parts[-3:])
    try:
        _check_folder(folder)
        if base is not None and (old := base / path).is_dir():
            same = (old / RECORD).exists() and fingerprint(old) == fingerprint(folder)
            if not same:
                due = (
                    "an unchanged row: a wrong one is corrected as docs/leaderboard.md says, an "
                    "old branch is merged with its base"
                )
                return Report(path, (Finding(RECORD, "row", "other files than in the base", due),))
            if extra := _names(folder) - _names(old) - {RERUN}:
                return Report(
                    path,
                    (
                        Finding(
                            shown(min(extra)).strip("'"),
                            "file",
                            "a new file",
                            f"only {', '.join(FILES)}",
                        ),
                    ),
                )
            if _rerun_bytes(old) == _rerun_bytes(folder):
                return Report(path, unchanged=True)
        if base is not None and (folder / RERUN).exists():
            return Report(
                path,
                (Finding(RERUN, "file", "a file", "nothing: maintainers write it after merging"),),
            )
        return _check_files(folder, path)
    except Broken as error:
        return Report(path, (error.finding,))
    # whatever a stranger's file did to a library is a failure of the file, never of the check
    except Exception as error:
        what = shown(f"{type(error).__name__}: {error}")
        return Report(path, (Finding(RECORD, "content", what, "a submission that can be checked"),))


def _check_folder(folder: Path) -> None:
    """A folder of its own, in a folder of its own.

    Raises:
        Broken: a file or a link, or a name that could leave its place.
    """
    if folder.is_symlink() or not folder.is_dir() or folder.parent.is_symlink():
        raise Broken(
            Finding("folder", "path", "a file or link", f"a folder with {', '.join(FILES)}")
        )
    for name in (folder.parent.name, folder.name.partition("@")[0]):
        if problem := folder_problem(name):
            raise Broken(Finding("folder", "name", shown(name), problem))


def _names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def _rerun_bytes(folder: Path) -> bytes | None:
    return read_bytes(folder, RERUN, JSON_BYTES) if RERUN in _names(folder) else None


def _check_files(folder: Path, path: str) -> Report:
    s = read_submission(folder)
    if failures := check_shape(s.record):
        return Report(path, tuple(failures[:MOST_FINDINGS]))
    if "probe" not in s.decisions.values:
        return Report(
            path,
            (
                Finding(
                    "decisions.parquet",
                    "d:probe",
                    "no such column",
                    "the selected probe's decisions",
                ),
            ),
        )
    failures = [found for rule in RULES for found in rule(s)]
    if (folder / RERUN).exists():
        failures += _rerun_problems(folder)
    first, task = s.record["detectors"][0], s.record["task"]
    facts = {
        "model": folder.parent.name,
        "task": folder.name,
        "task_name": task["name"],
        "auroc": first["auroc"],
        "auroc_95": first["auroc_95"],
        "n": first["n"],
        "layer": s.record["selection"]["layer"],
        "position": s.record["selection"]["position"],
        "key": s.record["key"],
        "digest": probe_digest(s),
        "examples": example_digests(s.decisions),
        "data": (
            task["name"],
            task["version"],
            s.record["data"]["revision"],
            s.record["data"]["sha256"],
        ),
    }
    return Report(
        path,
        tuple(failures[:MOST_FINDINGS]),
        tuple(suspicious(s)),
        tuple(_unchecked(s.record)),
        facts=facts,
    )


def _unchecked(record: Mapping[str, Any]) -> Iterator[str]:
    own = suite().get(record["task"]["name"])
    if own is not None and own.version != record["task"]["version"]:
        yield (
            f"task hash and example ids: version {record['task']['version']} is older than the "
            f"suite's {own.version}"
        )
    elif own is not None and isinstance(why := task_data(own.name), str):
        yield f"example ids: {why}"


def _rerun_problems(folder: Path) -> list[Finding]:
    given = read_json(folder, RERUN)
    found = []
    if given.get("fingerprint") != fingerprint(folder):
        found.append(
            Finding(
                RERUN,
                "fingerprint",
                shown(given.get("fingerprint")),
                "that of the submission's files",
            )
        )
    if not isinstance(given.get("agrees"), bool):
        found.append(Finding(RERUN, "agrees", shown(given.get("agrees")), "true or false"))
    return found


def lines_of(report: Report) -> list[str]:
    """A report for people: one line, and one more per finding."""
    word = "unchanged" if report.unchanged else "ok" if report.ok else "FAILED"
    probe = (
        f"  probe {report.facts['auroc']:.3f}, n {report.facts['n']:,}"
        if report.ok and report.facts
        else ""
    )
    return [
        f"{word:<9} {shown(report.path).strip(chr(39))}{probe}",
        *(f"          {found}" for found in report.failures),
        *(f"          look at {found}" for found in report.suspicious),
        *(f"          not checked: {why}" for why in report.unchecked),
    ]


def resolve(path: Path) -> tuple[Path, list[Path]]:
    """The leaderboard's folder and the submissions that a path names: the whole, one model's, or
    one.

    Raises:
        BadFileError: there is nothing.
    """
    path = path.absolute()
    parents = [path, *path.parents]
    at = next((i for i, p in enumerate(parents[:3]) if VERSION_FOLDER.fullmatch(p.name)), None)
    root = parents[at].parent if at is not None else path
    folders = (
        [f for f in find_submissions(root) if path in (f, *f.parents)] if root.is_dir() else []
    )
    if not folders and not (path.is_dir() and path == root):
        raise BadFileError(
            f"{path} holds no submission: a submission is a folder leaderboards/v1/<model>/<task>."
        )
    return root, folders


def validate(path: Path, base: Path | None = None, workers: int = 2) -> Iterator[Report]:
    """Check every submission below a path, in order; then what only all of them together show.

    Args:
        path: the folder `leaderboards`, or one submission.
        base: that folder before the change.
        workers: processes; 0 checks in this one.

    Raises:
        BadFileError: there is nothing to check.
    """
    root, folders = resolve(path)
    if base is not None and root.is_symlink():
        yield Report(
            root.name, (Finding("folder", "path", "a link", "the folder of the submissions"),)
        )
        return
    seen, changed = Together(), 0
    for report in run_checks(folders, base, workers):
        changed += base is not None and not report.unchanged
        if changed > MOST_CHANGED:
            yield Report(
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
                yield Report(name, (Finding(RECORD, "row", "removed", due),))


def _beside(root: Path, base: Path) -> Iterator[Report]:
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
            yield Report(
                name,
                (
                    Finding(
                        name,
                        "file",
                        "new or changed",
                        "only submissions, below v1/: the rest is built from them",
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

    def add(self, report: Report) -> Report:
        """The report, with what the submissions before it say of it."""
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
        return replace(report, failures=tuple(failures), suspicious=tuple(strange))


def run_checks(folders: Sequence[Path], base: Path | None, workers: int) -> Iterator[Report]:
    """A report per folder, in order. A worker that dies takes no other submission along."""
    if not workers:
        yield from (check(folder, base) for folder in folders)
        return
    waiting = deque(folders)
    while waiting:
        pending: deque[tuple[Path, Future[Report]]] = deque()
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


def _one_by_one(folders: Iterable[Path], base: Path | None) -> Iterator[Report]:
    """Each in a process of its own, so that the one that ends it is known."""
    for folder in folders:
        with _pool(1) as pool:
            try:
                yield pool.submit(check, folder, base).result()
            except BrokenProcessPool:
                given = "content that ended the process that read it"
                what = Finding("decisions.parquet", "file", given, "a file that can be read")
                yield Report("/".join(folder.parts[-3:]), (what,))


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
