"""A model's weights, as transformers reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from probebench.models.checkpoints import gguf_model
from probebench.models.checkpoints.folders import Checkpoint
from probebench.models.checkpoints.loaded import check_loaded
from probebench.models.handles import ModelHandle
from probebench.models.optional import need

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def read_weights(handle: ModelHandle, found: Checkpoint) -> PreTrainedModel:
    """The model as transformers reads it."""
    import torch

    spec, identity, placement = handle.spec, handle.identity, handle.placement
    if not found.local:
        # the recorded commit, though the hub may have moved on
        found = replace(found, revision=identity.revision)
    options: dict[str, Any] = {"device_map": placement.map} if placement.map is not None else {}
    dtype = getattr(torch, identity.dtype)
    if identity.packed:
        if placement.map is None and placement.device.type != "cpu":
            need(f"A model quantised by {identity.quantization}", "accelerate")
            options["device_map"] = {"": str(placement.device)}
        if spec.quantization != "none":
            options["quantization_config"] = _bitsandbytes(spec.quantization, dtype)
    else:
        options["ignore_mismatched_sizes"] = True  # checked below, with names
    found, kind = found.opened(), type(handle.skeleton)
    with found.reading(), _places(found) as (source, where):
        model: PreTrainedModel
        model, facts = kind.from_pretrained(
            source,
            config=handle.skeleton.config,
            dtype=dtype,
            attn_implementation=spec.attention,
            use_safetensors=True,
            trust_remote_code=spec.trust_remote_code,
            adapter_kwargs={"local_files_only": found.offline},
            output_loading_info=True,
            **where,
            **options,
        )
    check_loaded(spec.name, model, facts, identity.n_layers)
    return model


@contextmanager
def _places(found: Checkpoint) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where transformers finds the weights, and with which arguments."""
    if found.header is None:
        yield found.source, found.where
        return
    with gguf_model.alone(found.header) as place:
        yield (
            place["folder"],
            {"gguf_file": place["file"], "local_files_only": True, **gguf_model.loading_options()},
        )


def _bitsandbytes(name: str, dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )
