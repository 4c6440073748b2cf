"""The probe under another judge."""

from __future__ import annotations

from probebench.record.parts.studied import LabelNoise
from probebench.record.schema import Record
from probebench.record.words import Terms, labels_words, terms
from probebench.report.blocks import AUROC, INTERVAL, Block, Column, Facts, N, Number, Row, Table
from probebench.report.format import between, count, interval, number, percent


def noise_blocks(record: Record) -> list[Block]:
    """The same decisions, and the same cell fitted again, under a second judge's labels."""
    if (facts := record.label_noise) is None:
        return []
    judges = {
        "first": labels_words(record).replace("judge", "the task's judge"),
        "second": "the second judge",
    }
    rows = [
        Row(
            (
                judges[fitted.removeprefix("fitted_to_")],
                judges[under.removeprefix("scored_under_")],
                Number(v.auroc),
                between(v.auroc_95),
                count(v.n),
                count(v.n_correct),
            )
        )
        for fitted, scores in facts.scores.items()
        for under, v in scores.items()
    ]
    columns = (
        Column("Fitted to labels of"),
        Column("Scored under labels of"),
        AUROC,
        INTERVAL,
        N,
        Column(terms(record).right.capitalize(), True),
    )
    why = facts.refit.reason
    notes = (f"Not fitted again: {why}.",) if why else ()
    caption = "The selected cell under both judges' labels, on the same test examples"
    table = Table("label-noise", caption, columns, tuple(rows), notes)
    return [table, Facts(tuple(_agreement(facts, terms(record))))]


def _agreement(facts: LabelNoise, words: Terms) -> list[tuple[str, str]]:
    """How far the judges agree, and what their errors take off the AUROC."""
    a, right, wrong = facts.attenuation, words.right, words.wrong
    change = f"{number(facts.change, signed=True)} {interval(facts.change_95, signed=True)}"
    without = f"{number(a.predicted)} {interval(a.predicted_95)}"
    return [
        ("Second judge", str(facts.judge)),
        (
            "Agreement",
            f"{percent(facts.agreement)} of {facts.with_opinion:,}, kappa {number(facts.kappa)}",
        ),
        (
            "They differ",
            f"{facts.only_second_says_correct:,} {right} for the second alone, "
            f"{facts.only_first_says_correct:,} for the first alone",
        ),
        ("Change under the second", change),
        (
            f"{wrong.capitalize()} among those labelled {right}",
            percent(a.wrong_among_labelled_correct),
        ),
        (
            f"{right.capitalize()} among those labelled {wrong}",
            percent(a.correct_among_labelled_wrong),
        ),
        ("AUROC without such noise", f"{without}, if errors do not depend on the decision"),
    ]
