"""One submission on disk: the record of a run, its cells, and the decisions that every number can
be computed from again.

`leaderboards/v2/<model>/<task>/` holds `record.json`, `cells.csv` and `decisions.parquet`, and
`rerun.json` where maintainers repeated the run. `v2` is the protocol's version.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.leaderboard.submission.columns import read_parquet
from probebench.leaderboard.submission.names import DETECTOR
from probebench.leaderboard.submission.strict import (
    HIDDEN,
    WORD,
    broken,
    number,
    read_bytes,
    read_csv,
    read_json,
)
from probebench.metrics.auroc import auroc
from probebench.types import Detector, Floats

RECORD, CELLS, DECISIONS, RERUN = "record.json", "cells.csv", "decisions.parquet", "rerun.json"
FILES = (RECORD, CELLS, DECISIONS)
"""What a submission must hold, in the order it is read."""
CELL_COLUMNS = (  # the last one since protocol 2
    "site",
    "layer",
    "position",
    "n_test",
    "auroc",
    "auroc_low",
    "auroc_high",
    "n_validation",
    "validation_auroc",
    "selectivity",
    "p",
    "q",
    "masked",
    "barred",
)
TEXTS = ("masked", "barred")
"""Columns of cells that say why."""
ROW_KINDS = {
    "id": ("string", "large_string"),
    "group": ("int32",),
    "split": ("string", "large_string"),
    "label": ("int8",),
    "scored": ("bool",),
}
"""Columns of `decisions.parquet` that every submission has, and their Arrow types."""
DETECTOR_MARK, SHUFFLED_MARK = "d:", "s:"
"""Columns of decisions begin with one of these: a reported detector, or a repeat of the
shuffled-label control."""
FURTHER = re.compile(rf"{DETECTOR_MARK}{DETECTOR.pattern}|{SHUFFLED_MARK}\d{{1,3}}")
ID_LENGTH = 200
NEAR = 1e-6
"""How far a number may be from what the decisions give."""
VERSION_FOLDER = re.compile(r"v([1-9]\d{0,3})")


@dataclass(frozen=True, slots=True)
class CellRow:
    """One cell of the map."""

    site: str
    layer: str
    """`emb` or the block index."""
    position: str
    n: int
    """Test examples."""
    auroc: float | None
    """On test; None where the cell is masked."""
    low: float | None
    high: float | None
    n_validation: int
    validation_auroc: float | None
    selectivity: float | None
    p: float | None
    q: float | None
    masked: str
    """Why there is no probe, or an empty string."""
    barred: str = ""
    """Why it is not chosen before other cells, or an empty string."""


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """Labels and decisions of the validation and test examples."""

    id: NDArray[Any]
    group: NDArray[np.int64]
    """(example,) code of the group, in the order of the groups' names."""
    split: NDArray[Any]
    label: NDArray[np.int64]
    """(example,) 1 = correct."""
    scored: NDArray[np.bool_]
    """(example,) is it one of the test examples that the table of detectors is computed on?"""
    values: Mapping[str, Floats]
    """Detector -> (example,) decision, NaN where it has none."""
    shuffled: Floats
    """(repeat, example) decisions of the selected cell's probe on shuffled labels, on test."""

    def group_names(self) -> list[str]:
        """Groups as text that sorts as the groups' names do, so that resamples draw the same groups
        as in the run."""
        return [f"{g:08d}" for g in self.group]

    def detectors(self, record: Mapping[str, Any]) -> list[Detector]:
        """The reported detectors in the order of the record's table, those it does not name after
        them."""
        facts = {d["name"]: d for d in record["detectors"]}
        names = [
            *(n for n in facts if n in self.values),
            *(n for n in self.values if n not in facts),
        ]
        return [
            Detector(
                n,
                facts.get(n, {}).get("label", n),
                self.values[n],
                facts.get(n, {}).get("kind", "baseline"),
                facts.get(n, {}).get("when", "after"),
                facts.get(n, {}).get("detail", {}),
            )
            for n in names
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """The files of one submission, read and not yet believed."""

    folder: Path
    record: dict[str, Any]
    cells: tuple[CellRow, ...]
    decisions: Decisions


def read_submission(folder: Path) -> Submission:
    """All three files.

    Raises:
        Broken: one of them is not what it should be.
    """
    return Submission(folder, read_json(folder, RECORD), read_cells(folder), read_decisions(folder))


def read_cells(folder: Path) -> tuple[CellRow, ...]:
    """The cells of the map, each once.

    Raises:
        Broken: a value that is no number, or a cell that stands there twice.
    """
    rows: list[CellRow] = []
    seen = set()
    for i, r in enumerate(read_csv(folder, CELLS, CELL_COLUMNS[:-1], CELL_COLUMNS[-1:])):
        name = (r["site"], r["layer"], r["position"])
        if name in seen:
            raise broken(CELLS, f"line {i + 2}", " ".join(name), "each cell once")
        seen.add(name)
        for column in TEXTS:
            if len(r[column]) > WORD or HIDDEN.search(r[column]):
                raise broken(
                    CELLS,
                    f"line {i + 2}, {column}",
                    r[column],
                    f"at most {WORD:,} characters, all of them to be seen",
                )
        numbers = [c for c in CELL_COLUMNS[3:] if c not in TEXTS]
        values = {c: number(CELLS, f"line {i + 2}, {c}", r[c]) for c in numbers}
        for c in ("p", "q"):
            if (share := values[c]) is not None and not 0 <= share <= 1:
                raise broken(CELLS, f"line {i + 2}, {c}", share, "a number from 0 to 1")
        counts = {
            c: _count(f"line {i + 2}, {c}", values.pop(c)) for c in ("n_test", "n_validation")
        }
        rows.append(
            CellRow(
                *name,
                counts["n_test"],
                values["auroc"],
                values["auroc_low"],
                values["auroc_high"],
                counts["n_validation"],
                values["validation_auroc"],
                values["selectivity"],
                values["p"],
                values["q"],
                r["masked"],
                r["barred"],
            )
        )
    return tuple(rows)


def _count(field: str, value: float | None) -> int:
    if value is None or value < 0 or value != int(value):
        raise broken(CELLS, field, value, "a whole number")
    return int(value)


def read_decisions(folder: Path) -> Decisions:
    """The decisions.

    Raises:
        Broken: columns, types or values that cannot be.
    """
    table = read_parquet(folder, DECISIONS, ROW_KINDS, FURTHER)
    ids, splits, labels = table["id"], table["split"], table["label"].astype(np.int64)
    if len(set(ids.tolist())) < len(ids):
        raise broken(DECISIONS, "id", "an id more than once", "each example once")
    if hidden := next((i for i in ids if HIDDEN.search(i)), None):
        raise broken(DECISIONS, "id", hidden, "text without characters that nobody sees")
    if longest := max((i for i in ids if len(i) > ID_LENGTH), key=len, default=None):
        raise broken(DECISIONS, "id", longest, f"at most {ID_LENGTH} characters")
    for column, values, allowed in (
        ("split", splits, ("validation", "test")),
        ("label", labels, (0, 1)),
    ):
        if strange := set(values.tolist()) - set(allowed):
            raise broken(DECISIONS, column, min(strange), " or ".join(map(str, allowed)))
    if (table["group"] < 0).any():
        raise broken(DECISIONS, "group", int(table["group"].min()), "0 and up")
    repeats = sorted(
        int(c.removeprefix(SHUFFLED_MARK)) for c in table if c.startswith(SHUFFLED_MARK)
    )
    if repeats != list(range(len(repeats))):
        raise broken(DECISIONS, "shuffled labels", repeats, "repeats counted from 0")
    shuffled = np.array([table[f"{SHUFFLED_MARK}{k}"] for k in repeats]).reshape(
        len(repeats), len(ids)
    )
    return Decisions(
        id=ids,
        group=table["group"].astype(np.int64),
        split=splits,
        label=labels,
        scored=table["scored"].astype(bool),
        values={
            c.removeprefix(DETECTOR_MARK): v
            for c, v in table.items()
            if c.startswith(DETECTOR_MARK)
        },
        shuffled=shuffled,
    )


def check_headline(folder: Path, value: float) -> None:
    """Do the decisions give the probe's AUROC that the record begins with? `leaderboard validate`
    computes all the rest again.

    Raises:
        Broken: they cannot be read, or do not.
    """
    d = read_decisions(folder)
    probe = d.values.get("probe", np.full(len(d.id), np.nan))
    rows = (d.split == "test") & d.scored & np.isfinite(probe)
    own = auroc(d.label[rows], probe[rows])
    if not abs(own - value) <= NEAR:
        raise broken(RECORD, "detectors[0].auroc", value, f"{own!r}, computed from {DECISIONS}")


def find_submissions(root: Path) -> Iterator[Path]:
    """Every `v<protocol>/<model>/<task>` folder below `root`, in order. Links are not followed;
    they are found as they are."""
    for version in sorted(p for p in root.glob("v*") if VERSION_FOLDER.fullmatch(p.name)):
        if version.is_symlink() or not version.is_dir():
            yield version
            continue
        for model in sorted(version.iterdir()):
            if model.is_symlink() or not model.is_dir():
                yield model
            else:
                yield from sorted(model.iterdir()) or [model]


def fingerprint(folder: Path) -> str:
    """SHA-256 over the three files of a submission.

    Raises:
        Broken: one of them is not there, is too large or is no file.
    """
    digest = hashlib.sha256()
    for name in FILES:
        digest.update(hashlib.sha256(read_bytes(folder, name, 16 * 2**20)).digest())
    return digest.hexdigest()
