"""Sentences and tables of docs/results.md on answers of the model's own. Used by
`scripts/write_results.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results_pictures import short
from results_tables import above_shuffled, difference, named, task_words
from results_words import said

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import difference_interval
from probebench.record.claims import chance, headline, nearest, outcome, p_words
from probebench.record.parts.measured import PositionBest
from probebench.record.reopened import Reopened
from probebench.record.run import Run
from probebench.record.words import on_fewer
from probebench.text import as_float, interval, number
from probebench.types import Cell, Floats, layer_number

EXACT = "exact_answer"
"""How positions at the exact answer begin: its first and last token and those beside them."""
FORM = "lengths, whether an exact answer was found and where, what was chosen, refusals, source"
"""Of answers, as a record's `confounds` have it."""
FEW = 20
"""Right or wrong answers in test below which little can be said."""


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
    hardest = nearest(r.detectors)
    assert hardest is not None  # majority is always there
    return [
        f"{named(run)}: {counts.all.n:,} questions, {counts.all.accuracy:.1%} right; test "
        f"{counts.test.n:,} with {counts.test.correct:,} right; any cell against shuffled labels "
        f"{p_words(chance(r).map_p)}. {told} "
        f"The simpler signal that validation chose is {best.signal['label']}, "
        f"{number(best.signal['auroc'], 2)}; probe minus it "
        f"{difference(best.difference, best.difference_95)}. The one that comes nearest on "
        f"test is {hardest.label}, {number(hardest.auroc, 2)}{on_fewer(hardest, best.n)}; probe "
        "minus it "
        f"{difference(hardest.probe_minus_this, hardest.probe_minus_this_95)}.{_form(run)}",
        "",
    ]


def _apart(run: Run) -> str:
    """Why the exact answer's tokens and others are not compared."""
    why = next((w for p, w in run.record.selection.barred.items() if p.startswith(EXACT)), None)
    because = why or "not both could compete"
    return f"Tokens at the exact answer and others cannot be compared: {because}."


def _form(run: Run) -> str:
    """What the answer's form alone gives, and what of the probe it leaves."""
    c = run.record.confounds
    if not (c and c.linear and c.residual):
        return ""
    return (
        f" A linear model of the answers' form alone has {number(c.linear.auroc, 2)}; with that "
        f"form regressed out the probe has {number(c.residual.auroc, 2)} "
        f"{interval(c.residual.auroc_95, 2)}."
    )


def rarer(run: Run, split: str = "test") -> int:
    """Answers of the class that has fewer."""
    of = getattr(run.record.counts, split)
    return min(of.correct, of.n - of.correct)


def few(runs: Sequence[Run]) -> list[str]:
    """Runs whose splits hold too few of one class to say much."""
    test, validation = _rare(runs, "test"), _rare(runs, "validation")
    lines = []
    if test:
        lines.append(
            f"The rarer of right and wrong has fewer than {FEW} test answers, so that little can "
            f"be told: {test}."
        )
    if validation:
        lines.append(
            f"The rarer of right and wrong has fewer than {FEW} in validation, which chooses cell "
            f"and simpler signal: {validation}."
        )
    return lines


def _rare(runs: Sequence[Run], split: str) -> str:
    """How many answers the rarer class has, where they are few: a task once for its models."""
    by: dict[str, list[str]] = {}
    for run in runs:
        if (n := rarer(run, split)) < FEW:
            of = getattr(run.record.counts, split).n
            by.setdefault(f"{n:,} of {of:,} on {task_words(run)}", []).append(short(run))
    return said([f"{what} ({said(models)})" for what, models in by.items()]) if by else ""


def shows(run: Run, contest: Mapping[str, Any] | None) -> bool:
    """Can its map say where the exact answer is read, and not mostly chance?"""
    return contest is not None and rarer(run) >= FEW and above_shuffled(run)


def formal(runs: Sequence[Run]) -> list[str]:
    """Probes that lie above chance, and of which the answer's form leaves nothing."""
    found = []
    for run in runs:
        own, c = run.record.selection.test_auroc_95, run.record.confounds
        left = c.residual.auroc_95[0] if c and c.residual else None
        if left is not None and left <= 0.5 < as_float(own[0]) and (told := _form(run)):
            found.append(f"{named(run)}.{told}")
    return [f"The probe reads the form of answers ({FORM}) on {line}" for line in found]


def outdone(runs: Sequence[Run]) -> list[str]:
    """Rows on which a linear model of the answers' form does more than the best simpler signal."""
    told = []
    for run in runs:
        c, signal = run.record.confounds, headline(run.record).signal
        if not (c and c.linear and signal) or run.record.task.kind == "statements":
            continue
        form = c.linear
        if as_float(form.auroc) > as_float(signal["auroc"]):
            told.append(
                f"{named(run)} ({number(form.auroc, 2)} to {number(signal['auroc'], 2)}; probe "
                f"minus form {difference(form.probe_minus_this, form.probe_minus_this_95)})"
            )
    if not told:
        return []
    return [
        "A linear model of the answers' form, which is fitted as the probe is and is none of the "
        f"simpler signals, does more than the best of them on {said(told)}."
    ]


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
