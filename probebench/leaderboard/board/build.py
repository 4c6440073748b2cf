"""`probebench leaderboard build`: Markdown, CSV, LaTeX and the static site from the same
records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from probebench._version import __version__
from probebench.errors import BadFileError, RunError, UsageError
from probebench.files import write_atomic
from probebench.leaderboard.board.gather import gather
from probebench.leaderboard.board.models import safe_slug
from probebench.leaderboard.board.pages import Site
from probebench.leaderboard.board.rows import Absent, Board
from probebench.leaderboard.board.texts import to_csv, to_latex, to_markdown

ABSENT = "absent.json"
"""File of the runs that gave no row: for each a model's folder, a task, and why."""
TABLES = "tables"
"""Folder of the files with every detector, all of them built."""
MARK = ".probebench-site"
"""A file that says: everything here was built, and may be replaced."""
NEW = ".new"
"""Folder, in the site's own, of what is being built."""


def build(root: Path, out: Path, *, published: bool = True) -> Board:
    """Write `README.md`, `leaderboard.csv` and `leaderboard.tex` into `root`, and the site into
    `out`.

    The three files hold the headline probes; every detector is in the site and, per task, in
    `tables/<task>.csv` below `root`.

    Args:
        root: the folder `leaderboards/`, with submissions in `v<protocol>/<model>/<task>/`, and in
            `absent.json` the runs that gave no row.
        out: folder of the site; new, empty, or built by an earlier call.
        published: with figures from papers.

    Raises:
        BadFileError: a submission that cannot be read.
        UsageError: `out` holds something that is not a site.
        RunError: the disk is full or not writable.
    """
    from probebench.leaderboard.board.entries import read_entries

    with building(out) as new:
        site = Site(new)
        board = gather(read_entries(root, published=published), seen=site.add_maps)
        board = replace(board, absent=tuple(_absent(root / ABSENT, board)))
        table = to_csv(r for r in board.rows if r.headline)
        site.write(board)
        write_atomic(new / "data" / "leaderboard.csv", table.encode())
    for name, text in (
        ("README.md", to_markdown(board)),
        ("leaderboard.csv", table),
        ("leaderboard.tex", to_latex(board)),
    ):
        write_atomic(root / name, text.encode())
    for old in (root / TABLES).glob("*.csv"):
        old.unlink()
    for task in board.tasks:
        write_atomic(root / TABLES / f"{safe_slug(task)}.csv", to_csv(board.of_task(task)).encode())
    return board


@contextmanager
def building(site: Path) -> Iterator[Path]:
    """An empty folder to build in. What is in it then replaces what the site had under the same
    names; where building fails, nothing is replaced.

    Args:
        site: its folder; new, empty, or built by an earlier call.

    Raises:
        UsageError: the folder holds something else.
        RunError: the disk is full or not writable.
    """
    if site.exists() and (
        not site.is_dir() or (any(site.iterdir()) and not (site / MARK).is_file())
    ):
        raise UsageError(
            f"{site} exists and is not a site of an earlier build; choose another folder with "
            "--out."
        )
    said, new = "the next build replaces what is here", site / NEW
    write_atomic(site / MARK, f"Built by probebench {__version__}; {said}.\n".encode())
    try:
        shutil.rmtree(new, ignore_errors=True)  # of a build that was killed
        new.mkdir()
        yield new
        for built in new.iterdir():
            old = site / built.name
            if old.is_dir():
                shutil.rmtree(old)
            built.replace(old)
    except OSError as error:
        raise RunError(f"Cannot write the site to {site}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _absent(path: Path, board: Board) -> Iterator[Absent]:
    """Runs that gave no row, of models and tasks that have others; a row that came since wins.

    Raises:
        BadFileError: the file cannot be read.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        found = [(row["model"], row["task"], str(row["why"])) for row in rows]
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise BadFileError(
            f"{path} is no list of runs without a row, each with 'model', 'task' and 'why': {error}"
        ) from None
    models = {model.slug: model for model in board.models}
    there = {(r.model.slug, r.task) for r in board.rows if r.current}
    for slug, task, why in sorted(found):
        if slug in models and task in board.tasks and (slug, task) not in there:
            yield Absent(models[slug], task, why)
