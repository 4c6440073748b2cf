"""Which model is asked for, and how it is to be run, before anything is looked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probebench.errors import UnknownNameError, UsageError, nearest
from probebench.hub import hub_is_there
from probebench.models.checkpoints.folders import Checkpoint
from probebench.models.checkpoints.gguf import is_gguf

EMBEDDED = {"tiny": Path(__file__).parent.parent / "tiny"}
DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS = {"none": "none", "int8": "bitsandbytes-8bit", "int4": "bitsandbytes-4bit-nf4"}
"""What can be asked for, and how it is recorded."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, and how to run it: everything here can change a number."""

    name: str
    """`tiny`, a folder, a GGUF file, or a hub id."""
    revision: str | None = None
    dtype: str = "auto"
    """`auto`: float32 on a CPU, the checkpoint's own on a GPU."""
    device: str = "auto"
    """`auto`: the first GPU when there is one."""
    attention: str | None = None
    """Attention implementation of transformers; None leaves it to the model."""
    device_map: str | None = None
    """How transformers spreads the model over devices: `auto`, `balanced`, a JSON file or a JSON
    object. Excludes `device`."""
    quantization: str = "none"
    """`int8` or `int4` (NF4) by bitsandbytes, while loading. A checkpoint that is quantised already
    needs nothing said."""
    peft: str | None = None
    """Folder of an adapter that is merged into the weights."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""
    gguf_file: str | None = None
    """Which GGUF file of a hub's repository, or of a folder, is the model."""

    def check(self) -> None:
        """Complain about values that cannot be.

        Raises:
            UnknownNameError: a dtype or quantisation that there is not.
            UsageError: values that exclude each other.
        """
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("quantization", self.quantization, tuple(QUANTIZATIONS))
        if self.quantization != "none" and (self.gguf_file is not None or self.file is not None):
            raise UsageError(
                f"--quantization {self.quantization} is not for GGUF files, which are quantised "
                "already. Leave it out."
            )
        if self.peft is not None and self.quantization != "none":
            raise UsageError(
                "--peft and --quantization exclude each other: rounding again would change the "
                "adapter's weights."
            )
        if self.attention is not None and "/" in self.attention and not self.trust_remote_code:
            raise UsageError(
                f"--attn-implementation {self.attention!r} is code from the hub, which would run "
                "on this machine with your rights. "
                f"Read it, and when you trust it, allow it with --trust-remote-code; or take eager "
                "or sdpa."
            )

    @property
    def file(self) -> Path | None:
        """The GGUF file of this machine that is the model; None for folders and hub ids."""
        if self.gguf_file is not None:
            return Path(self.name) / self.gguf_file if self.is_folder else None
        return Path(self.name) if self.name not in EMBEDDED and Path(self.name).is_file() else None

    @property
    def slug(self) -> str:
        """Folder name for this model's runs."""
        if self.is_folder or self.file is not None:  # two folders of one name are two models
            where = hashlib.sha256(
                str((self.file or Path(self.name)).resolve()).encode()
            ).hexdigest()[:6]
            return f"{self.shown}-{where}"
        return self.name.replace("/", "__")

    @property
    def shown(self) -> str:
        """The name without a machine's path: a file's or folder's own name, or the hub id."""
        if self.file is not None:
            return self.file.name
        return Path(self.name).resolve().name if self.is_folder else self.name

    @property
    def is_folder(self) -> bool:
        return self.name not in EMBEDDED and Path(self.name).is_dir()

    @property
    def source(self) -> str:
        """What transformers is asked for."""
        return str(EMBEDDED.get(self.name, self.name))

    def checkpoint(self, *, offline: bool = False) -> Checkpoint:
        """The model's files.

        Raises:
            UnknownNameError: neither an embedded name, a folder, a file nor a hub id.
            UsageError: a path at which there is nothing or a file of another kind, or a revision of
                a folder.
        """
        self._check_file()
        local = self.is_folder or self.name in EMBEDDED or self.file is not None
        if not local and (self.name.count("/") > 1 or self.name.startswith((".", "/"))):
            raise UsageError(f"There is no model folder {self.name!r}.")
        if not local and "/" not in self.name:
            raise UnknownNameError(
                "model",
                self.name,
                EMBEDDED,
                "Give an embedded name, a folder, or a hub id such as 'org/name'.",
            )
        if local and self.revision is not None:
            raise UsageError(
                f"--revision {self.revision} is for models of the hub; {self.name!r} is of this "
                "machine."
            )
        file = self.gguf_file if self.file is None else str(self.file)
        offline = offline or not (local or hub_is_there())
        return Checkpoint(
            self.name, self.source, self.revision, local, offline, self.trust_remote_code, file
        )

    def _check_file(self) -> None:
        """Complain about a file that is not there, or is no GGUF file."""
        file = self.file
        if self.gguf_file is not None and (self.name in EMBEDDED or Path(self.name).is_file()):
            raise UsageError(
                f"--gguf-file names a file in a folder or in a repository of the hub, and "
                f"{self.name!r} is neither."
            )
        missing = (
            file is None
            and self.gguf_file is None
            and not self.is_folder
            and self.name.lower().endswith(".gguf")
        )
        if missing or (file is not None and not file.is_file()):
            raise UsageError(f"There is no GGUF file {str(file or self.name)!r}.")
        if file is not None and not is_gguf(file):
            raise UsageError(
                f"{str(file)!r} is no GGUF file. Give the folder of the model, "
                f"{str(file.parent)!r}."
            )


def _one_of(kind: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        near = nearest(value, allowed)
        raise UnknownNameError(
            kind, value, [near] if near else [], f"It must be one of {', '.join(allowed)}."
        )
