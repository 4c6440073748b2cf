"""A probe card: what a selected probe is, how it was measured and where it ends, for people and
registries.

The fields up to `created_at` follow the Probe Card v0.1 of the OpenInterp registry
(github.com/OpenInterpretability/registry, schemas/probe_card.json) wherever this suite measures
what they ask for; `probebench` holds the rest. What was not measured is absent: no null, no zero,
no guess. A card therefore lacks the registry's required baselines that no run of this suite makes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probebench.errors import ProbebenchError, UsageError
from probebench.files import clean_json, write_atomic
from probebench.record.claims import chance, headline, selected
from probebench.record.run import PROBE, Run
from probebench.record.words import cell_words, labels_words, part_words
from probebench.report.write.escape import markdown as flat
from probebench.text import interval, number, slug

CARD = "probe_card"
"""File stem of a card beside its run."""
FORMATS = (".json", ".md")
REQUIRED = (
    "baselines.random_feature",
    "baselines.capacity_sweep",
    "baselines.shuffled_source",
    "license",
)
"""Fields that the registry's schema requires and a card may lack."""
LIMITS = (
    "It reads this model at this revision, layer, position and precision only.",
    "It was trained and tested on this task: an AUROC elsewhere has to be measured there.",
    "The positive class is a correct answer as the task's judge sees it; the judge's mistakes are "
    "in the labels.",
    "It shows that correctness can be read from this cell, not that the model uses what is read.",
)


def probe_card(run: Run, licence: str | None = None) -> dict[str, Any]:
    """The card of a run's selected probe.

    Args:
        run: a finished run.
        licence: under which the probe is given on; absent when None.
    """
    r = run.record
    chosen, counts = r["selection"], r["counts"]
    auroc, ends, n, _ = selected(r)
    model, task = r["model"], r["task"]
    train = counts["train"]
    saved = _saved(run)
    tested = chance(r)
    layer = int(chosen["layer"]) if str(chosen["layer"]).isdigit() else None
    share = train.get("accuracy")
    card = {
        "schema_version": "0.1",
        "probe_id": slug(
            f"probebench-{model['name']}-{task['name']}-{chosen['site']}-l{chosen['layer']}-{chosen['position']}"
        ),
        "name": (
            f"{r['probe']['name']} probe for correct answers of {model['name']} on {task['name']}"
        ),
        "model_target": {
            "model_id": model["name"],
            "architecture": model.get("architecture"),
            "layer": layer,
            "position": chosen["position"],
            "d_in": saved.get("width"),
        },
        "task": {
            "target_concept": "answer correctness",
            "task_type": "binary_classification",
            "label_source": _labels(r),
        },
        "training": {
            "n_train": _trained_on(r),
            "n_test": counts["test"]["n"],
            "splits": _split(task),
            "class_balance": {} if share is None else {"correct": share, "wrong": 1 - share},
            "regularization": _fit(r, chosen),
        },
        "performance": {
            "auroc": auroc,
            "auroc_ci_95": _pair(ends),
            "n_eval": n,
            "eval_distribution": "in-distribution",
        },
        "baselines": {
            "shuffled_source": {"passed": tested.verdict == "above"} if tested.tested else {}
        },
        "assumptions": _assumptions(r, chosen, saved),
        "known_failure_modes": [
            {"mode": "other", "description": words} for words in r.get("warnings", ())
        ],
        "license": licence,
        "created_at": r.get("timing", {}).get("started"),
        "probebench": _own(r, chosen, saved),
    }
    measured: dict[str, Any] = present(clean_json(card))
    return measured


def _own(
    r: Mapping[str, Any], chosen: Mapping[str, Any], saved: Mapping[str, Any]
) -> dict[str, Any]:
    """What the registry's format has no place for."""
    of_model = (
        "name",
        "revision",
        "n_layers",
        "width",
        "n_parameters",
        "dtype",
        "attention",
        "quantization",
        "peft",
    )
    keep = (
        "name",
        "label",
        "kind",
        "when",
        "n",
        "n_correct",
        "auroc",
        "prevalence",
        "probe_minus_this",
    )
    ends = ("auroc_95", "auroc_95_delong", "probe_minus_this_95")
    detectors = [
        {key: d.get(key) for key in keep}
        | {key: _pair(d.get(key)) for key in ends}
        | {"metrics": _metrics(d)}
        for d in r["detectors"]
    ]
    return {
        "card_version": 1,
        "protocol_version": r["protocol_version"],
        "package": r.get("package"),
        "positive_class": "correct",
        "site": chosen["site"],
        "layer": str(chosen["layer"]),
        "position": chosen["position"],
        "C": chosen.get("C"),
        "layer_convention": saved.get("layer_convention"),
        "position_rule": saved.get("position_rule"),
        "selection": r["selection"].get("rule"),
        "validation_auroc": chosen.get("validation_auroc"),
        "selectivity": chosen.get("selectivity"),
        "p_against_shuffled_labels": chosen.get("p"),
        "model": {key: r["model"].get(key) for key in of_model},
        "task": {
            key: r["task"].get(key)
            for key in ("name", "version", "hash", "kind", "judge", "exact_answer")
        },
        "data": {key: r.get("data", {}).get(key) for key in ("origin", "revision", "sha256")},
        "probe": {
            "name": r["probe"]["name"],
            "solver": r["probe"].get("solver"),
            "weights_sha256": saved.get("weights_sha256"),
        },
        "detectors": detectors,
        "against": _against(r),
        "sample": part_words(r),
        "intended_use": (
            "Research on what can be read from hidden states. Not a filter for answers shown to "
            "people."
        ),
        "limits": LIMITS,
    }


