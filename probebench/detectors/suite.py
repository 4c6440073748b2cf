"""Every detector of the suite, in the order of tables, and what follows from their rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probebench.detectors import cells, embedding, ensembles, random_model, signals, text
from probebench.detectors.asked import confidence, p_true
from probebench.detectors.registry import DETECTORS, Description, Detectors, Missing, Need, Scores
from probebench.detectors.sampled import eigen, inferred, likelihood, meaning, sar, sep
from probebench.detectors.stored import directions, haloscope, prism, saplma, ttpd
from probebench.detectors.whole import looks, pooled
from probebench.errors import (
    EngineError,
    LockedError,
    MemoryLimitError,
    ProbebenchError,
    UnavailableError,
    UnfinishedError,
    WriteError,
)
from probebench.states.looks import EAGER
from probebench.text import clipped
from probebench.types import EMB, Detector

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

MODULES = (
    cells,
    text,
    signals,
    embedding,
    p_true,
    random_model,
    ensembles,
    saplma,
    prism,
    ttpd,
    haloscope,
    directions,
    pooled,
    looks,
    confidence,
    likelihood,
    meaning,
    inferred,
    sar,
    eigen,
    sep,
)
"""Where detectors are registered, in the order of tables; those of other modules come last."""
EVERY = "all"
"""What `--detectors` calls every one of them."""
LACKING: dict[Need, str] = {
    "token scores": "the log-probabilities of generated tokens",
    "asking": "a model that generates",
    "encoder": "a text encoder (--encoder)",
    "samples": "further answers (--samples)",
    "inference model": "a natural-language-inference model (--nli)",
    "attention maps": "attention maps (--attn-implementation eager)",
}
"""What a run lacks, in words for its reader."""
PASSING = (
    MemoryLimitError,
    UnavailableError,
    WriteError,
    LockedError,
    EngineError,
    UnfinishedError,
    OSError,
)
"""What stops a run instead of becoming a reason: another time it may be different."""
REASON = 300
"""Letters of a reason."""
SKIPPED = "left out by --skip"
"""How the record begins to say why such a detector is not there."""


def in_order() -> list[Detectors]:
    """Detectors that are made together, in the order of tables."""
    names = [module.__name__ for module in MODULES]
    places = {name: i for i, name in enumerate(names)}
    return sorted(DETECTORS, key=lambda d: places.get(d.make.__module__, len(names)))


def known() -> dict[str, Description]:
    """Every row by its name, in the order of tables."""
    return {row.name: row for group in in_order() for row in group.rows}


def constant(name: str) -> bool:
    """Is this a detector that says the same of every example?"""
    row = known().get(name)
    return row is not None and row.constant


def label_free(name: str) -> bool:
    """Is this a baseline that is fitted to no label, so that its sign is fixed?"""
    row = known().get(name)
    return row is not None and row.label_free


def skips() -> dict[str, tuple[str, ...]]:
    """What `--skip` can leave out: its name, and the detectors that are not there then."""
    found: dict[str, tuple[str, ...]] = {}
    for name, row in known().items():
        if row.skip is not None:
            found[row.skip] = (*found.get(row.skip, ()), name)
    return found


def of_text() -> tuple[str, ...]:
    """Detectors that are made from the words alone."""
    return tuple(name for name, row in known().items() if "text" in row.needs)


def controls() -> tuple[str, ...]:
    """What `--control` can ask for."""
    return tuple(dict.fromkeys(row.control for row in known().values() if row.control is not None))


def asked() -> tuple[str, ...]:
    """What `--detectors` can ask for, beside `all`."""
    return tuple(dict.fromkeys(row.asked for row in known().values() if row.asked is not None))


def planned(plan: Plan) -> list[Description]:
    """The rows that `--detectors` asks for and that the run will have what they need of."""
    there = _promised(plan)
    return [
        row
        for row in known().values()
        if row.asked is not None and _wanted(row, plan) and row.needs <= there
    ]


def _is_asked(row: Description, names: Sequence[str]) -> bool:
    return row.asked is not None and (row.asked in names or EVERY in names)


def left_out(skip: Sequence[str], *, given: bool) -> dict[str, str]:
    """Detectors that `--skip` left out, with the reason; of statements only those that they
    have."""
    rows, names = known(), skips()
    return {
        name: f"{SKIPPED} {left}"
        for left in skip
        for name in names.get(left, ())
        if rows[name].label(given) is not None
    }


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What became of the detectors of a run."""

    detectors: tuple[Detector, ...]
    """Those that score its answers, the selected probe first."""
    absent: Mapping[str, str]
    """Those that were asked for and are not there, with the reason."""


