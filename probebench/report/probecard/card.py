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
from typing import Any

from probebench.errors import ProbebenchError
from probebench.files import clean_json
from probebench.record.claims import chance, headline, selected
from probebench.record.parts.measured import DetectorFacts
from probebench.record.run import PROBE, Run
from probebench.record.schema import Record
from probebench.record.words import labels_words, part_words, terms
from probebench.text import slug

MODEL = (
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
TASK = ("name", "version", "hash", "kind", "judge", "exact_answer")
DETECTOR = (
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
"""Fields of the record that the card keeps."""
LIMITS = (
    "It reads this model at this revision, layer, position and precision only.",
    "It was trained and tested on this task: an AUROC elsewhere has to be measured there.",
    "It shows that right and wrong can be read from this cell, not that the model uses what is "
    "read.",
)
JUDGED = (
    "The positive class is a correct answer as the task's judge sees it; the judge's mistakes are "
    "in the labels."
)
SPLITS = {
    "hash": "60/20/20 by hash of the group",
    "official": "the publisher's own train and test, twins removed",
    "file": "as the file of answers says",
}


def probe_card(run: Run, licence: str | None = None) -> dict[str, Any]:
    """The card of a run's selected probe.

    Args:
        run: a finished run.
        licence: under which the probe is given on; absent when None.
    """
    r = run.record
    saved, tested, model = _saved(run), chance(r), r.model
    chosen, task = r.selection, r.task
    auroc, ends, n, _ = selected(r)
    named = terms(r)
    layer = int(chosen.layer) if str(chosen.layer).isdigit() else None
    cell = f"{chosen.site}-l{chosen.layer}-{chosen.position}"
    card = {
        "schema_version": "0.1",
        "probe_id": slug(f"probebench-{model.name}-{task.name}-{cell}"),
        "name": f"{r.probe.name} probe for {named.right} {named.what} of {model.name} on "
        f"{task.name}",
        "model_target": {
            "model_id": model.name,
            "architecture": model.architecture,
            "layer": layer,
            "position": chosen.position,
            "d_in": saved.get("width"),
        },
        "task": {
            "target_concept": "answer correctness"
            if named.what == "answers"
            else "truth of statements",
            "task_type": "binary_classification",
            "label_source": _labels(r),
        },
        "training": _training(r),
        "performance": {
            "auroc": auroc,
            "auroc_ci_95": _pair(ends),
            "n_eval": n,
            "eval_distribution": "in-distribution",
        },
        "baselines": {
            "shuffled_source": {"passed": tested.verdict == "above"} if tested.tested else {}
        },
        "assumptions": _assumptions(r, saved),
        "known_failure_modes": [{"mode": "other", "description": words} for words in r.warnings],
        "license": licence,
        "created_at": r.timing and r.timing.started,
        "probebench": _own(r, saved),
    }
    measured: dict[str, Any] = present(clean_json(card))
    return measured


def _training(r: Record) -> dict[str, Any]:
    """On what the probe was trained and tested, and how it was fitted."""
    share = r.counts.train.accuracy
    return {
        "n_train": _trained_on(r),
        "n_test": r.counts.test.n,
        "splits": _split(r),
        "class_balance": {}
        if share is None
        else {terms(r).right: share, terms(r).wrong: 1 - share},
        "regularization": _fit(r),
    }


def _own(r: Record, saved: Mapping[str, Any]) -> dict[str, Any]:
    """What the registry's format has no place for."""
    chosen = r.selection
    return {
        "card_version": 1,
        "protocol_version": r.protocol_version,
        "package": r.package,
        "positive_class": terms(r).right,
        "site": chosen.site,
        "layer": str(chosen.layer),
        "position": chosen.position,
        "C": chosen.C,
        "layer_convention": saved.get("layer_convention"),
        "position_rule": saved.get("position_rule"),
        "selection": chosen.rule,
        "validation_auroc": chosen.validation_auroc,
        "selectivity": chosen.selectivity,
        "p_against_shuffled_labels": chosen.p,
        "model": {key: r.model.get(key) for key in MODEL},
        "task": {key: r.task.get(key) for key in TASK},
        "data": {key: r.data.get(key) for key in ("origin", "revision", "sha256")},
        "probe": {
            "name": r.probe.name,
            "solver": r.probe.solver,
            "weights_sha256": saved.get("weights_sha256"),
        },
        "detectors": [_detector(d) for d in r.detectors],
        "against": _against(r),
        "sample": part_words(r),
        "intended_use": (
            "Research on what can be read from hidden states. Not a filter for answers shown to "
            "people."
        ),
        "limits": [*LIMITS, *([JUDGED] if "judge" in labels_words(r) else [])],
    }


def _detector(d: DetectorFacts) -> dict[str, Any]:
    ends = ("auroc_95", "auroc_95_delong", "probe_minus_this_95")
    return {
        **{key: d.get(key) for key in DETECTOR},
        **{key: _pair(d.get(key)) for key in ends},
        "metrics": _metrics(d),
    }


def _metrics(d: DetectorFacts) -> dict[str, Any]:
    return {name: m.plain() for name, m in d.metrics.items() if m.value is not None}


def _saved(run: Run) -> dict[str, Any]:
    """What the saved probe's own file says; nothing where it was not saved."""
    path = run.folder / f"{PROBE}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _trained_on(r: Record) -> int:
    """Train answers that have the selected cell's token, or all of them where the record does not
    say."""
    s = r.selection
    if s.position not in r.positions_present or "n_validation" not in s:
        return r.counts.train.n
    return r.positions_present[s.position].n - s.n_validation - s.n_test


def _against(r: Record) -> dict[str, Any]:
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


def _labels(r: Record) -> str:
    words = labels_words(r)
    if r.task.kind == "statements":
        return words.removeprefix("labels ") + ": 1 = true"
    return (
        f"automatic {words}".replace(str(r.task.judge), repr(r.task.judge), 1)
        if "judge" in words
        else words
    )


def _split(r: Record) -> str:
    """How the examples were split; of an older record, that does not say it, as the task has it."""
    from probebench.tasks.schema import load_task

    try:
        own = load_task(str(r.task.name)).split
    except ProbebenchError:
        own = "hash"
    return SPLITS[r.data.split or own]


def _fit(r: Record) -> str:
    C = r.selection.C
    words = f"{r.probe.name}, trained on the train split"
    return words if C is None else f"{words}, C = {C:g} chosen on validation"


def _assumptions(r: Record, saved: Mapping[str, Any]) -> list[str]:
    """What has to be the same for the probe to be used elsewhere."""
    position, every = r.selection.position, r.counts.all.n
    words = [f"site {r.selection.site}"]
    if "position_rule" in saved:
        words.append(f"position {position}: {saved['position_rule']}")
    if "layer_convention" in saved:
        words.append(f"layers: {saved['layer_convention']}")
    facts = r.positions_present.get(position)
    if facts is not None and facts.n < every:
        words.append(
            f"{every - facts.n} of {every} {terms(r).what} have no such token; they are neither in "
            "training nor in the test"
        )
    return words


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
