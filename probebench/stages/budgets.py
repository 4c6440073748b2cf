"""What a batch of this run may hold, found once and kept in the run directory.

Free memory differs from one moment to the next, and the size of a batch moves the last bits of half
precision. So a resumed run takes the budget of the run that it goes on with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from probebench.files import ShardStore
from probebench.models.passes.batches import Budget


class Budgets:
    """The budgets of a run, by what they are for.

    Args:
        folder: the run directory.
        tell: told after every batch how many examples of the shard at work are through.
    """

    def __init__(self, folder: Path, tell: Callable[[int], None] | None = None) -> None:
        self.folder, self.tell = folder, tell
        self._stages: dict[str, ShardStore] = {}
        self._found: dict[str, Budget] = {}

    def get(
        self, name: str, inputs: Mapping[str, Any], find: Callable[[], Budget]
    ) -> Callable[[], Budget]:
        """A way to the kept budget of that name, which is found when it is first needed.

        Args:
            name: what it is for, such as `answers`.
            inputs: everything that decides the numbers that are computed with it.
            find: makes it when there is none; may load the model.
        """
        stage = self._stages.setdefault(
            name, ShardStore(self.folder, "budgets", {"for": name, **inputs})
        )

        def needed() -> Budget:
            if name not in self._found:
                self._found[name] = _latest(stage) or find()
                self._found[name].keep, self._found[name].tell = (
                    lambda budget: _keep(stage, budget),
                    self.tell,
                )
                if not stage.shards:
                    _keep(stage, self._found[name])
            return self._found[name]

        return needed

    def facts(self) -> dict[str, Any]:
        """For the record: what a batch could hold at last, by what it was for; only of what was
        computed in batches."""
        kept = {name: _latest(stage) for name, stage in sorted(self._stages.items())}
        return {
            name: {"tokens": b.tokens, "examples": b.largest, "halvings": b.halvings}
            for name, b in kept.items()
            if b
        }


def _keep(stage: ShardStore, budget: Budget) -> None:
    """Each change in a file of its own: a kill between the file and its line in the manifest leaves
    the one before."""
    content = {"tokens": budget.tokens, "examples": budget.largest, "halvings": budget.halvings}
    stage.write(f"{budget.halvings:03d}.json", (json.dumps(content) + "\n").encode())


def _latest(stage: ShardStore) -> Budget | None:
    kept = [file for file in sorted(stage.shards) if stage.has(file)]
    if not kept:
        return None
    told = json.loads(stage.read(kept[-1]))
    return Budget(told["tokens"], told["examples"], halvings=told["halvings"])
