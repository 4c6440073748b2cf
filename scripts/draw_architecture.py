"""Draw docs/architecture.svg: one example of `people`, from the command to the picture.

python scripts/draw_architecture.py
"""

from __future__ import annotations

from html import escape
from pathlib import Path

PICTURE = Path(__file__).parent.parent / "docs" / "architecture.svg"
STEPS = (
    ("Options", "job/options.py", "what was asked, checked alone", "--model tiny --task people"),
    (
        "Plan",
        "job/planning.py, stages/plan.py",
        "resolved once: names, files, keys",
        "What was the trade of Pav Buprun?  group 'pav buprun': test",
    ),
    (
        "Stages",
        "stages/, detectors/",
        "saved shard by shard, found again by content",
        "answers        The trade was waiter apprentice, and that is ...",
        "exact answer   waiter apprentice: tokens 14 and 15",
        "label          1, it is the accepted answer",
        "states         128 numbers before the exact answer, after block 7",
        "probes         decision +2.58 of the cell's probe",
        "p-true, ...    simpler signals of the same answer",
    ),
    (
        "RunData",
        "stages/data.py",
        "all of it, complete when it is made",
        "one of 540 test answers, 360 of them correct",
    ),
    (
        "Result and sections",
        "scoring/, studies/",
        "numbers with n and interval",
        "AUROC 0.887 [0.83, 0.93], n = 540; log-prob mean 0.948",
    ),
    (
        "Record",
        "job/record.py, job/write.py",
        "record.json and its tables, written last",
        "its row of predictions.parquet: decision 2.58, label 1",
    ),
    (
        "Views",
        "record/, maps/, report/, leaderboard/, across/",
        "read the record; no torch",
        "a darker cell of the map, a line of the summary",
    ),
)
"""Name, where it is made, what it is, and what the example is there, a line each."""
WIDTH, LEFT, LINE, GAP, EDGE = 940, 400, 19, 22, 12
STYLE = """
  text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #1f2933; }
  .name { font-weight: 600; font-size: 15px; }
  .place, .said { font-family: ui-monospace, monospace; font-size: 12px; }
  .place { fill: #52606d; }
  .said { fill: #0b4f8a; }
  rect { fill: #f5f7fa; stroke: #7b8794; }
  path { stroke: #7b8794; fill: none; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb; } .place { fill: #9aa5b1; } .said { fill: #7cc4fa; }
    rect { fill: #1f2933; }
  }
"""


def text(x: int, y: int, words: str, kind: str = "") -> str:
    """One line of text."""
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{name} xml:space="preserve">{escape(words)}</text>'


def picture() -> str:
    """The picture as SVG, readable on light and on dark ground."""
    parts, y = [], 34
    parts.append(text(LEFT + 20, 16, "one example there", "place"))
    for k, (name, place, about, *said) in enumerate(STEPS):
        height = 2 * EDGE + LINE * max(3, len(said)) - 4
        parts.append(f'<rect x="1" y="{y}" width="{LEFT - 20}" height="{height}" rx="6"/>')
        for i, (words, kind) in enumerate(((name, "name"), (place, "place"), (about, ""))):
            parts.append(text(14, y + EDGE + 12 + LINE * i, words, kind))
        first = y + (height - LINE * (len(said) - 1)) // 2 + 5
        parts += [text(LEFT + 20, first + LINE * i, words, "said") for i, words in enumerate(said)]
        parts.append(f'<path d="M{LEFT - 19} {y + height // 2} h28" stroke-dasharray="2 3"/>')
        y += height
        if k < len(STEPS) - 1:
            parts.append(f'<path d="M190 {y} v{GAP - 2} m-5 -7 l5 7 l5 -7"/>')
            y += GAP
    body = "\n".join(parts)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 2}" role="img">'
    title = "<title>Options, plan, stages, run data, result, record, views</title>"
    return f"{head}\n{title}\n<style>{STYLE}</style>\n{body}\n</svg>\n"


def main() -> None:
    PICTURE.write_text(picture())


if __name__ == "__main__":
    main()
