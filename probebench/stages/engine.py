"""What computes: models in memory, and how much goes through one of them at once.

A budget is found once and kept in the run directory: free memory differs from one moment to the
next, and the size of a batch moves the last bits of half precision. So a resumed run takes the
budget of the run that it goes on with.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probebench.models.handles import LoadedModel, ModelHandle
from probebench.models.loading import load_model
from probebench.models.passes.batches import Budget
from probebench.models.untrained import untrained
from probebench.progress import Progress
from probebench.store.shards import ShardStore


class Models:
    """Models in memory, each loaded when it is first needed.

    Args:
        progress: told of every loading.
        offline: never ask the hub.
    """

    def __init__(self, progress: Progress, *, offline: bool = False) -> None:
        self.progress, self.offline = progress, offline
        self._loaded: dict[tuple[str, int | None], LoadedModel] = {}

    def get(self, handle: ModelHandle, seed: int | None = None) -> LoadedModel:
        """A model's weights.

        Args:
            handle: which.
            seed: of its initialisation, where the model is wanted as it is before training. Such a
                model is alone in memory, so that two of one size are never there together: others
                are freed before it is made, and it is freed before another is loaded.
        """
        key = handle.key, seed
        if key not in self._loaded:
            if any(of is not None for _, of in (key, *self._loaded)):
                self.free()
            with self.progress.stage("Loading model", 1, "model") as counter:
                self._loaded[key] = (
                    load_model(handle, offline=self.offline)
                    if seed is None
                    else untrained(handle, seed)
                )
                counter.advance()
        return self._loaded[key]

    def measured(self, handle: ModelHandle, longest: int) -> Budget:
        """What a batch of answers may hold, of up to `longest` tokens with their prompts."""
        from probebench.models.passes.memory import probe_budget

        return probe_budget(self.get(handle), longest)

    def free(self) -> None:
        """Give their memory back; each is loaded again when it is next needed."""
        import torch

        self._loaded.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage computes with."""

    models: Models
    budget: Callable[[], Budget]
    """What a batch of this stage may hold."""
    begun: Callable[[int], None]
    """Told how many units of the shard at work are through."""


class Budgets:
    """The budgets of a run, by what they are for.

    Args:
        folder: the run directory.
        tell: told after every batch how many examples of the shard at work are through.
        writer: who keeps them, where several write into this directory at once.
    """

    def __init__(
        self, folder: Path, tell: Callable[[int], None] | None = None, writer: str = ""
    ) -> None:
        self.folder, self.tell, self.writer = folder, tell, writer
        self._stores: dict[str, ShardStore] = {}
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
        if name not in self._stores:
            told = {"for": name, **inputs}
            self._stores[name] = ShardStore(self.folder, "budgets", told, self.writer)
        store = self._stores[name]

        def needed() -> Budget:
            if name not in self._found:
                budget = self._found[name] = _latest(store) or find()
                budget.keep, budget.tell = lambda changed: _keep(store, changed), self.tell
                if not store.shards:
                    _keep(store, budget)
            return self._found[name]

        return needed

    def facts(self) -> dict[str, Any]:
        """For the record: what a batch could hold at last, by what it was for; only of what was
        computed in batches."""
        kept = {name: _latest(store) for name, store in sorted(self._stores.items())}
        return {
            name: {"tokens": b.tokens, "examples": b.largest, "halvings": b.halvings}
            for name, b in kept.items()
            if b
        }


def _keep(store: ShardStore, budget: Budget) -> None:
    """Each change in a file of its own: a kill between the file and its line in the manifest leaves
    the one before."""
    content = {"tokens": budget.tokens, "examples": budget.largest, "halvings": budget.halvings}
    store.write(f"{budget.halvings:03d}.json", (json.dumps(content) + "\n").encode())


def _latest(store: ShardStore) -> Budget | None:
    kept = [file for file in sorted(store.shards) if store.has(file)]
    if not kept:
        return None
    told = json.loads(store.read(kept[-1]))
    return Budget(told["tokens"], told["examples"], halvings=told["halvings"])
