"""A finished run opened again for further probes, from its stored states alone: no model, no
torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import UsageError
from probebench.probes.choose import choose
from probebench.probes.fit import Job
from probebench.probes.kinds import Probe, get_probe, linear_map
from probebench.probes.labels import Labels, why_no_probe
from probebench.probes.many_fits import decide, fit_grid, fit_last, fits_of
from probebench.record.parts.measured import CellName
from probebench.record.run import PROBE, Run
from probebench.tasks.examples import normalise
from probebench.text import as_float
from probebench.types import Cell, Floats, layer_number

Mask = NDArray[np.bool_]
ONE_MODEL = ("revision", "tokenizer", "chat_template", "dtype", "attention")
"""What must agree for two runs to be of one model."""


@dataclass(frozen=True, slots=True, eq=False)
class CellProbe:
    """The probe of one cell, ready for vectors of other tasks."""

    estimator: Any
    """With `decision_function` or `predict_proba` on raw vectors; None where there is no probe."""
    weight: Floats | None
    """(width,) direction on raw vectors; None where the probe is not linear."""
    C: float
    validation_auroc: float
    why: str = ""
    """Why there is no probe; empty when there is one."""

    def decisions(self, X: NDArray[np.float32]) -> Floats:
        """(example,) decisions of raw (example, width) vectors."""
        return decide(self.estimator, X)


def other_model(run: Run, model: Mapping[str, Any]) -> list[str]:
    """In what a run's model differs from another run's, as records describe them; empty where they
    are one."""
    return [name for name in ONE_MODEL if run.record["model"].get(name) != model[name]]


def no_probe(why: str) -> CellProbe:
    """A cell without a probe."""
    return CellProbe(None, None, float("nan"), float("nan"), why)


def cell_of(facts: CellName) -> Cell:
    """The cell that a record names."""
    return Cell(facts.site, layer_number(facts.layer), facts.position)


class Reopened:
    """A finished run: labels, splits, groups, stored vectors, and a probe of its own kind for any
    cell.

    Raises:
        BadFileError, StatesError: a run without hidden states.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.reader, self.answers = run, run.states(), run.answers
        self.name: str = run.record["task"]["name"]
        self.cell = cell_of(run.record.selection)
        self.labels = Labels(
            self.answers.label.to_numpy(dtype=np.int64),
            tuple(self.answers.split),
            tuple(map(str, self.answers.group)),
        )
        self.split = self.answers.split.to_numpy(dtype=str)
        self.texts = np.array(
            [normalise(question) for question in self.answers.question], dtype=object
        )

    @property
    def seed(self) -> int:
        """Of the run's splits and resamples."""
        return int(self.run.record["settings"]["seed"])

    @cached_property
    def probe(self) -> Probe:
        """Its kind of probe."""
        return get_probe(
            self.run.record["probe"]["name"], self.run.record["probe"].get("solver") or "batched"
        )

    @cached_property
    def job(self) -> Job:
        """What is the same for all of its cells."""
        return Job(
            self.reader,
            self.labels,
            self.probe,
            0,
            self.run.record["settings"].get("width"),
            self.seed,
        )

    def has(self, cell: Cell) -> bool:
        """Did the run read this site of this layer?"""
        return cell.site in self.reader.sites and cell.layer in self.reader.site(cell.site).layers

    def there(self, cell: Cell) -> Mask:
        """(example,) which examples have the cell's token; none where the run did not look for
        it."""
        if cell.position not in self.reader.positions:
            return np.zeros(len(self.split), dtype=bool)
        return self.reader.there(cell.position)

    def vectors(self, cell: Cell) -> NDArray[np.float32]:
        """(example, width) vectors of a cell as the run's probes saw them; zeros where the token is
        absent.

        Raises:
            UsageError: the run did not read this site of this layer.
        """
        if not self.has(cell):
            raise UsageError(f"{self.run.folder} did not read {cell.site} of layer {cell.row}.")
        if cell.position not in self.reader.positions:
            at = self.reader.site(cell.site)
            width = (
                self.job.width
                if self.job.width and cell.site != "resid"
                else at.widths[at.layers.index(cell.layer)]
            )
            return np.zeros((len(self.split), width), dtype=np.float32)
        return self.job.vectors(cell)

    def probe_at(self, cell: Cell, X: NDArray[np.float32]) -> CellProbe:
        """The run's probe at `cell`: the saved one of its selected cell where it is kept, else
        fitted by the protocol.

        Args:
            cell: where.
            X: its `vectors`.
        """
        if cell != self.cell:
            return fit_probe(X, self.there(cell), self.labels, self.probe)
        chosen = self.run.record["selection"]
        C, validation = as_float(chosen["C"]), as_float(chosen["validation_auroc"])
        if f"{PROBE}.json" in self.run.record["files"]:
            saved = self.run.probe()
            weight = (
                np.asarray(saved.layers[0][0], dtype=np.float64).ravel()
                if saved.kind == "affine"
                else None
            )
            return CellProbe(
                saved,
                weight if weight is None or saved.scale is None else weight / saved.scale,
                C,
                validation,
            )
        return self.refit(cell, X, C, validation)

    def refit(
        self,
        cell: Cell,
        X: NDArray[np.float32],
        C: float,
        validation_auroc: float,
        among: Mask | None = None,
    ) -> CellProbe:
        """The probe of a cell whose C is known, fitted again on train, or on those of its examples
        that are `among` these."""
        train = (self.split == "train") & self.there(cell) & (True if among is None else among)
        return _final(self.probe, C, X[train], self.labels.y[train], validation_auroc)

    @cached_property
    def seen(self) -> tuple[frozenset[str], frozenset[str]]:
        """Groups and question texts that this run's probe was fitted or chosen on."""
        used = self.split != "test"
        return frozenset(np.asarray(self.labels.groups, dtype=object)[used]), frozenset(
            self.texts[used]
        )

    def unseen_by(self, sources: Sequence[Reopened]) -> Mask:
        """(example,) False for examples whose group or question is in train or validation of
        another run among `sources`."""
        groups, texts = set[str](), set[str]()
        for source in sources:
            if source is not self:
                groups |= source.seen[0]
                texts |= source.seen[1]
        both = zip(self.labels.groups, self.texts, strict=True)
        return np.array(
            [group not in groups and text not in texts for group, text in both], dtype=bool
        )

    @cached_property
    def reported(self) -> dict[str, Floats]:
        """(example,) decisions of every reported detector, NaN for train examples and where it has
        none."""
        place = {name: i for i, name in enumerate(self.answers.id)}
        found = {}
        for name, rows in self.run.predictions.groupby("detector", sort=False):
            found[str(name)] = np.full(len(self.split), np.nan)
            found[str(name)][[place[i] for i in rows.id]] = rows.decision.to_numpy(dtype=np.float64)
        return found


