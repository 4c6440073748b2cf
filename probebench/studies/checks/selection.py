"""How the selected cell was chosen: what did not compete, and where its C stands."""

from __future__ import annotations

from collections.abc import Iterator

from probebench.probes.kinds import get_probe
from probebench.studies.registry import Concern, concern


@concern
def _rare(run: Concern) -> Iterator[str]:
    """Columns that did not compete, and what would have won."""
    selection = run.record.selection
    if barred := selection.barred:
        alike = {why: [p for p, w in barred.items() if w == why] for why in barred.values()}
        columns = "; ".join(f"{', '.join(names)}: {why}" for why, names in alike.items())
        other = selection.would_win
        won = (
            f" One of them would have had the highest validation AUROC: layer {other.layer}, "
            f"{other.position}."
            if other
            else ""
        )
        yield f"Drawn and never selected, since their token is rare: {columns}.{won}"


@concern
def _edge(run: Concern) -> Iterator[str]:
    """The selected C is the first or the last of its grid."""
    grid, C = get_probe(run.record.probe.name).grid, run.record.selection.C
    if len(grid) > 2 and C in (grid[0], grid[-1]):
        which = "smallest" if grid[0] == C else "largest"
        same = sum(f.C == C for f in run.fits)
        yield (
            f"The selected C, {C:g}, is the {which} of its grid (so in {same} of "
            f"{sum(not f.masked for f in run.fits)} cells): one beyond it might do better."
        )
