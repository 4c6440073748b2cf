"""A finished run: its record, tables and maps, read from its directory without torch."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import ValidationError

from probebench.errors import BadFileError, StatesError, UnknownNameError, UsageError
from probebench.files import joined, missing, place
from probebench.options.python import speaks_python
from probebench.record.inside.kinds import (
    DISCARDED,
    are_freed,
    freed_words,
    read_table,
    refuse_spans,
)
from probebench.record.maps import MAPS, components_map, positions_map, sublayers_map
from probebench.record.notebook import as_html, png
from probebench.record.parts.part import problems
from probebench.record.schema import SCHEMA_VERSION, Record
from probebench.record.tables import (
    EFFECTS,
    METRICS,
    attribution_table,
    components_table,
    default_position,
    matrix,
    sublayers_table,
)
from probebench.types import HiddenStates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from probebench.probes.saved import SavedProbe
    from probebench.states.reader import StatesReader

RECORD = "record.json"
PROBE = "probe"
"""File stem of the selected cell's probe."""
PROBE_FILES = (f"{PROBE}.safetensors", f"{PROBE}.json")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a run directory holds."""

    folder: Path
    record: Record
    """What `record.json` holds; it is never changed."""
    resumed: bool = False
    """True when this call found the run finished and computed nothing."""

    @classmethod
    def load(cls, folder: str | Path | Run) -> Run:
        """Open a run directory; a run that is open already is given back.

        Raises:
            BadFileError: no readable record there.
        """
        if isinstance(folder, Run):
            return folder
        if not (isinstance(folder, str | os.PathLike) or hasattr(folder, "joinpath")):
            raise UsageError(f"A run is opened by its folder; got {folder!r}.")
        folder = place(folder)
        try:
            if (at := folder / RECORD).exists() and not at.is_file():
                raise BadFileError(f"{at} is no file: a pipe or a folder stands there.")
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            refuse_spans(folder)
            raise BadFileError(f"{folder} is not a finished run: it has no {RECORD}.") from None
        except NotADirectoryError:
            raise BadFileError(
                f"{folder} is a file; give the run's folder, such as {folder.parent}."
            ) from None
        except (OSError, ValueError) as error:  # JSON or UTF-8 that is broken is a ValueError
            raise BadFileError(f"{folder / RECORD} cannot be read: {error}") from None
        version = record.get("schema_version") if isinstance(record, dict) else None
        if version is None:
            raise BadFileError(
                f"{folder / RECORD} is not a finished run's record: it has no schema version."
            )
        if version != SCHEMA_VERSION:
            raise BadFileError(
                f"{folder / RECORD} has schema version {version!r}; this version of probebench "
                f"reads {SCHEMA_VERSION}. Run the same command again: finished stages are kept."
            )
        try:
            return cls(folder, Record.from_plain(record))
        except ValidationError as error:
            raise BadFileError(
                f"{folder / RECORD} is not a run's record: {problems(error)[0]}."
            ) from None

    def __repr__(self) -> str:
        """One line: what was measured, and where it lies."""
        return f"<Run {self.record.headline}; {self.folder}>"

    def _repr_html_(self) -> str:
        """For notebooks: figures and map; where files are gone, a line that says so."""
        try:
            return as_html(self.record, self.folder, self._repr_png_())
        except BadFileError as error:
            return f"<p>{escape(repr(self))}<br>{escape(str(error))}</p>"

    def _repr_png_(self) -> bytes:
        """For notebooks: the map."""
        return png(self.plot())

    @classmethod
    def there(cls, folder: Path) -> Run | None:
        """The finished run of this folder, whichever it is; None where none can be read."""
        try:
            return cls.load(folder)
        except BadFileError:
            return None

    @classmethod
    def find(cls, folder: Path, key: str) -> Run | None:
        """The finished run with this content key, if it is there with all its files."""
        if (run := cls.there(folder)) is None:
            return None
        r = run.record
        whole = r.key == key and r.files and not missing(folder, r.files)
        return cls(folder, r, resumed=True) if whole else None

    @property
    def has_states(self) -> bool:
        """Are the hidden states still there?"""
        at = self.record.states
        return at is not None and (joined(self.folder, at) / "index.safetensors").is_file()

    @property
    def states_freed(self) -> bool:
        """Were they kept, and is their folder gone since, as `probebench clean --states` leaves a
        run? It is finished all the same."""
        return are_freed(self.folder, self.record.states)

    @property
    def scores(self) -> pd.DataFrame:
        """One row per site, layer, position, detector, split and metric."""
        return read_table(self.folder, "scores.parquet")

    @property
    def predictions(self) -> pd.DataFrame:
        """One decision per validation and test example and reported detector."""
        return read_table(self.folder, "predictions.parquet")

    @property
    def answers(self) -> pd.DataFrame:
        """Questions, answers, labels, exact answers and splits."""
        return read_table(self.folder, "answers.parquet")

    def matrix(
        self, metric: str = "auroc", *, split: str = "test", site: str = "resid"
    ) -> pd.DataFrame:
        """One metric over all cells: layers down (`emb`, `0`, ...), positions across, NaN where a
        cell is masked.

        Args:
            metric: `auroc`; `auroc_low`, `auroc_high` (ends of the 95 % interval), `delong_low`,
                `delong_high`; `n`; of the test split also `shuffled` (mean AUROC of probes of
                shuffled labels), `selectivity`, `p` and `q`.
            split: `test` or `validation`.
            site: site name.

        Raises:
            UnknownNameError: a metric, split or site that this run does not have.
        """
        return matrix(self.record, self.scores, metric, split=split, site=site)

    @speaks_python()
    def components(self, metric: str = "auroc", *, position: str | None = None) -> pd.DataFrame:
        """One metric of the seven components at one position (default: the end of the exact
        answer): layers down.

        Args:
            metric: as in `matrix`; `attribution_logprob`, `attribution_probe`, `ablation_logprob`,
                `ablation_probe`: mean absolute change of a target when a component is replaced by
                its mean, estimated or measured. `run.record.attribution` says whether estimates
                rank components as measuring does.
            position: where the probes read; attribution has none.

        Raises:
            UsageError: this run read no components, or measured no attribution.
        """
        kind, _, target = metric.partition("_")
        if kind in EFFECTS:
            return attribution_table(self.record, self.attribution, target, kind)[0]
        if metric not in METRICS:
            raise UnknownNameError("metric", metric, METRICS)
        return components_table(
            self.record, self.scores, position or default_position(self.record), METRICS[metric]
        )

    @speaks_python()
    def sublayers(
        self, *, position: str | None = None, top: int | None = None, significant: bool = False
    ) -> pd.DataFrame:
        """One row per output of attention and MLP, with its scores and whether it is selected."""
        return sublayers_table(
            self.record, self.scores, position=position, top=top, significant=significant
        )

    @property
    def attribution(self) -> pd.DataFrame | None:
        """What replacing a component by its mean changes, a row per score (`attribution` estimates,
        `ablation` measures), target, site and layer; None when it was not asked for."""
        name = "attribution.parquet"  # a file of an earlier run into the same folder does not count
        return read_table(self.folder, name) if name in self.record.files else None

    @speaks_python()
    def plot(self, map: str = "positions", **options: Any) -> Axes:
        """A map: `positions`, `components`, `sublayers`; options as in `probebench.record.maps`."""
        return self.plot_with_table(map, **options)[0]

    @speaks_python()
    def plot_with_table(
        self, map: str = "positions", **options: Any
    ) -> tuple[Axes, pd.DataFrame | None]:
        """A map, and the table it shows where that is not one of the run's files already."""
        if map == "positions":
            return positions_map(self.record, self.scores, **options), None
        if map == "components":
            return components_map(self.record, self.scores, self.attribution, **options)
        if map == "sublayers":
            return sublayers_map(self.record, self.scores, **options)
        raise UnknownNameError("map", map, MAPS[:3])

    def probe(self) -> SavedProbe:
        """The selected cell's probe, to be applied to other hidden states.

        Raises:
            BadFileError: it was not saved, or cannot be read.
        """
        from probebench.probes.disk import load_probe

        if f"{PROBE}.json" not in self.record.files:
            raise BadFileError(
                f"{self.folder} keeps no probe; its record says why, under warnings."
            )
        return load_probe(self.folder / PROBE)

    def hidden_states(self, site: str = "resid") -> HiddenStates:
        """The stored vectors, all in memory: (example, layer, position, width) in the order of
        `answers`.

        Raises:
            UnknownNameError: a site that this run did not read.
            BadFileError: the run was made with `--discard-states`.
            StatesError: the files are gone, or not whole.
        """
        return self.states().load(site)

    @speaks_python()
    def states(self) -> StatesReader:
        """The stored vectors, read cell by cell.

        Raises:
            BadFileError: the run was made with `--discard-states`.
            StatesError: the files are gone, or not whole.
        """
        from probebench.states.reader import StatesReader

        if self.record.states is None:
            raise BadFileError(f"{self.folder} {DISCARDED}")
        if self.states_freed:
            raise StatesError(f"{self.folder} {freed_words(self.folder / RECORD)}")
        return StatesReader.open(joined(self.folder, self.record.states))
