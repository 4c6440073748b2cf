"""What a reviewer would raise: each concern is one function of a run's record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from probebench.detectors import suite
from probebench.models.passes.agreement import disagreement
from probebench.record.claims import against_of, chance, coverage, of_its_time, outcome
from probebench.record.schema import Record
from probebench.record.words import unchecked
from probebench.scoring.comparison import Comparison
from probebench.studies.registry import CONCERNS, Concern, concern
from probebench.tasks.local.notes import data_notes
from probebench.text import as_float, defined, interval, number
from probebench.types import CellFit

UNEVEN = 0.1
"""Part of the test examples that one group may hold."""
BALANCED = (0.1, 0.9)
"""Shares of correct answers outside of which classes count as unbalanced."""
RATE_APART = 0.05


def warnings(record: Record, fits: Sequence[CellFit], comparison: Comparison) -> list[str]:
    """Every concern of a run, in sentences."""
    run = Concern(record, fits, comparison)
    return [sentence for rule in CONCERNS for sentence in rule(run)]


@concern
def _beaten(run: Concern) -> Iterator[str]:
    """A baseline of the same time is better, or the test split cannot tell."""
    if (found := of_its_time(run.record)) is None:
        return
    own, signal = against_of(found), found.best_baseline.label
    d, least = as_float(found.difference), as_float(found.detectable_difference)
    gap = f"{d:+.3f} {interval(own.difference_95, signed=True)}"
    figures = f"probe minus baseline is {gap} over the {own.n:,} test examples that both score"
    weak = np.isfinite(least) and abs(d) < least
    power = f"; a difference of {least:.3f} would be found 4 times out of 5" if weak else ""
    if own.outcome == "worse":
        yield f"The best baseline, '{signal}' ({own.rule}), beats the probe: {figures}{power}."
    elif own.outcome == "undecided":
        yield (
            f"The probe is not distinguishable from the best baseline, '{signal}' ({own.rule}): "
            f"{figures}{power}."
        )
    elif weak:
        yield (
            f"The test split is small for such a difference to '{signal}' ({own.rule}): "
            f"{figures}{power}."
        )


@concern
def _sample(run: Concern) -> Iterator[str]:
    """The selected cell's token is absent from part of the test examples."""
    if partly := coverage(run.record):
        left = run.comparison.dropped
        yield (
            f"The selected cell's token exists in {partly[0]:,} of {partly[1]:,} test examples: "
            f"all detectors are compared over these, without {left['correct']:,} correct and "
            f"{left['wrong']:,} wrong ones, and cells of other positions are over others."
        )


@concern
def _uneven(run: Concern) -> Iterator[str]:
    """A group that is a large part of the test split."""
    largest, n = run.comparison.largest_group, len(run.comparison.rows)
    if largest > UNEVEN * n:
        yield (
            f"The largest group holds {largest:,} of the {n:,} test examples: intervals count it "
            "as one of many, and are too narrow where its answers are much alike "
            "(docs/protocol.md, Intervals)."
        )


@concern
def _batched(run: Concern) -> Iterator[str]:
    """Answers of a batch are not those that the same prompts get alone."""
    generation = run.record.generation
    found = generation.alone if generation else None
    if found and (why := disagreement(found, run.record.model.dtype)):
        other = (
            "plain"
            if generation and generation.how == "fast"
            else "plain and --dtype float32, or another --attn-implementation"
        )
        yield (
            f"{found.differ} of the first {found.examples} answers are not those that the model "
            f"gives alone, within {found.tokens} tokens: {why}. Compare with --generation {other}."
        )


@concern
def _spread(run: Concern) -> Iterator[str]:
    """Nobody knows whether the parts of a model on several devices fit together."""
    generation = run.record.generation
    if generation and (found := generation.mapped) and found.why:
        yield unchecked(found.why)


@concern
def _simple(run: Concern) -> Iterator[str]:
    """The text alone, or the token's own embedding, does nearly as well."""
    scores = {s.name: s for s in run.comparison.scores}
    probe = run.comparison.scores[0]
    told = of_its_time(run.record)  # by `_beaten`
    for s in filter(None, map(scores.get, (*suite.of_text(), "probe_emb"))):
        apart = (s.difference_interval.low, s.difference_interval.high)
        found = outcome(apart)
        gap = f"difference {s.difference:+.3f} {interval(apart, signed=True)}, n = {s.n:,}"
        if told and s.name == told.best_baseline.name:
            pass
        elif found == "worse":
            yield f"'{s.label}' beats the probe ({gap})."
        elif found == "undecided" and np.isfinite(s.difference):
            yield f"The probe is not distinguishable from '{s.label}' ({gap})."
        elif s.auroc >= probe.interval.low:
            yield (
                f"'{s.label}' ({s.auroc:.3f}) lies within the probe's 95 % interval, from "
                f"{probe.interval.low:.3f} (n = {s.n:,})."
            )
        if s.interval.high < 0.5:
            yield (
                f"'{s.label}' lies significantly below 0.5 ({s.auroc:.3f}, n = {s.n:,}): twins "
                "with flipped labels may cross the split."
            )
    if "text_embedding" not in scores:
        yield (
            "No text-embedding baseline was run (--encoder DIR): TF-IDF alone may understate what "
            "the text says."
        )


