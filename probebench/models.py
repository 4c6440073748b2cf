"""Models: from a name to weights on a device, with what identifies them."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.errors import MemoryLimitError, UnavailableError, UnknownNameError, UsageError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED = {"tiny": Path(__file__).parent / "tiny"}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, and how to run it: everything here can change a number."""

    name: str
    """`tiny`, a folder, or a hub id."""
    revision: str | None = None
    dtype: str = "auto"
    """`auto`: float32 on a CPU, the checkpoint's own on a GPU."""
    device: str = "auto"
    """`auto`: the first GPU when there is one."""
    attention: str | None = None
    """Attention implementation of transformers; None leaves it to the model."""

    @property
    def slug(self) -> str:
        """Folder name for this model's runs."""
        if self.is_folder:  # two folders of one name are two models
            where = hashlib.sha256(str(Path(self.name).resolve()).encode()).hexdigest()[:6]
            return f"{self.shown}-{where}"
        return self.name.replace("/", "__")

    @property
    def shown(self) -> str:
        """The name without a machine's path: a folder's own name, or the hub id."""
        return Path(self.name).resolve().name if self.is_folder else self.name

    @property
    def is_folder(self) -> bool:
        return self.name not in EMBEDDED and Path(self.name).is_dir()

    @property
    def source(self) -> str:
        """What transformers is asked for."""
        return str(EMBEDDED.get(self.name, self.name))


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

    def key(self) -> dict[str, Any]:
        """The part that decides numbers: not under which name the same weights were found."""
        return {k: v for k, v in asdict(self).items() if k != "name"}


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
    """False for encoders and bare models without a language-model head: they read statements but generate nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model with its weights on a device."""

    model: PreTrainedModel
    handle: ModelHandle

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.handle.tokenizer

    @property
    def device(self) -> torch.device:
        return self.model.device


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No progress bar, advice or warning of a library reaches the user raw."""
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(before)


def find_model(spec: ModelSpec, *, offline: bool = False) -> ModelHandle:
    """Config, tokenizer and identity, without loading weights.

    Raises:
        UnknownNameError: neither an embedded name, a folder nor a hub id that could exist.
        UnavailableError: a hub id that cannot be reached from here.
        UsageError: a folder that holds no such model, or a device that this machine does not have.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer

    device = _device(spec.device)
    with quiet_libraries(), _reachable(spec):
        config = AutoConfig.from_pretrained(spec.source, revision=spec.revision, local_files_only=offline)
        tokenizer = AutoTokenizer.from_pretrained(spec.source, revision=spec.revision, local_files_only=offline)
        with torch.device("meta"):
            shape = _model_class(config).from_config(config, attn_implementation=spec.attention)
    text = config.get_text_config()
    dtype = spec.dtype if spec.dtype != "auto" else ("float32" if device.type == "cpu" else str(config.dtype or "float32"))
    identity = ModelIdentity(
        name=spec.shown,
        revision=getattr(config, "_commit_hash", None) or folder_hash(Path(spec.source)),
        tokenizer=tokenizer_hash(tokenizer),
        chat_template=hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest() if tokenizer.chat_template else None,
        architecture=type(shape).__name__,
        n_layers=text.num_hidden_layers,
        width=text.hidden_size,
        n_parameters=sum(p.numel() for p in shape.parameters()),
        dtype=dtype.removeprefix("torch."),
        attention=str(getattr(shape.config, "_attn_implementation", "eager")),
        device=device.type if device.type == "cpu" else torch.cuda.get_device_name(device),
    )
    longest = getattr(text, "max_position_embeddings", None)
    return ModelHandle(spec, identity, tokenizer, _stop_ids(spec, config, tokenizer, offline=offline), longest, _is_causal(config))


def load_model(handle: ModelHandle, *, offline: bool = False) -> LoadedModel:
    """The weights, on their device, in the dtype that the handle says.

    Raises:
        UnavailableError: weights that cannot be reached from here.
        MemoryLimitError: weights that do not fit on the device.
    """
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, GenerationConfig

    spec, device = handle.spec, _device(handle.spec.device)
    with quiet_libraries(), _reachable(spec):
        model = (AutoModelForCausalLM if handle.causal else AutoModel).from_pretrained(
            spec.source,
            revision=spec.revision,
            dtype=getattr(torch, handle.identity.dtype),
            attn_implementation=spec.attention,
            use_safetensors=True,
            local_files_only=offline,
        )
    if handle.causal:
        # generate() fills what its own config leaves open from the model's: a repetition penalty there would bend greedy
        # decoding without a word
        model.generation_config = GenerationConfig()
    try:
        return LoadedModel(model.to(device).eval(), handle)
    except torch.OutOfMemoryError:
        raise MemoryLimitError(
            f"The weights of {spec.name!r} do not fit on {device}. Try --dtype bfloat16, or --device cpu."
        ) from None


def _is_causal(config: Any) -> bool:
    """Does the checkpoint say that it has a language-model head that generates? Without a word, assume so."""
    names = config.architectures or ["ForCausalLM"]
    return any(name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")) for name in names)


def _model_class(config: Any) -> Any:
    from transformers import AutoModel, AutoModelForCausalLM

    return AutoModelForCausalLM if _is_causal(config) else AutoModel


def _stop_ids(spec: ModelSpec, config: Any, tokenizer: PreTrainedTokenizerBase, *, offline: bool) -> frozenset[int]:
    from transformers import GenerationConfig

    holders: list[Any] = [config, tokenizer]
    with suppress(OSError):  # many folders have no generation_config.json
        holders.append(GenerationConfig.from_pretrained(spec.source, revision=spec.revision, local_files_only=offline))
    found: set[int] = set()
    for holder in holders:
        ids = getattr(holder, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or [])
    return frozenset(found)


def folder_hash(folder: Path) -> str:
    """`sha256:` over config and weights of a model folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name in ("config.json", "generation_config.json") or path.suffix in (".safetensors", ".bin"):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of everything that decides how text becomes ids."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(f"{content}\x1f{sorted(map(str, tokenizer.special_tokens_map.items()))}".encode()).hexdigest()


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UnknownNameError("device", name, ["auto", "cpu", "cuda", "cuda:0"])
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        here = f"{torch.cuda.device_count()} CUDA GPUs" if torch.cuda.is_available() else "no CUDA GPU"
        raise UsageError(f"--device {name}: this machine has {here} that PyTorch can use. Use --device auto or cpu.")
    return device


@contextmanager
def _reachable(spec: ModelSpec) -> Iterator[None]:
    """One clear line when a model cannot be had."""
    if spec.name not in EMBEDDED and not spec.is_folder:
        if spec.name.count("/") > 1 or spec.name.startswith((".", "/")):
            raise UsageError(f"There is no model folder {spec.name!r}.")
        if "/" not in spec.name:
            raise UnknownNameError("model", spec.name, EMBEDDED, "Give an embedded name, a folder, or a hub id such as 'org/name'.")
    try:
        yield
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        if spec.is_folder or spec.name in EMBEDDED:
            raise UsageError(
                f"The folder {spec.source!r} is not a language model of transformers with safetensors weights: {reason[:200]}"
            ) from None
        raise UnavailableError(
            f"The model {spec.name!r} cannot be loaded from the hub here. Without network, download it where there is one and "
            f"give the folder with --model DIR; with network, check name, revision and access rights. ({reason[:160]})"
        ) from None
