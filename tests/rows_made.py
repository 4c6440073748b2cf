"""Entries of a leaderboard made from planted numbers, without files, for tests of tables and
pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import probebench.leaderboard.board.entries
from probebench.leaderboard.board.build import build
from probebench.leaderboard.board.entries import DetectorRow, Entry, task_hashes
from probebench.leaderboard.submission.read import CellRow, Decisions
from probebench.metrics.auroc import auroc
from probebench.metrics.delong import delong_interval
from probebench.record.parts.measured import CellName

POSITIONS = ("last_q", "exact_answer_last", "-1")
HOSTILE = (
    "<img src=x onerror=window.hacked=1>\"'</script><script>window.hacked=2</script>"
    "\u2028`${window.hacked=3}`"
)


@dataclass(frozen=True, slots=True, eq=False)
class Made(Entry):
    """An entry that carries its decisions."""

    carried: Any = field(default=None)

    def decisions(self) -> Decisions:
        return self.carried


def decisions(
    scores: dict[str, np.ndarray], label: np.ndarray, group: np.ndarray | None = None
) -> Decisions:
    """Decisions of test examples alone."""
    n = len(label)
    ids = np.array([f"q{i}" for i in range(n)], dtype=object)
    own = np.arange(n) if group is None else group
    return Decisions(
        id=ids,
        group=own,
        split=np.full(n, "test", dtype=object),
        label=label,
        scored=np.ones(n, bool),
        values=scores,
        shuffled=np.zeros((0, n)),
    )


def detector(name: str, label: str, y: np.ndarray, score: np.ndarray, **more: Any) -> DetectorRow:
    """A row with DeLong's interval."""
    ends = delong_interval(y, score)
    values = {
        "kind": "probe" if name == "probe" else "baseline",
        "when": "after",
        "difference": None,
        "difference_low": None,
        "difference_high": None,
    } | more
    return DetectorRow(
        name=name,
        label=label,
        n=len(y),
        n_correct=int(y.sum()),
        auroc=auroc(y, score),
        low=ends.low,
        high=ends.high,
        **values,
    )


def cells(layers: int, seed: int) -> tuple[CellRow, ...]:
    """A map with one cell that is absent."""
    rng, made = np.random.default_rng(seed), []
    for layer in ("emb", *map(str, range(layers))):
        for position in POSITIONS:
            value = float(rng.uniform(0.45, 0.95))
            gone = layer == "0" and position == "-1"
            made.append(
                CellRow(
                    site="resid",
                    layer=layer,
                    position=position,
                    n=0 if gone else 400,
                    auroc=None if gone else value,
                    low=None if gone else value - 0.04,
                    high=None if gone else value + 0.04,
                    n_validation=380,
                    validation_auroc=None if gone else value,
                    selectivity=None if gone else value - 0.3,
                    p=None,
                    q=None,
                    masked="fewer than 10 examples of a class" if gone else "",
                )
            )
    return tuple(made)


def run_entry(
    model: str,
    task: str = "people",
    *,
    strength: float = 2.0,
    n: int = 400,
    seed: int = 0,
    slug: str | None = None,
    **more: Any,
) -> Made:
    """A run whose probe separates the classes by `strength` standard deviations; its length
    baseline knows nothing."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.6).astype(np.int64)
    scores = {"probe": rng.normal(size=n) + strength * y, "length": rng.normal(size=n)}
    rows = (
        detector("probe", "probe, selected cell", y, scores["probe"]),
        detector(
            "length",
            "length (shorter)",
            y,
            scores["length"],
            difference=0.3,
            difference_low=0.2,
            difference_high=0.4,
        ),
    )
    version, digest = task_hashes().get(task, (1, "none"))
    chosen = CellName(site="resid", layer="1", position="exact_answer_last")
    entry = Made(
        tier="recomputed",
        protocol_version=1,
        model=model,
        variant="",
        slug=slug or model.replace("/", "__"),
        family="Llama",
        revision="abc",
        n_parameters=7_000_000_000,
        n_layers=3,
        width=64,
        dtype="float32",
        task=task,
        task_version=version,
        task_hash=digest,
        task_folder=task,
        current=True,
        n_test=n,
        n_compared=n,
        prevalence=0.6,
        detectors=rows,
        selection=chosen,
        cells=cells(3, seed),
        layers=("emb", "0", "1", "2"),
        positions=POSITIONS,
        warnings=(),
        source=None,
        rerun=None,
        folder=None,
        carried=decisions(scores, y),
    )
    return replace(entry, **more)


def paper_entry(
    model: str, value: float, task: str = "triviaqa", spread: float | None = 0.004
) -> Entry:
    """A published row."""
    row = DetectorRow(
        name="probe@exact_answer_last",
        label="probe at exact answer last",
        kind="probe",
        when=None,
        n=None,
        n_correct=None,
        auroc=value,
        low=None,
        high=None,
        difference=None,
        difference_low=None,
        difference_high=None,
        spread=spread,
        source="arXiv:0000.00000 Table 1",
    )
    return Entry(
        tier="published",
        protocol_version=None,
        model=model,
        variant="",
        slug=model.replace("/", "__"),
        family=None,
        revision=None,
        n_parameters=None,
        n_layers=None,
        width=None,
        dtype=None,
        task=task,
        task_version=None,
        task_hash=None,
        task_folder=task,
        current=True,
        n_test=None,
        n_compared=None,
        prevalence=None,
        detectors=(row,),
        selection=None,
        cells=(),
        layers=(),
        positions=(),
        warnings=(),
        source="arXiv:0000.00000",
        rerun=None,
        folder=None,
    )


def build_site(folder: Path, entries: Iterable[Entry]) -> Path:
    """Tables and site of these entries: `leaderboards` and `site` in the folder."""
    (folder / "leaderboards").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            probebench.leaderboard.board.entries,
            "read_entries",
            lambda root, published=True: iter(entries),
        )
        build(folder / "leaderboards", folder / "site")
    return folder
