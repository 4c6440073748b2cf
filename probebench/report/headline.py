"""What a run found, in sentences: also when it found nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from probebench.report.blocks import Facts
from probebench.report.words import interval, number
from probebench.words import cell_words, defined, what_words

Outcome = Literal["better", "worse", "undecided", "alone"]
NO_RIVALS = ("majority",)
"""Baselines that read nothing: no claim is made against them."""
OUTCOMES: dict[Outcome, str] = {
    "better": "better",
    "worse": "worse",
    "undecided": "not distinguishable",
    "alone": "nothing to compare with",
}


@dataclass(frozen=True, slots=True)
class Headline:
    """The selected probe and the best simpler signal on the same test examples."""

    probe: Mapping[str, Any]
    """The probe's row of the record's detectors."""
    rival: Mapping[str, Any] | None
    """Name, label, `auroc` and `auroc_95` of the best simpler signal; None where there is none."""
    difference: float | None
    difference_95: tuple[float | None, float | None]
    n: int
    rule: str
    """How the rival was chosen."""

    @property
    def outcome(self) -> Outcome:
        """What the paired interval allows to say."""
        low, high = self.difference_95
        if self.rival is None or low is None or high is None:
            return "alone" if self.rival is None else "undecided"
        return "better" if low > 0 else "worse" if high < 0 else "undecided"


def headline(record: Mapping[str, Any]) -> Headline:
    """The comparison that the first sentence of a run is about.

    The rival is the baseline that the record chose by validation among those readable at the same time. A record without that
    choice gets the baseline with the highest test AUROC, which is the harder comparison.
    """
    probe = record["detectors"][0]
    chosen = (record.get("readable") or {}).get(record["selection"]["readable"])
    if chosen and chosen.get("best_baseline"):
        return Headline(
            probe,
            chosen["best_baseline"],
            chosen["difference"],
            tuple(chosen["difference_95"]),
            chosen["n"],
            "chosen by validation",
        )
    rivals = [d for d in record["detectors"] if d["kind"] == "baseline" and d["name"] not in NO_RIVALS and defined(d["auroc"])]
    if not rivals:
        return Headline(probe, None, None, (None, None), probe["n"], "")
    best = max(rivals, key=lambda d: d["auroc"])
    low, high = best["probe_minus_this_95"]
    return Headline(probe, best, best["probe_minus_this"], (low, high), best["n"], "the highest on test")


def sentences(record: Mapping[str, Any]) -> list[str]:
    """One to three sentences: what was measured, against what, and what follows."""
    h = headline(record)
    what, right, wrong = what_words(record)
    s, task = record["selection"], record["task"]
    found = [
        f"At {cell_words(s)}, the cell chosen on validation, a {record['probe']['name']} probe of {record['model']['name']} "
        f"reaches a test AUROC of {number(h.probe['auroc'])} {interval(h.probe['auroc_95'])} at telling {right} from {wrong} "
        f"{what} of {task['name']} (n = {h.probe['n']:,}, {h.probe['n_correct']:,} {right})."
    ]
    low, high = h.probe["auroc_95"]
    if low is None or high is None:
        found.append("Its interval is not defined, so nothing is claimed.")
    elif low <= 0.5 <= high:
        found.append("This is a negative result: the interval contains 0.5, so the probe is not distinguishable from chance.")
    elif high < 0.5:
        found.append("This is below chance: the probe ranks the wrong way round. It is reported as it is.")
    if h.rival is None:
        found.append("The record holds no simpler signal to compare it with.")
        return found
    rival = f"{h.rival['label']} ({h.rule}), has {number(h.rival['auroc'])} {interval(h.rival['auroc_95'])}"
    gap = f"{number(h.difference, signed=True)} {interval(h.difference_95, signed=True)}"
    found.append(f"The best simpler signal, {rival}. The paired difference, probe minus signal, is {gap}: {_claim(h, what)}.")
    return found


def _claim(h: Headline, what: str) -> str:
    if h.outcome == "better":
        return f"the probe is better on these {h.n:,} {what}"
    if h.outcome == "worse":
        return f"a negative result, the simpler signal is better on these {h.n:,} {what}"
    return f"a negative result, the two are not distinguishable on these {h.n:,} {what}"


def key_figures(record: Mapping[str, Any]) -> Facts:
    """The few figures at the top of a run."""
    h = headline(record)
    what, right, _ = what_words(record)
    items = [
        ("Test AUROC", f"{number(h.probe['auroc'])} {interval(h.probe['auroc_95'])}"),
        ("Best simpler signal", f"{number(h.rival['auroc'])} {interval(h.rival['auroc_95'])}" if h.rival else "none"),
        (
            "Probe minus signal",
            f"{number(h.difference, signed=True)} {interval(h.difference_95, signed=True)}" if h.rival else "n/a",
        ),
        (f"Test {what}", f"{h.probe['n']:,} ({h.probe['n_correct']:,} {right})"),
    ]
    return Facts(tuple(items), "big")
