"""A probe card to be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from probebench.record.words import terms_of
from probebench.report.write.escape import markdown as flat
from probebench.text import interval, number

Card = Mapping[str, Any]


def to_markdown(card: Card) -> str:
    """The card as Markdown. Every text of it is escaped."""
    own, score = card["probebench"], card["performance"]
    lines = [
        f"# {flat(card['name'])}",
        "",
        f"Test AUROC of *{own['positive_class']}*: **{number(score.get('auroc'))}** "
        f"{interval(score.get('auroc_ci_95'), 2)}, n = {score['n_eval']:,}.",
        "",
        *_against(own.get("against"), score["n_eval"]),
        "| | |",
        "|---|---|",
        *_facts(card),
        "",
        *_detectors(own["detectors"]),
        *_metrics(own["detectors"][0].get("metrics", {})),
        "## Use and limits",
        "",
        own["intended_use"],
        "",
        *(f"- {words}" for words in own["limits"]),
    ]
    warnings = [w["description"] for w in card.get("known_failure_modes", [])]
    for title, words in (
        ("Assumptions", card.get("assumptions", [])),
        ("Warnings of the run", warnings),
    ):
        lines += ["", f"## {title}", "", *(f"- {flat(w)}" for w in words)] if words else []
    return "\n".join([*lines, ""])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _against(found: Card | None, n: int) -> list[str]:
    """The comparison with the best simpler signal in one sentence."""
    if not found:
        return []
    signal = found["signal"]
    here = (
        "Over the same examples"
        if found["n"] == n
        else f"Over the {found['n']:,} test examples that both score the probe has "
        f"{number(found.get('auroc'))}, and there"
    )
    return [
        f"{here} the best simpler signal, {flat(signal['label'])} ({found['rule']}), has "
        f"{number(signal.get('auroc'))} {interval(signal.get('auroc_95'), 2)}; probe minus signal "
        f"{number(found.get('difference'), signed=True)} "
        f"{interval(found.get('difference_95'), 2, signed=True)}, n = {found['n']:,}.",
        "",
    ]


def _facts(card: Card) -> list[str]:
    """Model, cell, probe, task, examples and licence, a row each."""
    own, training, score = card["probebench"], card["training"], card["performance"]
    revision, version = own["model"].get("revision"), own["task"].get("version")
    n, every, what = score["n_eval"], training["n_test"], terms_of(own["task"]["kind"]).what
    facts = {
        "model": flat(card["model_target"]["model_id"])
        + (f", revision {flat(revision)}" if revision is not None else ""),
        "reads": flat(f"{own['site']}, layer {own['layer']}, {own['position']}"),
        "probe": flat(training["regularization"]),
        "task": flat(own["task"]["name"]) + (f", version {version}" if version is not None else ""),
        "labels": flat(card["task"]["label_source"]),
        "examples": flat(own["sample"]) if "sample" in own else "",
        "trained on": f"{training['n_train']:,} {what}, {training['splits']}",
        "tested on": f"{every:,} {what}"
        if n == every
        else f"{n:,} of {every:,} {what}: the others lack the token",
        "licence": card.get("license", ""),
    }
    return [_row((name, said)) for name, said in facts.items() if said]


def _detectors(detectors: Sequence[Card]) -> list[str]:
    """Every detector on the same test examples."""
    n = detectors[0].get("n")
    fewer = any(d.get("n", n) != n for d in detectors)
    here = f"Over the same {n:,} test examples{', but where n is smaller' if fewer else ''}."
    return [
        "## Beside simpler signals",
        "",
        *([] if n is None else [here, ""]),
        "| detector | AUROC | 95 % | n |",
        "|---|---|---|---|",
        *(
            _row(
                (
                    flat(d["label"]),
                    number(d.get("auroc")),
                    interval(d.get("auroc_95"), 2),
                    str(d.get("n", "")),
                )
            )
            for d in detectors
        ),
        "",
    ]


def _metrics(metrics: Card) -> list[str]:
    """The probe's further metrics; nothing where there are none."""
    if not metrics:
        return []
    rows = (
        (name, number(m["value"]), interval((m.get("low"), m.get("high"))), str(m.get("n", "")))
        for name, m in metrics.items()
    )
    heads = ["| metric | value | 95 % | n |", "|---|---|---|---|"]
    return ["## Further metrics of the probe", "", *heads, *map(_row, rows), ""]
