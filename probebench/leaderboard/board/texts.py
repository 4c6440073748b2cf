"""The leaderboard as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from probebench._version import __version__
from probebench.leaderboard.board.rows import Board, BoardRow, Standing
from probebench.report.write.escape import latex as tex
from probebench.report.write.escape import markdown as md
from probebench.text import counted, enough, interval

SHOWN = 20
"""Rows per table of the Markdown file; the CSV file has all."""
COLUMNS = (
    "task",
    "task_version",
    "protocol",
    "tier",
    "model",
    "family",
    "n_parameters",
    "detector",
    "label",
    "kind",
    "when",
    "group",
    "ranked_with",
    "auroc",
    "low",
    "high",
    "spread",
    "splits",
    "splits_mean",
    "splits_sd",
    "n",
    "probe_minus_this",
    "difference_low",
    "difference_high",
    "current",
    "source",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet run a cell."""


def to_csv(rows: Iterable[BoardRow]) -> str:
    """One line per row, six decimals; empty = not measured."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for r in rows:
        model, protocol = r.model, "paper" if r.protocol is None else r.protocol
        size = None if model.n_parameters is None else int(model.n_parameters)
        writer.writerow(
            [
                _cell(r.task),
                r.version,
                protocol,
                r.tier,
                _cell(model.name),
                _cell(model.family),
                size,
                _cell(r.detector),
                _cell(r.label),
                _cell(r.kind),
                _cell(r.when or ""),
                r.rank,
                r.rivals or None,
                *map(_six, (r.auroc, r.low, r.high, r.spread)),
                r.splits or None,
                *map(_six, (r.splits_mean, r.splits_sd)),
                r.n,
                *map(_six, (r.difference, r.difference_low, r.difference_high)),
                r.current,
                r.source,
            ]
        )
    return out.getvalue()


def _six(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _cell(text: str) -> str:
    """Submitted text that a spreadsheet would take for a formula is marked as text."""
    return f"'{text}" if text.startswith(FORMULA) else text


def to_markdown(board: Board) -> str:
    """`leaderboards/README.md`."""
    lines = [
        "# Leaderboard",
        "",
        f"Built by `probebench leaderboard build` (probebench {__version__}) from the submissions "
        f"in {_folders(board)} and published figures;",
        "do not edit. `leaderboard.csv` has the headline rows, `tables/` every detector, "
        "`leaderboard.tex` the table for papers.",
        f"{counted(len(board.models), 'model')}, {counted(len(board.tasks), 'task')}, "
        f"{counted(board.measured, 'measured detector')}, and what papers print.",
        "",
        "AUROC of *correct* (of statements *true*), 95 % intervals. Rows of one group do not "
        "differ significantly from its leader; a `P` marks groups of",
        "published figures, which follow their paper's protocol and are ranked only among "
        "themselves. There is no composite score:",
        "see [docs/leaderboard.md](../docs/leaderboard.md).",
        "",
        "## Models",
        "",
        "How many of the tasks that tell models apart have the model's headline probe in the first "
        "group, with the 95 % interval of that",
        "share as if tasks were independent; those that share statements are not. On the others no "
        "model differs significantly from the",
        "leader, as on most small tasks. Published figures are counted by themselves, below the "
        "runs.",
        "",
        "| model | first group | nobody differs | tasks | tier |",
        "|---|---|---|---|---|",
    ]
    standings = board.standings()
    lines += [
        f"| {md(s.model.name)} | {_share(s)} | {s.undecided} | {s.tasks} | {', '.join(s.tiers)} |"
        for s in standings[:SHOWN]
    ]
    lines += _more(len(standings))
    for task in board.tasks:
        rows = [r for r in board.of_task(task) if r.headline]
        lines += [
            "",
            f"## {md(task)}",
            "",
            "| group | model | AUROC | detector | n | tier |",
            "|---|---|---|---|---|---|",
        ]
        lines += [f"| {' | '.join(_markdown_cells(r))} |" for r in rows[:SHOWN]]
        lines += _more(len(rows))
        for a in (a for a in board.absent if a.task == task):
            lines += ["", f"No row of {md(a.model.name)}: {md(a.why)}"]
    return "\n".join([*lines, ""])


def _folders(board: Board) -> str:
    """Where submissions lie: a folder for each version of the protocol."""
    versions = sorted({r.protocol for r in board.rows if r.protocol is not None})
    return ", ".join(f"`v{version}/`" for version in versions) or "this folder"


def _more(n: int) -> list[str]:
    return ["", f"{n - SHOWN:,} more in `leaderboard.csv`."] if n > SHOWN else []


def _markdown_cells(r: BoardRow) -> list[str]:
    n, tier = ("" if r.n is None else f"{r.n:,}", f"{r.tier}, {r.old}" if r.old else r.tier)
    return [group(r), md(r.model.name), figure(r), md(r.label), n, tier]


def _share(s: Standing) -> str:
    if s.decided:
        return f"{s.first} of {s.decided} [{s.share.low:.2f}, {s.share.high:.2f}]"
    return s.nothing_decided


def group(r: BoardRow) -> str:
    """The rank group in words; a dash where there is none."""
    return "–" if r.rank is None else f"{'P' if r.protocol is None else ''}{r.rank}"


def figure(r: BoardRow) -> str:
    """AUROC and interval; of a published figure what the paper printed."""
    if r.auroc is None:
        return "absent"
    if r.protocol is None:
        return f"{r.auroc:.2f}" + ("" if r.spread is None else f" ± {r.spread:.3f}")
    there = r.low is not None and r.high is not None
    ends = f" {interval((r.low, r.high), enough((r.low, r.high)))}" if there else ""
    return f"{r.auroc:.3f}{ends}{over_splits(r)}"


def over_splits(r: BoardRow) -> str:
    """The spread over other splits in words; nothing where there are none."""
    return "" if r.splits_sd is None else f", sd {r.splits_sd:.3f} over {r.splits} splits"


def to_latex(board: Board) -> str:
    """Headline probes, models down and tasks across, rows of the first group in bold; needs fontenc
    and booktabs."""
    parts = [_table(board.rows, published) for published in (False, True)]
    head = (
        f"% Built by probebench {__version__}. Needs \\usepackage[T1]{{fontenc}} and "
        f"\\usepackage{{booktabs}}."
    )
    return "\n\n".join([head, *(p for p in parts if p)]) + "\n"


def _table(rows: Sequence[BoardRow], published: bool) -> str:
    chosen = [
        r
        for r in rows
        if r.headline and r.current and (r.protocol is None) is published and r.auroc is not None
    ]
    if not chosen:
        return ""
    tasks, models = sorted({r.task for r in chosen}), sorted({r.model.name for r in chosen})
    cells = {(r.model.name, r.task): r for r in chosen}
    what = (
        "Published figures, test AUROC"
        if published
        else r"Selected cell, test AUROC of \emph{correct}, or of \emph{true} statements"
    )
    spread = "the spread that the paper prints" if published else r"its 95\,\% interval"
    lines = [
        r"\begin{table}",
        rf"\caption{{{what}, with {spread}. Bold: no significant difference to the best",
        r"of the column. A dash: not measured.}",
        rf"\begin{{tabular}}{{l{'c' * len(tasks)}}}",
        r"\toprule",
        "model & " + " & ".join(map(tex, tasks)) + r" \\",
        r"\midrule",
    ]
    lines += [
        " & ".join([tex(model), *(_latex_figure(cells.get((model, task))) for task in tasks)])
        + r" \\"
        for model in models
    ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _latex_figure(r: BoardRow | None) -> str:
    if r is None:
        return "--"
    ends = None if r.low is None or r.high is None else (r.low, r.high)
    digits = 2 if ends is None else enough(ends)
    value = f"{r.auroc:.{digits}f}"
    value = rf"\textbf{{{value}}}" if r.rank == 1 else value
    if r.spread is not None:
        return rf"{value} {{\scriptsize$\pm${r.spread:.3f}}}"
    return value if ends is None else rf"{value} {{\scriptsize{interval(ends, digits)}}}"
