"""Every study of the suite, in the order of the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from probebench.studies import (
    abstention,
    added,
    attribution,
    curves,
    neutral,
    noise,
    readable,
    resplits,
)
from probebench.studies.checks import coincide, selection, shuffles, subsets, twins
from probebench.studies.confounds import study as confounds
from probebench.studies.registry import STUDIES, Scored, Study
from probebench.studies.sampled import study as sampled

MODULES = (
    coincide,
    selection,
    shuffles,
    readable,
    resplits,
    added,
    subsets,
    confounds,
    twins,
    abstention,
    noise,
    curves,
    neutral,
    sampled,
    attribution,
)
"""Where studies and further concerns are registered, in the order of the record; those of other
modules come last."""
NOTHING: Final = object()
"""No such section; null is one that was not asked for."""


def in_order() -> list[Study]:
    """Every study, in the order of the record."""
    places = {module.__name__: i for i, module in enumerate(MODULES)}
    return sorted(STUDIES, key=lambda s: places.get(s.make.__module__, len(MODULES)))


def studies(run: Scored) -> dict[str, Any]:
    """The sections of the record that need more than decisions; null where one was not asked for.

    The suite's own have a field of the record each; those of other modules stand together under
    `studies`, where there are any.
    """
    own, further = dict[str, Any](), dict[str, Any]()
    for study in in_order():
        found = study.make(run) if study.asked(run.data.plan) else None
        (own if _is_own(study) else further)[study.section] = found
    return {**own, "studies": further} if further else own


def section(record: Mapping[str, Any], name: str) -> Any:
    """What a record says in a section, wherever it stands; `NOTHING` where it does not have it."""
    return record[name] if name in record else (record.get("studies") or {}).get(name, NOTHING)


def _is_own(study: Study) -> bool:
    return study.make.__module__ in [module.__name__ for module in MODULES]
