"""A finished run at tokens inside answers: its record and its tables, read without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Final, Literal

import pandas as pd
from pydantic import Field, ValidationError

from probebench.errors import BadFileError
from probebench.files import joined, place
from probebench.record.inside.kinds import SPANS, are_freed, read_table
from probebench.record.parts.described import (
    Data,
    ModelFacts,
    Package,
    ProbeFacts,
    Settings,
    TaskFacts,
    Timing,
)
from probebench.record.parts.part import (
    Count,
    Difference,
    DifferenceEnds,
    Items,
    Layer,
    Part,
    Sha256,
    Share,
    ShareEnds,
    problems,
)
from probebench.text import interval, number

SPANS_VERSION: Final = 1
"""Of `spans.json`: raised when what a field means changes, or one goes."""
LABELS = {
    "probe": "probe, selected layer",
    "probe_embedding": "probe, embedding row",
    "logprob": "log-probability of the token",
    "entropy": "entropy at the token (lower)",
    "text": "text only, up to the token",
}
"""Detectors in words, in the order of tables. Higher is more likely right."""


class SpanCounts(Part):
    """What one split holds."""

    answers: Count
    groups: Count
    spans_right: Count
    spans_wrong: Count
    tokens_right: Count
    tokens_wrong: Count
    tokens_other: Count
    """Read, and in no figure."""


class LayerFacts(Part):
    """The probe of one layer, over tokens."""

    layer: Layer
    C: float | None
    validation_auroc: Share | None
    test_auroc: Share | None
    n: Count
    """Test tokens."""
    test_95: ShareEnds
    masked: str
    """Why there is none; empty where there is one."""


class SpanRow(Part):
    """One detector at one level, on the test split."""

    detector: Literal["probe", "probe_embedding", "logprob", "entropy", "text"]
    level: Literal["token", "span_max", "span_last"]
    n: Count
    n_wrong: Count
    groups: Count
    auroc: Share | None
    auroc_95: ShareEnds
    difference: Difference | None
    """The probe's AUROC minus this one; null for the probe itself."""
    difference_95: DifferenceEnds


class PlattFacts(Part):
    """P(right) = 1 / (1 + exp(-(slope x decision + intercept))), from validation."""

    slope: float | None
    intercept: float | None


class SpanRecord(Part):
    """One evaluation of one model on answers with labels inside. Numbers are null where they are
    undefined."""

    spans_version: Annotated[int, Field(ge=SPANS_VERSION, le=SPANS_VERSION)]
    key: Sha256
    """Content key of everything that decides a number."""
    model: ModelFacts
    task: TaskFacts
    data: Data
    others: Literal["unlabelled", "right"]
    """What tokens outside all spans count as."""
    n_lost: Count
    """Labelled texts that do not stand in their answers."""
    probe: ProbeFacts
    settings: Settings
    package: Package
    versions: dict[str, str]
    counts: dict[Literal["train", "validation", "test"], SpanCounts]
    layers: Items[LayerFacts]
    selected: Layer
    """The layer with the highest validation AUROC by token."""
    platt: PlattFacts
    rows: Items[SpanRow]
    states: str | None
    """Folder of the vectors, as seen from the run; null where they were not kept."""
    notes: Items[str] = ()
    files: Items[str] = ()
    timing: Timing | None = None

    def row(self, detector: str, level: str) -> SpanRow:
        """A detector's numbers at a level.

        Raises:
            KeyError: this run has no such row.
        """
        for row in self.rows:
            if (row.detector, row.level) == (detector, level):
                return row
        raise KeyError((detector, level))

    @property
    def headline(self) -> str:
        """Model, task, selected layer and its test AUROC by token."""
        auroc = self.row("probe", "token").auroc
        found = "" if auroc is None else f", test AUROC by token {auroc:.3f}"
        return f"{self.model.name} on {self.task.name}: layer {self.selected}{found}"

    def __repr__(self) -> str:
        """One line, where the record itself is hundreds."""
        return f"<SpanRecord of {self.headline}>"

    __str__ = __repr__


@dataclass(frozen=True, slots=True, eq=False)
class SpanRun:
    """What the directory of such a run holds."""

    folder: Path
    record: SpanRecord
    resumed: bool = False
    """True when this call found the run finished and computed nothing."""

    @classmethod
    def load(cls, folder: str | Path) -> SpanRun:
        """Open a run directory.

        Raises:
            BadFileError: no readable record there.
        """
        folder = place(folder)
        path = folder / SPANS
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(folder, SpanRecord.from_plain(content))
        except ValidationError as error:
            raise BadFileError(f"{path} is not a run's record: {problems(error)[0]}.") from None
        except (OSError, ValueError) as error:
            raise BadFileError(f"{path} cannot be read: {error}") from None

    @classmethod
    def find(cls, folder: Path, key: str) -> SpanRun | None:
        """The finished run with this content key, if it is there with all its files."""
        try:
            run = cls.load(folder)
        except BadFileError:
            return None
        whole = all((folder / name).is_file() for name in run.record.files)
        return cls(folder, run.record, True) if run.record.key == key and whole else None

    @property
    def has_states(self) -> bool:
        """Are the vectors still there?"""
        return self.record.states is not None and joined(self.folder, self.record.states).is_dir()

    @property
    def states_freed(self) -> bool:
        """Were they kept, and is their folder gone since? The run is finished all the same."""
        return are_freed(self.folder, self.record.states)

    def __repr__(self) -> str:
        """One line: what was measured, and where it lies."""
        return f"<SpanRun {self.record.headline}; {self.folder}>"

    def _repr_html_(self) -> str:
        """For notebooks: the figures of the selected layer; all that a stranger named is
        escaped."""
        r = self.record
        row, words = r.row("probe", "token"), f"<b>{escape(r.model.name)}</b> on "
        words += f"<b>{escape(r.task.name)}</b>: test AUROC by token <b>{number(row.auroc)}</b> "
        words += f"{interval(row.auroc_95, 2)} at layer {escape(str(r.selected))}, n = {row.n:,}"
        return f"<div><p>{words}<br><code>{escape(str(self.folder))}</code></p></div>"

    @property
    def tokens(self) -> pd.DataFrame:
        """One row per token that was read: answer, place, characters, label and decisions."""
        return read_table(self.folder, "tokens.parquet")

    @property
    def spans(self) -> pd.DataFrame:
        """One row per labelled span, with its characters and tokens."""
        return read_table(self.folder, "spans.parquet")

    @property
    def answers(self) -> pd.DataFrame:
        """Questions and answers with their groups and splits, and whether all tokens were read."""
        return read_table(self.folder, "answers.parquet")