@concern
def _confounded(run: Concern) -> Iterator[str]:
    """Lengths, places and sources explain the probe, or the answer stands in the prompt."""
    if (found := run.record.confounds) is None:
        return
    linear, left, flag = found.linear, found.residual, found.answer_in_prompt
    against = outcome(linear.probe_minus_this_95) if linear else "better"
    if linear and against != "better" and defined(linear.probe_minus_this_95[0]):
        said = "beats" if against == "worse" else "is not distinguishable from"
        yield (
            f"A linear model of {_names(found.features)} {said} the probe (AUROC "
            f"{number(linear.auroc)}, difference {number(linear.probe_minus_this, signed=True)} "
            f"{interval(linear.probe_minus_this_95, signed=True)}, n = {linear.n:,})."
        )
    above = chance(run.record).verdict == "above"  # else there was nothing to explain
    if left and (as_float(left.auroc_95[0]) <= 0.5 or left.auroc == 0.5) and above:
        yield (
            f"With {_names(found.features)} regressed out, the probe's AUROC goes from "
            f"{number(left.probe_auroc)} to {number(left.auroc)}, an interval that reaches 0.5 "
            f"(n = {left.n:,})."
        )
    for part in found.within if above else ():
        if defined(part.auroc_95[0]) and as_float(part.auroc_95[0]) <= 0.5:
            kind = "the confounds' own model" if part.by == "confounds" else _names([part.by])
            yield (
                f"Among answers alike in {kind}, the probe's AUROC is {number(part.auroc)} "
                f"{interval(part.auroc_95)}, an interval that reaches 0.5 ({part.n_pairs:,} pairs, "
                f"n = {part.n:,})."
            )
    if flag and flag.flag:
        seen = f" (an accepted one in {flag.all.rate:.0%} of prompts)" if flag.all.rate else ""
        yield f"The answer stands in the prompt{seen}: the probe may read whether it was copied."


def _names(features: Sequence[str]) -> str:
    names = list(dict.fromkeys(f.split(":")[0].replace("_", " ") for f in features))
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


@concern
def _classes(run: Concern) -> Iterator[str]:
    """Balance, answers cut off or empty, and exact answers found more often in one class."""
    every = run.record.counts.all
    if not BALANCED[0] <= as_float(every.accuracy) <= BALANCED[1]:
        here = run.record.counts.test.correct
        yield f"Unbalanced classes: {every.correct} of {every.n} answers are right, {here} in test."
    cut = 0 if run.record.task.kind == "statements" else every.not_stopped
    if cut > 0.1 * every.n:
        yield f"{cut} of {every.n} answers ran into max_new_tokens and were cut off."
    if every.empty > 0.1 * every.n:
        yield f"{every.empty} of {every.n} answers are empty and count as wrong."
    found = every.exact_found
    rates = [as_float(found[c].rate if found else None) for c in ("correct", "wrong")]
    if abs(rates[0] - rates[1]) > RATE_APART:
        yield (
            f"Exact answers are found in {rates[0]:.0%} of correct and {rates[1]:.0%} of wrong "
            "answers."
        )


@concern
def _places(run: Concern) -> Iterator[str]:
    """Positions that belong to the answer and reach into the prompt."""
    for name, facts in run.record.positions_present.items():
        if facts.in_prompt:
            yield (
                f"Position {name} reaches into the prompt in {facts.in_prompt:,} of {facts.n:,} "
                "answers."
            )


@concern
def _convergence(run: Concern) -> Iterator[str]:
    """Fits that did not converge."""
    if stuck := [f.cell for f in run.fits if not f.converged]:
        first = f"{stuck[0].site}, layer {stuck[0].row}, {stuck[0].position}"
        yield f"{len(stuck)} of {len(run.fits)} cells did not converge, the first: {first}."
    if others := sum(f.unconverged for f in run.fits):
        yield f"{others} fits at other values of C or to shuffled labels did not converge."


@concern
def _set_up(run: Concern) -> Iterator[str]:
    """Thinking, examples left out, and the label-aware rule."""
    record, every = run.record, run.record.counts.all
    if every.thinking and "first_answer" in record.positions:
        yield (
            f"The model thinks before it answers ({every.thinking} of {every.n}): "
            "first_answer and second_answer are its first generated tokens, inside the thinking; "
            "the final answer begins at final_first (--positions all)."
        )
    if record.data.n_too_long:
        yield (
            f"{record.data.n_too_long} examples do not fit into the model's context and were left "
            "out."
        )
    if record.task.exact_answer == "gold":
        yield (
            "Exact answers were found by the label (--exact-answer gold): for comparison with the "
            "paper only."
        )


@concern
def _read(run: Concern) -> Iterator[str]:
    """How the examples were read."""
    yield from data_notes(run.record.data, run.record.counts.all.n)


@concern
def _left_out(run: Concern) -> Iterator[str]:
    """Cells without a probe."""
    masked = Counter(f.masked for f in run.fits if f.masked)
    yield from (f"{n} cells are masked: {reason}." for reason, n in masked.items())


@concern
def _noise(run: Concern) -> Iterator[str]:
    """Labels on which judges differ."""
    if (found := run.record.label_noise) is None:
        return
    if reason := found.refit.reason:
        yield f"The selected cell cannot be fitted to the labels of {found.judge}: {reason}."
    if outcome(found.change_95) != "undecided":
        yield (
            f"Under the labels of {found.judge} the probe's AUROC changes by "
            f"{number(found.change, signed=True)} {interval(found.change_95, signed=True)}, n = "
            f"{found.n_test} (agreement {as_float(found.agreement):.1%}, kappa "
            f"{number(found.kappa, 2)})."
        )
