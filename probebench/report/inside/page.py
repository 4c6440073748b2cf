"""A report on a run at tokens inside answers: tables by token and by span, answers painted token by
token."""

from __future__ import annotations

import pandas as pd
from scipy.special import expit

from probebench.record.inside.spans import LABELS, SpanRecord, SpanRow, SpanRun
from probebench.report.blocks import (
    AUROC,
    INTERVAL,
    Block,
    Bullets,
    Column,
    Facts,
    N,
    Number,
    Painted,
    PaintedAnswer,
    PaintedToken,
    Prose,
    Report,
    Row,
    Section,
    Table,
    TableCell,
)
from probebench.report.format import between, count, interval, number
from probebench.tasks.local.notes import data_notes
from probebench.text import as_float

LEVELS = {
    "token": "By token",
    "span_max": "By span, at its most suspicious token",
    "span_last": "By span, at its last token",
}
EDGES = (0.1, 0.25, 0.4, 0.6, 0.75, 0.9)
"""Between shades: below the first surely right, above the last surely wrong."""
LISTS = 4
"""Answers that are painted for each one that other reports list."""


def span_report(run: SpanRun, title: str | None = None, examples: int = 3) -> Report:
    """The report.

    Args:
        run: what it is about.
        title: instead of model and task.
        examples: a quarter of the answers that are painted, at most.
    """
    r = run.record
    sections = [
        Section("result", "What was found", _headline(r)),
        Section("levels", "Beside simpler signals", [_table(r, level) for level in LEVELS]),
        Section("layers", "Layer by layer", [_layers(r)]),
    ]
    if examples:
        sections.append(Section("painted", "Token by token", _painted(run, LISTS * examples)))
    sections.append(Section("source", "Where the numbers come from", _source(r)))
    subtitle = f"labels inside answers; layer {r.selected}, chosen on validation"
    return Report(title or f"{r.model.name} on {r.task.name}", subtitle, sections)


def sentence(r: SpanRecord) -> str:
    """The result in a sentence: the probe by token and by span."""
    found = []
    for level, words in (("token", "by token"), ("span_max", "by span")):
        row = r.row("probe", level)
        found.append(
            f"{words} {number(row.auroc)} {interval(row.auroc_95)} (n = {row.n:,}, {row.n_wrong:,} "
            f"wrong, {row.groups:,} groups)"
        )
    return f"Test AUROC of the probe of layer {r.selected}: {'; '.join(found)}."


def notes_of(r: SpanRecord) -> list[str]:
    """What a reader should know."""
    notes = list(r.notes)
    for level, words in (("token", "token"), ("span_max", "span")):
        worse = [LABELS[row.detector] for row in r.rows if row.level == level and _below(row)]
        if worse:
            notes.append(f"By {words} the probe is significantly worse than: {', '.join(worse)}.")
    beside = [row for row in r.rows if row.level == "token" and row.detector not in _PROBES]
    if beside and not any(_above(row) or _below(row) for row in beside):
        notes.append("By token the probe is distinguishable from none of the simpler signals.")
    notes += data_notes(r.data, sum(counts.answers for counts in r.counts.values()))
    if r.data.n_too_long:
        notes.append(
            f"{r.data.n_too_long:,} answers do not fit into the model's context and were left out."
        )
    if r.n_lost:
        notes.append(
            f"{r.n_lost:,} labelled texts do not stand in their answers and were left out."
        )
    if r.row("probe", "span_max").auroc is None:
        notes.append("All labelled test spans are of one class, so there is no number by span.")
    if r.others == "right":
        notes.append("Tokens outside the marked spans count as right; a sample of them was read.")
    return notes


_PROBES = ("probe", "probe_embedding")


def _below(row: SpanRow) -> bool:
    high = row.difference_95[1]
    return high is not None and high < 0


def _above(row: SpanRow) -> bool:
    low = row.difference_95[0]
    return low is not None and low > 0


def _headline(r: SpanRecord) -> list[Block]:
    notes = tuple(notes_of(r))
    return [Prose(sentence(r), "lead"), *([Bullets(notes, "warning")] if notes else [])]


