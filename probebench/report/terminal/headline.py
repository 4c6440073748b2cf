"""What a run found, as lines for a terminal."""

from __future__ import annotations

from probebench.record.claims import against_of, beats_all, chance_sentence, coverage
from probebench.record.parts.added import Added
from probebench.record.parts.confounded import Confounds
from probebench.record.parts.resplits import ResplitFacts
from probebench.record.parts.sampled import Sampled
from probebench.record.parts.studied import CurveEnd, CurvePoint, LabelNoise, LearningCurve
from probebench.record.schema import Record
from probebench.record.words import terms
from probebench.text import interval, number


def headline_lines(r: Record) -> list[str]:
    """The selected cell, the best cell and baseline of before and after the answer, and what the
    studies of the probe found, as lines with console markup.

    Each comparison stands on one sample, whose n is beside it.
    """
    return [
        *_selected(r),
        *_resplits(r.resplits),
        *_readable(r),
        *_added(r.added),
        *_residual(r.confounds),
        *_sampled(r.sampled),
        *_learning_curve(r.learning_curve),
        *_label_noise(r.label_noise),
    ]


def _selected(r: Record) -> list[str]:
    s, what, partly = r.selection, terms(r).what, coverage(r)
    of = f" of {partly[1]:,} test {what}: the others lack that token" if partly else f" test {what}"
    return [
        f"best cell by validation: {s.site}, layer [bold]{s.layer}[/bold], "
        f"[bold]{s.position}[/bold]",
        f"test AUROC there: [bold]{number(s.test_auroc)}[/bold] "
        f"{interval(s.test_auroc_95, 2)}, n = {s.n_test:,}{of}",
        chance_sentence(r),
    ]


def _resplits(found: ResplitFacts | None) -> list[str]:
    """What other splits give, and the folds that test each answer once."""
    if not found:
        return []
    over, crossed = found.spread, found.cross_fitted
    lines = [
        f"{over.n:,} other splits: mean {number(over.mean)}, sd {number(over.sd)}, "
        f"{number(over.min)} to {number(over.max)}; this cell in {found.own_cell:,}"
    ]
    if crossed:
        lines.append(
            f"cross-fitted, each tested once: {number(crossed.auroc)} "
            f"{interval(crossed.auroc_95, 2)}, n = {crossed.n:,}"
        )
    return lines


def _readable(r: Record) -> list[str]:
    """The best cell and baseline of before and after the answer."""
    from rich.markup import escape

    lines = []
    for when in ("before", "after"):
        if (found := getattr(r.readable, when, None)) is None:
            continue
        own = against_of(found)
        time = "beside it" if r.task.kind == "statements" else f"{when} the answer"
        signal = found.best_baseline
        lines += [
            f"{time}: probe {number(own.auroc)} (layer {own.cell['layer']}, "
            f"{own.cell['position']}), n = {own.n:,}",
            f"  best baseline {number(signal['auroc'])} ({escape(signal['label'])}; "
            f"{own.rule.replace('chosen on', 'by')})",
            f"  probe minus baseline {number(own.difference, signed=True)} "
            f"{interval(own.difference_95, 2, signed=True)}, n = {own.n:,}",
        ]
    return lines


def _added(found: Added | None) -> list[str]:
    """What the probe adds to all baselines together, and whether it beats each of them."""
    if not found:
        return []
    whole, alone = found.with_probe, found.without
    return [
        f"added to all {len(found.baselines)} baselines together: "
        f"{number(found.difference, signed=True)} {interval(found.difference_95, 2, signed=True)} "
        f"({number(alone.auroc)} to {number(whole.auroc)}), n = {found.n:,}; {beats_all(found)}"
    ]


def _residual(confounds: Confounds | None) -> list[str]:
    """What is left of the probe without its confounds."""
    left = confounds and confounds.residual
    if not left:
        return []
    return [
        f"without what lengths, choice and source explain: {number(left.auroc)} "
        f"{interval(left.auroc_95, 2)}, with it {number(left.probe_auroc)}, n = {left.n:,}"
    ]


def _sampled(found: Sampled | None) -> list[str]:
    """Error types, and what choosing among further answers gains."""
    if not found:
        return []
    types = [t for t in found.types if len(t.type) == 1 and t.n_test]
    shares = ", ".join(
        f"{t.meaning} {number(t.share, 2)}" + (f" (probe {number(t.auroc)})" if t.auroc else "")
        for t in types
    )
    ways = {w.way: w for w in found.selection.ways}
    names = "greedy", "random", "majority", "logprob", "probe"
    chosen = ", ".join(f"{name} {number(ways[name].accuracy)}" for name in names)
    gap, soft = ways["probe"].minus_greedy, found.soft_targets
    lines = [
        f"{found.n_samples:,} further answers each: {shares or 'no error type'}, n = "
        f"{found.selection.n:,}",
        f"one of them chosen, accuracy: {chosen}",
    ]
    if gap is not None:
        lines.append(
            f"  probe minus greedy {number(gap.difference, signed=True)} "
            f"{interval(gap.difference_95, 2, signed=True)}, n = {found.selection.n:,}"
        )
    lines.append(
        f"  share of correct ones, rank correlation: probe {number(soft.probe.spearman)} "
        f"{interval(soft.probe.spearman_95, 2)}, fitted to it {number(soft.soft_probe.spearman)} "
        f"{interval(soft.soft_probe.spearman_95, 2)}, n = {soft.n:,}"
    )
    return lines


def _learning_curve(curve: LearningCurve | None) -> list[str]:
    """The probe by number of training examples."""
    if not curve:
        return []
    points: list[CurvePoint | CurveEnd] = [*curve.points, curve.all]
    by = ", ".join(f"{p.n:,}: {number(p.auroc)}" for p in points)
    return [f"by train examples: {by}; n = {curve.n_test:,}"]


def _label_noise(noise: LabelNoise | None) -> list[str]:
    """The probe under a second judge's labels."""
    from rich.markup import escape

    if not noise:
        return []
    scores = noise.scores.fitted_to_first
    first, second = scores["scored_under_first"], scores["scored_under_second"]
    return [
        f"labels of {escape(noise.judge)}: kappa {number(noise.kappa)}; the probe's AUROC "
        f"under them {number(second.auroc)} {interval(second.auroc_95, 2)}, under the first "
        f"{number(first.auroc)}, n = {second.n:,}"
    ]
