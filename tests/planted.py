"""Finished runs held in memory, with signals planted in their vectors: what a run directory holds,
without a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from probebench.metrics.auroc import auroc
from probebench.record.run import Run
from probebench.states.reader import SiteLayout
from probebench.tasks.split import split_of
from probebench.types import Cell

MODEL = {
    "name": "planted",
    "revision": "r",
    "tokenizer": "t",
    "chat_template": None,
    "dtype": "float32",
    "attention": "eager",
}
WIDTH = 12


@dataclass(frozen=True)
class Vectors:
    """Reads vectors held in memory, as `StatesReader` does those on disk."""

    values: dict[tuple[str, int], np.ndarray]
    present: np.ndarray
    positions: tuple[str, ...] = ("-1",)

    @property
    def sites(self):
        return {name: self.site(name) for name in {site for site, _ in self.values}}

    def site(self, name):
        layers = tuple(sorted(layer for site, layer in self.values if site == name))
        return SiteLayout(layers, tuple(self.values[name, layer].shape[1] for layer in layers))

    def there(self, position):
        return self.present[:, self.positions.index(position)]

    def cell(self, layer, position, site="resid"):
        return self.values[site, layer].astype(np.float32)

    def alike(self, layer, site="resid"):
        return {position: position for position in self.positions}


class Loose(dict):
    """A record with the few parts that a test plants, read by key or attribute like the real."""

    def __init__(self, parts):
        for name, value in parts.items():
            self[name] = value

    def __setitem__(self, name, value):
        super().__setitem__(name, Loose(value) if isinstance(value, dict) else value)

    def __getattr__(self, name):
        if name not in self:
            raise AttributeError(name)
        return self[name]


@dataclass(frozen=True, eq=False)
class Planted(Run):
    """A run whose tables are given."""

    tables: dict = field(default_factory=dict)

    def states(self):
        return self.tables["reader"]

    @property
    def answers(self):
        return self.tables["answers"]

    @property
    def predictions(self):
        return self.tables["predictions"]

    @property
    def scores(self):
        return self.tables["scores"]


def axis(k):
    """Unit vector k."""
    return np.eye(WIDTH)[k]


def planted(
    name,
    directions,
    *,
    y=None,
    n=600,
    seed=0,
    layer=0,
    offset=0.0,
    scale=1.0,
    detectors=None,
    validation=None,
    site="resid",
    model=MODEL,
    **columns,
):
    """A run of a task whose vectors move along `directions[layer]` with the label.

    Args:
        name: of the task.
        directions: layer -> (width,) by which vectors of correct and wrong answers differ, over
            noise of deviation 1.
        y: (example,) labels; None for coin tosses.
        n: examples.
        seed: of noise and labels.
        layer: the selected one.
        offset: (width,) added to all vectors.
        scale: factor of all vectors.
        detectors: name -> (example,) decisions, beside `probe`.
        validation: layer -> validation AUROC in the scores.
        site: of the vectors.
        model: what the record says of the model.
        columns: of the answers, instead of the usual ones.
    """
    rng = np.random.default_rng([seed, sum(map(ord, name))])
    y = rng.integers(0, 2, n) if y is None else np.asarray(y)
    n = len(y)
    values = {}
    for k, direction in directions.items():
        X = rng.normal(size=(n, WIDTH)) + (y[:, None] - 0.5) * np.asarray(direction)
        values[site, k] = scale * X + offset
    answers = pd.DataFrame(
        {
            "id": [f"{name}{i}" for i in range(n)],
            "question": [f"Is {name} {i}?" for i in range(n)],
            "text": [f"answer {i}" for i in range(n)],
            "group": [f"{name}-g{i // 2}" for i in range(n)],
            "label": y,
        }
    )
    answers["split"] = [split_of(group) for group in columns.get("group", answers.group)]
    answers = answers.assign(**columns)
    own = values[site, layer] @ np.asarray(directions[layer])
    reported = {"probe": own, **(detectors or {})}
    kept = np.flatnonzero(answers.split != "train")
    base = answers.loc[kept, ["id", "group", "split", "label"]].assign(scored=True)
    predictions = pd.concat(
        [
            base.assign(detector=k, decision=np.asarray(v, dtype=float)[kept])
            for k, v in reported.items()
        ]
    )
    found = validation or {
        k: auroc(y, values[site, k] @ np.asarray(directions[k])) for k in directions
    }
    scores = pd.DataFrame(
        [
            {
                "site": site,
                "layer": str(k),
                "position": "-1",
                "detector": "cell",
                "split": "validation",
                "metric": "auroc",
                "value": v,
                "converged": True,
                "barred": "",
            }
            for k, v in found.items()
        ]
    )
    cell = {
        "site": site,
        "layer": str(layer),
        "position": "-1",
        "C": 0.01,
        "validation_auroc": found[layer],
    }
    record = {
        "model": dict(model),
        "settings": {"seed": 0, "width": None},
        "data": {"test_is": None},
        "probe": {"name": "logistic", "solver": "batched"},
        "task": {
            "name": name,
            "version": 1,
            "hash": name,
            "kind": "qa",
            "judge": "aliases",
            "exact_answer": "model",
        },
        "selection": cell,
        "sites": {site: {"best": cell}},
        "files": [],
        "states": "states",
        "protocol_version": 1,
        "layers": [str(k) for k in sorted(directions)],
        "positions": ["-1"],
        "by_position": [],
        "package": {"version": "0"},
        "detectors": [{"name": k, "label": f"the {k}"} for k in reported],
    }
    reader = Vectors(values, np.ones((n, 1), dtype=bool))
    tables = {"answers": answers, "predictions": predictions, "scores": scores, "reader": reader}
    return Planted(Path(f"run-{name}"), Loose(record), tables=tables)


def made_plan(*, skip=(), causal=True, statements=False):
    """A plan that asks for nothing beside the map, for detectors that are made without a model."""
    beside = SimpleNamespace(
        skip=skip, controls=(), detectors=(), encoder=None, nli=None, drawing=None
    )
    identity = SimpleNamespace(attention="sdpa")
    return SimpleNamespace(
        beside=beside,
        handle=SimpleNamespace(causal=causal, identity=identity),
        reading=SimpleNamespace(cells=()),
        statements=statements,
    )


CELL = Cell("resid", 1, "-1")


class OneCell:
    """Stands for stored states: the vectors of one cell, and who has its token."""

    positions = ("-1",)

    def __init__(self, X, there):
        self.X, self.mask = X, there

    def there(self, position):
        return self.mask

    def cell(self, layer, position, site="resid"):
        return self.X