def _metrics(d: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: dict(m)
        for name, m in (d.get("metrics") or {}).items()
        if m and m.get("value") is not None
    }


def _saved(run: Run) -> dict[str, Any]:
    """What the saved probe's own file says; nothing where it was not saved."""
    path = run.folder / f"{PROBE}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _trained_on(r: Mapping[str, Any]) -> int:
    """Train answers that have the selected cell's token, or all of them where the record does not
    say."""
    s, everything = (
        r["selection"],
        r["positions_present"].get(r["selection"]["position"], {}).get("n"),
    )
    held = [s.get("n_validation"), s.get("n_test")]
    if everything is None or None in held:
        return int(r["counts"]["train"]["n"])
    return int(everything - sum(held))


def _against(r: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison with the best simpler signal, all of it over the same test examples."""
    h = headline(r)
    if h.signal is None:
        return {}
    signal = {key: h.signal.get(key) for key in ("name", "label", "auroc")} | {
        "auroc_95": _pair(h.signal["auroc_95"])
    }
    return {
        "n": h.n,
        "auroc": h.auroc,
        "auroc_95": _pair(h.auroc_95),
        "signal": signal,
        "rule": h.rule,
        "difference": h.difference,
        "difference_95": _pair(h.difference_95),
        "outcome": h.outcome,
    }


def _labels(r: Mapping[str, Any]) -> str:
    words = labels_words(r)
    if r["task"].get("kind") == "statements":
        return words.removeprefix("labels ") + ": 1 = true"
    return (
        f"automatic {words}".replace(str(r["task"].get("judge")), repr(r["task"].get("judge")), 1)
        if "judge" in words
        else words
    )


def _split(task: Mapping[str, Any]) -> str:
    """How the task is split; the suite's rule, as for answers from elsewhere, where it is not one
    of the suite."""
    from probebench.tasks.schema import load_task

    try:
        official = load_task(str(task["name"])).split == "official"
    except ProbebenchError:
        official = False
    return (
        "the publisher's own train and test, twins removed"
        if official
        else "60/20/20 by hash of the group"
    )


def _fit(r: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
    words = f"{r['probe']['name']}, trained on the train split"
    return words + (
        f", C = {chosen['C']:g} chosen on validation" if chosen.get("C") is not None else ""
    )


def _assumptions(
    r: Mapping[str, Any], chosen: Mapping[str, Any], saved: Mapping[str, Any]
) -> list[str]:
    words = [
        f"site {chosen['site']}",
        f"position {chosen['position']}: {saved['position_rule']}"
        if "position_rule" in saved
        else None,
    ]
    words += [f"layers: {saved['layer_convention']}" if "layer_convention" in saved else None]
    there, every = (
        r.get("positions_present", {}).get(chosen["position"], {}).get("n"),
        r["counts"]["all"]["n"],
    )
    if there is not None and there < every:
        words.append(
            f"{every - there} of {every} answers have no such token; they are neither in training "
            "nor in the test"
        )
    return [w for w in words if w]


def _pair(ends: Sequence[float | None] | None) -> list[float] | None:
    """An interval, or nothing where an end is not known."""
    if ends is None or len(ends) != 2:
        return None
    known = [float(end) for end in ends if end is not None and math.isfinite(end)]
    return known if len(known) == 2 else None


def present(value: Any) -> Any:
    """Without null, and without what is empty after that."""
    if isinstance(value, Mapping):
        kept = {key: present(v) for key, v in value.items()}
        return {key: v for key, v in kept.items() if v is not None and v not in ({}, [], "")}
    if isinstance(value, list):
        return [v for v in map(present, value) if v is not None]
    return value


def lacking(card: Mapping[str, Any]) -> list[str]:
    """Fields that the registry requires and this card does not have."""
    absent = []
    for path in REQUIRED:
        at: Any = card
        for part in path.split("."):
            at = at.get(part) if isinstance(at, Mapping) else None
        if at is None:
            absent.append(path)
    return absent


def to_markdown(card: Mapping[str, Any]) -> str:
    """The card to be read."""
    own, score = card["probebench"], card["performance"]
    target = card["model_target"]
    lines = [
        f"# {flat(card['name'])}",
        "",
        f"Test AUROC of *correct*: **{number(score.get('auroc'))}** "
        f"{interval(score.get('auroc_ci_95'), 2)}, "
        f"n = {score['n_eval']:,}.",
        "",
        *_against_lines(own.get("against"), score["n_eval"]),
        "| | |",
        "|---|---|",
        f"| model | {flat(target['model_id'])}{_revision(own)} |",
        f"| reads | {flat(cell_words(own))} |",
        f"| probe | {flat(card['training']['regularization'])} |",
        f"| task | {flat(own['task']['name'])}{_version(own)} |",
        f"| labels | {flat(card['task']['label_source'])} |",
        *([f"| examples | {flat(own['sample'])} |"] if "sample" in own else []),
        f"| trained on | {card['training']['n_train']:,} answers, {card['training']['splits']} |",
        f"| tested on | {_of(score['n_eval'], card['training']['n_test'])} |",
    ]
    lines += [f"| licence | {card['license']} |"] if "license" in card else []
    n = own["detectors"][0].get("n")
    here = (
        []
        if n is None
        else [f"All over the same {n:,} test examples, those that every detector scores.", ""]
    )
    lines += [
        "",
        "## Beside simpler signals",
        "",
        *here,
        "| detector | AUROC | 95 % | n |",
        "|---|---|---|---|",
    ]
    for d in own["detectors"]:
        row = (
            flat(d["label"]),
            number(d.get("auroc")),
            interval(d.get("auroc_95"), 2),
            str(d.get("n", "")),
        )
        lines.append(f"| {' | '.join(row)} |")
    metrics = own["detectors"][0].get("metrics", {})
    if metrics:
        lines += [
            "",
            "## Further metrics of the probe",
            "",
            "| metric | value | 95 % | n |",
            "|---|---|---|---|",
        ]
        for name, m in metrics.items():
            row = (
                name,
                number(m["value"]),
                interval((m.get("low"), m.get("high"))),
                str(m.get("n", "")),
            )
            lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "## Use and limits",
        "",
        own["intended_use"],
        "",
        *(f"- {words}" for words in own["limits"]),
    ]
    for title, words in (
        ("Assumptions", card.get("assumptions", [])),
        ("Warnings of the run", _warnings(card)),
    ):
        lines += ["", f"## {title}", "", *(f"- {flat(w)}" for w in words)] if words else []
    return "\n".join([*lines, ""])


def _of(n: int, every: int) -> str:
    """How many of the split's answers a number is over."""
    return (
        f"{every:,} answers"
        if n == every
        else f"{n:,} of {every:,} answers: the others lack the token"
    )


def _against_lines(found: Mapping[str, Any] | None, n: int) -> list[str]:
    """The comparison with the best simpler signal in one sentence."""
    if not found:
        return []
    signal = found["signal"]
    here = (
        "Over the same examples"
        if found["n"] == n
        else (
            f"Over the {found['n']:,} test examples that both score the probe has "
            f"{number(found.get('auroc'))}, and there"
        )
    )
    return [
        f"{here} the best simpler signal, {flat(signal['label'])} ({found['rule']}), has "
        f"{number(signal.get('auroc'))} "
        f"{interval(signal.get('auroc_95'), 2)}; probe minus signal "
        f"{number(found.get('difference'), signed=True)} "
        f"{interval(found.get('difference_95'), 2, signed=True)}, n = {found['n']:,}.",
        "",
    ]


def _version(own: Mapping[str, Any]) -> str:
    return f", version {own['task']['version']}" if "version" in own["task"] else ""


def _revision(own: Mapping[str, Any]) -> str:
    return f", revision {flat(own['model']['revision'])}" if "revision" in own["model"] else ""


def _warnings(card: Mapping[str, Any]) -> list[str]:
    return [w["description"] for w in card.get("known_failure_modes", [])]


def write_card(
    run: Run, out: str | None = None, licence: str | None = None
) -> tuple[list[Path], list[str]]:
    """Write a card, and say which fields of the registry it lacks.

    Args:
        run: a finished run.
        out: a file ending in .json or .md; both files beside the run when None.
        licence: under which the probe is given on.

    Raises:
        UsageError: a file of another ending.
        RunError: the disk is full or not writable.
    """
    card = probe_card(run, licence)
    paths = [Path(out)] if out else [run.folder / f"{CARD}{ending}" for ending in FORMATS]
    if paths[0].suffix not in FORMATS:
        raise UsageError(
            f"A probe card is written to a file ending in {' or '.join(FORMATS)}; got {str(out)!r}."
        )
    texts = {
        ".json": json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        ".md": to_markdown(card),
    }
    for path in paths:
        write_atomic(path, texts[path.suffix].encode())
    return paths, lacking(card)
