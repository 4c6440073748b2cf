"""Text embedding: logistic regression on an encoder's vectors of question and answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from probebench.detectors.registry import Description, Scores, detector
from probebench.detectors.text import fit_rows, whole_text
from probebench.files import content_key
from probebench.models.handles import ModelHandle
from probebench.models.passes.embed import embed, encode_texts
from probebench.record.versions import versions
from probebench.stages.data import RunData
from probebench.stages.engine import Work
from probebench.stages.parquet import TableStage
from probebench.stages.stage import Runner


@dataclass(frozen=True, eq=False)
class Embedded(TableStage):
    """One vector per text."""

    encoder: ModelHandle
    ids: Sequence[tuple[int, ...]]
    name: ClassVar[str] = "embedding"
    title: ClassVar[str] = "Embedding texts"
    budget_name: ClassVar[str] = "embedding"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        return {
            "encoder": self.encoder.identity.key(),
            "ids": content_key({"ids": self.ids}),
            "versions": versions(),
        }

    @property
    def lengths(self) -> list[int]:
        return [len(i) for i in self.ids]

    @property
    def needs(self) -> ModelHandle:
        return self.encoder

    def compute(self, rows: list[int], work: Work) -> pd.DataFrame:
        found = embed(work.models.get(self.encoder), [self.ids[i] for i in rows], work.budget())
        return pd.DataFrame({"vector": list(found)})


@detector(
    Description(
        name="text_embedding",
        of_answers="text embedding, question + answer",
        of_statements="text embedding",
        when="after",
        needs=frozenset({"text", "encoder"}),
        skip="text-embedding",
    )
)
def text_embedding(data: RunData, runner: Runner) -> Iterator[Scores]:
    """Logistic regression on an encoder's vectors of question and answer."""
    handle = data.plan.beside.encoder
    assert handle is not None  # the row needs one
    ids, n_cut = encode_texts(handle, [whole_text(a) for a in data.answers])
    X = np.zeros((len(ids), handle.identity.width), dtype=np.float64)
    for shard, table in runner.run(Embedded(handle, ids)).parts():
        X[list(shard)] = np.stack(table.vector.to_list())
    decisions, C = fit_rows(X, data.labels)
    encoder = {"encoder": handle.identity.name, "revision": handle.identity.revision}
    yield Scores("text_embedding", decisions, {"C": C, **encoder, "n_cut": n_cut})
