"""A worker: computes shards where it runs, and writes them there."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

from probebench.errors import EngineError
from probebench.models.passes.batches import Budget
from probebench.progress import Progress
from probebench.record.versions import versions
from probebench.stages.engine import Models, Work
from probebench.stages.stage import Finished, Stage
from probebench.store.shards import ShardStore, shard_name


@dataclass(frozen=True, slots=True)
class Size:
    """What a batch may hold, as it travels."""

    tokens: int
    largest: int
    halvings: int

    @classmethod
    def of(cls, budget: Budget) -> Size:
        """That of a budget."""
        return cls(budget.tokens, budget.largest, budget.halvings)

    def budget(self, tell: Callable[[int], None] | None = None) -> Budget:
        """The budget again."""
        return Budget(self.tokens, self.largest, halvings=self.halvings, tell=tell)


@dataclass(frozen=True, slots=True)
class Place:
    """The run directory of the run at work."""

    folder: Path
    mark: str
    """Name of a file in it, by which a worker sees that it is the same folder there."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A stage on its way to the workers. They fetch it once each, from one another."""

    id: str
    folder: Path
    stage: Sequence[Any]
    """The reference to it in the object store; in a list, since Ray would fetch it anew with every
    call otherwise."""


@dataclass(frozen=True, slots=True)
class Written:
    """A shard that is there."""

    shard: int
    tokens: int
    """That went through a model for it."""
    size: Size | None
    """What a batch could hold at last; None where the stage keeps no budget."""


class Worker:
    """What an actor does. Two calls of `shard` may be under way at once: one shard is packed and
    written while the next is computed.

    Args:
        cpus: cores that it may use.
        offline: never ask the hub.
    """

    def __init__(self, cpus: int, offline: bool) -> None:
        import torch

        torch.set_num_threads(cpus)
        os.environ["LOKY_MAX_CPU_COUNT"] = str(cpus)
        self.models = Models(Progress(), offline=offline)
        self.one = ThreadPoolExecutor(max_workers=1)
        self.alone = Lock()
        self.writer = f"ray-{uuid4().hex[:12]}"
        self.through = 0
        self.at = ""

    def join(self, place: Place, expected: dict[str, str]) -> None:
        """Show that this worker can take part in a run.

        Raises:
            EngineError: it does not see the run directory, or has other versions of a library.
        """
        here = f"A worker on {platform.node()}"
        if not (place.folder / place.mark).exists():
            raise EngineError(
                f"{here} does not see the run directory {place.folder}. Name one that every node "
                "of the cluster shares with --out."
            )
        other = [
            f"{k} {v} (here: {expected[k]})" for k, v in versions().items() if v != expected[k]
        ]
        if other:
            raise EngineError(
                f"{here} has other versions than this process: {', '.join(other)}. Install the "
                "same on every node; these libraries can change a number."
            )

    def prepare(self, sent: Sent) -> None:
        """Load what a stage needs."""
        stage = self._stage(sent)
        self._check_device(stage)
        self.one.submit(stage.prepare, self._work(stage, None)).result()

    def first_budget(self, sent: Sent) -> Size:
        """What a batch of a stage may hold."""
        stage = self._stage(sent)
        return Size.of(self.one.submit(stage.first_budget, self.models).result())

    def shard(self, sent: Sent, i: int, size: Size | None) -> Written:
        """Compute one shard, and write it."""
        stage, rows = self._stage(sent), self.shards[i]
        budget = size.budget(self._reached) if size else None
        found = self.one.submit(self._compute, stage, rows, budget).result()
        tokens, content = stage.tokens(found, rows), stage.pack(found, rows)
        del found
        with self.alone:
            self.store.write(shard_name(i, stage.suffix), content)
        return Written(i, tokens, Size.of(budget) if budget else None)

    def finish(self, sent: Sent, size: Size | None) -> None:
        """Write what stands beside the shards of a stage, all of which are there."""
        stage = self._stage(sent)
        store = ShardStore(sent.folder, stage.name, stage.inputs, self.writer)
        work = self._work(stage, size.budget() if size else None)
        done = Finished(stage, store, self.shards)
        self.one.submit(stage.finish, done, work).result()

    def reached(self) -> int:
        """How many units of the shard at work are through."""
        return self.through

    def free(self) -> None:
        """Give the memory of all models back."""
        self.one.submit(self.models.free).result()

    def _stage(self, sent: Sent) -> Stage[Any]:
        """The stage, fetched once: two calls may want it at the same time."""
        with self.alone:
            if self.at != sent.id:
                import ray

                stage: Stage[Any] = ray.get(sent.stage[0])
                self.stage, self.shards = stage, stage.shards()
                self.store = ShardStore(sent.folder, stage.name, stage.inputs, self.writer)
                self.at = sent.id
            return self.stage

    def _work(self, stage: Stage[Any], budget: Budget | None) -> Work:
        def given() -> Budget:
            return stage.first_budget(self.models) if budget is None else budget

        return Work(self.models, given, self._reached)

    def _compute(self, stage: Stage[Any], rows: list[int], budget: Budget | None) -> Any:
        self._check_device(stage)
        work = self._work(stage, budget)
        stage.prepare(work)  # a worker that came later has not loaded anything
        self.through = 0
        return next(iter(stage.stream([rows], work)))

    def _check_device(self, stage: Stage[Any]) -> None:
        """Raises:
        EngineError: this node's devices are not those that the run's numbers are of.
        """
        if stage.needs is None:
            return
        asked, here = stage.needs.identity.device, stage.needs.placement.shown
        if here != asked:
            raise EngineError(
                f"A worker on {platform.node()} computes on {here}, and this run on {asked}. Take "
                "nodes with the same devices: they decide the last bits of every number."
            )

    def _reached(self, n: int) -> None:
        self.through = n
