"""One submission checked as data: its folder, its files, and every rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probebench.leaderboard.check.rules.every import RULES
from probebench.leaderboard.check.shape import check_shape
from probebench.leaderboard.check.suspicious import example_digests, probe_digest, suspicious
from probebench.leaderboard.check.task_data import suite, task_data
from probebench.leaderboard.submission.names import folder_problem
from probebench.leaderboard.submission.read import (
    FILES,
    RECORD,
    RERUN,
    Submission,
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
from probebench.record.schema import PROTOCOL_VERSION

MOST_FINDINGS = 40
PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Checked:
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


def check(folder: Path, base: Path | None = None) -> Checked:
    """Check one submission.

    Args:
        folder: `.../v<protocol>/<model>/<task>`.
        base: the leaderboard's folder before the change; rows that stand there may not change.
    """
    path = "/".join(folder.parts[-3:])
    try:
        _check_folder(folder)
        if base is not None:
            old = base / path
            if old.is_dir() and (wrong := _changed(old, folder)):
                return Checked(path, (wrong,))
            if (was := _rerun_bytes(old)) != (now := _rerun_bytes(folder)):
                given = "no file" if now is None else "a file" if was is None else "another file"
                due = "as in the base: maintainers write it after merging"
                return Checked(path, (Finding(RERUN, "file", given, due),))
            if old.is_dir():
                return Checked(path, unchanged=True, facts=_kept_facts(folder))
        elif (version := int(folder.parts[-3][1:])) < PROTOCOL_VERSION:
            return _older(folder, path, version)
        return _check_files(folder, path)
    except Broken as error:
        return Checked(path, (error.finding,))
    # whatever a stranger's file did to a library is a failure of the file, never of the check
    except Exception as error:
        what = shown(f"{type(error).__name__}: {error}")
        return Checked(
            path, (Finding(RECORD, "content", what, "a submission that can be checked"),)
        )


def _changed(old: Path, folder: Path) -> Finding | None:
    """What differs from the row of the base that may not change; None where nothing does."""
    if not (old / RECORD).exists() or fingerprint(old) != fingerprint(folder):
        due = (
            "an unchanged row: a wrong one is corrected as docs/leaderboard.md says, an old branch "
            "is merged with its base"
        )
        return Finding(RECORD, "row", "other files than in the base", due)
    if extra := _names(folder) - _names(old) - {RERUN}:
        name = shown(min(extra)).strip("'")
        return Finding(name, "file", "a new file", f"only {', '.join(FILES)}")
    return None


def _older(folder: Path, path: str, version: int) -> Checked:
    """A row that stayed when the protocol went on: its numbers are those of another computation."""
    given = read_json(folder, RECORD).get("protocol_version")
    if given != version:
        found = Finding(
            RECORD, "protocol_version", shown(given), f"{version}, by the folder's name"
        )
        return Checked(path, (found,))
    return Checked(
        path, unchecked=(f"numbers: protocol {version} is older than {PROTOCOL_VERSION}",)
    )


def _kept_facts(folder: Path) -> Mapping[str, Any]:
    """What a row of the base says for the new ones beside it; nothing of one that this suite does
    not read any more."""
    try:
        s = read_submission(folder)
        return {} if check_shape(s.record) or PROBE not in s.decisions.values else _facts(folder, s)
    except Broken:
        return {}


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
    there = folder.is_dir() and RERUN in _names(folder)
    return read_bytes(folder, RERUN, JSON_BYTES) if there else None


def _check_files(folder: Path, path: str) -> Checked:
    s = read_submission(folder)
    if failures := check_shape(s.record):
        return Checked(path, tuple(failures[:MOST_FINDINGS]))
    if PROBE not in s.decisions.values:
        return Checked(
            path,
            (
                Finding(
                    "decisions.parquet",
                    f"d:{PROBE}",
                    "no such column",
                    "the selected probe's decisions",
                ),
            ),
        )
    failures = [found for rule in RULES for found in rule(s)]
    if (folder / RERUN).exists():
        failures += _rerun_problems(folder)
    return Checked(
        path,
        tuple(failures[:MOST_FINDINGS]),
        tuple(suspicious(s)),
        tuple(_unchecked(s.record)),
        facts=_facts(folder, s),
    )


def _facts(folder: Path, s: Submission) -> dict[str, Any]:
    """What a comment says of a row, and by what rows are compared with each other."""
    first, task = s.record["detectors"][0], s.record["task"]
    return {
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
        "data": (task["name"], task["version"], s.record["data"]["sha256"]),
    }


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


def lines_of(report: Checked) -> list[str]:
    """A report for people: one line, and one more per finding."""
    word = "unchanged" if report.unchanged else "ok" if report.ok else "FAILED"
    probe = (
        f"  probe {report.facts['auroc']:.3f}, n {report.facts['n']:,}"
        if report.ok and report.facts and not report.unchanged
        else ""
    )
    return [
        f"{word:<9} {shown(report.path).strip(chr(39))}{probe}",
        *(f"          {found}" for found in report.failures),
        *(f"          look at {found}" for found in report.suspicious),
        *(f"          not checked: {why}" for why in report.unchecked),
    ]
