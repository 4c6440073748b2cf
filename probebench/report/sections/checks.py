"""Sections on what could be wrong with a number: calibration, amount of data, confounds, label
noise, published figures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from probebench.record.words import cell_words, labels_words, terms
from probebench.report.blocks import (
    AUROC,
    INTERVAL,
    Block,
    Bullets,
    Column,
    Facts,
    Figure,
    N,
    Number,
    Prose,
    Row,
    Table,
)
from probebench.report.format import between, count, interval, name_words, number, percent
from probebench.report.sections.pictures import plot_learning_curve, plot_reliability

Record = Mapping[str, Any]
CONFOUNDS = {
    "linear": "linear model of the confounds",
    "residual": "probe, confounds regressed out (fitted on train)",
    "residual_validation": "probe, confounds regressed out (fitted on validation)",
    "text_embedding": "text embedding",
}


def calibration_blocks(record: Record) -> list[Block]:
    """The reliability plot of the probe's probabilities, with its bins as a table."""
    facts = record["calibration"]
    if not facts["bins"]:
        return [
            Prose(
                "Not measured: validation lacks a class, so decisions cannot be turned into "
                "probabilities.",
                "small",
            )
        ]
    what, right, _ = terms(record)
    bins = pd.DataFrame(facts["bins"])
    alt = "; ".join(
        f"given {number(b.mean_predicted, 2)}, {right} {number(b.fraction_correct, 2)}, n {b.n}"
        for b in bins.itertuples()
    )
    caption = (
        f"Share of {right} {what} against the probability that the probe gives them: "
        f"{facts['n']:,} test {what} in bins of equal "
        f"size, Platt scaling on {facts['n_validation']:,} of validation (slope "
        f"{number(facts['slope'])}, intercept "
        f"{number(facts['intercept'])}). Bars: 95 % interval; dotted: perfect calibration."
    )
    columns = (Column("Probability given"), Column(f"Share {right}", True), INTERVAL, N)
    rows = [
        Row(
            (
                Number(b["mean_predicted"]),
                Number(b["fraction_correct"]),
                between((b["low"], b["high"])),
                count(b["n"]),
            )
        )
        for b in facts["bins"]
    ]
    return [
        Figure(
            caption,
            f"Reliability plot of {len(bins)} bins: {alt}.",
            partial(plot_reliability, bins),
        ),
        Table(
            "calibration",
            "Reliability bins of the probe on test",
            columns,
            tuple(rows),
            folded=True,
        ),
    ]


def learning_blocks(record: Record) -> list[Block]:
    """Test AUROC of the selected cell's probe by number of training examples."""
    facts = record["learning_curve"]
    points = [*facts["points"], facts["all"]]
    shown = pd.DataFrame(
        {
            "n_train": [p["n"] for p in points],
            "auroc": [p["auroc"] for p in points],
            "low": [p["auroc_95"][0] for p in points],
            "high": [p["auroc_95"][1] for p in points],
        },
        dtype=float,
    ).dropna(subset=["auroc"])
    where = cell_words(facts)
    caption = (
        f"Test AUROC at {where} when the probe is trained on fewer examples, C chosen on "
        "validation each time; "
        f"n = {facts['n_test']:,}. Means over random orders of the groups; the band says how much "
        "hangs on which examples were "
        f"drawn, at the last point it is that of the test split."
    )
    columns = (
        Column("Training examples"),
        Column("Test AUROC", True),
        INTERVAL,
        Column("Orders", True),
    )
    rows = [
        Row(
            (count(p["n"]), Number(p["auroc"]), between(p["auroc_95"]), count(p.get("repeats"))),
            p is facts["all"],
        )
        for p in points
    ]
    table = Table(
        "learning-curve",
        f"Test AUROC at {where} by number of training examples",
        columns,
        tuple(rows),
    )
    if shown.empty:
        return [table]
    alt = "; ".join(
        f"{p.n_train:,.0f}: {number(p.auroc)} {interval((p.low, p.high))}"
        for p in shown.itertuples()
    )
    return [
        Figure(
            caption, f"Test AUROC by training examples. {alt}.", partial(plot_learning_curve, shown)
        ),
        table,
    ]


