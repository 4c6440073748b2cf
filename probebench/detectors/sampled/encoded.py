"""Vectors of drawn answers by a text encoder, each distinct text once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from probebench.detectors.embedding import Embedded
from probebench.models.passes.embed import encode_texts
from probebench.types import Float32s, Floats

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.stage import Runner


def vectors_of(data: RunData, runner: Runner, texts: Sequence[str]) -> dict[str, Float32s]:
    """Text -> (width,) vector of length one, by the encoder of the run."""
    handle = data.plan.beside.encoder
    assert handle is not None  # the row needs one
    unique = list(dict.fromkeys(texts))
    ids, _ = encode_texts(handle, unique)
    found: dict[str, Float32s] = {}
    for shard, table in runner.run(Embedded(handle, ids)).parts():
        found |= {unique[i]: v for i, v in zip(shard, table.vector, strict=True)}
    return found


def similarities(data: RunData, runner: Runner, texts: Sequence[Sequence[str]]) -> list[Floats]:
    """(example,) cosines of (text, text) of each example's texts."""
    vectors = vectors_of(data, runner, [text for some in texts for text in some])
    found = []
    for some in texts:
        Z = np.array([vectors[text] for text in some], dtype=np.float64)
        found.append(Z @ Z.T)
    return found
