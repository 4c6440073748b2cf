"""Sentences and tables of docs/results.md on answers of the model's own. Used by
`scripts/write_results.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from results_tables import named

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
"""How positions of the exact answer's tokens begin."""


@dataclass(frozen=True, slots=True)
class Contest:
    """The best token of the exact answer against the best other one, each with its best layer, all
    by validation; scored on the test answers that have both."""

    run: Run
    exact: PositionBest
    other: PositionBest
    n: int
    difference: float
    """Test AUROC of the exact answer's token minus that of the other."""
    difference_95: tuple[float, float]

    @classmethod
    def of(cls, run: Run) -> Contest | None:
        """None where no token of the exact answer could compete."""
        found = [
            p for p in run.record.by_position if p.validation_auroc is not None and not p.barred
        ]
        found.sort(key=lambda p: -as_float(p.validation_auroc))
        exact = next((p for p in found if p.position.startswith(EXACT)), None)
        other = next((p for p in found if not p.position.startswith(EXACT)), None)
        if exact is None or other is None:
            return None
        task = Reopened(run)
        cells = [Cell("resid", layer_number(as_layer(p)), p.position) for p in (exact, other)]
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
            f"The best token of the exact answer, {told[0]}; the best other token, {told[1]}; on "
            f"the {self.n:,} test answers that have both the difference is "
            f"{number(self.difference, 2, signed=True)} "
            f"{interval(self.difference_95, 2, signed=True)}."
        )


def as_layer(best: PositionBest) -> str:
    """The layer of a position that has one."""
    assert best.layer is not None
    return best.layer


def decisions(task: Reopened, cell: Cell, best: PositionBest) -> Floats:
    """(example,) decisions of the probe of a cell whose C the record holds."""
    X = task.vectors(cell)
    return task.refit(cell, X, as_float(best.C), as_float(best.validation_auroc)).decisions(X)


def question(run: Run, contest: Contest | None) -> list[str]:
    """What was answered, and which token is read best."""
    r = run.record
    best, counts = headline(r), r.counts
    told = (
        contest.words
        if contest
        else "Too few answers have an exact answer for its tokens to compete."
    )
    return [
        f"{named(run)}: {counts.all.n:,} questions, {counts.all.accuracy:.1%} right; test "
        f"{counts.test.n} with {counts.test.correct} right; any cell against shuffled labels "
        f"{p_words(chance(r).map_p)}. {told} "
        f"The best simpler signal is {best.signal['label']}, "
        f"{number(best.signal['auroc'], 2)}; probe minus it "
        f"{number(best.difference, 2, signed=True)} "
        f"{interval(best.difference_95, 2, signed=True)}.",
        "",
    ]


def claim(asked: Sequence[Run], contests: Sequence[Contest]) -> str:
    """Does the exact answer's token win?"""
    if not contests:
        return (
            f"open here; of {len(asked)} runs on questions none has enough exact answers."
            if asked
            else "open here; no run on questions has finished."
        )
    by = {what: [c for c in contests if c.outcome == what] for what in ("better", "worse")}
    first = sum(
        as_float(c.exact.validation_auroc) > as_float(c.other.validation_auroc) for c in contests
    )
    said = [
        f"on {'; '.join(named(c.run) for c in found)} it is {what} than the best other token, "
        "paired on the same test answers"
        for what, found in by.items()
        if found
    ]
    held = "; ".join(said) if said else "no difference is found, paired on the same test answers"
    return (
        f"by validation one of them is the best token in {first} of {len(contests)} runs on "
        f"questions; {held}."
    )
