"""Figures that papers print for the same model and task, shown beside ours with their source and
with what differs."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from probebench.record.parts.studied import PublishedRow
from probebench.record.schema import Record

FOLDER = Path(__file__).parent.parent / "published"
TEST_AUROC, ERROR_TYPES, TRANSFER = (
    "orgad2025_test_auroc.csv",
    "orgad2025_error_types.csv",
    "orgad2025_transfer.csv",
)
"""Tables 4 to 7, Table 2 and Figure 3a of Orgad et al. (2025), arXiv:2410.02707v4."""
SIGN = (
    "The paper's positive class is an incorrect answer, ours a correct one. Turning both the "
    "labels and the scores round leaves an AUROC as it is, so the figures are shown as printed."
)
OTHERS = {"logits": "logit", "probas": "prob"}
"""First words of the paper's detectors, and of ours."""


@cache
def figures(name: str) -> tuple[Mapping[str, str], ...]:
    """The rows of one file of published figures, as text."""
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def same_model(name: str, published: str) -> bool:
    """Is `name`, a hub id or a folder, the model of this hub id?

    The last part decides, without case; the ways in which folders write a hub id (`org--name`,
    `org__name`) are read too.
    """
    own, theirs = name.rstrip("/").split("/")[-1].casefold(), published.casefold()
    return own in (
        theirs.split("/")[-1],
        *(
            f"{prefix}{theirs.replace('/', mark)}"
            for mark in ("--", "__")
            for prefix in ("", "models--")
        ),
    )


def our_name(detector: str) -> tuple[str, str]:
    """Whether it is a `position` or a `detector`, and its name in our tables."""
    if detector.startswith("probe@"):
        return "position", detector.removeprefix("probe@")
    first, _, rest = detector.partition("_")
    return "detector", f"{OTHERS.get(first, first)}_{rest}"


def published(record: Record) -> dict[str, Any] | None:
    """The record's `published`: what papers print for its model and task; None where they print
    nothing.

    Args:
        record: with its model, task, detectors and `by_position`.
    """
    name, task = record.model.name, record.task.name

    def own(file: str) -> list[Mapping[str, str]]:
        return [r for r in figures(file) if same_model(name, r["model"])]

    ours = _ours(record)
    rows = [_beside(r, ours) for r in own(TEST_AUROC) if r["task"] == task]
    if not rows:
        return None
    types = [
        {"error_type": r["error_type"], "auroc": float(r["auroc"]), "source": r["source"]}
        for r in own(ERROR_TYPES)
        if r["task"] == task
    ]
    transfer = [
        {
            "test_task": r["test_task"],
            "direction_free_auroc": float(r["auroc"]),
            "source": r["source"],
        }
        for r in own(TRANSFER)
        if r["train_task"] == task
    ]
    return {
        "rows": rows,
        "sign": SIGN,
        "differs": differs(record),
        "error_types": types,
        "transfer": transfer,
        "cite": "orgad2025llms",
    }


Measured = Mapping[tuple[str, str], tuple[Any, Any, Any]]
"""What a figure is of, as `our_name` says it -> AUROC, its interval and n of this run."""


def _ours(record: Record) -> Measured:
    """The run's own figures."""
    detectors = {("detector", d.name): (d.auroc, d.auroc_95, d.n) for d in record.detectors}
    positions = {
        ("position", p.position): (p.test_auroc, p.test_auroc_95, p.n_test)
        for p in record.by_position
        if p.layer is not None
    }
    return detectors | positions


def _beside(row: Mapping[str, str], ours: Measured) -> dict[str, Any]:
    """One figure of a paper, and ours where the run has it."""
    kind, name = our_name(row["detector"])
    value, ends, n = ours.get((kind, name), (None, None, None))
    return {
        "model": row["model"],
        "task": row["task"],
        "detector": row["detector"],
        "auroc": float(row["auroc"]),
        "spread": float(row["spread"]),
        "source": row["source"],
        "ours": name,
        "ours_is": kind,
        "our_auroc": value,
        "our_auroc_95": ends,
        "our_n": n,
    }


def differs(record: Record) -> list[str]:
    """What differs between this run and the paper's, one sentence each; what the run's options made
    the same is left out."""
    sites, probe = list(record.sites), record.probe.name
    found = []
    if record.selection.site != "mlp.down":
        found.append(
            f"Site: ours reads {record.selection.site}, theirs the MLP's output "
            + ("(site mlp.down of this run)." if "mlp.down" in sites else "(--sites mlp.down).")
        )
    if probe != "orgad2025":
        found.append(
            f"Probe: ours is {probe}, chosen on validation; theirs is scikit-learn's "
            "LogisticRegression with default settings on "
            "vectors as they are, which need not converge (--probe orgad2025)."
        )
    if record.task.exact_answer != "gold":
        found.append(
            "Exact answer: found here without the label; theirs is searched with the accepted "
            "answers where the answer is right, "
            "and by a language model where it is wrong (--exact-answer gold)."
        )
    return [
        *found,
        "Split: ours is by group and holds validation out of train; theirs is at random, so that "
        "twins of a question may cross.",
        "Data: the task file pins its own version and number of questions, and the answers are "
        "this run's own.",
        "Labels: those of this suite's judge; theirs come from their own matching.",
        "Logits and probabilities: over this run's generated tokens; theirs follow their own "
        "prompts and stop rules.",
        "Spread: theirs is over bootstrap draws of the test set; ours are 95 % intervals of a "
        "cluster bootstrap by group.",
    ]


def main_rows(rows: Sequence[PublishedRow]) -> list[PublishedRow]:
    """The rows of a short table: the paper's probes, then its best other detector."""
    probes = [r for r in rows if r.ours_is == "position"]
    others = [r for r in rows if r.ours_is == "detector"]
    return [*probes, *([max(others, key=lambda r: r.auroc)] if others else [])]
