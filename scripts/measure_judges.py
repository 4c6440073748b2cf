"""How well the judges agree with people, as a Markdown table.

    python scripts/measure_judges.py DIR

DIR holds `judged_<name>.jsonl`: question, answers, response, and the label that people gave as `correct`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sklearn.metrics import cohen_kappa_score

from probebench.tasks.judge import get_judge
from probebench.types import Example

SETS = {"triviaqa": "aliases", "nq": "aliases", "nq301": "aliases", "efficientqa": "aliases", "gsm8k": "number"}


def main(folder: Path) -> None:
    print("| human labels | judge | n | accuracy | 95 % | kappa | false positives | false negatives |")
    print("|---|---|---|---|---|---|---|---|")
    for name, judge in SETS.items():
        rows = [json.loads(line) for line in (folder / f"judged_{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        human = [int(r["correct"]) for r in rows]
        ours = [int(get_judge(judge)(Example("", r["question"], tuple(r["answers"]), ""), r["response"]).correct) for r in rows]
        n, same = len(rows), sum(a == b for a, b in zip(human, ours, strict=True))
        low, high = wilson(same, n)
        false_positives = sum(a < b for a, b in zip(human, ours, strict=True))
        false_negatives = sum(a > b for a, b in zip(human, ours, strict=True))
        kappa = cohen_kappa_score(human, ours)
        numbers = f"{same / n:.3f} | {low:.3f}-{high:.3f} | {kappa:.2f} | {false_positives} | {false_negatives}"
        print(f"| {name} | `{judge}` | {n:,} | {numbers} |")


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, p = 1.959963984540054, k / n
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
