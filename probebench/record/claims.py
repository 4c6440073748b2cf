"""What a run's record allows to say. The terminal, reports, cards and warnings all read their
comparisons and verdicts here.

Two rules. A comparison stands on one sample: both numbers, their difference and the n come from the
same test examples. And whether a cell beats chance is what its own permutation test says, not
whether an interval happens to reach one half.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from probebench.record.parts.added import Added
from probebench.record.parts.measured import ChosenCell, DetectorFacts
from probebench.record.parts.studied import AgainstFacts, BestBaseline
from probebench.record.schema import Record
from probebench.text import defined, number

Ends = Sequence[float | None]
Outcome = Literal["better", "worse", "undecided", "chance", "alone"]
Verdict = Literal["above", "level", "below", "unknown"]
ALPHA = 0.05
NO_RIVALS = ("majority",)
"""Baselines that read nothing: no claim is made against them."""


@dataclass(frozen=True, slots=True)
class Against:
    """A cell and the best simpler signal of its time on the test examples that both score."""

    auroc: float | None
    """Of the cell's probe, on these examples."""
    auroc_95: Ends
    signal: BestBaseline | DetectorFacts | None
    """The simpler signal; None where there is none."""
    difference: float | None
    """Probe minus signal."""
    difference_95: Ends
    n: int
    """Test examples that every number here is over."""
    n_correct: int | None
    rule: str
    """How the signal was chosen."""
    cell: ChosenCell
    """That of the probe."""

    @property
    def outcome(self) -> Outcome:
        """What the paired interval allows to say; `chance` where the signal is lower but a constant
        would not be: it is a simpler signal too, and the probe minus it is the AUROC minus 0.5."""
        if self.signal is None:
            return "alone"
        found, low = outcome(self.difference_95), self.auroc_95[0]
        return "chance" if found == "better" and not (defined(low) and low > 0.5) else found


def outcome(difference_95: Ends) -> Outcome:
    """What a paired interval of probe minus signal allows to say."""
    low, high = difference_95
    if not (defined(low) and defined(high)):
        return "undecided"
    return "better" if low > 0 else "worse" if high < 0 else "undecided"


def against_of(facts: AgainstFacts) -> Against:
    """One side (`before` or `after`) of the record's `readable`."""
    cell, signal = facts.cell, facts.best_baseline
    known = f", n = {signal.n_validation:,}" if "n_validation" in signal else ""
    return Against(
        cell.auroc,
        cell.auroc_95,
        signal,
        facts.difference,
        facts.difference_95,
        facts.n,
        facts.n_correct,
        f"chosen on validation{known}",
        cell,
    )


def of_its_time(record: Record) -> AgainstFacts | None:
    """The selected cell beside the best baseline that can be read by then; None where the record
    has none."""
    found: AgainstFacts | None = getattr(record.readable, record.selection.readable or "", None)
    return found


def headline(record: Record) -> Against:
    """The selected probe and the best simpler signal: the comparison that the first sentences of a
    run are about.

    The signal is the baseline that the record chose by validation among those readable at the same
    time. A record without that choice gets the baseline that comes nearest on test, which is the
    harder comparison, on the examples of its table.
    """
    chosen, probe = record.selection, record.detectors[0]
    if (facts := of_its_time(record)) is not None:
        return against_of(facts)
    # on one sample: that of the table
    rivals = (d for d in record.detectors if d.name not in NO_RIVALS and d.n == probe.n)
    best = nearest(rivals)
    return Against(
        probe.auroc,
        probe.auroc_95,
        best,
        best.probe_minus_this if best else None,
        best.probe_minus_this_95 if best else (None, None),
        probe.n,
        probe.n_correct,
        "the nearest on test" if best else "",
        chosen,
    )


def nearest(detectors: Iterable[DetectorFacts]) -> DetectorFacts | None:
    """The baseline that the selected probe is least far above, each on the test examples that both
    score; None where there is none."""
    rivals = [d for d in detectors if d.kind == "baseline" and d.probe_minus_this is not None]
    return min(rivals, key=lambda d: d.probe_minus_this or 0.0, default=None)


