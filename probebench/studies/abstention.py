"""How many questions each detector lets the model answer if of the answers given no more than a
chosen part may be wrong."""

from __future__ import annotations

from typing import Any

from probebench.scoring.abstention import abstention
from probebench.studies.registry import Scored, study


@study(
    "abstention",
    title="Answering only what it is sure of",
    unasked="Abstention: no thresholds were looked for.",
)
def abstained(run: Scored) -> dict[str, Any]:
    """Thresholds with a guarantee, from decisions alone."""
    labels, result = run.data.labels, run.result
    return abstention(
        result.detectors,
        labels.y,
        labels.splits,
        labels.groups,
        result.comparison,
        run.data.plan.seed,
    )
