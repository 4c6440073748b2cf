"""A finished run: its record, tables and maps, read from its directory without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from probebench.errors import BadFileError, UnknownNameError
from probebench.types import HiddenStates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RECORD = "record.json"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a run directory holds."""

    folder: Path
    record: dict[str, Any]
    """The versioned record, as in `record.json`."""
    resumed: bool = False
    """True when this call found the run finished and computed nothing."""

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Open a run directory.

        Raises:
            BadFileError: no readable record there.
        """
        folder = Path(folder)
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BadFileError(f"{folder} is not a finished run: it has no {RECORD}.") from None
        except (OSError, json.JSONDecodeError) as error:
            raise BadFileError(f"{folder / RECORD} cannot be read: {error}") from None
        return cls(folder, record)

    @classmethod
    def find(cls, folder: Path, key: str) -> Run | None:
        """The finished run with this content key, if it is there with all its files."""
        try:
            run = cls.load(folder)
        except BadFileError:
            return None
        whole = run.record.get("key") == key and all((folder / name).is_file() for name in run.record.get("files", ["?"]))
        return cls(folder, run.record, resumed=True) if whole else None

    @property
    def has_states(self) -> bool:
        """Are the hidden states still there?"""
        return bool(self.record["states"]) and (self.folder / self.record["states"] / "index.safetensors").is_file()

    @property
    def scores(self) -> pd.DataFrame:
        """One row per site, layer, position, detector, split and metric."""
        return pd.read_parquet(self.folder / "scores.parquet")

    @property
    def predictions(self) -> pd.DataFrame:
        """One decision per validation and test example and reported detector."""
        return pd.read_parquet(self.folder / "predictions.parquet")

    @property
    def answers(self) -> pd.DataFrame:
        """Questions, answers, labels, exact answers and splits."""
        return pd.read_parquet(self.folder / "answers.parquet")

    def matrix(self, metric: str = "auroc", *, split: str = "test", site: str = "resid") -> pd.DataFrame:
        """One metric over all cells: layers down (`emb`, `0`, ...), positions across, NaN where a cell is masked.

        Args:
            metric: `auroc`, or `auroc_low`, `auroc_high` (ends of the 95 % interval), or `n`.
            split: `test` or `validation`.
            site: site name.

        Raises:
            UnknownNameError: a metric, split or site that this run does not have.
        """
        name, _, column = metric.partition("_")
        column = {"": "value"}.get(column, column)
        if metric == "n":
            name, column = "auroc", "n"
        scores = self.scores
        cells = scores[(scores.detector == "cell") & (scores.metric == name)]
        for kind, value, known in (
            ("metric", name, set(scores.metric)),
            ("split", split, set(cells.split)),
            ("site", site, set(cells.site)),
        ):
            if value not in known:
                raise UnknownNameError(kind, value, sorted(known))
        if column not in ("value", "low", "high", "n"):
            raise UnknownNameError("metric", metric, [name, f"{name}_low", f"{name}_high", "n"])
        cells = cells[(cells.split == split) & (cells.site == site)]
        table = cells.pivot(index="layer", columns="position", values=column)
        order = [row for row in self.record["layers"] if row in table.index]
        return table.loc[order, self.record["positions"]].rename_axis(index="layer", columns="position")

    def plot(self, *, ax: Axes | None = None, **options: Any) -> Axes:
        """The layer x position map of test AUROC with the selected cell marked; options as in `heatmap.plot_positions`."""
        from probebench.heatmap import map_from_record

        return map_from_record(self.record, self.matrix("auroc"), ax=ax, **options)

    def hidden_states(self, site: str = "resid") -> HiddenStates:
        """The stored vectors, all in memory: (example, layer, position, width) in the order of `answers`.

        Raises:
            UnknownNameError: a site that this run did not read.
            BadFileError: the run was made with `--discard-states`, or the files are gone.
        """
        from probebench.states import StatesReader

        if site not in self.record["settings"]["sites"]:
            raise UnknownNameError("site", site, self.record["settings"]["sites"])
        return StatesReader.open(self.folder / self.record["states"]).load() if self.record["states"] else _gone(self.folder)


def _gone(folder: Path) -> HiddenStates:
    raise BadFileError(f"{folder} keeps no hidden states: it was run with --discard-states. Run it again without.")