def fit_probe(
    X: NDArray[np.float32],
    there: Mask,
    labels: Labels,
    probe: Probe,
    parts: Sequence[NDArray[np.int64]] | None = None,
) -> CellProbe:
    """Fit one cell by the protocol: C by validation AUROC, the smaller one on a tie.

    Args:
        X: (example, width) vectors.
        there: (example,) False where the token is absent.
        labels: labels and splits.
        probe: what to fit.
        parts: validation examples of each of several tasks, whose mean AUROC then chooses C:
            decisions are compared inside a task only. None: all of them together.
    """
    if masked := why_no_probe(X, there, labels):
        return no_probe(masked)
    places = np.flatnonzero(there)
    rows, y = labels.rows(places), labels.y[places]
    fits = fits_of(X[places], rows["train"], probe)
    found = fit_grid(fits, y[rows["train"]], probe.grid).decisions
    own = (
        [rows["validation"]]
        if parts is None
        else [np.searchsorted(places, part[there[part]]) for part in parts]
    )
    if (best := choose(y, found, *own)) is None:
        return no_probe("the probe gives no finite decisions")
    X, y = X[places][rows["train"]], y[rows["train"]]
    return _final(probe, probe.grid[best.at], X, y, best.validation_auroc)


def _final(
    probe: Probe, C: float, X: NDArray[np.float32], y: NDArray[np.int64], validation_auroc: float
) -> CellProbe:
    estimator = fit_last(probe, C, X, y)
    linear = linear_map(estimator)
    return CellProbe(estimator, None if linear is None else linear.weight, C, validation_auroc)
