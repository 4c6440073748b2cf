"""Where the files of a model are, and why something of them cannot be had, in one clear line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from probebench.errors import ProbebenchError, UnavailableError, UsageError, nearest
from probebench.models.checkpoints.files import CONFIG, check_json, read_json, rope_types
from probebench.models.checkpoints.gguf_header import Header

DTYPES = ("bfloat16", "float16", "float32", "float64", "half", "float", "double")
"""Types that the weights of a model may have by its config, as torch calls them."""
OLD_ROPE = {"su": "longrope"}
"""Former names of position encodings."""

SPEAKING = (OSError, ValueError, ImportError, RuntimeError, KeyError)
"""Errors of Python's own whose text is mostly meant for people; of others the type says more."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the files of a model are, and what transformers may do to get them."""

    name: str
    """As the user said it, for messages."""
    source: str
    """A folder or a hub id."""
    revision: str | None
    local: bool
    """A folder of this machine."""
    offline: bool
    trusted: bool
    """May code that comes with the model run here?"""
    gguf_file: str | None = None
    """The GGUF file that everything is in: a path of this machine, or a name in the hub's
    repository."""
    header: Header | None = None
    """What that file says of itself, once it has been opened."""
    weights: bool = True
    """Have a folder's weights to be there? Not where only the shape is asked for."""

    @property
    def where(self) -> dict[str, Any]:
        """Arguments of every `from_pretrained`. Trust is never left open: transformers would ask on
        the terminal."""
        return {"revision": self.revision, "local_files_only": self.offline}


def unreadable(
    found: Origin, error: Exception, what: str, config: Mapping[str, Any] | None
) -> ProbebenchError:
    """The error for the user.

    Args:
        found: the model's files.
        error: what transformers raised.
        what: what the files should be.
        config: the model's, where it is known: what it asks for may be the cause.
    """
    reason = " ".join(str(error).split())
    # a name that was looked for, and nothing else
    if isinstance(error, KeyError) and " " not in reason:
        reason = (
            f"its {CONFIG} asks for {reason}, which transformers {version('transformers')} does "
            "not have."
        )
    if (rope := _rope(found, config, reason)) is not None:
        return rope
    if type(error).__module__ == "builtins" and not isinstance(error, SPEAKING):
        reason = f"{type(error).__name__}: {reason}"
    if isinstance(error, ImportError):
        return UsageError(
            f"The model {found.name!r} needs what is not installed here: {reason[:300]}"
        )
    if found.header is not None:
        return UsageError(
            f"The GGUF file {found.header.path} cannot be read by transformers: {reason[:300]}"
        )
    if found.local:
        check_json(Path(found.source))
        return UsageError(f"The folder {found.source!r} is not {what}: {reason[:300]}")
    if isinstance(error, OSError):
        needed = found.gguf_file is None and "gguf" in found.name.lower()
        hint = " A repository of GGUF files needs --gguf-file NAME." if needed else ""
        return UnavailableError(
            f"The model {found.name!r} cannot be loaded from the hub here. Without network, "
            "download it where there is one and give the folder with --model DIR; with network, "
            f"check name, revision and access rights.{hint} ({reason.split('. ')[0][:160]})"
        )
    return UsageError(f"The model {found.name!r} is not {what}: {reason[:300]}")


def check_dtype(found: Origin, config: Mapping[str, Any]) -> None:
    """Complain about a config that asks for weights of a type that no model is computed in.

    Args:
        found: the model's files, for messages.
        config: its config as it is written, or that of its text part.

    Raises:
        UsageError: with the types that there are.
    """
    asked = config.get("dtype", config.get("torch_dtype"))
    # one for each part of a model, where it is a dictionary
    if asked is None or isinstance(asked, dict) or asked in DTYPES:
        return
    name = str(asked).removeprefix("torch.")
    near = None if name.startswith("float8") else nearest(name, DTYPES)
    hint = f" Did you mean {near!r}?" if near else ""
    raise UsageError(
        f"The {CONFIG} of the model {found.name!r} asks for the dtype {asked!r}.{hint} It must be "
        f"one of {', '.join(DTYPES)}; weights that are stored in fewer bits say so in a "
        "quantization_config."
    )


def _rope(found: Origin, config: Mapping[str, Any] | None, reason: str) -> ProbebenchError | None:
    """The cause, where a config asks for a position encoding that there is not, and the reason
    names it."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    known = sorted({"default", *ROPE_INIT_FUNCTIONS})
    # some architectures have kinds of their own beside these
    asked = rope_types(dict(config or {})) - set(known)
    name = min((name for name in asked if name in reason), default=None)
    if name is None:
        return None
    fix = ""
    if name in OLD_ROPE:
        fix = f" {name!r} is the old name of {OLD_ROPE[name]!r}; write that there."
    return UsageError(
        f"The {CONFIG} of the model {found.name!r} asks for the rope type {name!r}, which "
        f"transformers {version('transformers')} does not know here. It knows "
        f"{', '.join(known)}.{fix}"
    )


def tokenizer_fault(found: Origin, error: Exception) -> str:
    """Why transformers makes no tokenizer of a model's files: which of them it stumbles over.

    Raises:
        BadFileError: one of a folder is not whole JSON.
    """
    from tokenizers import Tokenizer

    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if not found.local:
        return reason
    folder = Path(found.source)
    check_json(folder)
    if (path := folder / "tokenizer.json").is_file():
        try:
            Tokenizer.from_file(str(path))
        except Exception as cause:
            return (
                f"tokenizers {version('tokenizers')} does not read its {path.name} ({cause}). It "
                "is damaged, or of a newer format: get it again, or pip install -U transformers "
                "tokenizers"
            )
    if (path := folder / "tokenizer_config.json").is_file():
        facts = read_json(path)
        if not isinstance(facts, dict):
            return f"its {path.name} is not a JSON object, but a {type(facts).__name__}."
        kind = facts.get("tokenizer_class")
        return f"its {path.name}, of the class {kind!r}, does not go with its files ({reason})."
    return reason
