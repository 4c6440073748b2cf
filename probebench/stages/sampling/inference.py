"""The stage that asks an inference model about pairs of texts, each distinct pair once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd

from probebench.files import content_key
from probebench.models.handles import ModelHandle
from probebench.models.inference import VERDICTS, Pair, encode_pairs, infer
from probebench.record.versions import versions
from probebench.stages.engine import Work
from probebench.stages.parquet import TableStage
from probebench.stages.stage import Runner
from probebench.types import Floats


@dataclass(frozen=True, eq=False)
class Inferred(TableStage):
    """What an inference model says of pairs, one row each."""

    model: ModelHandle
    pairs: Sequence[Pair]
    name: ClassVar[str] = "inference"
    title: ClassVar[str] = "Comparing texts"
    unit: ClassVar[str] = "pairs"
    budget_name: ClassVar[str] = "inference"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        return {
            "model": self.model.identity.key(),
            "pairs": content_key({"pairs": self.pairs}),
            "versions": versions(),
        }

    @cached_property
    def lengths(self) -> list[int]:
        return [len(p.ids) for p in self.pairs]

    @property
    def needs(self) -> ModelHandle:
        return self.model

    def compute(self, rows: list[int], work: Work) -> pd.DataFrame:
        found = infer(work.models.get(self.model), [self.pairs[i] for i in rows], work.budget())
        return pd.DataFrame(found, columns=list(VERDICTS))


@dataclass(frozen=True, slots=True, eq=False)
class Inferences:
    """What an inference model said of pairs of texts."""

    of: Mapping[tuple[str, str], Floats]
    """(premise, hypothesis) -> (3,) probabilities of entailment, neutral and contradiction."""
    detail: Mapping[str, Any]
    """For the record: the model, the pairs that it was asked about, and how many were cut."""


def inferences(model: ModelHandle, wanted: Iterable[tuple[str, str]], runner: Runner) -> Inferences:
    """What the model says of each (premise, hypothesis)."""
    texts = list(dict.fromkeys(wanted))
    pairs, n_cut = encode_pairs(model, texts)
    found: dict[tuple[str, str], Floats] = {}
    if texts:
        for rows, table in runner.run(Inferred(model, pairs)).parts():
            values = table[list(VERDICTS)].to_numpy(dtype="float64")
            found |= {texts[i]: own for i, own in zip(rows, values, strict=True)}
    asked = {"inference_model": model.identity.name, "revision": model.identity.revision}
    return Inferences(found, {**asked, "n_pairs": len(texts), "n_cut": n_cut})
