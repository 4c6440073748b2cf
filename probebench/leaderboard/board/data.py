"""The data files of the site: scripts that hold one JSON text each, for scripts of the site to
read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from probebench.files import compact_json
from probebench.leaderboard.board.models import Model
from probebench.leaderboard.board.rows import TIERS, BoardRow, Standing
from probebench.record.claims import p_words

if TYPE_CHECKING:
    from probebench.leaderboard.board.entries import Entry

FIELDS = {"a": "auroc", "l": "low", "h": "high", "v": "validation_auroc", "s": "selectivity"}
"""Key in a map's data file -> field of a cell."""
UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&'\u2028\u2029\u007f"}
"""Characters that could end a script element or a line of code, as JSON writes them otherwise."""


def _model(model: Model) -> list[Any]:
    return [model.name, model.slug, model.family, model.size, model.n_parameters]


def standing_data(s: Standing) -> list[Any]:
    """One line of the table of models."""
    ends = [round(s.share.low, 4), round(s.share.high, 4)]
    return [
        *_model(s.model),
        [TIERS.index(t) for t in s.tiers],
        s.tasks,
        s.first,
        s.decided,
        s.undecided,
        *ends,
    ]


def partners(rows: Iterable[BoardRow]) -> dict[str, str]:
    """Slug of a model -> the other model with which it shares most tasks, the model with the most
    such tasks first; runs and published figures are shared with their own kind only."""
    known: dict[str, set[tuple[str, bool]]] = {}
    for r in rows:
        if r.headline and r.current and r.auroc is not None:
            known.setdefault(r.model.slug, set()).add((r.task, r.protocol is None))
    models, places = list(known), _codes(key for keys in known.values() for key in sorted(keys))
    has = np.zeros((len(models), len(places)), dtype=np.float32)
    for i, model in enumerate(models):
        has[i, [places[key] for key in known[model]]] = 1
    shared = has @ has.T
    np.fill_diagonal(shared, -1)
    if len(models) < 2:
        return {}
    order = np.argsort(-shared.max(axis=1), kind="stable")
    return {models[i]: models[int(shared[i].argmax())] for i in order}


def _scaled(value: float | None) -> int | None:
    """Millionths: what a page rounds to three digits is then hardly ever rounded twice."""
    return None if value is None else round(1e6 * value)


def row_data(rows: Sequence[BoardRow], slugs: Mapping[str, str]) -> dict[str, Any]:
    """Rows as columns of small numbers and the dictionaries they point into; a third of the size of
    one record per row."""
    models = _codes(r.model.slug for r in rows)
    tasks, detectors = (
        _codes(r.task for r in rows),
        _codes((r.detector, r.label, r.when) for r in rows),
    )
    sources = _codes(r.source for r in rows if r.source is not None)
    by_slug = {r.model.slug: r.model for r in rows}
    return {
        "models": [_model(by_slug[slug]) for slug in models],
        "tasks": [[name, slugs[name]] for name in tasks],
        "detectors": [list(d) for d in detectors],
        "tiers": TIERS,
        "sources": list(sources),
        "rows": {
            "m": [models[r.model.slug] for r in rows],
            "k": [tasks[r.task] for r in rows],
            "d": [detectors[r.detector, r.label, r.when] for r in rows],
            "a": [_scaled(r.auroc) for r in rows],
            "l": [_scaled(r.low) for r in rows],
            "h": [_scaled(r.high) for r in rows],
            "b": [_scaled(r.difference) for r in rows],
            "bl": [_scaled(r.difference_low) for r in rows],
            "bh": [_scaled(r.difference_high) for r in rows],
            "e": [_scaled(r.spread) for r in rows],
            "y": [_scaled(r.splits_sd) for r in rows],
            "z": [r.splits for r in rows],
            "n": [r.n for r in rows],
            "g": [r.rank for r in rows],
            "t": [TIERS.index(r.tier) for r in rows],
            "v": [r.old for r in rows],
            "x": [int(r.headline) for r in rows],
            "o": [int(not r.current) for r in rows],
            "s": [None if r.source is None else sources[r.source] for r in rows],
        },
    }


def paired_data(rows: Sequence[BoardRow]) -> list[dict[str, int | None]]:
    """Of each row the standard errors of its differences to other models, in millionths."""
    return [{slug: _scaled(se) for slug, se in r.paired_se.items()} for r in rows]


def _codes(values: Iterable[Any]) -> dict[Any, int]:
    return {value: i for i, value in enumerate(dict.fromkeys(values))}


def map_data(entry: Entry, site: str) -> dict[str, Any]:
    """One map as grids (layer, position) of millionths; n is one number where it is the same
    everywhere."""
    cells = {(c.layer, c.position): c for c in entry.cells if c.site == site}
    layers = [layer for layer in entry.layers if any(key[0] == layer for key in cells)]
    positions = [p for p in entry.positions if any(key[1] == p for key in cells)]
    shown = [[cells.get((i, j)) for j in positions] for i in layers]

    def grid(field: str) -> list[list[int | None]]:
        return [[None if c is None else _scaled(getattr(c, field)) for c in row] for row in shown]

    n = [[None if c is None else c.n for c in row] for row in shown]
    same = {value for row in n for value in row}
    chosen = entry.selection
    return {
        "layers": layers,
        "positions": positions,
        **{key: grid(field) for key, field in FIELDS.items()},
        "n": same.pop() if len(same) == 1 else n,
        "why": {
            f"{i},{j}": c.masked
            for i, row in enumerate(shown)
            for j, c in enumerate(row)
            if c is not None and c.masked
        },
        "selected": [chosen.layer, chosen.position] if chosen and chosen.site == site else None,
        "p": p_words(entry.map_p) if chosen and chosen.site == site and entry.map_p else None,
    }


def script_text(text: str) -> str:
    """A text as a JavaScript string that is safe in a script file and inside a script element."""
    return json.dumps(text, ensure_ascii=False).translate(UNSAFE)


def script(key: str, content: Mapping[str, Any]) -> str:
    """A data file: a call with a JSON text, so that no submitted text is ever code."""
    return f"PB.put({script_text(key)}, {script_text(compact_json(content))});\n"
