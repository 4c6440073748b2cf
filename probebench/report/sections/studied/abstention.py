"""Answering only what a detector is sure of."""

from __future__ import annotations

from functools import partial

import pandas as pd

from probebench.record.parts.abstained import LevelFacts, RiskCurve
from probebench.record.schema import Record
from probebench.record.words import Terms, terms
from probebench.report.blocks import Block, Column, Figure, Number, Prose, Row, Table
from probebench.report.format import between, count, number, percent
from probebench.report.plots import Curve, plot_risk


def abstention_blocks(record: Record) -> list[Block]:
    """The curve of risk against coverage, and the thresholds of every detector."""
    if (facts := record.abstention) is None:
        return []
    named = terms(record)
    words = (
        f"A detector can withhold the {named.what} of its lowest decisions. Below, of each level, "
        "the threshold that keeps most among those at which validation rules out that a larger "
        f"part of what is kept is {named.wrong}; a threshold breaks its level in at most "
        f"{percent(facts.delta)} of draws of validation examples, of a probe somewhat more often, "
        "since validation chose its cell too. Without abstaining "
        f"{percent(facts.base_risk)} of {facts.n:,} are {named.wrong}."
    )
    rows = [
        _row(f"{d.label}", level) for d in facts.detectors for level in d.levels if not level.reason
    ]
    columns = (
        Column("Detector"),
        Column(f"{named.wrong.capitalize()} at most", True),
        Column("Kept on test", True),
        Column("95 % interval", True),
        Column(f"{named.wrong.capitalize()} among them", True),
        Column("95 % interval", True),
        Column(named.what.capitalize(), True),
    )
    blocks: list[Block] = [Prose(words, "small"), _figure(facts.curves, facts.base_risk, named)]
    probe = facts.detectors[0]
    blocks += [
        Prose(
            f"{probe.label}, at most {percent(level.level)} {named.wrong}: {level.reason}.", "small"
        )
        for level in probe.levels
        if level.reason
    ]
    if rows:
        caption = (
            f"Thresholds from {facts.n_validation:,} validation examples, by detector and level; "
            "levels without a row have no threshold"
        )
        blocks.append(Table("abstention", caption, columns, tuple(rows), folded=len(rows) > 12))
    return blocks


def _row(label: str, level: LevelFacts) -> Row:
    return Row(
        (
            label,
            percent(level.level),
            Number(level.coverage),
            between(level.coverage_95),
            Number(level.risk),
            between(level.risk_95),
            count(level.n_answered),
        )
    )


def _figure(curves: tuple[RiskCurve, ...], base: float | None, named: Terms) -> Figure:
    """Risk against coverage of the probe and of the best baseline."""
    drawn = [
        Curve(
            c.label,
            pd.DataFrame(
                {
                    "coverage": [p.coverage for p in c.points],
                    "risk": [p.risk for p in c.points],
                    "low": [p.risk_95[0] for p in c.points],
                    "high": [p.risk_95[1] for p in c.points],
                },
                dtype=float,
            ),
        )
        for c in curves
    ]
    caption = (
        f"Share of {named.wrong} {named.what} among the test {named.what} of the highest "
        "decisions, against how many are kept: the probe and the baseline that is best on "
        "validation; the band is the probe's 95 % interval at each point."
    )
    alt = " ".join(
        f"{c.label}: "
        + ", ".join(f"{number(p.risk)} at {percent(p.coverage)}" for p in c.points[::4])
        + "."
        for c in curves
    )
    return Figure(caption, f"Risk by coverage. {alt}", partial(plot_risk, drawn, base, named))
