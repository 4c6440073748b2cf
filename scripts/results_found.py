"""What only hidden states could tell, kept in docs/results/found.json: transfer between tasks, to
negations and back, and which token of an answer is read best; and which runs gave nothing. Used by
`scripts/write_results.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from results_claims import between, transferred
from results_pictures import short, short_name
from results_questions import Contest
from results_runs import KEPT, NEGATED, ORDER, affirmed, place
from results_tables import named, transfer_table

from probebench.across.transfer import transfer
from probebench.files import write_json
from probebench.leaderboard.submission.submit import refusals
from probebench.record.run import Run

FOUND = KEPT.parent / "found.json"
NEGATIONS = (
    "model train_task test_task auroc low high own_auroc cosine mahalanobis_cosine n".split()
)
"""Columns of transfers to negations."""
FAILED = ".log.failed"
"""How a file ends that says why the run of its name failed."""


@dataclass(slots=True)
class Found:
    """Findings by what they are about, as plain values."""

    contests: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`words`, `outcome`, and whether validation prefers the exact answer's token, by run."""
    negations: list[dict[str, Any]] = field(default_factory=list)
    """A row per model, task and task that it was carried over to."""
    transfers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By model: the `tasks`, how many pairs of them are `above` chance and so on, the sentence and
    the table."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why a run of the leaderboard's tasks gave no result."""

    @classmethod
    def load(cls, path: Path = FOUND) -> Found:
        """What is kept; nothing where there is no such file."""
        return cls(**json.loads(path.read_text())) if path.exists() else cls()

    def save(self, path: Path = FOUND) -> None:
        """Keep all of it."""
        self.negations.sort(
            key=lambda r: (
                place(r["train_task"].removeprefix(NEGATED)),
                r["model"],
                r["train_task"],
            )
        )
        self.contests = dict(sorted(self.contests.items()))
        self.transfers = dict(sorted(self.transfers.items()))
        write_json(path, asdict(self))

    def add_failures(self, folder: Path) -> None:
        """What scripts/real_rows.sh left where a run failed, by the words of the page."""
        for path in sorted(folder.glob(f"*/*{FAILED}")):
            task = path.name.removesuffix(FAILED)
            own = task.removesuffix("_kit")
            if own != task or task in ORDER:
                name = task if own == task else f"{own}, own file"
                self.failed[f"{name} ({short_name(path.parent.name)})"] = path.read_text().strip()

    def absent(self, models: Iterable[str]) -> list[dict[str, str]]:
        """Runs of the leaderboard's tasks that gave no row, as `leaderboard build` reads them.

        Args:
            models: folders of models that have rows.
        """
        folders = {short_name(folder): folder for folder in sorted(models)}
        keys = {f"{task} ({name})": (task, name) for task in ORDER for name in folders}
        return [
            {"model": folders[name], "task": task, "why": self.failed[key]}
            for key, (task, name) in keys.items()
            if key in self.failed
        ]

    def add(self, runs: Sequence[Run]) -> None:
        """Measure what finished runs with hidden states allow.

        What was measured on as many tasks of a model, or more, stays unless all of them are there.
        """
        there = [run for run in runs if run.has_states and not run.record.attribution]
        for run in there:
            if run.record.task.kind != "statements" and (contest := Contest.of(run)):
                self.contests[named(run)] = contest.kept()
        statements = [r for r in there if r.record.task.kind == "statements" and not refusals(r)]
        self._negations(statements)
        alike: dict[tuple[str, str], list[Run]] = {}
        for run in affirmed(statements):
            alike.setdefault((short(run), run.record.model.dtype), []).append(run)
        for (model, _), own in alike.items():
            names = [run.record.task.name for run in own]
            before = self.transfers.get(model, {"tasks": []})["tasks"]
            if len(own) > 1 and (set(before) <= set(names) or len(names) > len(before)):
                table = transfer(own)
                self.transfers[model] = {
                    "tasks": names,
                    **transferred(model, table),
                    "table": transfer_table(table),
                }

    def _negations(self, runs: Sequence[Run]) -> None:
        there = {(short(r), r.record.model.dtype, r.record.task.name): r for r in runs}
        for (model, dtype, task), run in there.items():
            if (other := there.get((model, dtype, NEGATED + task))) is None:
                continue
            rows = between(transfer([run, other])).assign(model=model)[NEGATIONS]
            new = json.loads(rows.to_json(orient="records"))
            measured = {_ends(row) for row in new}
            self.negations = [r for r in self.negations if _ends(r) not in measured] + new

    @property
    def negated(self) -> pd.DataFrame:
        """Transfers to negations and back as a table."""
        return pd.DataFrame(self.negations, columns=NEGATIONS)


def _ends(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["model"], row["train_task"], row["test_task"]
