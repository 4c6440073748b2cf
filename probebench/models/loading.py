"""Models: from a name to weights on a device, with what identifies them."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.errors import MemoryLimitError, UsageError
from probebench.models.blocks.sites import base_of
from probebench.models.checkpoints import gguf, gguf_model
from probebench.models.checkpoints.adapters import Adapter, find_adapter, merge
from probebench.models.checkpoints.classes import as_decoder, is_causal, skeleton
from probebench.models.checkpoints.folders import Checkpoint, check_loaded
from probebench.models.checkpoints.gguf import GgufFacts
from probebench.models.checkpoints.hashes import (
    code_hash,
    folder_hash,
    stored_quantization,
    tokenizer_hash,
)
from probebench.models.devices import Placement, check_map, place
from probebench.models.devices import pick_device as pick_device
from probebench.models.optional import installed, need
from probebench.models.specs import QUANTIZATIONS
from probebench.models.specs import ModelSpec as ModelSpec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

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


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What a name was resolved to; goes into content keys and the record."""

    name: str
    """Hub id, `tiny`, or a folder's own name."""
    revision: str
    """Commit on the hub, or `sha256:` of a folder's config and weights."""
    tokenizer: str
    """SHA-256 of vocabulary, merges, special tokens and normaliser."""
    chat_template: str | None
    """SHA-256 of the chat template; None for a model without one."""
    architecture: str
    n_layers: int
    width: int
    n_parameters: int
    dtype: str
    attention: str
    device: str
    """Names of the devices; GPUs by model."""
    device_map: str | None = None
    """How it is spread over them; None: it is on one."""
    quantization: str = "none"
    """`bitsandbytes-4bit-nf4` and the like, or the method of a checkpoint that is quantised
    already."""
    peft: str | None = None
    """`sha256:` of the adapter that was merged into the weights."""
    remote_code: str | None = None
    """`sha256:` of the Python code that came with the model and ran; None: none did."""
    libraries: dict[str, str] = field(default_factory=dict)
    """Versions of the libraries that only these options need."""
    gguf: GgufFacts | None = None
    """The file, where the model is one of GGUF."""

    @property
    def packed(self) -> bool:
        """Do the weights stay quantised? Those of a GGUF file are brought back to ordinary ones."""
        return self.quantization != "none" and self.gguf is None

    def key(self) -> dict[str, Any]:
        """The part that decides numbers: not under which name the same weights were found."""
        facts = {k: v for k, v in asdict(self).items() if k not in ("name", "gguf")}
        return (
            facts
            if self.gguf is None
            else {**facts, "gguf": [self.gguf.sha256, self.gguf.quantization]}
        )


@dataclass(frozen=True, slots=True, eq=False)
class ModelHandle:
    """A model that has been found but not loaded: all that can be known without its weights."""

    spec: ModelSpec
    identity: ModelIdentity
    tokenizer: PreTrainedTokenizerBase
    stop_ids: frozenset[int]
    """The model's own end-of-answer tokens."""
    max_length: int | None
    """Tokens that the model's positions are made for; None where its config says nothing."""
    causal: bool
    """False for encoders and bare models without a language-model head: they read statements but
    generate nothing."""
    skeleton: torch.nn.Module
    """The model without its weights: its modules and their shapes."""
    placement: Placement
    adapter: Adapter | None = None
    notes: tuple[str, ...] = ()
    """What a reader of the record should know about the model."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model with its weights on its devices."""

    model: PreTrainedModel
    handle: ModelHandle

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.handle.tokenizer

    @property
    def device(self) -> torch.device:
        """Where token ids go: the device of the input embedding."""
        import torch

        table = self.model.get_input_embeddings()
        weight = next(table.parameters())
        if weight.device.type != "meta":
            return weight.device
        where = getattr(
            getattr(table, "_hf_hook", None), "execution_device", None
        )  # offloaded: brought there when needed
        return self.handle.placement.device if where is None else torch.device(where)

    @property
    def base(self) -> torch.nn.Module:
        """The model without its vocabulary projection."""
        base: torch.nn.Module = base_of(self.model)
        return base


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


def find_model(spec: ModelSpec, *, offline: bool = False) -> ModelHandle:
    """Config, tokenizer and identity, without loading weights.

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
        found = replace(found, revision=commit or found.revision).opened()
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
    if file is not None:
        libraries |= installed("gguf")
    elif quantization != "none":
        libraries |= installed(*QUANTIZERS)
    text = config.get_text_config()
    auto = (
        "float32"
        if placement.device.type == "cpu"
        else str(own or ("float32" if file is None else file.dtype))
    )
    identity = ModelIdentity(
        name=spec.shown,
        revision=commit or (f"sha256:{file.sha256}" if file else folder_hash(Path(spec.source))),
        tokenizer=tokenizer_hash(tokenizer),
        chat_template=hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()
        if tokenizer.chat_template
        else None,
        architecture=type(shape).__name__,
        n_layers=text.num_hidden_layers,
        width=text.hidden_size,
        n_parameters=sum(p.numel() for p in shape.parameters()),
        dtype=(auto if spec.dtype == "auto" else spec.dtype).removeprefix("torch."),
        attention=str(getattr(shape.config, "_attn_implementation", "eager")),
        device=placement.shown,
        device_map=placement.key,
        quantization=quantization,
        peft=adapter.hash if adapter else None,
        remote_code=code_hash(config, shape, tokenizer),
        libraries=libraries,
        gguf=file,
    )
    longest = getattr(text, "max_position_embeddings", None)
    notes += adapter.notes(spec.shown) if adapter else ()
    return ModelHandle(
        spec,
        identity,
        tokenizer,
        stops,
        longest,
        is_causal(config),
        shape,
        placement,
        adapter,
        notes,
    )


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
            "weights. Give --peft with the model "
            f"that is not quantised."
        )
    return stored


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
            model = _weights(handle, spec.checkpoint(offline=offline))
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


def _weights(handle: ModelHandle, found: Checkpoint) -> PreTrainedModel:
    """The model as transformers reads it."""
    import torch

    spec, identity, placement = handle.spec, handle.identity, handle.placement
    if not found.local:
        found = replace(
            found, revision=identity.revision
        )  # the recorded commit, though the hub may have moved on
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
    check_loaded(spec.name, model, facts)
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
