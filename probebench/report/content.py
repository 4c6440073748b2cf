"""What a report says: sections out of finished runs, before any markup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pandas as pd

from probebench.errors import BadFileError
from probebench.record.claims import headline
from probebench.record.run import RECORD, Run
from probebench.record.schema import Record
from probebench.record.words import part_words, terms
from probebench.report.bibtex import cite
from probebench.report.blocks import Block, Bullets, Code, Facts, Prose, Report, Section
from probebench.report.format import name_words, value_words
from probebench.report.inputs import check_tables
from probebench.report.sections.calibration import calibration_blocks
from probebench.report.sections.detectors import (
    detectors_figure,
    detectors_table,
    metrics_tables,
    readable_blocks,
)
from probebench.report.sections.examples import examples_of, threshold_words
from probebench.report.sections.headline import key_figures, sentences
from probebench.report.sections.maps import component_figures, positions_figure, positions_tables
from probebench.report.sections.provenance import controls_blocks, counts_table, provenance_blocks
from probebench.report.sections.published import published_blocks
from probebench.report.sections.several import overview, transfer_section
from probebench.report.sections.studied.abstention import abstention_blocks
from probebench.report.sections.studied.confounds import confounds_blocks
from probebench.report.sections.studied.label_noise import noise_blocks
from probebench.report.sections.studied.learning_curve import learning_blocks
from probebench.report.sections.studied.resplits import resplits_blocks
from probebench.report.sections.studied.sampled import sampled_blocks
from probebench.report.sections.studied.subsets import said_blocks, subsets_blocks
from probebench.report.sections.studied.twins import twins_blocks
from probebench.report.terminal.summary import absent_sites
from probebench.studies.suite import NOTHING, in_order, section
from probebench.text import slug

T = TypeVar("T")
NAMED = 4
"""Up to so many tasks stand in the title."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A part of a report about one field of the record; a field that is not there is left out."""

    field: str
    title: str
    content: Callable[[Record], list[Block]]
    unasked: str
    """What is said when the field is null."""


CONTENT: Mapping[str, Callable[[Record], list[Block]]] = {
    "published": published_blocks,
    "resplits": resplits_blocks,
    "subsets": subsets_blocks,
    "said": said_blocks,
    "confounds": confounds_blocks,
    "near_twins": twins_blocks,
    "abstention": abstention_blocks,
    "calibration": calibration_blocks,
    "sampled": sampled_blocks,
    "learning_curve": learning_blocks,
    "label_noise": noise_blocks,
}
"""Field of the record -> its blocks, in the order of a report."""


def optional_parts() -> list[Piece]:
    """Parts that not every run has: those of studies by their rows, those without blocks of their
    own last, as plain facts."""
    known = {
        "published": (
            "Beside published figures",
            "Published figures: none are known for this model and task.",
        ),
        "calibration": (
            "Calibration",
            "Calibration: the decisions could not be turned into probabilities.",
        ),
        **{s.section: (s.title, s.unasked) for s in in_order() if s.title},
    }
    fields = [*CONTENT, *(field for field in known if field not in CONTENT)]
    return [
        Piece(field, title, CONTENT.get(field, partial(fact_blocks, field)), unasked)
        for field, (title, unasked) in ((field, known[field]) for field in fields)
    ]


def fact_blocks(field: str, record: Record) -> list[Block]:
    """A field of the record as names and values."""
    facts = section(record, field)
    items = facts.items() if isinstance(facts, Mapping) else [(field, facts)]
    return [Facts(tuple((name_words(name), value_words(value)) for name, value in items))]


def build_report(
    runs: Sequence[Run],
    *,
    title: str | None = None,
    examples: int = 3,
    transfer: pd.DataFrame | None = None,
) -> Report:
    """The report over some finished runs.

    Args:
        runs: one or more.
        title: instead of the model and task.
        examples: how many answers in each list of examples; 0 for none.
        transfer: AUROC of probes trained on one task (row) and tested on another (column), as
            `probebench transfer` writes it.

    Raises:
        BadFileError: a run's record or a table of it is not what it should be.
    """
    for run in runs:
        _checked(partial(headline, run.record), run)
        check_tables(run)
    names = run_names(runs)
    parts = [
        _checked(partial(run_section, run, f"run-{i}", name, examples), run)
        for i, (run, name) in enumerate(zip(runs, names, strict=True), start=1)
    ]
    if len(runs) > 1:
        sections = [overview(runs, names), *parts]
    else:
        sections = [Section(parts[0].id, "What was found", parts[0].blocks), *parts[0].sections]
    if transfer is not None:
        sections.append(transfer_section(transfer))
    words = (
        "Cite the suite and what its numbers rest on, and give the package version and the task "
        "hashes."
    )
    sections.append(
        Section(
            "cite",
            "How to cite",
            (Prose(words), Code(cite(*(run.record for run in runs)).strip(), "bibtex")),
        )
    )
    r = runs[0].record
    subtitle = f"probebench {r['package']['version']}, protocol {r['protocol_version']}"
    return Report(title or _title(runs, names), subtitle, tuple(sections))


