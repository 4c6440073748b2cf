"""What a run found, in sentences: also when it found nothing."""

from __future__ import annotations

from probebench.record.claims import (
    Against,
    Outcome,
    beats_all,
    chance_sentence,
    coverage,
    headline,
    outcome,
    selected,
)
from probebench.record.parts.added import Added
from probebench.record.schema import Record
from probebench.record.words import cell_words, terms
from probebench.report.blocks import Facts
from probebench.report.format import MINUS, interval, number

OUTCOMES: dict[Outcome, str] = {
    "better": "better",
    "worse": "worse",
    "undecided": "not distinguishable",
    "chance": "lower, the probe not above 0.5",
    "alone": "nothing to compare with",
}


def sentences(record: Record) -> list[str]:
    """What was measured, whether it is more than chance, against what it was held, and what
    follows; each with its n."""
    h, s, task = headline(record), record.selection, record.task
    what, right, wrong = terms(record)
    auroc, ends, n, correct = selected(record)
    found = [
        f"At {cell_words(s)}, the cell chosen on validation, a {record.probe.name} probe of "
        f"{record.model.name} reaches a test AUROC of {number(auroc)} {interval(ends)} at telling "
        f"{right} from {wrong} {what} of {task.name} (n = "
        f"{n:,}{'' if correct is None else f', {correct:,} {right}'})."
    ]
    if partly := coverage(record):
        found.append(
            f"{partly[0]:,} of the {partly[1]:,} test {what} have that token; the others take no "
            "part."
        )
    found.append(chance_sentence(record).replace("-0.", f"{MINUS}0."))
    if h.signal is None:
        found.append("The record holds no simpler signal to compare it with.")
        return found
    theirs = f"{number(h.signal['auroc'])} {interval(h.signal['auroc_95'])}"
    signal = f"{h.signal['label']} ({h.rule}), has {theirs}"
    gap = f"{number(h.difference, signed=True)} {interval(h.difference_95, signed=True)}"
    here = (
        f"On the same {what}"
        if h.n == n
        else (
            f"On the {h.n:,} test {what} that both score the probe has {number(h.auroc)} "
            f"{interval(h.auroc_95)}, and there"
        )
    )
    found.append(
        f"{here} the best simpler signal, {signal}. The paired difference, probe minus signal, is "
        f"{gap}: {_claim(h, what)}."
    )
    if record.added:
        found.append(_added(record.added, what))
    return found


def _added(a: Added, what: str) -> str:
    """What the probe adds to all simpler signals, and whether it beats each of them."""
    gain = f"{number(a.difference, signed=True)} {interval(a.difference_95, signed=True)}"
    stacks = f"{number(a.without.auroc)} to {number(a.with_probe.auroc)}"
    partial = (
        ""
        if a.partial is None
        else f" Given the best of them, {a.partial.given_label}, the probe's ranks correlate "
        f"with right and wrong by {number(a.partial.correlation, signed=True)} "
        f"{interval(a.partial.correlation_95, signed=True)} (n = {a.partial.n:,})."
    )
    said = {"better": "adds to them", "worse": "takes from them"}.get(
        outcome(a.difference_95), "adds nothing that can be told from noise"
    )
    return (
        f"Stacked with all {len(a.baselines)} simpler signals together (n = {a.n:,} {what}) it "
        f"changes their AUROC by {gain}, {stacks}: it {said}; {beats_all(a)}.{partial}"
    )


def _claim(h: Against, what: str) -> str:
    if h.outcome == "better":
        return f"the probe is better on these {h.n:,} {what}"
    if h.outcome == "worse":
        return f"a negative result, the simpler signal is better on these {h.n:,} {what}"
    if h.outcome == "chance":
        return "a negative result, the signal is lower and the probe itself is not above 0.5"
    return f"a negative result, the two are not distinguishable on these {h.n:,} {what}"


def key_figures(record: Record) -> Facts:
    """The few figures at the top of a run, each with its n; the last three are of one sample."""
    h = headline(record)
    what, right, _ = terms(record)
    auroc, ends, n, correct = selected(record)
    both = f", n\u00a0=\u00a0{h.n:,}"
    items = [("Test AUROC", f"{number(auroc)} {interval(ends)}, n\u00a0=\u00a0{n:,}")]
    if h.signal:
        if h.n != n:
            items.append(
                ("Test AUROC beside the signal", f"{number(h.auroc)} {interval(h.auroc_95)}{both}")
            )
        items += [
            (
                "Best simpler signal, chosen on validation",
                f"{number(h.signal['auroc'])} {interval(h.signal['auroc_95'])}{both}: "
                f"{h.signal['label']}",
            ),
            (
                "Probe minus signal",
                f"{number(h.difference, signed=True)} "
                f"{interval(h.difference_95, signed=True)}{both}",
            ),
        ]
    else:
        items += [("Best simpler signal", "none"), ("Probe minus signal", "n/a")]
    partly = coverage(record)
    of = f" of {partly[1]:,}, the others lack the token" if partly else ""
    items.append(
        (f"Test {what}", f"{n:,}{of}" + ("" if correct is None else f" ({correct:,} {right})"))
    )
    return Facts(tuple(items), "big")
