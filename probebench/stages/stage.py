"""One kind of stage, and the runner that computes it.

A stage says what it is called, what decides its numbers, how long its examples are, and how some of
them are computed and written. A runner finds what is there, computes what is missing shard by
shard, writes one shard while the next is computed, shows progress, and resumes. It is the one place
that knows where a shard is computed: another engine is another runner, and no stage changes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from probebench.files import content_key, remove_tree
from probebench.models.handles import ModelHandle
from probebench.models.passes.batches import Budget
from probebench.progress import Progress
from probebench.stages.engine import Budgets, Models, Work
from probebench.states.extract import plan_shards
from probebench.store.shards import STAGES, Background, ShardStore, shard_name

T = TypeVar("T")
X = TypeVar("X")


class Stage(ABC, Generic[T]):
    """Work on examples, or on cells, that is saved shard by shard. `T` is what one shard gives.

    A stage holds what it was asked and never what it found, so that it can be sent to wherever it
    is computed.
    """

    name: ClassVar[str]
    """Its folder in a run directory begins so."""
    title: ClassVar[str]
    """What progress calls it."""
    unit: ClassVar[str] = "answers"
    suffix: ClassVar[str]
    """Of the files of its shards."""
    budget_name: ClassVar[str] = ""
    """What the record calls its budget; empty where it goes through no model in batches."""

    @property
    @abstractmethod
    def inputs(self) -> Mapping[str, Any]:
        """Everything that decides its numbers; hashed to its content key."""

    @property
    def key(self) -> str:
        """Its content key."""
        return content_key(self.inputs)

    @property
    @abstractmethod
    def lengths(self) -> Sequence[int]:
        """(example,) tokens of each: examples of similar length share a shard."""

    @abstractmethod
    def compute(self, rows: list[int], work: Work) -> T:
        """What some examples give."""

    @abstractmethod
    def pack(self, found: T, rows: list[int]) -> bytes:
        """A shard as the bytes of its file."""

    @abstractmethod
    def unpack(self, content: bytes) -> T:
        """The shard again."""

    def shards(self) -> list[list[int]]:
        """Examples of each shard."""
        return plan_shards(self.lengths)

    def prepare(self, work: Work) -> None:
        """Whatever should be there before this stage's line of progress begins: its model."""
        if self.needs is not None:
            work.models.get(self.needs)

    @property
    def needs(self) -> ModelHandle | None:
        """The model that it needs; None: none."""
        return None

    def first_budget(self, models: Models) -> Budget:
        """What a batch may hold, when no earlier run of this stage has found out."""
        return Budget()

    def stream(self, shards: Sequence[list[int]], work: Work) -> Iterator[T]:
        """Several shards, in their order; a stage that computes across shards does it here."""
        for rows in shards:
            yield self.compute(rows, work)

    def tokens(self, found: T, rows: list[int]) -> int:
        """Tokens that went through a model for a shard."""
        lengths = self.lengths
        return sum(lengths[i] for i in rows)

    def finish(self, done: Finished[T], work: Work) -> None:
        """Write what stands beside the shards, once all of them are there."""


@dataclass(frozen=True, slots=True, eq=False)
class Finished(Generic[T]):
    """A stage of which every shard is there."""

    stage: Stage[T]
    store: ShardStore
    shards: Sequence[Sequence[int]]
    """Examples of each shard."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Of the shards, in their order."""
        return tuple(
            (self.store.folder / shard_name(i, self.stage.suffix)).resolve()
            for i in range(len(self.shards))
        )

    def parts(self) -> Iterator[tuple[Sequence[int], T]]:
        """Each shard with its examples."""
        for i, rows in enumerate(self.shards):
            yield rows, self.stage.unpack(self.store.read(shard_name(i, self.stage.suffix)))

    def drop(self) -> None:
        """Delete it: what was read from it is of no further use."""
        remove_tree(self.store.folder)


def drop_all(folder: Path, kinds: Iterable[type[Stage[Any]]]) -> None:
    """Delete every stage of some kinds in a run directory, whole or not."""
    names = {kind.name for kind in kinds}
    for place in (folder / STAGES).glob("*"):
        if place.name.rpartition("-")[0] in names:
            remove_tree(place)


def in_order(done: Finished[list[X]]) -> list[X]:
    """What a stage found of each example, in the order of the examples."""
    found = {i: value for rows, part in done.parts() for i, value in zip(rows, part, strict=True)}
    return [found[i] for i in range(len(found))]


class Runner(Protocol):
    """Computes stages, somewhere."""

    budgets: Budgets
    models: Models

    def run(self, stage: Stage[T]) -> Finished[T]:
        """Every shard of a stage, found or computed."""

    def find(self, stage: Stage[T]) -> Finished[T] | None:
        """A stage that is there already; None when a shard of it is missing."""


class LocalRunner:
    """Computes in this process, one shard after the other.

    Args:
        folder: the run directory, locked.
        progress: what it reports to.
        models: where stages find theirs.
        writer: its name, where several write into this directory at once; as in `ShardStore`.
    """

    def __init__(self, folder: Path, progress: Progress, models: Models, writer: str = "") -> None:
        self.folder, self.progress, self.models, self.writer = folder, progress, models, writer
        self.budgets = Budgets(folder, progress.begun, writer)

    def find(self, stage: Stage[T]) -> Finished[T] | None:
        """A stage that is there already; None when a shard of it is missing."""
        done, missing = self._look(stage)
        return None if missing else done

    def run(self, stage: Stage[T]) -> Finished[T]:
        """Every shard of a stage, found or computed."""
        done, missing = self._look(stage)
        work = self._work(stage)
        if missing:
            stage.prepare(work)
            self._compute(done, missing, work)
        stage.finish(done, work)
        return done

    def _look(self, stage: Stage[T]) -> tuple[Finished[T], list[int]]:
        store = ShardStore(self.folder, stage.name, stage.inputs, self.writer)
        shards = stage.shards()
        names = [shard_name(i, stage.suffix) for i in range(len(shards))]
        missing = [i for i, name in enumerate(names) if not store.has(name)]
        return Finished(stage, store, shards), missing

    def _work(self, stage: Stage[Any]) -> Work:
        def first() -> Budget:
            return stage.first_budget(self.models)

        budget = (
            self.budgets.get(stage.budget_name, stage.inputs, first) if stage.budget_name else first
        )
        return Work(self.models, budget, self.progress.begun)

    def _compute(
        self, done: Finished[T], missing: list[int], work: Work, own: Sequence[int] | None = None
    ) -> None:
        """One shard is packed and written while the next is computed, so at most two are in memory.

        Args:
            done: the stage, of which shards are missing.
            missing: those that are computed here.
            work: what it computes with.
            own: shards that are computed here or were, which progress counts; None: all.
        """
        stage, shards = done.stage, [list(rows) for rows in done.shards]
        total = sum(len(shards[i]) for i in (range(len(shards)) if own is None else own))
        kept = total - sum(len(shards[i]) for i in missing)
        found = stage.stream([shards[i] for i in missing], work)
        with (
            self.progress.stage(stage.title, total, stage.unit, kept) as counter,
            Background() as writer,
        ):
            for i in missing:
                part = next(found)
                writer.wait()
                self.progress.count_tokens(stage.title, stage.tokens(part, shards[i]))
                content = stage.pack(part, shards[i])
                del part  # before the next shard is computed
                writer.submit(done.store.write, shard_name(i, stage.suffix), content)
                del content  # which the writer has now
                counter.advance(len(shards[i]))
