"""How well the judges agree with people, and what they make of answers that say nothing, as
Markdown tables.

    python scripts/measure_judges.py DIR

DIR holds `judged_<name>.jsonl`: question, answers, response, and the label that people gave as
`correct`; and questions without responses as `<name>.jsonl`: question, answers, for choices also
wrong_answers. Sets that are not there are left out.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sklearn.metrics import cohen_kappa_score

from probebench.tasks.judge import get_judge
from probebench.types import Example

Row = dict[str, Any]
JUDGED = {
    "triviaqa": "aliases",
    "nq": "aliases",
    "nq301": "aliases",
    "efficientqa": "aliases",
    "gsm8k": "number",
}
ASKED = {
    **dict.fromkeys(
        ("triviaqa", "hotpotqa", "popqa", "webquestions", "simpleqa", "nq_open", "movies"),
        "aliases",
    ),
    "winobias": "choice",
    "winogrande": "choice",
}
COMPASS = re.compile(r"(?:New|North|South|East|West|Northern|Southern|Eastern|Western) [A-Z]\w+")


def asked(example: Example) -> str:
    """The question."""
    return example.question


def last_word(example: Example) -> str | None:
    """The last word of a first reference such as "South Sudan"."""
    name = example.references[0]
    return name.split()[-1] if COMPASS.fullmatch(name) else None


def both(example: Example) -> str | None:
    """Every option, joined by "or"."""
    return " or ".join((example.references[0], *example.wrong)) + "." if example.wrong else None


ATTACKS: dict[str, Callable[[Example], str | None]] = {
    "the question repeated": asked,
    "the question and a refusal": lambda e: f"{e.question} I'm sorry, I don't know.",
    "I have no idea.": lambda e: "I have no idea.",
    "As far as I can tell, it is not known to us.": lambda e: (
        "As far as I can tell, it is not known to us."
    ),
    "Most of us call it Zorgonia.": lambda e: "Most of us call it Zorgonia.",
    "not the reference": lambda e: f"It is not {e.references[0]}.",
    "a refusal that names it": lambda e: f"I cannot tell whether it is {e.references[0]}.",
    "the last word of West X": last_word,
    "all options": both,
}


def main(folder: Path) -> None:
    """Print both tables."""
    print(
        "| human labels | judge | n | accuracy | 95 % | kappa | precision | false positives | "
        "false negatives | ms a row |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, judge in JUDGED.items():
        if rows := read(folder / f"judged_{name}.jsonl"):
            print(agreement(name, judge, rows))
    sets = {name: rows for name in ASKED if (rows := read(folder / f"{name}.jsonl"))}
    print("\n| answer | right | " + " | ".join(sets) + " |")
    print("|---|---|" + "---|" * len(sets))
    print(accepted("the first reference", "yes", lambda e: e.references[0], sets))
    for title, answer in ATTACKS.items():
        print(accepted(title, "no", answer, sets))


def read(path: Path) -> list[Row]:
    """The rows of a file; none where there is no file."""
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if path.is_file()
        else []
    )


def example(row: Row) -> Example:
    """A row as the judge sees it."""
    return Example(
        "", row["question"], tuple(row["answers"]), "", wrong=tuple(row.get("wrong_answers", ()))
    )


def agreement(name: str, judge: str, rows: Sequence[Row]) -> str:
    """One row of the table: the judge against people; precision is that of the verdict
    "correct"."""
    human = [int(r["correct"]) for r in rows]
    begin = time.perf_counter()
    ours = [int(get_judge(judge)(example(r), r["response"]).correct) for r in rows]
    each = 1000 * (time.perf_counter() - begin) / len(rows)
    pairs = list(zip(human, ours, strict=True))
    n, same = len(rows), sum(a == b for a, b in pairs)
    low, high = wilson(same, n)
    precision = sum(a and b for a, b in pairs) / max(1, sum(ours))
    numbers = [
        f"{same / n:.3f}",
        f"{low:.3f}-{high:.3f}",
        f"{cohen_kappa_score(human, ours):.2f}",
        f"{precision:.3f}",
    ]
    numbers += [str(sum(a < b for a, b in pairs)), str(sum(a > b for a, b in pairs)), f"{each:.2f}"]
    return f"| {name} | `{judge}` | {n:,} | " + " | ".join(numbers) + " |"


def accepted(
    title: str, right: str, answer: Callable[[Example], str | None], sets: dict[str, list[Row]]
) -> str:
    """One row of the table: how often the answer made from an example is judged correct, by set."""
    cells = []
    for name, rows in sets.items():
        given = [(e, text) for e in map(example, rows) if (text := answer(e)) is not None]
        n = sum(get_judge(ASKED[name])(e, text).correct for e, text in given)
        cells.append(f"{n:,} of {len(given):,}" if given else "")
    return f"| {title} | {right} | " + " | ".join(cells) + " |"


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, p = 1.959963984540054, k / n
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
