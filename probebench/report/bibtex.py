"""BibTeX of the suite, of a run's task, and of the methods the run used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from probebench._version import __version__
from probebench.detectors import suite
from probebench.errors import ProbebenchError
from probebench.record.inside.spans import SpanRecord
from probebench.record.schema import Record

PHRASE = "linear-probe benchmark for token-position truthfulness"
RELEASED = "2026-11-22"
"""Day of this version, as in CITATION.cff."""
METHODS = Path(__file__).parent / "methods.bib"
"""The papers that runs may rest on."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A paper, and what of a run rests on it."""

    key: str
    """Of its entry in `methods.bib`."""
    why: str
    used: Callable[[Record], bool]

    @property
    def bibtex(self) -> str:
        """Its entry."""
        return entry_of(self.key)


def suite_entry() -> str:
    """BibTeX of this version of the suite."""
    return (
        "@software{probebench,\n"
        f"  title = {{probebench: {PHRASE}}},\n"
        "  author = {{The probebench maintainers}},\n"
        f"  version = {{{__version__}}},\n"
        f"  year = {{{RELEASED[:4]}}},\n"
        "  license = {MIT}\n"
        "}"
    )


def cite(*records: Record | SpanRecord) -> str:
    """BibTeX of the suite and, with records of runs, of their tasks and of every method they used;
    one entry per key.

    Each entry after the suite's stands under a comment that says what it is cited for.
    """
    parts, keys = [f"% The suite, version {__version__}\n{suite_entry()}"], {"probebench"}
    sources = dict.fromkeys(source for record in records for source in _sources(record))
    for why, bibtex in sources:
        found = entries(bibtex)
        fresh = [entry for entry in found if key_of(entry) not in keys]
        keys |= {key_of(entry) for entry in fresh}
        above = ", ".join(key_of(entry) for entry in found if entry not in fresh)
        parts.append("\n".join([f"% {why} ({above}, above)" if above else f"% {why}", *fresh]))
    return "\n\n".join(parts) + "\n"


def _sources(record: Record | SpanRecord) -> Iterator[tuple[str, str]]:
    """Reason and BibTeX of everything a run rests on, the task first."""
    from probebench.probes.kinds import PROBES
    from probebench.tasks.schema import load_task

    shown = " ".join(record.task.name.split())
    try:
        task = load_task(record.task.name)
        yield f"Task {shown}, version {task.version}", task.citation.strip()
    except ProbebenchError:
        yield f"Task {shown} is not part of the suite: cite where its questions come from.", ""
    if (kind := PROBES.get(record.probe.name)) is not None:
        yield from ((why, entry_of(key)) for key, why in kind.cites.items())
    if isinstance(record, SpanRecord):
        yield SCIKIT.why, SCIKIT.bibtex
        return
    for source in SOURCES:
        if source.used(record):
            yield source.why, source.bibtex
    there = {d.name for d in record.detectors}
    for name, row in suite.known().items():
        if name in there and row.source:
            yield f"The {row.kind} {row.of_answers.split(',')[0]}", entry_of(row.source)


def entry_of(key: str) -> str:
    """An entry of `methods.bib`."""
    found = entries(METHODS.read_text(encoding="utf-8"))
    return next(entry for entry in found if key_of(entry) == key)


def entries(bibtex: str) -> list[str]:
    """The single entries of a BibTeX text."""
    return [entry.strip() for entry in re.split(r"(?m)^(?=@)", bibtex) if entry.strip()]


def key_of(entry: str) -> str:
    """The key of one entry."""
    found = re.match(r"@\w+\{\s*([^,\s]+)", entry)
    return found[1] if found else entry


def _metric(name: str) -> Callable[[Record], bool]:
    return lambda record: any(name in d.metrics for d in record.detectors)


def _shuffled(record: Record) -> bool:
    return bool(record.controls.permutation.shuffles)


SCIKIT = Reference(
    "pedregosa2011scikit",
    "Probes and metrics are scikit-learn estimators and functions",
    lambda record: True,
)
SOURCES = (
    Reference(
        "orgad2025llms", "Token positions and the layer by position map", lambda record: True
    ),
    SCIKIT,
    Reference("hewitt2019designing", "Selectivity", _shuffled),
    Reference("benjamini1995controlling", "False-discovery rate over the cells", _shuffled),
    Reference(
        "delong1988comparing",
        "The second interval of each AUROC",
        lambda record: any(None not in d.auroc_95_delong for d in record.detectors),
    ),
    Reference("fadeeva2023lm", "The prediction-rejection ratio", _metric("prr")),
)
"""What runs may rest on, in the order of a methods section."""
