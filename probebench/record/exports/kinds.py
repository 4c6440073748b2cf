"""The forms of a run that `probebench export` writes, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from probebench.errors import UsageError
from probebench.record.exports.every_eval_ever import Evaluator, Relationship, write_every_eval_ever
from probebench.record.exports.hub import HubNames, write_hub
from probebench.record.exports.trackers import TRACKERS, log_run
from probebench.record.run import Run


@dataclass(frozen=True, slots=True)
class Said:
    """What a run does not know of itself, and some places ask for; None where it was not said."""

    model_id: str | None = None
    """Of the model on the hub, as `developer/name`."""
    organization: str | None = None
    """Who ran it."""
    relationship: Relationship = "third_party"
    """Of who ran it to the model's developer."""
    dataset: str | None = None
    """Of the task's data on the hub."""
    link: str | None = None
    """Where the run can be looked at."""


def _every_eval_ever(run: Run, out: Path | None, said: Said) -> list[Path]:
    if said.organization is None:
        raise UsageError(
            "Every Eval Ever asks who ran an evaluation: name yourself or your group with "
            "--organization."
        )
    by = Evaluator(said.organization, said.relationship)
    return write_every_eval_ever(run, out, by, said.model_id)


def _hub(run: Run, out: Path | None, said: Said) -> list[Path]:
    return write_hub(run, out, HubNames(said.dataset, said.link))


def _tracked(name: str) -> Callable[[Run, Path | None, Said], list[Path]]:
    def log(run: Run, out: Path | None, said: Said) -> list[Path]:
        if out is not None:
            raise UsageError(f"--out names a place for files, and {name} gets none.")
        log_run(run, name)
        return []

    return log


KINDS: dict[str, Callable[[Run, Path | None, Said], list[Path]]] = {
    "every-eval-ever": _every_eval_ever,
    "hub": _hub,
    **{name: _tracked(name) for name in TRACKERS},
}
"""Form -> what writes it: a run, a folder (None: inside the run) and what was said; the files."""
