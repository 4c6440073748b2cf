"""Adapters: small trained differences (LoRA and the like, in PEFT's format) that are added to a
base model's weights."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.errors import BadFileError, UsageError
from probebench.models.checkpoints.files import check_links, check_pointers, check_safetensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NOT_WEIGHTS = ("PROMPT", "PREFIX", "P_TUNING", "XLORA", "CARTRIDGE")
"""Kinds of adapter, by part of their name, that change the input or the way through the model
instead of its weights."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter that has been found but not read."""

    folder: Path
    hash: str
    """`sha256:` of its config and weights."""
    base: str | None
    """The model that it says it was trained on."""

    def notes(self, model: str) -> tuple[str, ...]:
        """What a reader should know: it says that it was trained on another model."""
        # folders move between machines, their names stay
        if self.base is None or _last(self.base) == _last(model):
            return ()
        return (
            f"The adapter {self.folder.name!r} says that it was trained on {self.base!r}, not on "
            f"{model!r}.",
        )


def _last(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()


def find_adapter(folder: str) -> Adapter:
    """The adapter of a folder.

    Raises:
        UsageError: no folder, a file is missing, or an adapter that is no difference of weights.
        BadFileError: its config cannot be read, or a file is a Git LFS pointer, a link to nothing
            or cut off.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UsageError(
            f"--peft: there is no folder {folder!r}. Give the folder that PEFT's save_pretrained "
            "wrote."
        )
    check_links(path / name for name in (CONFIG, WEIGHTS))
    if not (path / CONFIG).is_file():
        raise UsageError(
            f"--peft: {folder} holds no {CONFIG}. Give the folder that PEFT's save_pretrained "
            "wrote."
        )
    if not (path / WEIGHTS).is_file():
        pickled = (path / "adapter_model.bin").is_file()
        why = (
            " Its .bin may run code when it is read: save it again as safetensors where you trust "
            "it."
            if pickled
            else ""
        )
        raise UsageError(f"--peft: {folder} holds no {WEIGHTS}.{why}")
    check_pointers(path)
    check_safetensors(path / WEIGHTS)
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        kind, base = (
            str(config.get("peft_type") or "").upper(),
            config.get("base_model_name_or_path"),
        )
    except (ValueError, AttributeError):
        raise BadFileError(
            f"{path / CONFIG} is not a JSON object, so it is no adapter's config."
        ) from None
    if not kind:
        raise BadFileError(f"{path / CONFIG} has no peft_type, so it is no adapter's config.")
    if any(part in kind for part in NOT_WEIGHTS):
        raise UsageError(
            f"--peft: {folder} is of the kind {kind}, which cannot be merged into weights; LoRA "
            "and the like can."
        )
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        digest.update((path / name).read_bytes())
    return Adapter(path, f"sha256:{digest.hexdigest()}", str(base) if base else None)


def merge(model: PreTrainedModel, adapter: Adapter) -> PreTrainedModel:
    """The model with an adapter added to its weights. Its modules keep the names that they have in
    the base model.

    Raises:
        UsageError: the adapter does not fit the model, or a part of the model is offloaded.
    """
    from peft import PeftModel

    if any(p.device.type == "meta" for p in model.parameters()):
        raise UsageError(
            "--peft: an adapter cannot be merged into weights that are on disk or offloaded. Leave "
            "--device-map out."
        )
    where = str(adapter.folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them is asked for below
            wrapped: Any = PeftModel.from_pretrained(model, where)
            # once more, since only this says what did not fit
            keys = wrapped.load_adapter(where, "default")
            _check_keys(adapter, keys.missing_keys, keys.unexpected_keys)
            merged: PreTrainedModel = wrapped.merge_and_unload(safe_merge=True)
    except (
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
        AttributeError,
        NotImplementedError,
    ) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"--peft: the adapter {where!r} does not fit {type(model).__name__}: {reason[:300]}"
        ) from None
    return merged


def _check_keys(adapter: Adapter, missing: list[str], unexpected: list[str]) -> None:
    """A tensor without its place, or a place without its tensor, means that it was trained on
    another model."""
    for keys, what in ((missing, "lacks"), (unexpected, "has")):
        if keys:
            other = (
                "that the model needs" if what == "lacks" else "for which the model has no place"
            )
            raise UsageError(
                f"--peft: the adapter {str(adapter.folder)!r} {what} {len(keys)} tensors {other}, "
                f"the first {keys[0]!r}. "
                f"It was trained on another model{f', {adapter.base!r}' if adapter.base else ''}."
            )