def beats_all(found: Added) -> str:
    """Whether the probe beats every single baseline, in words."""
    all_of = found.against_all
    if all_of.better:
        near = all_of.nearest
        least = number(near.difference_95[0], signed=True)
        return f"one by one better than each of them (nearest: {near.label}, from {least})"
    parts = [
        f"{len(names)} {said}"
        for names, said in (
            (all_of.worse, "better than the probe"),
            (all_of.undecided, "undecided"),
        )
        if names
    ]
    return f"one by one, {', '.join(parts)} (of {all_of.n})"


@dataclass(frozen=True, slots=True)
class Chance:
    """Does the selected cell read more than shuffled labels would?"""

    verdict: Verdict
    """Of the selected cell: `level` where it cannot be told from chance."""
    p: float | None
    """Of the cell by shuffled labels, one-sided; None where there are none."""
    map_p: float | None
    """Of the best cell of the map, by the max-statistic; None where there are no shuffled
    labels."""

    @property
    def tested(self) -> bool:
        """Does the verdict rest on shuffled labels? Otherwise it rests on the interval of the
        AUROC."""
        return self.p is not None


def chance(record: Record) -> Chance:
    """What shuffled labels say of the selected cell and of its map; the interval of its AUROC where
    none were fitted.

    The cell was chosen on validation, so its p on test is of one test. An AUROC so low that its
    opposite would be significant (two-sided) is below chance: it ranks the wrong way round.
    """
    chosen, p = record.selection, record.selection.p
    if defined(p):
        verdict: Verdict = "above" if p < ALPHA else "below" if p > 1 - ALPHA / 2 else "level"
        return Chance(verdict, p, record.controls.permutation.max_statistic_p)
    low, high = chosen.test_auroc_95
    if not (defined(low) and defined(high)):
        return Chance("unknown", None, None)
    return Chance("above" if low > 0.5 else "below" if high < 0.5 else "level", None, None)


def p_words(value: float | None) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    if not defined(value):
        return "no p"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def chance_sentence(record: Record) -> str:
    """The verdict on the selected cell in one sentence, with the tests that it rests on."""
    c = chance(record)
    if c.verdict == "unknown":
        return "Its interval is not defined and no labels were shuffled, so nothing is claimed."
    if not c.tested:
        said = {
            "above": "lies above 0.5",
            "below": "lies below 0.5, so the probe ranks the wrong way round",
            "level": "contains 0.5: a negative result, not distinguishable from chance",
        }[c.verdict]
        return f"There is no test by shuffled labels; the interval {said}."
    cell, whole = f"{p_words(c.p)} against shuffled labels", f"max-statistic {p_words(c.map_p)}"
    any_cell = None if c.map_p is None else c.map_p < ALPHA
    if c.verdict == "above":
        if any_cell is False:
            return (
                f"The cell by itself is above chance ({cell}); of the map as a whole that cannot "
                f"be said ({whole})."
            )
        return (
            "That is above chance "
            f"({cell}{'' if any_cell is None else f'; any cell of the map: {whole}'})."
        )
    if c.verdict == "below":
        return (
            f"This is below chance ({cell}): the probe ranks the wrong way round. It is reported "
            "as it is."
        )
    if any_cell:
        return (
            f"This is a negative result: the cell is not distinguishable from chance ({cell}), "
            f"though the map is ({whole})."
        )
    return (
        "This is a negative result: not distinguishable from chance "
        f"({cell}{'' if any_cell is None else f'; whole map: {whole}'})."
    )


def coverage(record: Record) -> tuple[int, int] | None:
    """(test examples that have the selected cell's token, all test examples), where some lack it;
    None where none does."""
    there, every = record.selection.n_test, record.counts.test.n
    return (there, every) if there < every else None


def selected(record: Record) -> tuple[float | None, Ends, int, int | None]:
    """AUROC, interval, n and number correct of the selected cell over all test examples that have
    its token."""
    s, probe = record.selection, record.detectors[0]
    same = probe.n_correct if probe.n == s.n_test else None  # records before `n_test_correct`
    correct = s.n_test_correct if "n_test_correct" in s else same
    return s.test_auroc, s.test_auroc_95, s.n_test, correct
