"""What a report says: sections out of finished runs, before any markup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import pandas as pd

from probebench.errors import BadFileError
from probebench.maps.heatmap import plot_transfer
from probebench.record.claims import headline
from probebench.record.run import RECORD, Run
from probebench.record.words import part_words, terms
from probebench.report.bibtex import cite
from probebench.report.blocks import (
    AUROC,
    INTERVAL,
    Block,
    Bullets,
    Code,
    Column,
    Figure,
    Link,
    N,
    Number,
    Prose,
    Report,
    Row,
    Section,
    Table,
)
from probebench.report.format import between
from probebench.report.inputs import check_tables
from probebench.report.sections.checks import (
    calibration_blocks,
    confounds_blocks,
    learning_blocks,
    noise_blocks,
    published_blocks,
)
from probebench.report.sections.evidence import (
    controls_blocks,
    counts_table,
    detectors_table,
    metrics_tables,
    positions_tables,
    provenance_blocks,
    readable_blocks,
)
from probebench.report.sections.examples import examples_of, threshold_words
from probebench.report.sections.headline import OUTCOMES, key_figures, sentences
from probebench.report.sections.pictures import (
    component_figures,
    detectors_figure,
    matrix_table,
    positions_figure,
    spread,
)
from probebench.report.summary import absent_sites
from probebench.text import slug

T = TypeVar("T")
NAMED = 4
"""Up to so many tasks stand in the title."""
OPTIONAL: tuple[tuple[str, str, Callable[[Mapping[str, Any]], list[Block]], str], ...] = (
    (
        "published",
        "Beside published figures",
        published_blocks,
        "Published figures: none are known for this model and task.",
    ),
    (
        "confounds",
        "What else it could be reading",
        confounds_blocks,
        "Confounds: the run looked for none.",
    ),
    (
        "calibration",
        "Calibration",
        calibration_blocks,
        "Calibration: the decisions could not be turned into probabilities.",
    ),
    (
        "learning_curve",
        "How much training data it takes",
        learning_blocks,
        "Learning curve: ask for one with --train-sizes 50,100,200.",
    ),
    (
        "label_noise",
        "Under another judge",
        noise_blocks,
        "A second judge's labels: ask for them with --label-noise JUDGE.",
    ),
)
"""Field of the record, title, content, and what is said when the field is null. A field that is not
there is left out."""


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
    """What each run is called: model and task, with the folder where two would be called the
    same."""
    names = [f"{r['model']['name']} on {r['task']['name']}" for r in (_head(run) for run in runs)]
    return [
        f"{name} ({run.folder.name})" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]


def overview(runs: Sequence[Run], names: Sequence[str]) -> Section:
    """One row per run."""
    rows = []
    for i, (run, name) in enumerate(zip(runs, names, strict=True), start=1):
        h = headline(run.record)
        signal = (h.signal["label"], Number(h.signal["auroc"])) if h.signal else ("none", "")
        gap = (
            (Number(h.difference, signed=True), between(h.difference_95, signed=True))
            if h.signal
            else ("", "")
        )
        rows.append(
            Row(
                (
                    Link(name, f"run-{i}"),
                    Number(h.auroc),
                    between(h.auroc_95),
                    *signal,
                    *gap,
                    f"{h.n:,}",
                    OUTCOMES[h.outcome],
                )
            )
        )
    columns = (
        Column("Run"),
        AUROC,
        INTERVAL,
        Column("Best simpler signal"),
        AUROC,
        Column("Difference", True),
        INTERVAL,
        N,
        Column("The probe is"),
    )
    note = (
        "AUROC on test at the cell chosen on validation, the signal chosen on validation too; "
        "difference: probe minus signal, "
        "paired. All numbers of a row are over the same n test examples, those that both score."
    )
    table = Table(
        "overview",
        "The selected probe of each run against its best simpler signal",
        columns,
        tuple(rows),
        (note,),
    )
    return Section("overview", "Overview", (table,))


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
    if part := part_words(r):
        blocks.append(Prose(f"Examples: {part}.", "small"))
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
    for field, title, content, _ in OPTIONAL:
        if r.get(field) is not None:
            parts.append(Section(f"{at}-{slug(field)}", title, tuple(content(r))))
    if lists := examples_of(run, examples):
        words = Prose(threshold_words(r), "small")
        parts.append(Section(f"{at}-examples", "Answers it gets right and wrong", (words, *lists)))
    parts += [
        Section(f"{at}-controls", "Controls", tuple(controls_blocks(r))),
        Section(f"{at}-counts", f"The {terms(r).what}", (counts_table(r),)),
        Section(f"{at}-provenance", "Where the numbers come from", tuple(provenance_blocks(r))),
    ]
    if unmeasured := tuple(
        reason for field, _, _, reason in OPTIONAL if field in r and r[field] is None
    ):
        parts.append(Section(f"{at}-unmeasured", "Not measured", (Bullets(unmeasured),)))
    return Section(at, name, tuple(blocks), tuple(parts))


def transfer_section(matrix: pd.DataFrame) -> Section:
    """The matrix of train task by test task."""
    caption = (
        "Test AUROC of probes trained on one task (down) and tested on another (across); on the "
        "diagonal, their own task."
    )
    if n := matrix.attrs.get("n"):
        caption += f" n = {n[0]:,} to {n[1]:,} test examples per cell; transfer.csv has each."
    figure = Figure(
        caption,
        f"Heatmap of test AUROC, {spread(matrix, 'train task', 'test task')}",
        partial(plot_transfer, matrix),
        wide=True,
    )
    table = matrix_table(matrix, "transfer", "Test AUROC by train task and test task", "Trained on")
    return Section(
        "transfer",
        "Does it carry over?",
        (figure, Table(table.name, table.caption, table.columns, table.rows)),
    )


def _head(run: Run) -> Mapping[str, Any]:
    return _checked(
        lambda: {key: {"name": run.record[key]["name"]} for key in ("model", "task")}, run
    )


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
