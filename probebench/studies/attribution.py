"""Whether a run's attribution can be taken for what replacing components would change."""

from __future__ import annotations

from collections.abc import Iterator

from probebench.record.tables import TARGETS
from probebench.record.words import agreement_words
from probebench.studies.registry import Concern, concern


@concern
def _estimates(run: Concern) -> Iterator[str]:
    """Estimates rank components otherwise than replacing them does."""
    found = run.record.attribution
    for a in found.agreement if found is not None else ():
        if not a.ranks:
            yield (
                f"Attribution to {TARGETS[a.target]} does not rank components as replacing them by "
                f"their means does. {agreement_words(run.record, a.target)} The map of measured "
                "changes: --score ablation."
            )
