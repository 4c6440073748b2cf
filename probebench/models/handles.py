"""A model before its weights are loaded, what it is known by, and the model itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from probebench.files import content_key
from probebench.models.blocks.sites import base_of
from probebench.models.checkpoints.adapters import Adapter
from probebench.models.checkpoints.gguf import GgufFacts
from probebench.models.devices import Placement
from probebench.models.specs import ModelSpec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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

    @property
    def text_limit(self) -> int:
        """Tokens that model and tokenizer are made for."""
        longest = int(self.tokenizer.model_max_length)  # astronomical where it knows no limit
        return longest if self.max_length is None else min(self.max_length, longest)

    @property
    def key(self) -> str:
        """The same for the same weights on the same devices, also of a handle that was sent
        elsewhere."""
        return content_key({"asked": asdict(self.spec), "found": asdict(self.identity)})


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
        # offloaded: brought there when needed
        where = getattr(getattr(table, "_hf_hook", None), "execution_device", None)
        return self.handle.placement.device if where is None else torch.device(where)

    @property
    def base(self) -> torch.nn.Module:
        """The model without its vocabulary projection."""
        base: torch.nn.Module = base_of(self.model)
        return base