def detectors(data: RunData, runner: Runner) -> Found:
    """Every detector of a run that it does not leave out and has what it needs."""
    made = [d for group in in_order() for d in _made(group, data, runner)]
    return Found(
        tuple(d for d in made if isinstance(d, Detector)),
        {d.name: d.reason for d in made if isinstance(d, Missing)},
    )


def _made(group: Detectors, data: RunData, runner: Runner) -> Iterator[Detector | Missing]:
    """Those of one group, under the words of their rows."""
    there = _there(data)
    wanted = {row.name: row for row in group.rows if _wanted(row, data.plan)}
    rows = {name: row for name, row in wanted.items() if row.needs <= there}
    for name, row in wanted.items():
        due = row.asked is not None or (data.statements and "statements" in row.required)
        if due and name not in rows:
            yield Missing(name, _lacking(row, there))
    done: set[str] = set()
    try:
        for scores in group.make(data, runner) if rows else ():
            done.add(scores.name)
            if scores.name in rows:
                own = rows[scores.name]
                yield scores if isinstance(scores, Missing) else _named(own, scores, data)
    except PASSING:  # the same command may do better, and goes on from here
        raise
    except Exception as error:
        # a method that fails on this model costs neither the map nor the other rows
        if any(row.asked is None for row in rows.values()) or _out_of_memory(error):
            raise
        reason = _failure(error)
        yield from (Missing(name, reason) for name in rows if name not in done)


def _failure(error: Exception) -> str:
    """Why a method failed, in one line; a mistake in the code is also told in full."""
    said = str(error)
    if not isinstance(error, ProbebenchError):
        logging.getLogger(__name__).warning("a method failed", exc_info=error)
        said = f"{type(error).__name__}: {error}"
    return clipped(f"failed: {(said.splitlines() or [''])[0]}", REASON)


def _out_of_memory(error: Exception) -> bool:
    """Was it the device's memory, which may be free another time?"""
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()


def _named(row: Description, scores: Scores, data: RunData) -> Detector:
    label = (row.label(data.statements) or "").format(**scores.detail)
    when = "before" if data.statements else scores.when or row.when or "after"
    return Detector(row.name, label, scores.decisions, row.kind, when, scores.detail)


def _wanted(row: Description, plan: Plan) -> bool:
    """Is it neither left out, nor to be asked for and not asked for, nor without meaning here?"""
    beside = plan.beside
    return (
        row.label(plan.statements) is not None
        and row.skip not in beside.skip
        and (row.control is None or row.control in beside.controls)
        and (row.asked is None or _is_asked(row, beside.detectors))
    )


def _lacking(row: Description, there: set[Need]) -> str:
    """Why a row that was asked for cannot be made."""
    return "needs " + ", ".join(LACKING.get(need, need) for need in sorted(row.needs - there))


def _promised(plan: Plan) -> set[Need]:
    """What a run will have to make detectors from, as far as its plan says."""
    beside = plan.beside
    found: set[Need] = {
        "text",
        "token counts",
        "train labels",
        "exact answer",
        "cells",
        "untrained model",
        "states",
    }
    more: dict[Need, bool] = {
        "token scores": plan.handle.causal,
        "asking": plan.handle.causal,
        "attention maps": plan.handle.identity.attention == EAGER,
        "encoder": beside.encoder is not None,
        "inference model": beside.nli is not None,
        "samples": beside.drawing is not None,
        "embedding row": any(cell.layer == EMB for cell in plan.reading.cells),
    }
    return found | {need for need, there in more.items() if there}


def _there(data: RunData) -> set[Need]:
    """What a run has to make detectors from: what its plan promises, and its answers gave."""
    gave: dict[Need, bool] = {
        "token scores": any(len(a.answer.logprobs) for a in data.answers),
        "samples": data.samples is not None,
        "embedding row": any(f.cell.layer == EMB and not f.masked for f in data.fits),
    }
    return _promised(data.plan) - {need for need, there in gave.items() if not there}
