"""Sentences and tables of docs/results.md on answers of the model's own. Used by
`scripts/write_results.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results_pictures import detector
from results_tables import above_shuffled, difference, named
from results_words import said

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import difference_interval
from probebench.record.claims import chance, headline, outcome, p_words
from probebench.record.parts.measured import PositionBest
from probebench.record.reopened import Reopened
from probebench.record.run import Run
from probebench.text import as_float, interval, number
from probebench.types import Cell, Floats, layer_number

EXACT = "exact_answer"
"""How positions at the exact answer begin: its first and last token and those beside them."""
FORM = "lengths, whether an exact answer was found and where, what was chosen, refusals, source"
"""Of answers, as a record's `confounds` have it."""
FEW = 20
"""Right or wrong answers in test below which little can be said."""
SAID = 100
"""Answers that say the same as others from which on it is said what is told apart among them."""
MOVED = 0.02
"""By how much an AUROC without some answers differs before it is said."""


@dataclass(frozen=True, slots=True)
class Contest:
    """The best token at the exact answer (its first, its last, those beside them) against the best
    other one, each with its best layer, all by validation; scored on the test answers that have
    both."""

    run: Run
    exact: PositionBest
    other: PositionBest
    n: int
    difference: float
    """Test AUROC of the exact answer's token minus that of the other."""
    difference_95: tuple[float, float]

    @classmethod
    def of(cls, run: Run) -> Contest | None:
        """None without hidden states, or where one of both is not there to compete."""
        found = [
            (p, Cell("resid", layer_number(p.layer), p.position))
            for p in run.record.by_position
            if p.layer is not None and p.validation_auroc is not None and not p.barred
        ]
        found.sort(key=lambda pair: -as_float(pair[0].validation_auroc))
        at_exact = [pair for pair in found if pair[0].position.startswith(EXACT)]
        others = [pair for pair in found if not pair[0].position.startswith(EXACT)]
        if not (run.has_states and at_exact and others):
            return None
        task = Reopened(run)
        (exact, other), cells = zip(at_exact[0], others[0], strict=True)
        test = (task.split == "test") & task.there(cells[0]) & task.there(cells[1])
        a, b = (
            decisions(task, cell, p)[test] for cell, p in zip(cells, (exact, other), strict=True)
        )
        y = task.labels.y[test]
        draws = Resamples.draw(task.labels.group_names(test.nonzero()[0]), task.seed)
        apart = difference_interval(draws, y, a, b)
        return cls(
            run, exact, other, int(test.sum()), auroc(y, a) - auroc(y, b), (apart.low, apart.high)
        )

    @property
    def outcome(self) -> str:
        """Is the exact answer's token `better` or `worse`, or is it `undecided`?"""
        return outcome(self.difference_95)

    @property
    def words(self) -> str:
        """Both tokens and the difference between them."""
        told = [
            f"`{p.position}`, layer {p.layer}, has {number(p.validation_auroc, 2)} on validation "
            f"and {number(p.test_auroc, 2)} {interval(p.test_auroc_95, 2)} on test"
            for p in (self.exact, self.other)
        ]
        return (
            f"The best token at the exact answer, {told[0]}; the best other token, {told[1]}; on "
            f"the {self.n:,} test answers that have both the difference is "
            f"{difference(self.difference, self.difference_95)}."
        )

    def kept(self) -> dict[str, Any]:
        """What the page says of it."""
        prefers = as_float(self.exact.validation_auroc) > as_float(self.other.validation_auroc)
        return {"words": self.words, "outcome": self.outcome, "preferred": prefers}


def decisions(task: Reopened, cell: Cell, best: PositionBest) -> Floats:
    """(example,) decisions of the probe of a cell whose C the record holds."""
    X = task.vectors(cell)
    return task.refit(cell, X, as_float(best.C), as_float(best.validation_auroc)).decisions(X)


def question(run: Run, contest: Mapping[str, Any] | None) -> list[str]:
    """What was answered, and which token is read best (`Contest.kept`)."""
    r = run.record
    best, counts = headline(r), r.counts
    told = contest["words"] if contest else _apart(run)
    found = r.exact_answer
    if found and found.holds_answer and found.holds_answer.of:
        told += (
            f" Exact answers are found by `{found.rule}`; of {found.holds_answer.of:,} right "
            f"answers {found.holds_answer.n:,} have an accepted one in it."
        )
    return [
        f"{named(run)}: {counts.all.n:,} questions, {counts.all.accuracy:.1%} right, "
        f"{counts.all.not_stopped / counts.all.n:.0%} cut off, "
        f"{counts.all.refused / counts.all.n:.0%} refused; test "
        f"{counts.test.n:,} with {counts.test.correct:,} right; any cell against shuffled labels "
        f"{p_words(chance(r).map_p)}. {told} "
        f"The simpler signal that validation chose is {best.signal['label']}, "
        f"{number(best.signal['auroc'], 2)}; probe minus it "
        f"{difference(best.difference, best.difference_95)}.{_hardest(run)}{form(run)}"
        f"{_within(run)}{_without(run)}",
        "",
    ]


