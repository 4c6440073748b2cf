"""What a submitted record must look like before its numbers are looked at: types, lengths,
ranges."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from probebench.leaderboard.submission.names import DETECTOR
from probebench.leaderboard.submission.read import RECORD
from probebench.leaderboard.submission.strict import Finding, shown
from probebench.leaderboard.submission.submit import FORMAT
from probebench.record.schema import PROTOCOL_VERSION, SCHEMA_VERSION
from probebench.types import SPLITS

Check = Callable[[str, Any], Iterator[Finding]]
MANY = 10**7
"""More examples than any task has."""


def finding(field: str, given: Any, expected: str) -> Finding:
    """Something wrong in the record."""
    return Finding(RECORD, shown(field, 200).strip("'\""), shown(given), expected)


def is_whole(value: Any) -> bool:
    """A whole number; booleans are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """A number; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def text(most: int = 200, pattern: str = "", *, null: bool = False) -> Check:
    """Text of at most `most` characters."""

    def check(path: str, value: Any) -> Iterator[Finding]:
        if null and value is None:
            return
        if (
            not isinstance(value, str)
            or len(value) > most
            or (pattern and not re.fullmatch(pattern, value))
        ):
            yield finding(
                path,
                value,
                f"text of at most {most} characters"
                + (f" like {pattern}" if pattern else "")
                + _or_null(null),
            )

    return check


def whole(low: int = 0, high: int = MANY, *, null: bool = False) -> Check:
    """A whole number."""

    def check(path: str, value: Any) -> Iterator[Finding]:
        if not (null and value is None) and not (is_whole(value) and low <= value <= high):
            yield finding(path, value, f"a whole number from {low} to {high}{_or_null(null)}")

    return check


def real(low: float = 0.0, high: float = 1.0, *, null: bool = False) -> Check:
    """A number."""

    def check(path: str, value: Any) -> Iterator[Finding]:
        if not (null and value is None) and not (is_real(value) and low <= value <= high):
            yield finding(path, value, f"a number from {low:g} to {high:g}{_or_null(null)}")

    return check


def _or_null(null: bool) -> str:
    return ", or null" if null else ""


def one_of(*allowed: Any) -> Check:
    """One of some values, of the same type."""

    def check(path: str, value: Any) -> Iterator[Finding]:
        if not any(type(value) is type(a) and value == a for a in allowed):
            yield finding(path, value, " or ".join(map(repr, allowed)))

    return check


def listed(item: Check, low: int = 0, high: int = 10_000) -> Check:
    """A list of `low` to `high` items."""

    def check(path: str, value: Any) -> Iterator[Finding]:
        if not isinstance(value, list) or not low <= len(value) <= high:
            given = f"{len(value)} items" if isinstance(value, list) else value
            yield finding(
                path,
                given,
                f"a list of {low} items" if low == high else f"a list of {low} to {high} items",
            )
            return
        for i, inner in enumerate(value):
            yield from item(f"{path}[{i}]", inner)

    return check


def mapping(key: str, item: Check, most: int = 100) -> Check:
    """An object with keys of one form."""

    def check(path: str, value: Any) -> Iterator[Finding]:
        if not isinstance(value, Mapping) or len(value) > most:
            yield finding(path, value, f"an object of at most {most} keys")
            return
        for name, inner in value.items():
            if not re.fullmatch(key, name):
                yield finding(path, name, f"keys like {key}")
            else:
                yield from item(f"{path}.{name}", inner)

    return check


def fields(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object that has these keys; further ones are let be."""

    def check(path: str, value: Any) -> Iterator[Finding]:
        if not isinstance(value, Mapping):
            yield finding(path or "record", value, "an object")
            return
        for name, inner in required.items():
            where = f"{path}.{name}".lstrip(".")
            if name not in value:
                yield finding(where, "nothing", "this key")
            else:
                yield from inner(where, value[name])
        for name, inner in (optional or {}).items():
            if name in value:
                yield from inner(f"{path}.{name}".lstrip("."), value[name])

    return check


def interval(*, low: float = 0.0, high: float = 1.0) -> Check:
    """Two ends, the lower first, or two nulls."""
    end = real(low, high, null=True)

    def check(path: str, value: Any) -> Iterator[Finding]:
        found = list(listed(end, 2, 2)(path, value))
        yield from found
        if not found and (
            (value[0] is None) != (value[1] is None)
            or (value[0] is not None and value[0] > value[1])
        ):
            yield finding(path, value, "the lower end, then the upper end")

    return check


