"""Every study of the suite, in the order of the record."""

from __future__ import annotations

from typing import Any

from probebench.studies import confounds, curves, neutral, noise, readable
from probebench.studies.registry import STUDIES, Scored, Study

MODULES = (readable, confounds, noise, curves, neutral)
"""Where studies are registered, in the order of the record; those of other modules come last."""


def in_order() -> list[Study]:
    """Every study, in the order of the record."""
    places = {module.__name__: i for i, module in enumerate(MODULES)}
    return sorted(STUDIES, key=lambda s: places.get(s.make.__module__, len(MODULES)))


def studies(run: Scored) -> dict[str, Any]:
    """The sections of the record that need more than decisions; null where one was not asked
    for."""
    plan = run.data.plan
    return {s.section: s.make(run) if s.asked(plan) else None for s in in_order()}
