"""What else the probe could be reading."""

from __future__ import annotations

from probebench.record.parts.confounded import Confounds
from probebench.record.schema import Record
from probebench.record.words import Terms, terms
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
from probebench.report.format import between, count, name_words, percent

CONFOUNDS = {
    "linear": "linear model of the confounds",
    "residual": "probe, confounds regressed out (fitted on train)",
    "residual_validation": "probe, confounds regressed out (fitted on validation)",
    "text_embedding": "text embedding",
}
ALL_THE_SAME = "all confounds are the same for all training examples"
REGRESSED = (
    "Regressed out: the decision minus what splines and bins of the confounds predict of it. Each "
    "row over its own n."
)
WITHIN = (
    "A correct and a wrong answer are compared only where they share a stratum: the same tenth of "
    "the length and the same chosen option, or the same tenth of the decision of the confounds' "
    "own model."
)


def confounds_blocks(record: Record) -> list[Block]:
    """What a linear model of lengths, places and sources knows, and what is left of the probe
    without it."""
    if (facts := record.confounds) is None:
        return []
    rows, absent = [], []
    for name, label in CONFOUNDS.items():
        own = facts.get(name)
        if own is None or own.auroc is None:
            why = (own and own.get("reason")) or ALL_THE_SAME
            absent.append(f"Not measured: {label}; {why}.")
            continue
        gap = Number(own.probe_minus_this, signed=True)
        ends = between(own.probe_minus_this_95, signed=True)
        value = Number(own.auroc), between(own.auroc_95)
        rows.append(Row((label, *value, gap, ends, count(own.n))))
    columns = (
        Column("What is read"),
        AUROC,
        INTERVAL,
        Column("Probe \u2212 this", True),
        INTERVAL,
        N,
    )
    caption = (
        "What simple confounds explain of right and wrong, and what is left of the probe without "
        "them"
    )
    blocks: list[Block] = [Prose(note, "small") for note in absent]
    if rows:
        blocks = [Table("confounds", caption, columns, tuple(rows), (REGRESSED, *absent))]
    return [*blocks, *_within(facts), Facts(tuple(_looked_at(facts, terms(record))))]


def _within(facts: Confounds) -> list[Block]:
    """The probe's AUROC over the pairs within strata."""
    if not facts.within:
        return []
    columns = (
        Column("Compared within"),
        AUROC,
        INTERVAL,
        Column("Over all pairs", True),
        Column("Pairs", True),
        Column("Of all", True),
        N,
    )
    rows = tuple(
        Row(
            (
                "confounds' model" if s.by == "confounds" else _plain(s.by),
                Number(s.auroc),
                between(s.auroc_95),
                Number(s.probe_auroc),
                count(s.n_pairs),
                percent(s.share_of_pairs),
                count(s.n),
            )
        )
        for s in facts.within
    )
    return [Table("within-strata", "The probe within strata", columns, rows, (WITHIN,))]


def _looked_at(facts: Confounds, words: Terms) -> list[tuple[str, str]]:
    """The confounds that there are, and whether the answer stands in the prompt."""
    items = [("Confounds looked at", ", ".join(map(_plain, facts.features)) or "none")]
    items += [(f"Left out: {_plain(name)}", reason) for name, reason in facts.left_out.items()]
    if prompt := facts.answer_in_prompt:
        flag = "not known" if prompt.flag is None else "yes" if prompt.flag else "no"
        shares = ", ".join(
            f"{percent(rate.rate)} of {rate.of:,} {name}"
            for rate, name in (
                (prompt.all, "in all"),
                (prompt.correct, words.right),
                (prompt.wrong, words.wrong),
            )
        )
        said = f"{flag}; an accepted answer is found in {shares}"
        items.append(("Does the answer stand in the prompt?", said))
    return items


def _plain(name: str) -> str:
    return name if ":" in name else name_words(name).lower()
