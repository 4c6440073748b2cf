"""What docs/results.md is made of, and stays when a run's hidden states are gone. Used by
`scripts/write_results.py`.

Rows are read from the leaderboard's submissions. Runs that cannot be submitted, with components or
on a file of one's own, leave their record and tables in docs/results/kept/.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from results_pictures import short

from probebench.files import make_folder, write_json
from probebench.leaderboard.submission.read import CELLS, read_cells
from probebench.leaderboard.submission.submit import refusals, submitted_record
from probebench.record.run import RECORD, Run
from probebench.record.schema import PROTOCOL_VERSION
from probebench.text import slug

ROOT = Path(__file__).parent.parent
BOARD = ROOT / "leaderboards" / f"v{PROTOCOL_VERSION}"
KEPT = ROOT / "docs" / "results" / "kept"
NEGATED = "neg_"
"""How the names of tasks of negated statements begin."""
SCORES, ATTRIBUTION = "scores.parquet", "attribution.parquet"
"""What is kept of a run beside its record: of the scores, those of cells."""
UNSEEN = ["delong_low", "delong_high", "shuffled", "C", "iterations"]
"""Columns of theirs that no map shows."""
ORDER = (
    "cities neg_cities sp_en_trans neg_sp_en_trans inventors neg_inventors facts neg_facts "
    "element_symb animal_class larger_than common_claim azaria_mitchell counterfact "
    "nq_open winobias math winogrande movies mnli"
).split()
"""Tasks as tables have them: those that scripts/real_rows.sh asks for, statements before
questions."""


class Kept(Run):
    """What is left of a run: its record, and the map as a submission or as the run had it."""

    __slots__ = ()

    @property
    def scores(self) -> pd.DataFrame:
        """Of the cells; a submission does not say which fits did not converge."""
        if not (self.folder / CELLS).exists():
            return super().scores
        common = {"detector": "cell", "metric": "auroc", "converged": True, "unconverged": 0}
        rows = []
        for c in read_cells(self.folder):
            cell = {"site": c.site, "layer": c.layer, "position": c.position, **common}
            rows += [
                {**cell, "split": "validation", "value": c.validation_auroc, "n": c.n_validation},
                {
                    **cell,
                    "split": "test",
                    "value": c.auroc,
                    "low": c.low,
                    "high": c.high,
                    "n": c.n,
                    "selectivity": c.selectivity,
                    "p": c.p,
                    "q": c.q,
                    "masked": c.masked,
                    "barred": c.barred,
                },
            ]
        return pd.DataFrame(rows)

    @property
    def attribution(self) -> pd.DataFrame | None:
        """What replacing a component changes; None where it was not measured."""
        path = self.folder / ATTRIBUTION
        return pd.read_parquet(path) if path.exists() else None


def keep(run: Run, folder: Path = KEPT) -> Path:
    """Copy what the page needs of a run that cannot be submitted: no answers, no hidden states, of
    detectors their AUROC alone, nothing that names a place on a machine."""
    folder = folder / slug(short(run)) / run.folder.name
    make_folder(folder)
    s = run.scores
    cells = s[(s["detector"] == "cell") & (s["metric"] == "auroc")].drop(columns=UNSEEN)
    single = dict.fromkeys(cells.select_dtypes("float64").drop(columns="value"), "float32")
    cells.astype(single).to_parquet(
        folder / SCORES, index=False, compression="zstd", compression_level=19
    )
    (folder / ATTRIBUTION).unlink(missing_ok=True)
    if ATTRIBUTION in run.record.files:
        shutil.copy(run.folder / ATTRIBUTION, folder / ATTRIBUTION)
    record, own = submitted_record(run.record), run.record.settings
    files = own.get("data")
    names = [Path(file).name for file in ([files] if isinstance(files, str) else files or ())]
    told = {"data": names or None, "limit": own.get("limit")}
    overrides = record["settings"]["overrides"]
    if "data" in overrides:
        overrides = {**overrides, "data": told["data"]}
    record["settings"] |= {**told, "overrides": overrides}
    record["detectors"] = [{**d, "metrics": {}} for d in record["detectors"]]
    write_json(folder / RECORD, record, lines=True)
    return folder


@dataclass(frozen=True, slots=True)
class Shelf:
    """Runs by what they are for."""

    rows: tuple[Run, ...]
    """Of statements and under the protocol: what ranks."""
    asked: tuple[Run, ...]
    """Of questions, all tokens read."""
    components: tuple[Run, ...]
    """With all sites."""
    ranked: tuple[Run, ...]
    """The rows of the leaderboard, statements before questions."""

    @classmethod
    def find(cls, board: Path = BOARD, kept: Path = KEPT) -> Shelf:
        """Everything that is kept, in the order of tasks: of the board, what is not the demo's."""
        ranked = [r for r in ordered(board) if r.record.model.name != "tiny"]
        rest = ordered(kept)
        asked = [r for r in (*ranked, *rest) if r.record.task.kind != "statements"]
        return cls(
            tuple(r for r in ranked if r not in asked),
            tuple(r for r in asked if not r.record.attribution),
            tuple(r for r in rest if r.record.attribution),
            tuple(ranked),
        )


def ordered(folder: Path) -> list[Run]:
    """What is kept below a folder, in the order of tasks."""
    found = [Kept.load(path.parent) for path in folder.glob(f"*/*/{RECORD}")]
    return in_order(found)


def finished(folder: Path) -> list[Run]:
    """Finished runs as scripts/real_rows.sh lays them out, in the order of tasks."""
    found = [run for path in folder.glob("*/*") if (run := Run.there(path))]
    return in_order(found)


def in_order(runs: Sequence[Run]) -> list[Run]:
    """By task, then by model."""
    return sorted(runs, key=lambda run: (place(run.record.task.name), short(run)))


def unranked(run: Run) -> bool:
    """Is this a run that only the page shows: of components, or of questions?"""
    shown = run.record.attribution or run.record.task.kind != "statements"
    return bool(shown and refusals(run))


def affirmed(runs: Sequence[Run]) -> list[Run]:
    """Without those of negated statements, which are no further evidence beside the others."""
    return [run for run in runs if not run.record.task.name.startswith(NEGATED)]


def place(task: str) -> tuple[int, str]:
    """Where a task stands in tables."""
    return (ORDER.index(task) if task in ORDER else len(ORDER), task)
