"""Where the model's heads look while it writes an answer, as a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd

from probebench.files import content_key
from probebench.models.handles import ModelHandle
from probebench.models.passes.batches import BATCH_TOKENS, Budget
from probebench.stages.engine import Models, Work
from probebench.stages.parquet import TableStage
from probebench.stages.plan import Plan
from probebench.states.looks import TOP, Written, look


@dataclass(frozen=True, eq=False)
class Looking(TableStage):
    """Columns `icr`, a score per block, and `lookback`, a ratio per head: means over the answer's
    tokens."""

    plan: Plan
    sequences: Sequence[Written]
    name: ClassVar[str] = "looks"
    title: ClassVar[str] = "Reading attention"
    budget_name: ClassVar[str] = "looks"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        places = [(s.ids, s.n_prompt, s.end) for s in self.sequences]
        content = content_key({"sequences": places, "top": TOP})
        return {"answers": self.plan.answer_inputs, "content": content}

    @property
    def lengths(self) -> list[int]:
        return [len(s.ids) for s in self.sequences]

    @property
    def needs(self) -> ModelHandle:
        return self.plan.handle

    def first_budget(self, models: Models) -> Budget:
        # a block's map of every head stands there at once
        return Budget(BATCH_TOKENS // 4)

    def compute(self, rows: list[int], work: Work) -> pd.DataFrame:
        some = [self.sequences[i] for i in rows]
        found = look(work.models.get(self.needs), some, work.budget())
        return pd.DataFrame(
            {"icr": [x.icr for x in found], "lookback": [x.lookback for x in found]}
        )
