"""Records of runs that never were, whole enough to be read."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from probebench.record.schema import PROTOCOL_VERSION, SCHEMA_VERSION, Record

HASH = "0" * 64
RATE = {"n": 1500, "of": 1500, "rate": 1.0}
COUNTS = {
    "n": 1500,
    "correct": 750,
    "accuracy": 0.5,
    "groups": 1500,
    "refused": 0,
    "not_stopped": 0,
}
CELL = {"site": "resid", "layer": "3", "position": "exact_answer_last"}
TESTED = {
    **CELL,
    "C": 0.01,
    "validation_auroc": 0.8,
    "test_auroc": 0.8,
    "test_auroc_95": [0.75, 0.85],
    "n_test": 300,
    "selectivity": 0.3,
    "p": 0.001,
    "q": 0.01,
}
PROBE = {
    "name": "probe",
    "label": "probe, selected cell",
    "kind": "probe",
    "when": "after",
    "n": 300,
    "n_correct": 150,
    "n_missing": 0,
    "auroc": 0.8,
    "auroc_95": [0.75, 0.85],
    "auroc_95_delong": [0.75, 0.85],
    "auprc": 0.8,
    "prevalence": 0.5,
    "probe_minus_this": None,
    "probe_minus_this_95": [None, None],
    "metrics": {},
}
WHOLE = {
    "schema_version": SCHEMA_VERSION,
    "protocol_version": PROTOCOL_VERSION,
    "key": HASH,
    "model": {
        "name": "org/model",
        "revision": "abc",
        "tokenizer": HASH,
        "chat_template": None,
        "architecture": "LlamaForCausalLM",
        "n_layers": 8,
        "width": 64,
        "n_parameters": 10**6,
        "dtype": "float32",
        "attention": "sdpa",
        "device": "cpu",
        "quantization": "none",
        "peft": None,
        "remote_code": None,
    },
    "task": {
        "name": "people",
        "version": 1,
        "hash": HASH,
        "kind": "qa",
        "judge": "aliases",
        "exact_answer": "model",
    },
    "data": {
        "origin": "embedded:people.jsonl",
        "revision": None,
        "sha256": HASH,
        "n_dropped": 0,
        "n_too_long": 0,
    },
    "probe": {"name": "logistic"},
    "settings": {"seed": 0, "overrides": {}},
    "states": None,
    "package": {"name": "probebench", "version": "0", "commit": None, "dirty": None},
    "versions": {"numpy": "2"},
    "counts": dict.fromkeys(("all", "train", "validation", "test"), COUNTS),
    "layers": ["emb", "3"],
    "positions": ["exact_answer_last"],
    "selection": TESTED,
    "detectors": [PROBE],
    "comparison": {
        "n_test": 300,
        "n_compared": 300,
        "dropped": {"correct": 0, "wrong": 0},
        "absent": {},
    },
    "controls": {
        "shuffled_labels": {
            "repeats": 20,
            "mean_auroc": 0.5,
            "mean_auroc_95": [0.49, 0.51],
            "sd": 0.02,
            "auroc": [0.5] * 20,
        },
        "permutation": {
            "shuffles": 100,
            "max_statistic_p": 0.01,
            "cells": 1,
            "cells_p_below_05": 1,
            "cells_q_below_05": 1,
        },
    },
    "warnings": [],
}
"""What every record has."""


def content(**changes: Any) -> dict[str, Any]:
    """The JSON of a record: `WHOLE`, with other values in its objects; a list replaces a list."""
    return merged(WHOLE, changes)


def record(**changes: Any) -> Record:
    """A record with these changes."""
    return Record.from_plain(content(**changes))


def merged(whole: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`whole` with `changes` put into its objects, at any depth."""
    found = deepcopy(dict(whole))
    for name, value in changes.items():
        inner = found.get(name)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        found[name] = merged(inner, value) if both else deepcopy(value)
    return found
