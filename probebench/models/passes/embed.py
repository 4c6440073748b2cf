"""Texts as vectors by an encoder: the mean of its last hidden states, brought to length one
(Reimers and Gurevych 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probebench.errors import UsageError
from probebench.models.handles import LoadedModel, ModelHandle
from probebench.models.loading import Find, find_model
from probebench.models.passes.batches import Budget, in_batches
from probebench.models.passes.scored import pad_right
from probebench.models.specs import ModelSpec

if TYPE_CHECKING:
    import torch


def find_encoder(
    name: str, *, device: str = "auto", offline: bool = False, find: Find = find_model
) -> ModelHandle:
    """A text encoder by folder or hub id.

    Raises:
        UsageError: a model of two halves, whose states are not those of one text; or as
            `find_model`.
        UnavailableError: a hub id that cannot be reached from here.
    """
    handle = find(ModelSpec(name, device=device), offline=offline)
    # the config of an encoder alone may not say so
    if all(hasattr(handle.skeleton, half) for half in ("encoder", "decoder")):
        raise UsageError(
            f"--encoder {name!r} has an encoder and a decoder. Give a model that reads one text, "
            "such as a BERT."
        )
    return handle


def encode_texts(handle: ModelHandle, texts: Sequence[str]) -> tuple[list[tuple[int, ...]], int]:
    """Token ids of each text, cut to what the encoder was made for, and how many were cut."""
    tokenizer, limit = handle.tokenizer, handle.text_limit
    whole = [tokenizer(text)["input_ids"] for text in texts]
    n_cut = sum(len(ids) > limit for ids in whole)
    cut = [
        tokenizer(text, truncation=True, max_length=limit)["input_ids"] if len(ids) > limit else ids
        for text, ids in zip(texts, whole, strict=True)
    ]
    return [tuple(ids) for ids in cut], n_cut


def embed(
    loaded: LoadedModel, sequences: Sequence[tuple[int, ...]], budget: Budget | None = None
) -> NDArray[np.float32]:
    """(text, width) vectors of length one, in the order of `sequences`."""

    def run(rows: list[int]) -> list[NDArray[np.float32]]:
        return list(_batch(loaded, [sequences[i] for i in rows]))

    return np.array(
        in_batches([len(s) for s in sequences], run, "embedding texts", budget), dtype=np.float32
    )


def _batch(loaded: LoadedModel, sequences: list[tuple[int, ...]]) -> NDArray[np.float32]:
    import torch

    ids, mask = pad_right(sequences)
    ids, mask = ids.to(loaded.device), mask.to(loaded.device)
    with torch.inference_mode():
        states: torch.Tensor = loaded.base(
            input_ids=ids, attention_mask=mask
        ).last_hidden_state.float()
        there = mask.to(states.device)[:, :, None]
        means = (states * there).sum(dim=1) / there.sum(dim=1)
        return np.asarray(torch.nn.functional.normalize(means, dim=-1).cpu().numpy())
