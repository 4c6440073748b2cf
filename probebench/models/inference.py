"""Natural-language inference: does one text follow from another, contradict it, or neither? Asked
of a model that was trained to classify pairs of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from probebench.errors import UsageError
from probebench.models.handles import LoadedModel, ModelHandle
from probebench.models.loading import Find, find_model, quiet_libraries
from probebench.models.passes.batches import Budget, in_batches
from probebench.models.passes.scored import pad_right
from probebench.models.specs import ModelSpec
from probebench.text import listed
from probebench.types import Floats

if TYPE_CHECKING:
    import torch

VERDICTS = {"entailment": "entail", "neutral": "neutral", "contradiction": "contradict"}
"""What a model can say of two texts, in the order of probabilities here, and what the name of its
label holds."""
SHOWN = 6
"""Labels that an error names at most."""
ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)
"""Columns of probabilities."""


def find_inference(
    name: str, *, device: str = "auto", offline: bool = False, find: Find = find_model
) -> ModelHandle:
    """A model of natural-language inference by folder or hub id, with its head.

    Raises:
        UsageError: a model that does not classify texts, or whose labels are others; or as
            `find_model`.
        UnavailableError: a hub id that cannot be reached from here.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    handle = find(ModelSpec(name, device=device), offline=offline)
    config, known = handle.skeleton.config, AutoModelForSequenceClassification._model_mapping
    named = any("SequenceClassification" in kind for kind in config.architectures or ())
    if not named or type(config) not in known:
        raise UsageError(
            f"--nli {name!r} ({handle.identity.architecture}) does not classify pairs of texts. "
            "Give a model whose config.json says ForSequenceClassification, trained for "
            "natural-language inference."
        )
    label_order(handle)
    with quiet_libraries(), torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    identity = replace(
        handle.identity,
        architecture=type(model).__name__,
        n_parameters=sum(p.numel() for p in model.parameters()),
    )
    return replace(handle, identity=identity, skeleton=model, causal=False)


def label_order(handle: ModelHandle) -> tuple[int, ...]:
    """Outputs of the model that are entailment, neutral and contradiction, by their names.

    Raises:
        UsageError: its labels are not these three.
    """
    names = {int(k): str(v) for k, v in handle.skeleton.config.id2label.items()}
    found = [[i for i, n in names.items() if part in n.lower()] for part in VERDICTS.values()]
    if len(names) != len(VERDICTS) or any(len(own) != 1 for own in found):
        there = listed([*names.values()], SHOWN)
        raise UsageError(
            f"--nli {handle.spec.name!r} has the labels {there}. Of its three labels, one has to "
            "be named entail..., one neutral and one contradict...: give such a model, or name "
            "them so by id2label in its config.json."
        )
    return tuple(own[0] for own in found)


class Pair(NamedTuple):
    """A premise and a hypothesis as a model reads them."""

    ids: tuple[int, ...]
    kinds: tuple[int, ...]
    """(token,) which of the two each is of; empty where the model is not told."""


class EncodedPairs(NamedTuple):
    """Pairs as a model reads them."""

    pairs: list[Pair]
    n_cut: int
    """Pairs that were longer than it can read; the longer text of each lost its end."""


def encode_pairs(handle: ModelHandle, texts: Sequence[tuple[str, str]]) -> EncodedPairs:
    """(premise, hypothesis) as tokens, cut to what the model was made for."""
    tokenizer, limit = handle.tokenizer, handle.text_limit
    pairs, n_cut = [], 0
    for premise, hypothesis in texts:
        found = tokenizer(premise, hypothesis)
        if len(found["input_ids"]) > limit:
            n_cut += 1
            found = tokenizer(premise, hypothesis, truncation=True, max_length=limit)
        pairs.append(Pair(tuple(found["input_ids"]), tuple(found.get("token_type_ids", ()))))
    return EncodedPairs(pairs, n_cut)


def infer(loaded: LoadedModel, pairs: Sequence[Pair], budget: Budget | None = None) -> Floats:
    """Probabilities of what a model says of pairs.

    Args:
        loaded: a model found by `find_inference`.
        pairs: by `encode_pairs`.
        budget: what a batch may hold; None: the fixed one.

    Returns:
        (pair, 3): entailment, neutral and contradiction, in the order of `pairs`.
    """
    order = list(label_order(loaded.handle))
    # a classifier that reads the last token finds it by what fills up a batch
    filling = loaded.model.config.get_text_config().pad_token_id
    alike = "any" if filling is not None else "alone"

    def run(rows: list[int]) -> list[Floats]:
        return list(_batch(loaded, [pairs[i] for i in rows], filling or 0)[:, order])

    lengths = [len(p.ids) for p in pairs]
    found = in_batches(lengths, run, "comparing texts", budget, alike)
    return np.array(found, dtype=np.float64).reshape(-1, len(VERDICTS))


def _batch(loaded: LoadedModel, pairs: Sequence[Pair], filling: int) -> Floats:
    """(pair, 3) probabilities in the order of the model's labels."""
    import torch

    ids, mask = pad_right([p.ids for p in pairs])
    given: dict[str, torch.Tensor] = {"input_ids": ids.masked_fill(mask == 0, filling)}
    if pairs[0].kinds:
        given["token_type_ids"] = pad_right([p.kinds for p in pairs])[0]
    with torch.inference_mode():
        there = {name: t.to(loaded.device) for name, t in given.items()}
        logits = loaded.model(**there, attention_mask=mask.to(loaded.device)).logits
        return np.asarray(logits.double().softmax(dim=-1).cpu().numpy())
