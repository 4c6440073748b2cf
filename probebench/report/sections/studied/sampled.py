"""Further answers to each question: error types, answer selection, soft targets."""

from __future__ import annotations

from probebench.record.parts.sampled import ErrorTypeFacts, Gap, Sampled
from probebench.record.schema import Record
from probebench.record.words import cell_words
from probebench.report.blocks import (
    AUROC,
    INTERVAL,
    Block,
    Column,
    Facts,
    N,
    Number,
    Prose,
    Row,
    Table,
)
from probebench.report.format import between, count, interval, number

WAYS = {
    "greedy": "greedy answer",
    "random": "one at random",
    "majority": "the most frequent",
    "logprob": "the likeliest",
    "probe": "the probe's choice",
    "any": "a correct one where there is one",
}
"""How an answer is chosen, in words."""


def sampled_blocks(record: Record) -> list[Block]:
    """What several drawn answers to each question say."""
    if (facts := record.sampled) is None:
        return []
    words = (
        f"{facts.n_samples:,} further answers to each question, drawn at temperature "
        f"{facts.temperature:g} and top-p {facts.top_p:g}, judged like the greedy one. Types are "
        "those of Orgad et al. (2025), by shares of the number of answers (docs/protocol.md); a "
        "question may be of several. A probe of a type reads the greedy answer at "
        f"{cell_words(facts)} and tells its questions from all others."
    )
    return [
        Prose(words, "small"),
        _types(facts, record),
        _selection(facts),
        _by_type(facts),
        Facts(tuple(_soft(facts))),
    ]


def _types(facts: Sampled, record: Record) -> Table:
    """Share of each type, and its probe."""
    printed = {}
    if record.published is not None:
        printed = {p.error_type: p.auroc for p in record.published.error_types}
    columns = [
        Column("Type"),
        Column("Share of test", True),
        INTERVAL,
        Column("n of type", True),
        AUROC,
        INTERVAL,
        N,
    ]
    if printed:
        columns.append(Column("Published", True))
    rows = []
    for t in facts.types:
        cells = (
            name_of(t),
            Number(t.share),
            between(t.share_95),
            count(t.n_test),
            *(
                (f"no probe: {t.reason}", "", "")
                if t.reason
                else (Number(t.auroc), between(t.auroc_95), count(t.n_probed))
            ),
        )
        rows.append(Row((*cells, Number(printed.get(t.type))) if printed else cells))
    caption = "Error types among test questions, and the test AUROC of a probe of each"
    return Table("error-types", caption, tuple(columns), tuple(rows))


def name_of(t: ErrorTypeFacts) -> str:
    """A type with its letter."""
    return t.meaning if t.type == "none" else f"{t.type}: {t.meaning}"


def _selection(facts: Sampled) -> Table:
    """Accuracy by way of choosing."""
    found = facts.selection
    columns = (
        Column("Chosen"),
        Column("Accuracy", True),
        INTERVAL,
        Column("Minus greedy", True),
        INTERVAL,
        Column("Probe minus this", True),
        INTERVAL,
        N,
    )
    rows = tuple(
        Row(
            (
                WAYS[w.way],
                Number(w.accuracy),
                between(w.accuracy_95),
                *_gap(w.minus_greedy),
                *_gap(w.probe_minus),
                count(w.n),
            ),
            w.way == "probe",
        )
        for w in found.ways
    )
    notes = (
        (f"No drawn answer to {found.n_undecided:,} questions has the probe's token.",)
        if found.n_undecided
        else ()
    )
    caption = "Accuracy on test when one of the drawn answers is chosen"
    return Table("selection", caption, columns, rows, notes)


def _by_type(facts: Sampled) -> Table:
    """The same by type: accuracies, and the probe's choice against the greedy answer."""
    meanings = {t.type: name_of(t) for t in facts.types}
    columns = (
        Column("Type"),
        *(Column(WAYS[w.way].capitalize(), True) for w in facts.selection.ways),
        Column("Probe minus greedy", True),
        INTERVAL,
        N,
    )
    rows = []
    for own in facts.selection.by_type:
        ways = {w.way: w for w in own.ways}
        probe = ways["probe"]
        rows.append(
            Row(
                (
                    meanings[own.type],
                    *(Number(w.accuracy) for w in own.ways),
                    *_gap(probe.minus_greedy),
                    count(probe.n),
                )
            )
        )
    caption = "Accuracy on test by error type and way of choosing"
    return Table("selection-by-type", caption, columns, tuple(rows), folded=True)


def _gap(gap: Gap | None) -> tuple[str | Number, ...]:
    """A paired difference; empty of a way with itself."""
    if gap is None:
        return "", ""
    return Number(gap.difference, signed=True), interval(gap.difference_95, signed=True)


def _soft(facts: Sampled) -> list[tuple[str, str]]:
    s = facts.soft_targets

    def words(value: float | None, ends: tuple[float | None, float | None]) -> str:
        return f"{number(value)} {interval(ends)}"

    return [
        ("Mean share of correct answers, test", f"{number(s.mean_share)}, n\u00a0=\u00a0{s.n:,}"),
        (
            "Rank correlation with that share: a probe fitted to it",
            words(s.soft_probe.spearman, s.soft_probe.spearman_95),
        ),
        (
            "Rank correlation with that share: the selected probe",
            words(s.probe.spearman, s.probe.spearman_95),
        ),
        (
            "Difference",
            f"{number(s.difference, signed=True)} {interval(s.difference_95, signed=True)}",
        ),
    ]