def _title(runs: Sequence[Run], names: Sequence[str]) -> str:
    """The run's name; of several, the model and its tasks, or how many there are."""
    models, tasks = ({run.record[key]["name"]: None for run in runs} for key in ("model", "task"))
    if len(models) == 1 and len(tasks) == len(runs) <= NAMED:
        return f"{next(iter(models))} on {', '.join(tasks)}"
    return names[0] if len(runs) == 1 else f"{len(runs)} runs"


def run_names(runs: Sequence[Run]) -> list[str]:
    """What each run is called: model and task, with as much of the end of its folder as tells those
    apart that would be called the same."""
    names = [f"{run.record.model.name} on {run.record.task.name}" for run in runs]
    folders = [run.folder.resolve().parts for run in runs]
    found = []
    for name, own in zip(names, folders, strict=True):
        twins = [f for f, other in zip(folders, names, strict=True) if other == name]
        depth = 1
        while depth < len(own) and sum(f[-depth:] == own[-depth:] for f in twins) > 1:
            depth += 1
        found.append(f"{name} ({'/'.join(own[-depth:])})" if len(twins) > 1 else name)
    return found


def run_section(run: Run, at: str, name: str, examples: int) -> Section:
    """All that is said of one run.

    Args:
        run: a finished run.
        at: anchor of the section, and how those of its parts begin.
        name: what it is called.
        examples: how many answers in each list of examples.
    """
    r = run.record
    first, *rest = sentences(r)
    blocks: list[Block] = [Prose(first, "lead"), *(Prose(text) for text in rest), key_figures(r)]
    if examples_words := part_words(r):
        blocks.append(Prose(f"Examples: {examples_words}.", "small"))
    if r.get("warnings"):
        blocks.append(Bullets(tuple(r["warnings"]), "warning"))
    figure, numbers = positions_figure(run)
    maps: list[Block] = [figure, numbers]
    for other, table in component_figures(run):
        maps += [other, table]
    if lines := absent_sites(r["sites"]):
        maps.append(Bullets(tuple(f"Not there: {line}" for line in lines), "plain"))
    parts = [
        Section(f"{at}-maps", "Where it is readable", (*maps, *positions_tables(r))),
        Section(
            f"{at}-detectors",
            "Beside simpler signals",
            (detectors_figure(r), detectors_table(r), *readable_blocks(r)),
        ),
        Section(f"{at}-metrics", "Further metrics", tuple(metrics_tables(r))),
    ]
    optional = [part for part in optional_parts() if section(r, part.field) is not NOTHING]
    for part in optional:
        if section(r, part.field) is not None:
            blocks_of = tuple(part.content(r))
            parts.append(Section(f"{at}-{slug(part.field)}", part.title, blocks_of))
    if lists := examples_of(run, examples):
        words = Prose(threshold_words(r), "small")
        parts.append(Section(f"{at}-examples", "Answers it gets right and wrong", (words, *lists)))
    parts += [
        Section(f"{at}-controls", "Controls", tuple(controls_blocks(r))),
        Section(f"{at}-counts", f"The {terms(r).what}", (counts_table(r),)),
        Section(f"{at}-provenance", "Where the numbers come from", tuple(provenance_blocks(r))),
    ]
    if unmeasured := tuple(part.unasked for part in optional if section(r, part.field) is None):
        parts.append(Section(f"{at}-unmeasured", "Not measured", (Bullets(unmeasured),)))
    return Section(at, name, tuple(blocks), tuple(parts))


def _checked(content: Callable[[], T], run: Run) -> T:
    """What `content` gives; a record that lacks what every finished run has is a clear error."""
    try:
        return content()
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        where = run.folder / RECORD
        raise BadFileError(
            f"{where} is not a finished run's record, {what}. Run `probebench eval` again with "
            "this version."
        ) from error
