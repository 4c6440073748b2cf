"""The runner of one part: its share of the missing shards of each stage, in order, until it comes
to a stage that needs shards of others. It waits for nothing.

A stage of one shard cannot be shared: whichever part needs it computes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from probebench.engines.part import Part
from probebench.errors import UnfinishedError
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.stage import Finished, LocalRunner, Stage
from probebench.store.shards import shard_name
from probebench.text import counted

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Shared(Finished[T]):
    """A stage of which every shard is there, and which other parts may be reading."""

    def drop(self) -> None:
        """Nothing: the run without `--part` deletes it."""


class PartRunner(LocalRunner):
    """Computes a part's shards in this process.

    Args:
        folder: the run directory, locked by this writer.
        progress: what it reports to.
        models: where stages find theirs.
        part: which part this is.
    """

    def __init__(self, folder: Path, progress: Progress, models: Models, part: Part) -> None:
        super().__init__(folder, progress, models, part.writer)
        self.part = part

    def find(self, stage: Stage[T]) -> Finished[T] | None:
        """A stage that is there already; None when a shard of it is missing."""
        done = super().find(stage)
        return None if done is None else Shared(done.stage, done.store, done.shards)

    def run(self, stage: Stage[T]) -> Finished[T]:
        """Every shard of a stage: its own computed, those of others found.

        Raises:
            UnfinishedError: others have not computed theirs.
        """
        done, missing = self._look(stage)
        work, alone = self._work(stage), len(done.shards) == 1
        own = [i for i in range(len(done.shards)) if alone or self._owns(i)]
        if wanted := [i for i in missing if i in own]:
            stage.prepare(work)
            self._compute(done, wanted, work, own)
        done.store.refresh()
        names = {i: shard_name(i, stage.suffix) for i in missing if i not in own}
        if left := [i for i, name in names.items() if not done.store.has(name)]:
            raise UnfinishedError(self._told(stage, left, len(done.shards)))
        stage.finish(done, work)
        return Shared(done.stage, done.store, done.shards)

    def _owns(self, shard: int) -> bool:
        return self.part.owner(shard) == self.part.number

    def _told(self, stage: Stage[Any], left: Sequence[int], n: int) -> str:
        """What is missing, and what to do."""
        owners = Counter(self.part.owner(i) for i in left)
        named = ", ".join(f"{k}/{self.part.of} ({owners[k]})" for k in sorted(owners))
        return (
            f"Part {self.part} has done its share of '{stage.title}'. Of its "
            f"{counted(n, 'shard')} {len(left)} are still missing, by part: {named}. Start this "
            "part again when they are there."
        )
