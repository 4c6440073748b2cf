"""One probe of several tasks together, for a task that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from probebench.probes.choose import COVERAGE
from probebench.probes.kinds import linear_map
from probebench.probes.labels import Labels
from probebench.probes.parts import OneScale
from probebench.record.parts.measured import CellName
from probebench.record.reopened import CellProbe, Reopened, cell_of, fit_probe, no_probe
from probebench.record.tables import cell_table
from probebench.types import Cell, SplitName


def common_cell(sources: Sequence[Reopened], target: Reopened) -> Cell | None:
    """The cell with the highest mean validation AUROC over the sources, among the blocks that they
    and the target have read.

    Of every source its own probes count, each on the source's validation examples: no label of the
    target takes part, and nothing is fitted for the choice. Cells whose token is too rare to be
    selected in a source, or in the target, do not compete. Ties go to the lower layer, then to the
    earlier position. None where no cell is left.
    """
    site = sources[0].cell.site
    if any(site not in source.run.record["sites"] for source in sources):
        return None
    maps = [_competing(source, site) for source in sources]
    known = [
        (layer, position)
        for layer in maps[0].index
        for position in maps[0].columns
        if layer != "emb" and all(layer in m.index and position in m.columns for m in maps)
    ]
    means = {
        cell_of(CellName.from_plain({"site": site, "layer": layer, "position": position})): float(
            np.mean([m.at[layer, position] for m in maps])
        )
        for layer, position in known
    }
    usable = [
        cell
        for cell, mean in means.items()
        if np.isfinite(mean) and target.has(cell) and target.there(cell).mean() >= COVERAGE
    ]
    return max(usable, key=lambda cell: means[cell], default=None)


def _competing(source: Reopened, site: str) -> pd.DataFrame:
    """Validation AUROCs of a run's cells, NaN where there is none or the token is too rare to be
    selected."""
    run = source.run
    bars = cell_table(run.record, run.scores, site, "barred", "validation")
    return run.matrix("auroc", split="validation", site=site).where(bars.isin(["", None]))


def union_probe(sources: Sequence[Reopened], cell: Cell) -> CellProbe:
    """One probe fitted to the train examples of several runs at one cell.

    Each run's vectors are first centred on their own train mean and divided by their own scale, so
    that no task's offset or spread stands for its share of correct answers. A linear probe then
    needs neither to rank the examples of another task: a shift and one positive factor leave their
    order as it is. Any other would, so it gives no such probe. C is the one with the best mean
    validation AUROC over the runs. Every example counts once, so larger tasks count more.
    """
    vectors, y, there, starts = [], [], [], [0]
    splits: list[SplitName] = []
    groups: list[str] = []
    for source in sources:
        X, present = source.vectors(cell), source.there(cell)
        train = present & (source.split == "train")
        if not train.any():
            return no_probe(f"no train example of {source.name} has {cell.position}")
        scale = OneScale().fit(X[train])
        vectors.append(((X - scale.mean_) / scale.scale_).astype(np.float32))
        y.append(source.labels.y)
        splits += source.labels.splits
        groups += [f"{source.name}/{group}" for group in source.labels.groups]
        there.append(present)
        starts.append(starts[-1] + len(X))
    validation = np.array(splits) == "validation"
    parts = [start + np.flatnonzero(validation[start:end]) for start, end in pairwise(starts)]
    labels = Labels(np.concatenate(y), tuple(splits), tuple(groups))
    X, known = np.concatenate(vectors), np.concatenate(there)
    fitted = fit_probe(X, known, labels, sources[0].probe, parts)
    if fitted.estimator is not None and linear_map(fitted.estimator) is None:
        kind = sources[0].probe.name
        return no_probe(f"a probe of several tasks has to be linear, and {kind!r} is not")
    return fitted
