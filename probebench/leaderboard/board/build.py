"""`probebench leaderboard build`: Markdown, CSV, LaTeX and the static site from the same
records."""

from __future__ import annotations

from pathlib import Path

from probebench.files import write_atomic
from probebench.leaderboard.board.gather import gather
from probebench.leaderboard.board.models import safe_slug
from probebench.leaderboard.board.pages import Site
from probebench.leaderboard.board.rows import Board
from probebench.leaderboard.board.texts import to_csv, to_latex, to_markdown

TABLES = "tables"
"""Folder of the files with every detector, all of them built."""


def build(root: Path, out: Path, *, published: bool = True) -> Board:
    """Write `README.md`, `leaderboard.csv` and `leaderboard.tex` into `root`, and the site into
    `out`.

    The three files hold the headline probes; every detector is in the site and, per task, in
    `tables/<task>.csv` below `root`.

    Args:
        root: the folder `leaderboards/`, with submissions in `v<protocol>/<model>/<task>/`.
        out: folder of the site; new, empty, or built by an earlier call.
        published: with figures from papers.

    Raises:
        BadFileError: a submission that cannot be read.
        UsageError: `out` holds something that is not a site.
        RunError: the disk is full or not writable.
    """
    from probebench.leaderboard.board.entries import read_entries

    site = Site(out)
    board = gather(read_entries(root, published=published), seen=site.add_maps)
    table = to_csv(r for r in board.rows if r.headline)
    site.write(board)
    write_atomic(out / "data" / "leaderboard.csv", table.encode())
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
