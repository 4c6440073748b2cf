"""What the probe adds to all simpler signals together."""

from __future__ import annotations

from typing import Any

from probebench.scoring.added import added
from probebench.studies.registry import Scored, study


@study("added")
def _added(run: Scored) -> dict[str, Any] | None:
    labels, result = run.data.labels, run.result
    names = labels.group_names(labels.every)
    return added(
        result.detectors,
        result.comparison.scores,
        labels.y,
        labels.splits,
        names,
        run.data.plan.seed,
    )
