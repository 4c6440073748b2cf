"""A maintainer's own run held against a submission: the same within the interval, or not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from probebench.errors import BadFileError, UsageError
from probebench.files import clean_json, write_json
from probebench.leaderboard.check.submission import check
from probebench.leaderboard.submission.read import RERUN, fingerprint, read_submission
from probebench.leaderboard.submission.strict import Broken
from probebench.leaderboard.submission.submit import refusals
from probebench.record.run import Run

SAME = (
    ("task", "name"),
    ("task", "version"),
    ("task", "hash"),
    ("data", "sha256"),
    ("model", "revision"),
    ("model", "quantization"),
    ("model", "peft"),
)
"""What both runs must share to be the same experiment."""


def rerun(folder: Path, run: Run) -> dict[str, Any]:
    """Compare, and write `rerun.json` beside the submission.

    They agree when every probe and baseline that both have has its AUROC of the second run inside
    the 95 % interval of the first, and the other way round for the selected probe. A control may
    differ: its repeats are noise.

    Args:
        folder: the submission.
        run: the maintainer's run of the same model and task.

    Returns:
        What was written.

    Raises:
        BadFileError: the submission does not validate.
        UsageError: the run could not be submitted itself, or is of another experiment.
    """
    folder = folder.absolute()  # by its name it is of a protocol, a model and a task
    theirs = _submitted(folder)
    if reasons := refusals(run):
        raise UsageError(
            f"{run.folder} cannot be held against a submission:\n"
            + "\n".join(f"- {reason}" for reason in reasons)
        )
    ours = run.record
    _check_same(theirs, run)
    found = agreement(theirs, ours)
    content = clean_json(
        {
            "schema_version": 1,
            "fingerprint": fingerprint(folder),
            "agrees": found["agrees"],
            "date": datetime.now(UTC).date().isoformat(),
            "package": ours["package"],
            "versions": ours["versions"],
            "device": ours["model"]["device"],
            "dtype": ours["model"]["dtype"],
            **found,
        }
    )
    write_json(folder / RERUN, content)
    return dict(content)


def _submitted(folder: Path) -> Mapping[str, Any]:
    """The record of a submission that validates."""
    report = check(folder)
    if not report.ok:
        raise BadFileError(f"{folder} does not validate, the first failure: {report.failures[0]}")
    try:
        return read_submission(folder).record
    except Broken as error:
        raise BadFileError(f"{folder}: {error}") from None


def _check_same(theirs: Mapping[str, Any], run: Run) -> None:
    """The same experiment, run a second time."""
    ours = run.record
    for part, name in SAME:
        own, given = ours[part].get(name), theirs[part].get(name)
        if own != given:
            raise UsageError(
                f"{run.folder} is another experiment: its {part}.{name} is {own!r}, the "
                f"submission's {given!r}."
            )
    if theirs["key"] == ours["key"] and theirs.get("timing") == ours.get("timing"):
        raise UsageError(
            f"{run.folder} is the run that was submitted. A rerun is a second run, on a machine of "
            "the maintainers."
        )


def agreement(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Detector by detector, whether the second AUROC lies in the first one's interval."""
    second = {d["name"]: d for d in ours["detectors"]}
    rows = []
    for d in theirs["detectors"]:
        own = second.get(d["name"])
        within = own is not None and _within(own["auroc"], d["auroc_95"])
        rows.append(
            {
                "name": d["name"],
                "kind": d["kind"],
                "submitted": d["auroc"],
                "submitted_95": d["auroc_95"],
                "rerun": own["auroc"] if own else None,
                "rerun_95": own["auroc_95"] if own else None,
                "within": within,
            }
        )
    probe = next(r for r in rows if r["name"] == "probe")
    both = probe["within"] and _within(probe["submitted"], probe["rerun_95"])
    counted = [r for r in rows if r["kind"] != "control" and r["rerun"] is not None]
    cells = [{k: r["selection"][k] for k in ("site", "layer", "position")} for r in (theirs, ours)]
    return {
        "agrees": bool(both and all(r["within"] for r in counted)),
        "same_cell": cells[0] == cells[1],
        "selection": {"submitted": cells[0], "rerun": cells[1]},
        "correct": {
            "submitted": theirs["counts"]["test"]["correct"],
            "rerun": ours["counts"]["test"]["correct"],
            "of": [theirs["counts"]["test"]["n"], ours["counts"]["test"]["n"]],
        },
        "detectors": rows,
    }


def _within(value: float, ends: Any) -> bool:
    """Inside an interval; one without width (the majority) must be met."""
    return ends is not None and ends[0] is not None and ends[0] - 1e-9 <= value <= ends[1] + 1e-9
