"""Finished runs side by side, as a Markdown table.

python scripts/summarise_runs.py RUN [RUN ...]
"""

from __future__ import annotations

import sys

from probebench.record.run import Run

ROWS = (
    "probe",
    "probe_emb",
    "ensemble_mean",
    "ensemble_stacked",
    "text",
    "text_question",
    "text_answer",
    "logprob_mean",
    "logprob_min_exact",
    "entropy_exact_first",
    "p_true",
    "length",
    "probe_random_model",
)


def main(folders: list[str]) -> None:
    records = [Run.load(folder).record for folder in folders]
    everything, test = ([r["counts"][part] for r in records] for part in ("all", "test"))
    labels = {d["name"]: d["label"] for r in records for d in r["detectors"]}
    controls = [r["controls"]["shuffled_labels"] for r in records]
    line("", [r["task"]["name"] for r in records])
    print(f"|---|{'---|' * len(records)}")
    line("answers, correct", [f"{c['n']:,}, {c['accuracy']:.1%}" for c in everything])
    line("test answers, groups", [f"{c['n']:,}, {c['groups']}" for c in test])
    line(
        "selected cell",
        [f"layer {r['selection']['layer']}, {r['selection']['position']}" for r in records],
    )
    line(
        "of these with the cell's token; compared",
        [f"{r['selection']['n_test']:,}; {r['comparison']['n_compared']:,}" for r in records],
    )
    for name in ROWS:
        line(labels.get(name, name), [cell(r, name) for r in records])
    line(
        "shuffled labels, mean of 20",
        [f"{c['mean_auroc']:.2f} {interval(c['mean_auroc_95'])}" for c in controls],
    )
    for name in ("probe_emb", "text", "text_question", "text_answer"):
        line(f"probe minus {labels.get(name, name)}", [difference(r, name) for r in records])


def line(head: str, cells: list[str]) -> None:
    print(f"| {head} | {' | '.join(cells)} |")


def row(record: dict, name: str) -> dict | None:
    return next((d for d in record["detectors"] if d["name"] == name), None)


def cell(record: dict, name: str) -> str:
    d = row(record, name)
    return f"{d['auroc']:.2f} {interval(d['auroc_95'])}" if d else ""


def difference(record: dict, name: str) -> str:
    d = row(record, name)
    return f"{d['probe_minus_this']:+.2f} {interval(d['probe_minus_this_95'], '+.2f')}" if d else ""


def interval(ends: list[float], form: str = ".2f") -> str:
    return f"[{ends[0]:{form}}, {ends[1]:{form}}]"


if __name__ == "__main__":
    main(sys.argv[1:])
