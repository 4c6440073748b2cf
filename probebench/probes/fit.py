"""One probe per cell: fitted on train, C chosen on validation, beside it the same probe on shuffled
labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc_rows
from probebench.probes.choose import choose
from probebench.probes.kinds import Probe
from probebench.probes.labels import Labels, why_no_probe
from probebench.probes.many_fits import Fits, fit_grid, fit_last, fits_of
from probebench.states.reader import StatesReader
from probebench.types import Cell, CellFit, Floats, SplitName

MOVED = 0.5
"""Part of the labels expected to differ between two unrelated vectors that a shuffle must reach to
serve as a null."""


def fit_cell(
    X: NDArray[np.float32],
    there: NDArray[np.bool_],
    labels: Labels,
    probe: Probe,
    cell: Cell,
    shuffles: int = 0,
    seed: int = 0,
    device: str | None = None,
) -> CellFit:
    """Fit one cell.

    Args:
        X: (example, width) vectors.
        there: (example,) False where the token is absent; such examples take no part.
        labels: labels and splits.
        probe: what to fit.
        cell: whose vectors these are.
        shuffles: shuffled label vectors to fit as well, at the C chosen for the true ones.
        seed: of the shuffles.
        device: where the batched solver computes; None for this process's CPU.
    """
    decisions = np.full(len(X), np.nan)
    if masked := why_no_probe(X, there, labels):
        return masked_cell(cell, len(X), masked)
    places = np.flatnonzero(there)
    rows = labels.rows(places)
    y = labels.y[places]
    fits = fits_of(X[places], rows["train"], probe, device)
    found, converged, iterations = fit_grid(fits, y[rows["train"]], probe.grid)
    chosen = choose(y, found, rows["validation"])
    if chosen is None:
        return masked_cell(cell, len(X), "the probe gives no finite decisions")
    best = chosen.at
    decisions[places] = found[best]
    control = null = np.zeros(0)
    stuck = int((~converged).sum()) - int(not converged[best])
    if shuffles:
        shuffled = labels.shuffled(shuffles, seed, places)
        control, null, more = _shuffled_aurocs(fits, y, shuffled, rows, probe.grid[best])
        stuck += more
    return CellFit(
        cell,
        decisions,
        probe.grid[best],
        chosen.validation_auroc,
        bool(converged[best]),
        int(iterations[best]),
        "",
        control,
        null,
        stuck,
    )


def masked_cell(cell: Cell, n: int, reason: str, *, absent: bool = False) -> CellFit:
    """A cell without a probe, for `n` examples; `absent` where the layer does not have the site."""
    nan = float("nan")
    return CellFit(cell, np.full(n, nan), nan, nan, True, 0, reason, absent=absent)


class ShuffledFits(NamedTuple):
    """Probes of shuffled labels."""

    control: Floats
    """(shuffle,) test AUROC against the true labels."""
    null: Floats
    """(shuffle,) against the shuffled ones; NaN where groups leave so little to permute that these
    are nearly the true ones."""
    unconverged: int


def _shuffled_aurocs(
    fits: Fits,
    y: NDArray[np.int64],
    shuffled: NDArray[np.int64],
    rows: dict[SplitName, NDArray[np.int64]],
    C: float,
) -> ShuffledFits:
    """Test AUROC of probes of shuffled labels at one C."""
    train, test = rows["train"], rows["test"]
    scores, converged, _ = fits.decisions(
        shuffled[:, train], [C] * len(shuffled), rough=True, on=test
    )
    stuck, share, own = int((~converged).sum()), y[test].mean(), shuffled[:, test]
    control = auroc_rows(np.broadcast_to(y[test], own.shape), scores)
    if (own != y[test]).mean() < MOVED * 2 * share * (1 - share):
        return ShuffledFits(control, np.full(len(shuffled), np.nan), stuck)
    return ShuffledFits(control, auroc_rows(own, scores), stuck)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What is the same for every cell of a run."""

    reader: StatesReader
    labels: Labels
    probe: Probe
    shuffles: int = 0
    """Shuffled label vectors fitted in every cell."""
    width: int | None = None
    """Project the vectors of components to this width; None leaves them as they are."""
    seed: int = 0
    """Of shuffles and of the projection."""
    device: str | None = None

    def vectors(self, cell: Cell) -> NDArray[np.float32]:
        """(example, width) vectors of a cell, projected where the run asks for it."""
        X = self.reader.cell(cell.layer, cell.position, cell.site)
        return (
            X if self.width is None or cell.site == "resid" else project(X, self.width, self.seed)
        )

    def fit(self, cell: Cell) -> CellFit:
        """One cell."""
        there = self.reader.there(cell.position)
        return fit_cell(
            self.vectors(cell),
            there,
            self.labels,
            self.probe,
            cell,
            self.shuffles,
            self.seed,
            self.device,
        )

    def final(self, chosen: CellFit) -> Any:
        """The estimator of a cell whose C is known, fitted again by itself."""
        there = self.reader.there(chosen.cell.position)
        train = np.array([split == "train" for split in self.labels.splits]) & there
        return fit_last(
            self.probe, chosen.C, self.vectors(chosen.cell)[train], self.labels.y[train]
        )


def project(X: NDArray[np.float32], width: int, seed: int) -> NDArray[np.float32]:
    """(example, width) random projection of (example, d) vectors: Gaussian, the same for the same
    d, width and seed.

    Inner products are kept in expectation (Johnson and Lindenstrauss 1984), so probes of sites of
    different width are compared on equal numbers of features.
    """
    d = X.shape[1]
    matrix = np.random.default_rng([seed, d, width]).standard_normal((d, width), dtype=np.float32)
    return X @ (matrix / np.float32(np.sqrt(width)))


def fit_cells(job: Job, cells: Sequence[Cell]) -> Iterator[CellFit]:
    """Fit many cells; results in the order of `cells`.

    Cells of one site and layer whose vectors are the same in every example are fitted once: the
    shuffles too depend on nothing but the seed and the examples that are there.
    """
    alike = {at: job.reader.alike(at[1], at[0]) for at in {(c.site, c.layer) for c in cells}}
    seen: dict[tuple[str, int, str], Cell] = {}
    made_of = [
        seen.setdefault((c.site, c.layer, alike[c.site, c.layer][c.position]), c) for c in cells
    ]
    fits, left = _fit_each(job, list(seen.values())), Counter(made_of)
    kept: dict[Cell, CellFit] = {}
    for cell, first in zip(cells, made_of, strict=True):
        fit = kept.pop(first) if first in kept else next(fits)
        left[first] -= 1
        if left[first]:
            kept[first] = fit
        yield fit if fit.cell == cell else replace(fit, cell=cell)


def _fit_each(job: Job, cells: Sequence[Cell]) -> Iterator[CellFit]:
    """One process per core and one thread each."""
    from joblib import Parallel, cpu_count, delayed, parallel_config

    n_jobs = min(cpu_count(), len(cells))  # cores that this process may use
    if n_jobs <= 1 or job.device is not None:
        yield from map(job.fit, cells)
        return
    with parallel_config(backend="loky", inner_max_num_threads=1):
        yield from Parallel(n_jobs=n_jobs, return_as="generator")(
            map(delayed(partial(_fit, job)), cells)
        )


def _fit(job: Job, cell: Cell) -> CellFit:
    return job.fit(cell)
