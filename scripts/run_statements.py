"""Every statement task on local copies of its published files, as a Markdown table.

    python scripts/run_statements.py MODEL DIR [TASK ...]

DIR holds the files somewhere below it, under their published names. A task whose file is not there
is left out, and said so; one that cannot give a result stands in the table with the reason. Of
larger files `LIMIT` statements are used.
"""

from __future__ import annotations

import sys
from pathlib import Path

import probebench
from probebench.errors import ProbebenchError
from probebench.tasks.schema import list_tasks

LIMIT = 8000


def main(model: str, folder: Path, wanted: list[str]) -> None:
    files = {path.name: path for path in folder.rglob("*") if path.is_file()}
    print(
        "| task | statements | groups | selected cell | test AUROC [95 %] | text only | text below "
        "0.5 |"
    )
    print("|---|---|---|---|---|---|---|")
    for task in list_tasks():
        if (
            task.kind != "statements"
            or not task.source.files
            or (wanted and task.name not in wanted)
        ):
            continue
        path = files.get(Path(task.source.files[0].url).name)
        if path is None or len(task.source.files) > 1:
            print(f"{task.name}: left out, needs {task.source.name}", file=sys.stderr)
            continue
        try:
            record = probebench.evaluate(
                model, task.name, data=path, limit=LIMIT, discard_states=True
            ).record
        except ProbebenchError as error:
            print(f"| {task.name} | | | no result: {error} | | | |", flush=True)
            continue
        s, n = record["selection"], record["counts"]["all"]
        text = next(d for d in record["detectors"] if d["name"] == "text")
        low, high = (float("nan") if end is None else end for end in s["test_auroc_95"])
        below = "yes" if text["auroc_95"][1] < 0.5 else ""
        cell = f"{s['layer']}, {s['position']}"
        print(
            f"| {task.name} | {n['n']:,} | {n['groups']:,} | {cell} | {s['test_auroc']:.2f} "
            f"[{low:.2f}, {high:.2f}] | {text['auroc']:.2f} [{text['auroc_95'][0]:.2f}, "
            f"{text['auroc_95'][1]:.2f}] | {below} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
