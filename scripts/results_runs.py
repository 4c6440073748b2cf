"""The finished runs that docs/results.md is about. Used by `scripts/write_results.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from results_pictures import short

from probebench.across.transfer import transfer
from probebench.leaderboard.submission.submit import refusals
from probebench.record.run import Run

NEGATED = "neg_"
"""How the names of tasks of negated statements begin."""
ORDER = (
    "cities neg_cities sp_en_trans neg_sp_en_trans inventors neg_inventors facts neg_facts "
    "element_symb animal_class larger_than common_claim azaria_mitchell counterfact "
    "nq_open winobias math winogrande movies mnli"
).split()
"""Tasks as tables have them: those that scripts/real_rows.sh asks for, statements before
questions."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """The finished runs below a folder, by what they are for."""

    rows: tuple[Run, ...]
    """Of statements and under the protocol: what ranks."""
    asked: tuple[Run, ...]
    """Of questions, all tokens read."""
    components: tuple[Run, ...]
    """With all sites."""

    @classmethod
    def find(cls, folder: Path) -> Shelf:
        """Everything that is finished, in the order of tasks."""
        found = [run for path in folder.glob("*/*") if (run := Run.there(path))]
        found.sort(key=lambda run: (place(run.record.task.name), short(run)))
        parts = [r for r in found if r.record.attribution and len(r.record.sites) > 1]
        whole = [r for r in found if not r.record.attribution]
        statements = [r for r in whole if r.record.task.kind == "statements"]
        return cls(
            tuple(r for r in statements if not refusals(r)),
            tuple(r for r in whole if r.record.task.kind != "statements"),
            tuple(parts),
        )

    @property
    def ranked(self) -> list[Run]:
        """The rows of the leaderboard, statements before questions."""
        return [*self.rows, *(run for run in self.asked if not refusals(run))]

    def of_model(self) -> dict[str, list[Run]]:
        """The rows by model, without those of negated statements, of models that have several with
        hidden states."""
        by: dict[str, list[Run]] = {}
        for run in affirmed(self.rows):
            if run.has_states:
                by.setdefault(short(run), []).append(run)
        return {name: runs for name, runs in by.items() if len(runs) > 1}

    def negated(self) -> pd.DataFrame:
        """Transfer between the statements of a task and their negations, both ways."""
        found = []
        named = {(short(r), r.record.task.name): r for r in self.rows if r.has_states}
        for (model, task), run in named.items():
            if (other := named.get((model, NEGATED + task))) is not None:
                found.append(between(transfer([run, other])).assign(model=model))
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def affirmed(runs: Sequence[Run]) -> list[Run]:
    """Without those of negated statements, which are no further evidence beside the others."""
    return [run for run in runs if not run.record.task.name.startswith(NEGATED)]


def between(t: pd.DataFrame) -> pd.DataFrame:
    """Transfers between different tasks at the source's cell, where defined."""
    own = t[(t.kind == "pair") & (t["at"] == "source") & (t.train_task != t.test_task)]
    return own[own.auroc.notna()]


def place(task: str) -> tuple[int, str]:
    """Where a task stands in tables."""
    return (ORDER.index(task) if task in ORDER else len(ORDER), task)
