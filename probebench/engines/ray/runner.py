"""A runner whose stages are computed by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from probebench.engines.ray.cluster import stored
from probebench.engines.ray.given import Given
from probebench.engines.ray.lanes import TRIES, Lanes
from probebench.engines.ray.worker import Sent, Size
from probebench.errors import EngineError
from probebench.models.passes.batches import Budget
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.stage import Finished, LocalRunner, Stage
from probebench.text import counted

T = TypeVar("T")
NAMED = 5
"""Rows of a failed shard that a message names."""


class RayRunner(LocalRunner):
    """Finds what is there in this process, and lets workers compute what is missing. Nothing of a
    shard passes through here.

    Args:
        folder: the run directory, locked; every worker sees it.
        progress: what it reports to.
        models: of this process: none is loaded.
        lanes: the workers, which have entered the run.
    """

    def __init__(self, folder: Path, progress: Progress, models: Models, lanes: Lanes) -> None:
        super().__init__(folder, progress, models)
        self.lanes = lanes
        self.loaded: set[str] = set()
        """Keys of models that workers hold."""

    def run(self, stage: Stage[T]) -> Finished[T]:
        """Every shard of a stage, found or computed.

        Raises:
            EngineError: a shard failed time and again.
        """
        done, missing = self._look(stage)
        if stage.budget_name:  # the record says what an earlier run found, too
            self.budgets.get(stage.budget_name, stage.inputs, Budget)
        ends = type(stage).finish is not Stage.finish
        if not missing and not ends:
            return done
        with self._sent(stage) as sent:
            if missing:
                self._prepare(stage, sent)
            size = self._size(stage, sent) if stage.budget_name else None
            if missing:
                self._given(done, missing, Given(self.lanes, sent, missing, size))
            if ends:
                last = size() if size is not None else None
                self.lanes.ask(lambda actor: actor.finish.remote(sent, last))
        done.store.refresh()
        return done

    def _prepare(self, stage: Stage[Any], sent: Sent) -> None:
        """Wait for workers, and for the model that they load: once for all stages."""
        if not self.lanes.ready:
            with self.progress.stage("Starting workers", 1, "worker") as counter:
                self.lanes.await_first()
                counter.advance()
        if stage.needs is not None and stage.needs.key not in self.loaded:
            with self.progress.stage("Loading model", 1, "model") as counter:
                self.lanes.each(lambda actor: actor.prepare.remote(sent))
                counter.advance()
            self.loaded.add(stage.needs.key)

    @contextmanager
    def _sent(self, stage: Stage[Any]) -> Iterator[Sent]:
        """A stage in the object store, for as long as it is computed."""
        import ray

        with stored(f"the stage {stage.title!r}"):
            reference = ray.put(stage)
        yield Sent(uuid4().hex, self.folder, [reference])

    def _size(self, stage: Stage[Any], sent: Sent) -> Any:
        """A way to what a batch may hold: kept, or found by one worker for all."""

        def first() -> Budget:
            size: Size = self.lanes.ask(lambda actor: actor.first_budget.remote(sent))
            return size.budget()

        budget = self.budgets.get(stage.budget_name, stage.inputs, first)
        return lambda: Size.of(budget())

    def _given(self, done: Finished[T], missing: Sequence[int], given: Given) -> None:
        stage = done.stage
        total = sum(map(len, done.shards))
        kept = total - sum(len(done.shards[i]) for i in missing)
        with self.progress.stage(stage.title, total, stage.unit, kept) as counter:
            for written in given.written(self.progress.begun):
                self.progress.count_tokens(stage.title, written.tokens)
                if written.size is not None:
                    self._shrink(stage, written.size)
                counter.advance(len(done.shards[written.shard]))
        if given.failed:
            raise EngineError(_told(done, given))

    def _shrink(self, stage: Stage[Any], size: Size) -> None:
        """Memory ran out in a worker: the others take what fitted there from now on."""
        budget = self.budgets.get(stage.budget_name, stage.inputs, Budget)()
        if size.halvings > budget.halvings:
            budget.tokens, budget.halvings = size.tokens, size.halvings
            if budget.keep is not None:
                budget.keep(budget)


def _told(done: Finished[Any], given: Given) -> str:
    """Which shards failed and why, and what is missing now."""
    unit = done.stage.unit
    lines = []
    for i, why in sorted(given.failed.items()):
        rows = [str(row) for row in done.shards[i]]
        more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
        lines.append(f"  shard {i} ({unit} {', '.join(rows[:NAMED])}{more}): {why}")
    lacking = len(given.failed) + len(given.waiting)
    return "\n".join(
        [
            f"{done.stage.title}: {counted(len(given.failed), 'shard')} took a worker down "
            f"{TRIES} times, alone on it. {lacking} of {len(done.shards)} shards are missing, the "
            "others are kept; the same command tries these again.",
            *lines,
        ]
    )