HEX = "[0-9a-f]{64}"
NAME = DETECTOR.pattern
COUNT = fields(
    {
        "n": whole(1),
        "correct": whole(),
        "accuracy": real(),
        "groups": whole(1),
        "refused": whole(),
        "not_stopped": whole(),
    }
)
CELL = {"site": text(40), "layer": text(5, "emb|0|[1-9][0-9]{0,3}"), "position": text(60)}
ANY = real(-1e6, 1e6, null=True)
METRIC = fields(
    {"value": ANY, "low": ANY, "high": ANY, "n": whole(), "positive": one_of("correct", "wrong")}
)
DETECTOR_SHAPE = fields(
    {
        "name": text(64, NAME),
        "label": text(120),
        "kind": one_of("probe", "ensemble", "baseline", "control"),
        "when": one_of("before", "after"),
        "n": whole(2),
        "n_correct": whole(1),
        "n_missing": whole(),
        "auroc": real(),
        "auroc_95": interval(),
        "auroc_95_delong": interval(),
        "auprc": real(),
        "prevalence": real(),
        "probe_minus_this": real(-1, 1, null=True),
        "probe_minus_this_95": interval(low=-1.0),
        "metrics": mapping(NAME, METRIC, 40),
    },
    {"detail": fields({})},
)
RECORD_SHAPE = fields(
    {
        "schema_version": one_of(SCHEMA_VERSION),
        "protocol_version": one_of(PROTOCOL_VERSION),
        "submission": fields({"format": one_of(FORMAT)}),
        "key": text(64, HEX),
        "model": fields(
            {
                "name": text(),
                "revision": text(null=True),
                "tokenizer": text(64, HEX),
                "architecture": text(80, r"\w+"),
                "n_layers": whole(1, 1000),
                "width": whole(1, 10**6),
                "n_parameters": whole(1, 10**14),
                "dtype": text(40, r"\w+"),
                "attention": text(80),
                "device": text(),
                "quantization": text(40),
                "peft": text(null=True),
                "remote_code": text(null=True),
            }
        ),
        "task": fields(
            {
                "name": text(),
                "version": whole(1, 9999),
                "hash": text(64, HEX),
                "kind": text(20),
                "judge": text(40),
                "exact_answer": text(40),
            }
        ),
        "data": fields(
            {
                "origin": text(1000),
                "revision": text(null=True),
                "sha256": text(64, HEX),
                "n_dropped": whole(),
                "n_too_long": whole(),
            },
            {
                "n_ungrouped": whole(),
                "test_is": text(20, null=True),
                "mended": mapping(r"\w{1,40}", whole()),
            },
        ),
        "probe": fields({"name": text(40)}),
        "settings": fields(
            {
                "seed": whole(0, 2**53),
                "overrides": mapping(r"\w{1,40}", lambda path, value: iter(())),
            }
        ),
        "package": fields(
            {
                "name": one_of("probebench"),
                "version": text(40, r"[\w.+-]+"),
                "commit": text(40, "[0-9a-f]{40}", null=True),
                "dirty": one_of(False, None),
            }
        ),
        "versions": mapping(r"[\w.-]{1,40}", text(80)),
        "counts": fields(dict.fromkeys(("all", *SPLITS), COUNT)),
        "layers": listed(text(5, "emb|0|[1-9][0-9]{0,3}"), 1, 1001),
        "positions": listed(text(60), 1, 60),
        "selection": fields(
            {
                **CELL,
                "validation_auroc": real(),
                "test_auroc": real(),
                "test_auroc_95": interval(),
                "n_test": whole(2),
                "selectivity": real(-1, 1, null=True),
                "p": real(null=True),
                "q": real(null=True),
            }
        ),
        "detectors": listed(DETECTOR_SHAPE, 1, 200),
        "comparison": fields(
            {
                "n_test": whole(2),
                "n_compared": whole(2),
                "dropped": fields({"correct": whole(), "wrong": whole()}),
                "absent": mapping(NAME, text(400)),
            }
        ),
        "controls": fields(
            {
                "shuffled_labels": fields(
                    {
                        "repeats": whole(2, 999),
                        "mean_auroc": real(),
                        "mean_auroc_95": interval(low=-9.0, high=9.0),
                        "sd": real(),
                        "auroc": listed(real(), 2, 999),
                    }
                ),
                "permutation": fields(
                    {
                        "shuffles": whole(0, 10**5),
                        "max_statistic_p": real(null=True),
                        "cells": whole(),
                        "cells_p_below_05": whole(),
                        "cells_q_below_05": whole(),
                    }
                ),
            }
        ),
        "warnings": listed(text(4000), 0, 500),
    },
    {
        "by_position": listed(
            fields(
                {
                    "position": text(60),
                    "layer": text(5, null=True),
                    "validation_auroc": real(null=True),
                    "test_auroc": real(null=True),
                    "n_test": whole(null=True),
                }
            ),
            0,
            60,
        )
    },
)
"""The record of a submission."""


def check_shape(record: Mapping[str, Any]) -> list[Finding]:
    """Everything in which a record is not what a record is; empty when the rules can rely on it."""
    found = list(RECORD_SHAPE("", record))
    if not found:
        found += _unique("detectors", [d["name"] for d in record["detectors"]])
        found += _unique("layers", record["layers"]) + _unique("positions", record["positions"])
        if not found and record["detectors"][0]["name"] != "probe":
            found.append(
                finding(
                    "detectors[0].name",
                    record["detectors"][0]["name"],
                    "probe: the selected cell comes first",
                )
            )
    return found


def _unique(path: str, names: Sequence[str]) -> list[Finding]:
    repeated = sorted({n for n in names if names.count(n) > 1})
    return [finding(path, name, "each once") for name in repeated]
