"""What the pages say of a run in a sentence: where its probe reads, and what that beats."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probebench.leaderboard.board.rows import BoardRow, Run, best_first
from probebench.models.blocks.layouts import SITES
from probebench.record.claims import outcome
from probebench.record.parts.measured import CellName
from probebench.record.words import Terms, terms_of
from probebench.states.positions import POSITIONS
from probebench.text import enough, interval, number


@dataclass(frozen=True, slots=True)
class Said:
    """A run's selected probe beside the baseline that is hardest to beat."""

    run: BoardRow
    baseline: BoardRow | None
    """`hardest_baselines`; None where the run has none."""
    terms: Terms
    turned: BoardRow | None = None
    """A baseline that would be harder than that one, were its sign not fixed (`turned_round`)."""

    @property
    def probe_there(self) -> tuple[float, int] | None:
        """The probe's AUROC on the examples that the baseline scores, and how many these are, where
        they are fewer than the probe's own."""
        b = self.baseline
        if b is None or b.n is None or b.n == self.run.n or b.auroc is None or b.difference is None:
            return None
        return b.auroc + b.difference, b.n

    @property
    def margin(self) -> float | None:
        """Lower end of the probe's paired difference to that baseline."""
        return None if self.baseline is None else self.baseline.difference_low

    @property
    def verdict(self) -> str | None:
        """`better` or `worse` than the baseline by that interval, or `undecided`; None without
        one."""
        b = self.baseline
        if b is None or b.difference_low is None or b.difference_high is None:
            return None
        return outcome((b.difference_low, b.difference_high))


@dataclass(frozen=True, slots=True)
class Tally:
    """How many runs beat their hardest baseline."""

    better: int
    undecided: int
    worse: int
    turned: int
    """Not among them: those where a baseline of fixed sign ranks the wrong way round."""

    @property
    def n(self) -> int:
        """Runs with an interval."""
        return self.better + self.undecided + self.worse


def said(
    rows: Sequence[BoardRow],
    hardest: Mapping[Run, BoardRow],
    kinds: Mapping[str, str],
    turned: Mapping[Run, BoardRow],
) -> list[Said]:
    """All measured runs of the current version of their task and of the protocol, best first.

    Args:
        rows: any rows; those of a selected probe are taken.
        hardest: as `hardest_baselines` gives them.
        kinds: name of a task -> its kind, which says what the two labels are called.
        turned: as `turned_round` gives them.
    """
    runs = [r for r in rows if r.headline and r.cell and r.current and r.auroc is not None]
    return [
        Said(r, hardest.get(r.run), terms_of(kinds.get(r.task, "")), turned.get(r.run))
        for r in sorted(runs, key=best_first)
    ]


def widest_margin_first(s: Said) -> tuple[bool, float, float]:
    """Sort key: lower end of the difference to the hardest baseline downwards, then AUROC; after
    these the runs on which a difference says too much, and those without one last."""
    apart = s.margin is None or s.turned is not None
    return (apart, float("inf") if s.margin is None else -s.margin, *best_first(s.run))


def tally(runs: Sequence[Said]) -> Tally:
    """The verdicts, counted."""
    verdicts = [s.verdict for s in runs if s.turned is None]
    turned = sum(s.verdict is not None and s.turned is not None for s in runs)
    better, undecided, worse = map(verdicts.count, ("better", "undecided", "worse"))
    return Tally(better, undecided, worse, turned)


def stream_words(cell: CellName, n_layers: int | None) -> str:
    """Site and layer for a reader; blocks count from 0."""
    if cell.layer == "emb":
        return "the residual stream before block 0"
    among = f" of 0–{n_layers - 1}" if n_layers else ""
    if cell.site == "resid":
        return f"the residual stream after block {cell.layer}{among}"
    return f"{SITES.get(cell.site, cell.site)} ({cell.site}) in block {cell.layer}{among}"


def token_words(position: str) -> str:
    """What a position's name stands for, in a few words; nothing for one that is none of ours."""
    known = POSITIONS.get(position)
    first = re.split(r"[,;.]", known.meaning)[0] if known else ""
    return first[:1].lower() + first[1:]


def glossary() -> list[tuple[str, str]]:
    """Names of positions and their meanings; those counted from the end share a line."""
    named = [(p.name, p.meaning) for p in POSITIONS.values() if not p.name.startswith("-")]
    first, *_, last = [name for name in POSITIONS if name.startswith("-")]
    counted = f"{first} ... {last}"
    words = "Token counted from the end of the sequence, the stop token included: -1 is the last."
    return [*named, (counted, words)]


def figure(value: float | None, *, signed: bool = False) -> str:
    """A number of a page, with a minus sign that is as wide as the plus."""
    return number(value, signed=signed).replace("-", "−")


def ends(low: float, high: float, *, signed: bool = False) -> str:
    """An interval of a page."""
    return interval((low, high), enough((low, high)), signed=signed).replace("-", "−")
