"""Submitting, from a run directory to the files and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from probebench.errors import BadFileError
from probebench.leaderboard.check.submission import check, lines_of
from probebench.leaderboard.submission.read import FILES, RERUN, fingerprint
from probebench.leaderboard.submission.submit import write_submission
from probebench.record.run import Run


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was written."""

    folder: Path
    sizes: dict[str, int]
    """File -> bytes."""
    notes: tuple[str, ...]
    """What a reviewer will ask about."""


def submit(run: Path, root: Path) -> Submitted:
    """Write a submission and check it as the pull request's check will.

    Raises:
        UsageError: the run cannot be submitted, with every reason.
        BadFileError: no finished run there, or its numbers do not follow from its decisions.
    """
    loaded = Run.load(run)
    with TemporaryDirectory() as aside:  # a row that is there is replaced by a valid one only
        written = write_submission(loaded, Path(aside))
        if exact := not (report := check(written)).ok:  # on the edge of a bin every digit counts
            report = check(write_submission(loaded, Path(aside), exact=True))
        there = root.joinpath(*written.parts[-3:])
        if (there / RERUN).exists() and fingerprint(there) != fingerprint(written):
            raise BadFileError(
                f"{there} was run again by the maintainers, and {RERUN} is of the files as they "
                "are. docs/leaderboard.md says how such a row is corrected."
            )
    if not report.ok:
        found = "\n".join(f"- {f}" for f in report.failures[:10])
        raise BadFileError(
            f"The submission of {loaded.folder} would not validate, and was not written; please "
            f"report this with the run's record:\n{found}"
        )
    folder = write_submission(loaded, root, exact=exact)
    return Submitted(
        folder,
        {name: (folder / name).stat().st_size for name in FILES},
        tuple(lines_of(report)[1:]),
    )


def next_steps(done: Submitted) -> str:
    """What to type, and what to have looked at, before the pull request."""
    model, task = done.folder.parent.name, done.folder.name
    branch = f"submit-{model}-{task}".replace("@", "-")
    return "\n".join(
        [
            f"Written and checked: {done.folder}",
            *(f"  {size:>10,} bytes  {name}" for name, size in done.sizes.items()),
            *(f"  {note.strip()}" for note in done.notes),
            "",
            "Next, in your fork of the repository:",
            f"  git switch -c {branch}",
            f"  git add {done.folder}",
            f'  git commit -m "Submit {model} on {task}"',
            f"  git push -u origin {branch}",
            "and open a pull request that adds this folder and nothing else.",
            "",
            "Checklist:",
            "  [ ] the model and its revision are public, or the pull request says who can run it "
            "again",
            "  [ ] the model was not trained or tuned on this task's test questions, as far as "
            "you know",
            "  [ ] this is the first run with the protocol's settings, not the best of several",
            "  [ ] you looked at record.json: warnings, share of exact answers found, "
            "shuffled-label control",
            "  [ ] labels and decisions may be published under the repository's licence",
        ]
    )
