"""A report as files: one call writes what `probebench report` writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from probebench.errors import UnknownNameError, UsageError
from probebench.files import make_folder, place, write_atomic
from probebench.options.python import speaks_python
from probebench.record.inside.kinds import holds_spans
from probebench.record.inside.spans import SpanRun
from probebench.record.run import Run
from probebench.report.blocks import Report
from probebench.report.content import build_report
from probebench.report.inputs import read_transfer
from probebench.report.inside.page import span_report
from probebench.report.write.html import to_html
from probebench.report.write.latex import to_latex
from probebench.report.write.markdown import to_markdown

FORMATS: dict[str, Callable[[Report], str]] = {"html": to_html, "md": to_markdown, "tex": to_latex}
"""Ending of a file -> what writes it."""
NAME = "report.html"
OTHERS = frozenset(".htm .xhtml .pdf .markdown .rst .txt .latex .docx .json .csv .png .svg".split())
"""Endings of other files; what stands behind another dot is part of a name (`Qwen2.5`)."""


@speaks_python()
def write_report(
    runs: Sequence[Run | str | Path],
    out: str | Path | None = None,
    *,
    formats: Sequence[str] | None = None,
    title: str | None = None,
    examples: int = 3,
    transfer: str | Path | None = None,
) -> list[Path]:
    """Write the report over some finished runs.

    Args:
        runs: finished runs, or their directories.
        out: name of the page, with or without one of the three endings; each format has its own.
            Default: `report` in the run's directory, for several runs in the current folder.
        formats: of `html`, `md` and `tex`. Default: the one that `out` ends in, else `html`.
        title: instead of model and task.
        examples: how many answers in each of the four lists of examples; 0 for none.
        transfer: a table of train task by test task, as `probebench transfer` writes it.

    Returns:
        The files written.

    Raises:
        UsageError: no run, an unknown format or ending, or a place that cannot be written to.
        BadFileError: a directory is not a finished run, or one of its files cannot be read.
    """
    if not runs:
        raise UsageError("A report needs a finished run: probebench report RUN [RUN ...].")
    if examples < 0:
        raise UsageError(f"--examples takes a number from 0 on; got {examples}.")
    if formats is not None and not formats:
        raise UsageError(f"No format given. Name at least one of {', '.join(FORMATS)}.")
    for kind in formats or ():
        if kind not in FORMATS:
            raise UnknownNameError("format", kind, FORMATS)
    inside = _inside(runs, transfer)
    loaded = [Run.load(run) for run in runs] if inside is None else []
    alone = inside if inside is not None else loaded[0] if len(loaded) == 1 else None
    path = _named(out, alone)
    make_folder(path.parent)
    if inside is not None:
        report = span_report(inside, title, examples)
    else:
        table = read_transfer(place(transfer)) if transfer else None
        report = build_report(loaded, title=title, examples=examples, transfer=table)
    written = []
    named = path.suffix[1:] if path.suffix[1:] in FORMATS else None
    stem = path.with_suffix("") if named else path
    for kind in dict.fromkeys(formats or [named or "html"]):
        target = stem.with_name(f"{stem.name}.{kind}")
        write_atomic(target, FORMATS[kind](report).encode())
        written.append(target)
    return written


def _named(out: str | Path | None, alone: Run | SpanRun | None) -> Path:
    """Where the page goes.

    Raises:
        UsageError: by its name it is no report.
    """
    path = place(out) if out is not None else alone.folder / NAME if alone else Path(NAME)
    if path.is_dir():
        path /= NAME
    elif path.suffix.lower() in OTHERS:
        raise UsageError(
            f"--out {path} ends in {path.suffix}; a report is {', '.join(FORMATS)}. A browser "
            f"prints {path.with_suffix('.html').name} as PDF."
        )
    return path


def _inside(runs: Sequence[Run | str | Path], transfer: str | Path | None) -> SpanRun | None:
    """The one run at tokens inside answers; None where there are others."""
    one = runs[0]
    if len(runs) > 1 or isinstance(one, Run) or not holds_spans(place(one)):
        return None
    if transfer:
        raise UsageError(
            f"--transfer is of runs with a map of places; {one} is one at tokens inside answers."
        )
    return SpanRun.load(one)