def confounds_blocks(record: Record) -> list[Block]:
    """What a linear model of lengths, places and sources knows, and what is left of the probe
    without it."""
    facts = record["confounds"]
    rows, notes = (
        [],
        [
            "Regressed out: the decision minus its least-squares prediction from the confounds. "
            "Each row over its own n."
        ],
    )
    for name, label in CONFOUNDS.items():
        own = facts.get(name)
        if own is None or own["auroc"] is None:
            reason = (
                own["reason"]
                if own and own.get("reason")
                else "all confounds are the same for all training examples"
            )
            notes.append(f"Not measured: {label}; {reason}.")
            continue
        rows.append(
            Row(
                (
                    label,
                    Number(own["auroc"]),
                    between(own["auroc_95"]),
                    Number(own["probe_minus_this"], signed=True),
                    between(own["probe_minus_this_95"], signed=True),
                    count(own["n"]),
                )
            )
        )
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
    blocks: list[Block] = (
        [Table("confounds", caption, columns, tuple(rows), tuple(notes))] if rows else []
    )
    blocks += [] if rows else [Prose(note, "small") for note in notes[1:]]
    items = [("Confounds looked at", ", ".join(map(_plain, facts["features"])) or "none")]
    items += [(f"Left out: {_plain(name)}", reason) for name, reason in facts["left_out"].items()]
    if prompt := facts["answer_in_prompt"]:
        _, right, wrong = terms(record)
        flag = {True: "yes", False: "no"}.get(prompt["flag"], "not known")
        shares = ", ".join(
            f"{percent(prompt[k]['rate'])} of {prompt[k]['of']:,} {words}"
            for k, words in (("all", "in all"), ("correct", right), ("wrong", wrong))
        )
        items.append(
            (
                "Does the answer stand in the prompt?",
                f"{flag}; an accepted answer is found in {shares}",
            )
        )
    return [*blocks, Facts(tuple(items))]


def noise_blocks(record: Record) -> list[Block]:
    """The same decisions, and the same cell fitted again, under a second judge's labels."""
    facts = record["label_noise"]
    _, right, wrong = terms(record)
    judges = {
        "first": labels_words(record).replace("judge", "the task's judge"),
        "second": "the second judge",
    }
    rows = [
        Row(
            (
                judges[fitted.removeprefix("fitted_to_")],
                judges[under.removeprefix("scored_under_")],
                Number(v["auroc"]),
                between(v["auroc_95"]),
                count(v["n"]),
                count(v["n_correct"]),
            )
        )
        for fitted, scores in facts["scores"].items()
        for under, v in scores.items()
    ]
    columns = (
        Column("Fitted to labels of"),
        Column("Scored under labels of"),
        AUROC,
        INTERVAL,
        N,
        Column(right.capitalize(), True),
    )
    notes = (
        (f"Not fitted again: {facts['refit']['reason']}.",) if facts["refit"].get("reason") else ()
    )
    a = facts["attenuation"]
    items = [
        ("Second judge", str(facts["judge"])),
        (
            "Agreement",
            f"{percent(facts['agreement'])} of {facts['with_opinion']:,}, kappa "
            f"{number(facts['kappa'])}",
        ),
        (
            "They differ",
            f"{facts['only_second_says_correct']:,} {right} for the second alone, "
            f"{facts['only_first_says_correct']:,} for the first alone",
        ),
        (
            "Change under the second",
            f"{number(facts['change'], signed=True)} {interval(facts['change_95'], signed=True)}",
        ),
        (
            f"{wrong.capitalize()} among those labelled {right}",
            percent(a["wrong_among_labelled_correct"]),
        ),
        (
            f"{right.capitalize()} among those labelled {wrong}",
            percent(a["correct_among_labelled_wrong"]),
        ),
        (
            "AUROC without such noise",
            f"{number(a['predicted'])} {interval(a['predicted_95'])}, if errors do not hang on "
            "the decision",
        ),
    ]
    caption = "The selected cell under both judges' labels, on the same test examples"
    return [Table("label-noise", caption, columns, tuple(rows), notes), Facts(tuple(items))]


def published_blocks(record: Record) -> list[Block]:
    """Figures from papers for the same model and task beside ours, with their source and what
    differs."""
    facts = record["published"]
    name = record["task"]["name"]
    order = sorted(
        facts["rows"], key=lambda r: r["ours_is"] != "position"
    )  # probes first, else as printed
    rows = [
        Row(
            (
                r["detector"],
                Number(r["auroc"]),
                Number(r["spread"]),
                r["ours"],
                *(
                    (Number(r["our_auroc"]), between(r["our_auroc_95"]))
                    if r["our_n"]
                    else ("not measured", "")
                ),
                count(r["our_n"]),
                r["source"],
            )
        )
        for r in order
    ]
    columns = (
        Column("Published"),
        AUROC,
        Column("Spread", True),
        Column("Here"),
        AUROC,
        INTERVAL,
        N,
        Column("Source"),
    )
    caption = f"Published figures for {order[0]['model']} on {name} beside this run's"
    blocks: list[Block] = [
        Table("published", caption, columns, tuple(rows), (facts["sign"],)),
        Prose("What differs between the two, so that they are not one measurement:"),
        Bullets(tuple(facts["differs"])),
    ]
    for field, key, head, value, caption in (
        ("error_types", "error_type", "Error type", "auroc", "Published AUROC by type of error"),
        (
            "transfer",
            "test_task",
            "Tested on",
            "direction_free_auroc",
            f"Published transfer from {name}, max(AUROC, 1 - AUROC)",
        ),
    ):
        lines = tuple(Row((r[key], Number(r[value]), r["source"])) for r in facts[field])
        if lines:
            own = (Column(head), AUROC, Column("Source"))
            blocks.append(
                Table(f"published-{field.replace('_', '-')}", caption, own, lines, folded=True)
            )
    return blocks


def _plain(name: str) -> str:
    return name if ":" in name else name_words(name).lower()