def _hardest(run: Run) -> str:
    """The simpler signal that comes nearest on test, by the lower end of the paired interval."""
    if run.record.added is None:
        return ""
    near, probe = run.record.added.against_all.nearest, run.record.detectors[0]
    own = detector(run, near.name)
    assert own is not None  # a baseline of the same table
    there = ""
    if near.n < probe.n:
        on = number(own.auroc + as_float(near.difference), 2)
        there = f" on the {near.n:,} answers that it scores, where the probe has {on}"
    return (
        f" The one that comes nearest on test is {near.label}, {number(own.auroc, 2)}{there}; "
        f"probe minus it {difference(near.difference, near.difference_95)}."
    )


def one_answer(run: Run) -> str | None:
    """What a model says to all questions; None where it says more than that."""
    if (found := run.record.said) is None:
        return None
    both = found.commonest.correct, found.commonest.wrong
    return both[0].answer if {(c.answer, c.share) for c in both} == {(both[0].answer, 1)} else None


def _within(run: Run) -> str:
    """What the probe tells apart among answers that say the same."""
    said_same = run.record.said
    if not said_same or not (same := said_same.within) or same.n < SAID:
        return ""
    if (only := one_answer(run)) is not None:
        return (
            f" The model answers all questions with *{only}*: which answers are right is a matter "
            "of the questions alone, and so is what the probe reads."
        )
    return (
        f" Among answers that say the same the probe has {number(same.auroc, 2)} "
        f"{interval(same.auroc_95, 2)} (n = {same.n:,})."
    )


def _without(run: Run) -> str:
    """What is left without refusals, and without answers that were cut off, where that is another
    number."""
    probe, n = run.record.detectors[0], run.record.counts.test.n
    told = [
        f" Without {part.without} ({part.n_left_out / n:.0%} of the test answers) it has "
        f"{number(part.auroc, 2)} {interval(part.auroc_95, 2)}, {part.baseline_label} "
        f"{number(part.baseline_auroc, 2)} (n = {part.n:,}, {part.n_correct:,} right)."
        for part in run.record.subsets or ()
        if min(part.n_correct, part.n - part.n_correct) >= FEW
        and abs(as_float(part.auroc) - probe.auroc) > MOVED
    ]
    return "".join(told)


def _apart(run: Run) -> str:
    """Why the exact answer's tokens and others are not compared."""
    barred = run.record.selection.barred.items()
    why = next((f"of `{p}` {w}" for p, w in barred if p.startswith(EXACT)), None)
    because = why or "not both could compete"
    return f"Tokens at the exact answer and others cannot be compared: {because}."


def form(run: Run) -> str:
    """What the answer's form alone gives, and what of the probe it leaves."""
    c = run.record.confounds
    if not (c and c.linear and c.residual):
        return ""
    other = c.residual_validation
    also = f" (fitted on validation {number(other.auroc, 2)})" if other else ""
    return (
        f" A linear model of the answers' form alone has {number(c.linear.auroc, 2)}; with that "
        f"form regressed out the probe has {number(c.residual.auroc, 2)} "
        f"{interval(c.residual.auroc_95, 2)}{also}."
    )


def rarer(run: Run, split: str = "test") -> int:
    """Answers of the class that has fewer."""
    of = getattr(run.record.counts, split)
    return min(of.correct, of.n - of.correct)


def shows(run: Run, contest: Mapping[str, Any] | None) -> bool:
    """Can its map say where the exact answer is read, and not mostly chance?"""
    return contest is not None and rarer(run) >= FEW and above_shuffled(run)


def claim(runs: Sequence[Run], contests: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Does the exact answer's token win?

    Args:
        runs: on questions.
        contests: by the name of every run on questions; None where the two cannot be compared.
    """
    if not contests:
        return "open here; no run on questions has finished."
    held = [run for run in runs if shows(run, contests[named(run)])]
    if not held:
        return f"open here; of {len(runs)} runs on questions none can say."
    own = {named(run): contests[named(run)] for run in held}
    by = {
        what: [name for name, c in own.items() if c["outcome"] == what]
        for what in ("better", "worse", "undecided")
    }
    told = [f"{what} on {len(names)} ({said(names)})" for what, names in by.items() if names]
    shares = [(s, named(r)) for r in held if (s := _held(r)) is not None]
    found = ", ".join(f"{share:.0%} on {name}" for share, name in sorted(shares))
    preferred = sum(c["preferred"] for c in own.values())
    luck = sum(map(_luck, held))
    return (
        f"of {len(runs)} runs on questions {len(held)} can say ({FEW} right and {FEW} wrong test "
        "answers, a map above shuffled labels, both kinds of token there to compete). Against the "
        f"best other token, paired on the same test answers, it is {', '.join(told)}. Validation "
        f"prefers one at or beside it in {preferred} of {len(held)}; by their number among the "
        f"tokens chance gives {luck:.1f}."
    ) + (
        " What is found as the exact answer is often none: of right answers an accepted one stands "
        f"in it in {found}."
        if found
        else ""
    )


def _held(run: Run) -> float | None:
    """Share of right answers whose exact answer holds an accepted one."""
    found = run.record.exact_answer
    there = found and found.holds_answer
    return there.n / there.of if there and there.of else None


def _luck(run: Run) -> float:
    """Share of the competing tokens that are at or beside the exact answer."""
    there = [p for p in run.record.by_position if p.validation_auroc is not None and not p.barred]
    return sum(p.position.startswith(EXACT) for p in there) / len(there)