def _table(r: SpanRecord, level: str) -> Table:
    gap = Column("probe minus this", True), Column("95 % interval", True)
    rows = []
    for row in r.rows:
        if row.level == level:
            cells: tuple[TableCell, ...] = (
                LABELS[row.detector],
                Number(row.auroc),
                between(row.auroc_95),
                "" if row.detector == "probe" else Number(row.difference, signed=True),
                "" if row.detector == "probe" else between(row.difference_95, signed=True),
            )
            rows.append(Row(cells, strong=row.detector == "probe"))
    own = r.row("probe", level)
    note = (
        f"Every row: n = {own.n:,} of the test split, {own.n_wrong:,} wrong, in {own.groups:,} "
        "groups, which are drawn whole (cluster bootstrap)."
    )
    columns = (Column("detector"), AUROC, INTERVAL, *gap)
    return Table(level.replace("_", "-"), LEVELS[level], columns, tuple(rows), (note,))


def _layers(r: SpanRecord) -> Table:
    rows = [
        Row(
            (
                at.layer,
                Number(at.validation_auroc),
                Number(at.test_auroc),
                between(at.test_95),
                count(at.n),
            ),
            strong=at.layer == r.selected,
        )
        for at in r.layers
    ]
    columns = (Column("layer"), Column("validation", True), AUROC, INTERVAL, N)
    caption = "One probe per layer over tokens; the layer is chosen by validation"
    return Table("layers", caption, columns, tuple(rows))


def _painted(run: SpanRun, most: int) -> list[Block]:
    r, answers = run.record, run.answers
    shown, tokens = answers[answers.whole].head(most), run.tokens
    wrong = 1 - expit(as_float(r.platt.slope) * tokens.probe + as_float(r.platt.intercept))
    tokens = tokens.assign(wrong=wrong)
    marks = run.spans
    items = tuple(
        PaintedAnswer(
            str(a.id),
            str(a.question),
            _pieces(str(a.answer), tokens[tokens.id == a.id], marks[marks.id == a.id]),
        )
        for a in shown.itertuples()
    )
    rule = (
        "Test answers, drawn by their ids and not by what the probe says. Red: the probe takes the "
        "token for wrong; blue: for right; the stronger, the surer (a probability fitted to "
        "the labelled tokens of validation). Wavy underline: labelled wrong; straight: right."
    )
    return [Painted(rule, items)]


def _pieces(answer: str, tokens: pd.DataFrame, marks: pd.DataFrame) -> tuple[PaintedToken, ...]:
    """The answer in the pieces that its tokens are, and what no token stands for between them."""
    found, at = [], 0
    for t in tokens.sort_values("token").itertuples():
        start, end = max(int(t.start), at), int(t.end)
        if start > at:
            found.append(PaintedToken(answer[at:start], None, "", None))
        if end > start:
            inside = marks[(marks["first"] <= t.token) & (marks["last"] >= t.token)]
            label = "" if inside.empty else ("wrong" if (inside.label == 0).any() else "right")
            defined = t.wrong == t.wrong
            shade = sum(t.wrong > edge for edge in EDGES) if defined else None
            wrong = float(t.wrong) if defined else None
            found.append(PaintedToken(answer[start:end], shade, label, wrong))
        at = max(at, end)
    return (*found, *([PaintedToken(answer[at:], None, "", None)] if at < len(answer) else []))


def _source(r: SpanRecord) -> list[Block]:
    rows = tuple(
        Row(
            (
                split,
                *(count(n) for n in (c.answers, c.groups, c.spans_right, c.spans_wrong)),
                *(count(n) for n in (c.tokens_right, c.tokens_wrong, c.tokens_other)),
            )
        )
        for split, c in r.counts.items()
    )
    heads = "answers,groups,right spans,wrong spans,right tokens,wrong tokens,others read"
    columns = (Column("split"), *(Column(head, True) for head in heads.split(",")))
    facts = (
        ("Model", f"{r.model.name}, {r.model.revision or 'no revision'}, {r.model.dtype}"),
        ("Task", f"{r.task.name} v{r.task.version}, {r.task.kind}"),
        ("Data", f"{r.data.origin}, sha256 {r.data.sha256}"),
        ("Probe", f"{r.probe.name}, one per layer over the train tokens"),
        ("probebench", f"{r.package.version}, commit {r.package.commit or 'unknown'}"),
        ("Key", r.key),
    )
    return [Table("counts", "Answers, spans and tokens", columns, rows), Facts(facts, "code")]
