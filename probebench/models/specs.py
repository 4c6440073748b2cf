"""Which model is asked for, and how it is to be run, before anything is looked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.errors import UnknownNameError, UsageError
from probebench.options.checks import Rule, check_options
from probebench.options.field import option, said

if TYPE_CHECKING:
    from probebench.models.checkpoints.folders import Checkpoint

MODEL = "The model"
"""The heading of these options."""
EMBEDDED = {"tiny": Path(__file__).parent.parent / "tiny"}
DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS = {"none": "none", "int8": "bitsandbytes-8bit", "int4": "bitsandbytes-4bit-nf4"}
"""What can be asked for, and how it is recorded."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, and how to run it: everything here can change a number. To add an option, add a
    field."""

    name: str = field(
        metadata=said(
            "'tiny' (travels in the package), a folder, a GGUF file, or a hub id.",
            MODEL,
            changes="model",
            argument="model",
            metavar="M",
            path=True,
            read="repeated",
            compared="found",
        )
    )
    revision: str | None = option(
        None,
        "Commit or tag of a hub model.",
        MODEL,
        changes="model",
        metavar="REV",
        compared="found",
    )
    dtype: str = option(
        "auto",
        "Of the weights; auto: as the checkpoint on a GPU, float32 on a CPU.",
        MODEL,
        changes="model",
        choices=DTYPES,
    )
    device: str = option(
        "auto",
        "auto, cpu, cuda or cuda:N.",
        MODEL,
        changes="model",
        more="`auto` is the first GPU when there is one.",
        metavar="D",
        examples=("auto", "cpu", "cuda"),
    )
    attention: str | None = option(
        None,
        "As in transformers, such as eager or sdpa.",
        MODEL,
        changes="model",
        more="None leaves it to the model.",
        argument="attn_implementation",
        metavar="NAME",
        examples=("eager", "sdpa"),
    )
    device_map: str | None = option(
        None,
        "Spread over devices: auto, balanced, a JSON file or object.",
        MODEL,
        changes="model",
        more="A Python mapping of module names to devices too. Excludes --device.",
        metavar="MAP",
        path=True,
        also=Mapping[str, str | int],
        examples=("auto", "balanced"),
    )
    quantization: str = option(
        "none",
        "By bitsandbytes, while loading.",
        MODEL,
        changes="model",
        more="`int4` is NF4; `none` leaves a checkpoint as it is, quantised or not.",
        choices=tuple(QUANTIZATIONS),
    )
    peft: str | None = option(
        None,
        "An adapter, merged into the weights.",
        MODEL,
        changes="model",
        path=True,
        compared="found",
    )
    trust_remote_code: bool = option(
        False,
        "Run Python code that comes with the model, with your rights.",
        MODEL,
        changes="model",
    )
    gguf_file: str | None = option(
        None, "The GGUF file of a hub id, or of a folder.", MODEL, changes="model", metavar="NAME"
    )

    def check(self) -> None:
        """Complain about values that cannot be.

        Raises:
            UnknownNameError: a dtype or quantisation that there is not.
            UsageError: values that exclude each other.
        """
        check_options(self, RULES)

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
        from probebench.hub import hub_is_there
        from probebench.models.checkpoints.folders import Checkpoint

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
        from probebench.models.checkpoints.files import check_links
        from probebench.models.checkpoints.gguf import is_gguf

        check_links(p for p in (Path(self.name), self.file) if p is not None)
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


# -- what goes together ----------------------------------------------------------------------------


def _quantised_already(quantization: str, gguf_file: str | None, file: Path | None) -> str | None:
    if quantization == "none" or (gguf_file is None and file is None):
        return None
    return (
        f"--quantization {quantization} is not for GGUF files, which are quantised already. Leave "
        "it out."
    )


def _rounded_again(peft: str | None, quantization: str) -> str | None:
    if peft is None or quantization == "none":
        return None
    return (
        "--peft and --quantization exclude each other: rounding again would change the adapter's "
        "weights."
    )


def _code_of_strangers(attention: str | None, trust_remote_code: bool) -> str | None:
    if attention is None or "/" not in attention or trust_remote_code:
        return None
    return (
        f"--attn-implementation {attention!r} is code from the hub, which would run on this "
        "machine with your rights. Read it, and when you trust it, allow it with "
        "--trust-remote-code; or take eager or sdpa."
    )


RULES: tuple[Rule, ...] = (_quantised_already, _rounded_again, _code_of_strangers)
