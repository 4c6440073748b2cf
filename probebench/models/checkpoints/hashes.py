"""What identifies a checkpoint: checksums of its weights, its tokenizer and the code that came with
it, and how it is quantised."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.models.checkpoints.files import CONFIG, GENERATION, INDEX

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def folder_hash(folder: Path) -> str:
    """`sha256:` over config and weights of a model folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        wanted = path.name in (CONFIG, INDEX, GENERATION) or path.suffix == ".safetensors"
        if wanted and path.is_file():  # a link to nothing that is not needed is passed over
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def template_hash(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """SHA-256 of the chat template; None where there is none."""
    template = tokenizer.chat_template
    return hashlib.sha256(str(template).encode()).hexdigest() if template else None


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of everything that decides how text becomes ids."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = (
        backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    )
    return hashlib.sha256(
        f"{content}\x1f{sorted(map(str, tokenizer.special_tokens_map.items()))}".encode()
    ).hexdigest()


def code_hash(*objects: object) -> str | None:
    """`sha256:` of the code that came with a model and that these objects are made of; None where
    it is all transformers' own."""
    folders = {
        Path(inspect.getfile(type(o))).parent
        for o in objects
        if type(o).__module__.startswith("transformers_modules.")
    }
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.glob("*.py")):
        digest.update(f"{path.name}\x1f".encode() + path.read_bytes())
    return f"sha256:{digest.hexdigest()}" if folders else None


def stored_quantization(config: Any) -> str | None:
    """How the weights of a checkpoint are quantised already, such as `gptq-4bit` or `fp8`; None
    where they are not.

    Raises:
        ValueError: a method that transformers does not know; it would go on as if the weights were
            ordinary ones.
    """
    from transformers.quantizers import AutoHfQuantizer

    found = getattr(config, "quantization_config", None) or getattr(
        config.get_text_config(), "quantization_config", None
    )
    if not found:
        return None
    facts: dict[str, Any] = found if isinstance(found, dict) else found.to_dict()
    # the first quantised checkpoints did not say
    method = facts.get("quant_method") or "bitsandbytes"
    if not AutoHfQuantizer.supports_quant_method(facts):
        raise ValueError(
            f"its weights are quantised by {method!r}, which this version of transformers does not "
            "know."
        )
    bits = 4 if facts.get("load_in_4bit") else 8 if facts.get("load_in_8bit") else facts.get("bits")
    kind = facts.get("bnb_4bit_quant_type") if facts.get("load_in_4bit") else None
    return "-".join(
        str(x)
        for x in (getattr(method, "value", method), f"{bits}bit" if bits else None, kind)
        if x
    )
