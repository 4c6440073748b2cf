"""What a change adds to the leaderboard, as Markdown for a comment: every stranger's word in it is
made safe first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from probebench.leaderboard.check.submission import Checked
from probebench.leaderboard.submission.read import RECORD, find_submissions
from probebench.leaderboard.submission.strict import Broken, read_json, shown

MOST_ROWS = 20
MOST_LINES = 60
"""A comment stays readable; the rest is in the log."""


def comment(reports: Iterable[Checked], base: Path | None) -> str:
    """The comment on a pull request: what was checked, what failed, and the new rows among those
    that are there."""
    changed = [r for r in reports if not r.unchanged]
    if not changed:
        return "No submission was added or changed.\n"
    failed = [r for r in changed if not r.ok]
    lines = [
        f"## {len(changed)} submission{'s' * (len(changed) > 1)} checked, {len(failed)} failed",
        "",
    ]
    for r in failed:
        lines += [
            f"### {_code(r.path)} fails",
            "",
            "| file | field | given | expected |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {_code(f.file)} | {_code(f.field)} | {_code(f.given)} | {_code(f.expected)} |"
            for f in r.failures[:MOST_ROWS]
        ]
        lines += [
            "",
            *(
                [f"and {len(r.failures) - MOST_ROWS} more.", ""]
                if len(r.failures) > MOST_ROWS
                else []
            ),
        ]
    for r in (r for r in changed if r.ok):
        lines += [f"### {_code(r.path)}", ""]
        lines += [*_table(r, base), ""] if r.facts else []
        lines += [
            f"- Look at: {_code(f.file)} {_code(f.field)}: {_code(f.given)}; {_code(f.expected)}"
            for f in r.suspicious
        ]
        lines += [f"- Not checked: {_code(why)}" for why in r.unchecked]
        lines.append("")
    if len(lines) > MOST_LINES * max(len(changed), 1):
        lines = [*lines[: MOST_LINES * len(changed)], "The rest is in the log of the check."]
    return "\n".join(lines).rstrip() + "\n"


def _code(text: Any) -> str:
    """A code span that nothing in it can end."""
    return f"`{shown(text, 160).strip(chr(39))}`"


def _table(report: Checked, base: Path | None) -> list[str]:
    """The new row among the rows of its task."""
    rows = [(float(report.facts["auroc"]), report.facts["model"], report.facts, True)]
    rows += [(float(f["auroc"]), f["model"], f, False) for f in _existing(report, base)]
    rows.sort(key=lambda r: -r[0])
    lines = ["| model | probe AUROC | 95 % | n | cell | |", "|---|---|---|---|---|---|"]
    for value, model, facts, new in rows[:MOST_ROWS]:
        low, high = facts["auroc_95"]
        cell = f"layer {facts['layer']}, {facts['position']}"
        ends = f"{low:.3f} to {high:.3f}" if low is not None else ""
        lines.append(
            f"| {_code(model)} | {value:.3f} | {ends} | {int(facts['n'])} | {_code(cell)} | "
            f"{'**new**' if new else ''} |"
        )
    return lines


def _existing(report: Checked, base: Path | None) -> Sequence[dict[str, Any]]:
    """The probe's row of each submission of the same task and version in the base."""
    found = []
    for folder in find_submissions(base) if base is not None else ():
        if folder.name != report.facts["task"] or "/".join(folder.parts[-3:]) == report.path:
            continue
        try:
            record = read_json(folder, RECORD)
            first, chosen = record["detectors"][0], record["selection"]
            found.append(
                {
                    "model": folder.parent.name,
                    "auroc": first["auroc"],
                    "auroc_95": first["auroc_95"],
                    "n": first["n"],
                    "layer": chosen["layer"],
                    "position": chosen["position"],
                }
            )
        except (Broken, KeyError, IndexError, TypeError):
            continue  # the base's own check says what is wrong with it
    return found
