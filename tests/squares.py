"""The smallest stage: a number's square."""

import json
from dataclasses import dataclass
from typing import ClassVar

from probebench.models.passes.batches import Budget
from probebench.stages.stage import Stage


@dataclass(frozen=True, eq=False)
class Squared(Stage[list[int]]):
    """The square of every number."""

    numbers: tuple[int, ...]
    name: ClassVar[str] = "squares"
    title: ClassVar[str] = "Squaring"
    suffix: ClassVar[str] = "json"
    budget_name: ClassVar[str] = "squares"
    a_shard: ClassVar[int] = 3
    """Numbers of one."""

    @property
    def inputs(self):
        return {"numbers": self.numbers}

    @property
    def lengths(self):
        return self.numbers

    def shards(self):
        rows = list(range(len(self.numbers)))
        return [rows[i : i + self.a_shard] for i in range(0, len(rows), self.a_shard)]

    def first_budget(self, models):
        return Budget(77)

    def compute(self, rows, work):
        work.begun(len(rows))
        return [self.numbers[i] ** 2 for i in rows]

    def pack(self, found, rows):
        return json.dumps(found).encode()

    def unpack(self, content):
        return json.loads(content)
