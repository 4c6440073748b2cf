"""Maps as files: one call draws what `probebench plot` draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from probebench.across.transfer_map import transfer_map
from probebench.errors import UnknownNameError, UsageError
from probebench.files import content_key, make_folder, write_atomic
from probebench.maps.style import FORMATS, save_figure, style
from probebench.options.python import speaks_python
from probebench.record.maps import MAPS
from probebench.record.run import Run
from probebench.record.tables import EFFECTS

TAKES = {
    "positions": ("site", "layers", "positions", "hatch"),
    "components": ("score", "target", "position", "layers"),
    "sublayers": ("position", "top", "significant"),
    "transfer": (),
}
"""Options that mean something to each map, beside its title and the ends of its colours."""
DEFAULTS = {"score": "auroc", "target": "logprob"}
NAMES = {"positions": "heatmap"}


@speaks_python(kind="--map", folder="--out", style_name="--style")
def draw(
    runs: Sequence[Run],
    folder: Path,
    *,
    kind: str = "positions",
    style_name: str = "publication",
    formats: Sequence[str] = FORMATS,
    vmin: float | None = None,
    vmax: float | None = None,
    title: str | None = None,
    **options: Any,
) -> list[Path]:
    """Draw one map into a folder, with the table it shows where that is not among the run's files.

    Args:
        runs: one finished run; for `transfer` two or more of one model.
        folder: where to write; made if it is not there.
        kind: `positions`, `components`, `sublayers` or `transfer`.
        style_name: `publication` or `screen`.
        formats: of `png`, `svg`, `pdf`.
        vmin: value at the lower end of the colours.
        vmax: value at the upper end.
        title: instead of model and task.
        **options: of the map, as in `probebench.record.maps`.

    Returns:
        The files written.

    Raises:
        UsageError: an option that this map does not take, or too few or too many runs.
    """
    given = {
        k: v
        for k, v in options.items()
        if v is not None and v is not False and v != DEFAULTS.get(k)
    }
    colours = {k: v for k, v in (("vmin", vmin), ("vmax", vmax)) if v is not None}
    _check(runs, kind, formats, given, colours)
    name = _name(kind, given, style_name)
    given |= colours | ({"title": title} if title is not None else {})
    with style(style_name):
        ax, table = (
            transfer_map(runs, **given)
            if kind == "transfer"
            else runs[0].plot_with_table(kind, **given)
        )
        make_folder(folder)
        paths = save_figure(ax, folder, name, formats)
    if table is not None:
        path = folder / f"{name}.csv"
        write_atomic(
            path, table.to_csv(float_format="%.6f", index=table.index.name is not None).encode()
        )
        paths.append(path)
    return paths


def _check(
    runs: Sequence[Run],
    kind: str,
    formats: Sequence[str],
    given: dict[str, Any],
    colours: dict[str, float],
) -> None:
    if kind not in MAPS:
        raise UnknownNameError("map", kind, MAPS)
    if kind == "transfer" and len(runs) < 2:
        raise UsageError(
            f"The map of transfer needs two runs or more of one model; {len(runs)} was given."
        )
    if kind != "transfer" and len(runs) != 1:
        raise UsageError(f"The map of {kind} shows one run; {len(runs)} were given.")
    for name in [*given, *(colours if kind == "sublayers" else ())]:
        if name not in TAKES[kind]:
            known = [f"--{option}" for option in TAKES[kind]]
            raise UsageError(
                f"--{name} means nothing to the map of {kind}, which takes "
                f"{', '.join(known) or 'none of these'}."
            )
    effect = given.get("score") in EFFECTS
    if not effect and "target" in given:
        raise UsageError("--target goes with --score attribution or ablation.")
    if effect and "position" in given:
        raise UsageError(
            "--position goes with --score auroc: components are replaced at all tokens."
        )
    if "top" in given and (given["top"] < 1 or "significant" in given):
        raise UsageError(
            f"--top takes a number from 1 on, without --significant; got {given['top']}."
        )
    low, high = colours.get("vmin", 0.0), colours.get("vmax", 1.0)
    if not np.isfinite([low, high]).all() or (
        low >= high and (kind != "components" or len(colours) == 2)
    ):
        raise UsageError(
            "--vmin must lie below --vmax, both of them numbers; got "
            f"{', '.join(f'--{name} {value:g}' for name, value in colours.items())}."
        )
    if not formats:
        raise UsageError(f"No format given. Name at least one of {', '.join(FORMATS)}.")
    for kind_of_file in formats:
        if kind_of_file not in FORMATS:
            raise UnknownNameError("format", kind_of_file, FORMATS)


def _name(kind: str, given: dict[str, Any], style_name: str) -> str:
    """File name of a map: what it shows, so that two of them do not overwrite each other."""
    parts = [NAMES.get(kind, kind)]
    parts += [str(given[k]) for k in ("site", "score", "target", "position") if k in given]
    if given.get("score") in EFFECTS and "target" not in given:
        parts.append(DEFAULTS["target"])
    parts += [k for k in ("significant", "hatch") if k in given]
    parts += [f"top{given['top']}"] if "top" in given else []
    parts += [f"{k}{content_key({k: given[k]})[:6]}" for k in ("layers", "positions") if k in given]
    return "_".join(parts + ([style_name] if style_name != "publication" else []))
