"""Models: from a name to weights on a device, with what identifies them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from probebench.errors import MemoryLimitError, UsageError
from probebench.models.checkpoints import gguf
from probebench.models.checkpoints.adapters import find_adapter, merge
from probebench.models.checkpoints.classes import as_decoder, is_causal, skeleton
from probebench.models.checkpoints.folders import Checkpoint
from probebench.models.checkpoints.hashes import (
    code_hash,
    folder_hash,
    stored_quantization,
    template_hash,
    tokenizer_hash,
)
from probebench.models.devices import Placement, check_map, place
from probebench.models.handles import LoadedModel, ModelHandle, ModelIdentity
from probebench.models.optional import installed, need
from probebench.models.specs import QUANTIZATIONS
from probebench.models.specs import ModelSpec as ModelSpec
from probebench.models.weights import read_weights
from probebench.options.field import options_of
from probebench.options.python import speaks_python

QUANTIZERS = (
    "accelerate",
    "bitsandbytes",
    "compressed-tensors",
    "gptqmodel",
    "kernels",
    "optimum",
    "torchao",
)
"""Libraries that may compute with quantised weights."""
UNREAD = "not read"
"""The revision of a folder of which only the shape was asked for."""


class Find(Protocol):
    """Finds a model: `find_model`, here or on another machine."""

    def __call__(self, spec: ModelSpec, *, offline: bool) -> ModelHandle: ...


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No progress bar, advice or warning of a library reaches the user raw."""
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for library in ("huggingface_hub", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(before)


@speaks_python(*options_of(ModelSpec))
def find_model(spec: ModelSpec, *, offline: bool = False, weights: bool = True) -> ModelHandle:
    """Config, tokenizer and identity, without loading weights.

    Without `weights` only its shape is asked for, as on a GPU: they need not be there, and the
    revision of a folder says nothing of them.

    Raises:
        UnknownNameError: neither an embedded name, a folder nor a hub id that could exist; or a
            value that is not in its list.
        UnavailableError: a hub id that cannot be reached from here.
        UsageError: a folder that holds no such model, a device that this machine does not have, a
            library that an option needs and that is not installed, or code to trust.
    """
    spec.check()
    placement = place(spec.device, spec.device_map)
    adapter = find_adapter(spec.peft) if spec.peft is not None else None
    libraries = _libraries(spec, placement)
    found = spec.checkpoint(offline=offline)
    with quiet_libraries():
        commit = found.commit()
        # all that follows is of one commit, and it is the recorded one
        found = replace(found, revision=commit or found.revision, weights=weights).opened()
        config, notes = as_decoder(found.config())
        # of its text part only, where a model that sees says no more; and asked before a skeleton
        # fills in its own
        own = config.dtype or config.get_text_config().dtype
        tokenizer = found.tokenizer(config)
        shape = skeleton(found, config, spec.attention)
        stops = found.stop_ids(config, tokenizer)
        file = gguf.facts(found.header) if found.header else None
        quantization = _quantization(spec, found, config) if file is None else file.method
    if isinstance(placement.map, dict):
        check_map(placement.map, shape)
    if file is not None or quantization != "none":
        libraries |= installed(*(QUANTIZERS if file is None else ["gguf"]))
    text = config.get_text_config()
    identity = ModelIdentity(
        name=spec.shown,
        revision=commit or _revision(spec, file, weights=weights),
        tokenizer=tokenizer_hash(tokenizer),
        chat_template=template_hash(tokenizer),
        architecture=type(shape).__name__,
        n_layers=text.num_hidden_layers,
        width=text.hidden_size,
        n_parameters=sum(p.numel() for p in shape.parameters()),
        dtype=_dtype(spec, own, file, full=weights and placement.device.type == "cpu"),
        attention=str(getattr(shape.config, "_attn_implementation", "eager")),
        device=placement.shown,
        device_map=placement.key,
        quantization=quantization,
        peft=adapter.hash if adapter else None,
        remote_code=code_hash(config, shape, tokenizer),
        libraries=libraries,
        gguf=file,
    )
    longest, causal = _readable(text, shape), is_causal(config)
    notes += adapter.notes(spec.shown) if adapter else ()
    return ModelHandle(
        spec, identity, tokenizer, stops, longest, causal, shape, placement, adapter, notes
    )


def _readable(config: Any, shape: Any) -> int | None:
    """Tokens that a model's positions are made for; None where its config says nothing."""
    longest = getattr(config, "max_position_embeddings", None)
    # RoBERTa and its like count positions from behind that of padding
    unused = [
        table.padding_idx + 1
        for name, table in shape.named_modules()
        if name.endswith("position_embeddings") and getattr(table, "padding_idx", None) is not None
    ]
    return None if longest is None else longest - max(unused, default=0)


def _revision(spec: ModelSpec, file: gguf.GgufFacts | None, *, weights: bool) -> str:
    """What stands for a commit where a model's files are of this machine."""
    if file is not None:
        return f"sha256:{file.sha256}"
    return folder_hash(Path(spec.source)) if weights else UNREAD


def _dtype(spec: ModelSpec, own: Any, file: gguf.GgufFacts | None, *, full: bool) -> str:
    """Of the weights in memory; `auto` is the checkpoint's own, or float32 where that is wanted."""
    if spec.dtype != "auto":
        return spec.dtype
    stored = own or ("float32" if file is None else file.dtype)
    return "float32" if full else str(stored).removeprefix("torch.")


def _libraries(spec: ModelSpec, placement: Placement) -> dict[str, str]:
    """Versions of what the options need; complains about what is not there."""
    found = need("--device-map", "accelerate") if placement.map is not None else {}
    if spec.peft is not None:
        found |= need("--peft", "peft")
    if spec.quantization != "none":
        option = f"--quantization {spec.quantization}"
        if placement.device.type != "cuda":
            raise UsageError(
                f"{option} needs a CUDA GPU, and this run is on the CPU. Leave it out, or give "
                "--device cuda."
            )
        found |= need(option, "bitsandbytes", "accelerate")
    return found


def _quantization(spec: ModelSpec, found: Checkpoint, config: Any) -> str:
    with found.reading():
        stored = stored_quantization(config)
    if stored is None:
        return QUANTIZATIONS[spec.quantization]
    if spec.quantization != "none":
        raise UsageError(
            f"{spec.name!r} is quantised already ({stored}). Leave --quantization "
            f"{spec.quantization} out."
        )
    if spec.peft is not None:
        raise UsageError(
            f"{spec.name!r} is quantised ({stored}), and merging an adapter would round its "
            "weights. Give --peft with the model that is not quantised."
        )
    return stored


@speaks_python(*options_of(ModelSpec))
def load_model(handle: ModelHandle, *, offline: bool = False) -> LoadedModel:
    """The weights, on their devices, in the dtype that the handle says.

    Raises:
        UnavailableError: weights that cannot be reached from here.
        UsageError: weights, or an adapter, that do not fit the model's config; or a library for
            quantised ones is missing.
        MemoryLimitError: weights that do not fit on the device.
    """
    import torch
    from transformers import GenerationConfig

    spec, device = handle.spec, handle.placement.device
    try:
        with quiet_libraries():
            model = read_weights(handle, spec.checkpoint(offline=offline))
            # what is quantised or spread has been put into its place while it was read
            if handle.placement.map is None and not handle.identity.packed:
                model = model.to(device)
            if handle.adapter is not None:
                model = merge(model, handle.adapter)
    except torch.OutOfMemoryError:
        raise MemoryLimitError(
            f"The weights of {spec.name!r} do not fit on {device}. Try --dtype bfloat16, "
            "--device-map auto, or --device cpu."
        ) from None
    if handle.causal:
        # generate() fills what its own config leaves open from the model's: a repetition penalty
        # there would bend greedy decoding without a word
        model.generation_config = GenerationConfig()
    return LoadedModel(model.eval(), handle)
