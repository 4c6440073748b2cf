"""Checkpoints: the files of a model, in a folder or on the hub, before any weight is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.errors import ProbebenchError, UsageError
from probebench.models.checkpoints import gguf, gguf_model
from probebench.models.checkpoints.files import (
    CONFIG,
    GENERATION,
    check_small,
    check_weights,
    stop_tokens,
)
from probebench.models.checkpoints.origin import Origin, check_dtype, tokenizer_fault, unreadable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCABULARIES = (
    "tokenizer*",
    "vocab*",
    "merges*",
    "*.model",
    "*.tiktoken",
    "tekken.json",
    "sentencepiece*",
)
TEMPLATE = "chat_template.json"
TRUST = "Read it, and when you trust it, allow it with --trust-remote-code."


@dataclass(frozen=True, slots=True)
class Checkpoint(Origin):
    """The files of a model, and how transformers reads them."""

    @contextmanager
    def reading(
        self,
        what: str = "a language model of transformers with safetensors weights",
        config: Mapping[str, Any] | None = None,
    ) -> Iterator[None]:
        """One clear line when something of the model cannot be had.

        Args:
            what: what the files should be.
            config: the model's, where it is known: what it asks for may be the cause.
        """
        import torch

        try:
            yield
        except (ProbebenchError, MemoryError, torch.OutOfMemoryError):
            raise  # they say what is wrong already, or nothing of the files
        except Exception as error:  # libraries raise whatever they stumble over
            raise unreadable(self, error, what, config) from None

    def opened(self) -> Checkpoint:
        """The same with the header of its GGUF file, where it is one; of a hub's the file is
        brought here first.

        Raises:
            UsageError, BadFileError: as `read_header`.
            UnavailableError: a file that cannot be reached from here.
        """
        from transformers.utils import cached_file

        if self.gguf_file is None:
            return self
        path = self.gguf_file
        if not self.local:
            with self.reading():
                path = cached_file(self.source, self.gguf_file, **self.where)
        return replace(self, header=gguf.read_header(Path(path)))

    def commit(self) -> str | None:
        """The hub's commit that the revision stands for now; None for a folder."""
        from transformers.utils import cached_file

        if self.local:
            return None
        with self.reading():
            parts = Path(cached_file(self.source, self.gguf_file or CONFIG, **self.where)).parts
        return parts[parts.index("snapshots") + 1]

    def config(self) -> Any:
        """The model's config.

        Raises:
            UsageError: an adapter, a folder without weights, a model type or position encoding that
                transformers does not know, or code to trust.
            BadFileError: files of a folder that are Git LFS pointers, cut off or missing.
            UnavailableError: a hub id that cannot be reached from here.
        """
        from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
        from transformers.utils import find_adapter_config_file

        if self.header is not None:
            with self.reading():
                return gguf_model.config_of(self.header)
        if self.local:
            check_small(Path(self.source))
            self._check_gguf(Path(self.source))
        with self.reading():
            adapter = find_adapter_config_file(self.source, **self.where)
        if adapter is not None:
            # transformers would load it, over another base than this one, without a word
            raise UsageError(
                f"{self.name!r} holds an adapter. Give its base model with --model, and the "
                "adapter with --peft DIR."
            )
        with self.reading():
            raw, _ = PreTrainedConfig.get_config_dict(self.source, **self.where)
            # of a folder without a config it is empty
            if "model_type" not in raw and "auto_map" not in raw:
                raise ValueError(f"there is no {CONFIG} with a model_type in it.")
        kind, own = raw.get("model_type"), "AutoConfig" in (raw.get("auto_map") or {})
        if own and kind not in CONFIG_MAPPING and not self.trusted:
            raise self.untrusted(f"its model type {kind!r}")
        if not own and kind not in CONFIG_MAPPING:
            raise UsageError(
                f"The model {self.name!r} has the model type {kind!r}, which transformers "
                f"{version('transformers')} does not know. A newer one may: pip install -U "
                "transformers. (The model brings no code of its own.)"
            )
        for part in (raw, raw.get("text_config")):
            if isinstance(part, dict):
                check_dtype(self, part)
        if self.local and self.weights:
            check_weights(Path(self.source))
        with self.reading(config=raw):
            return AutoConfig.from_pretrained(
                self.source, trust_remote_code=self.trusted, **self.where
            )

    def _check_gguf(self, folder: Path) -> None:
        """The way on, where a folder holds GGUF files and no config: one of them is the model."""
        files = sorted(path.name for path in folder.glob("*.gguf"))
        if files and not (folder / CONFIG).is_file():
            more = (
                f" It also holds {', '.join(files[1:4])}{' and more' if len(files) > 4 else ''}."
                if len(files) > 1
                else ""
            )
            raise UsageError(
                f"The folder {self.source!r} has no {CONFIG} but GGUF files. Give one: --model "
                f"{folder / files[0]}.{more}"
            )

    def untrusted(self, what: str) -> UsageError:
        """The error about code that comes with a model."""
        return UsageError(
            f"The model {self.name!r} comes with Python code of its own for {what}, which would "
            f"run on this machine with your rights. {TRUST}"
        )

    def tokenizer(self, config: Any) -> PreTrainedTokenizerBase:
        """The model's tokenizer.

        Args:
            config: the model's; it decides the class where the file is a GGUF file.

        Raises:
            UsageError: there is none, it cannot be read, or it is code to trust.
            UnavailableError: a hub id that cannot be reached from here.
        """
        from transformers import AutoTokenizer

        if self.header is not None:
            with self.reading():
                return gguf_model.tokenizer_of(self.header, config)
        folder = Path(self.source)
        if self.local and not any(
            path.is_file() for pattern in VOCABULARIES for path in folder.glob(pattern)
        ):
            raise UsageError(
                f"The folder {self.source!r} holds no tokenizer. Copy its files (tokenizer.json, "
                "tokenizer_config.json) there from the model that it was made from."
            )
        with self.reading("a model with a tokenizer that can be read"):
            try:
                tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                    self.source, trust_remote_code=self.trusted, **self.where
                )
            except (OSError, ImportError):
                raise
            except Exception as error:  # tokenizers raises nothing narrower
                if "trust_remote_code" in str(error) and not self.trusted:
                    raise self.untrusted("its tokenizer") from None
                raise ValueError(tokenizer_fault(self, error)) from None
        # some classes make an empty one where files are missing
        if len(tokenizer) <= len(tokenizer.all_special_tokens):
            raise UsageError(
                f"The tokenizer of {self.name!r} has no vocabulary: its vocabulary file is missing."
            )
        if tokenizer.chat_template is None:
            tokenizer.chat_template = self._processor_template()
        return tokenizer

    def _processor_template(self) -> str | None:
        """The chat template of models that see, where their processor has it and the tokenizer does
        not."""
        if (path := self._beside(TEMPLATE)) is None:
            return None
        with self.reading(f"a model whose {TEMPLATE} can be read"):
            template = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
        return template if isinstance(template, str) else None

    def _beside(self, name: str) -> Path | None:
        """A file that many models do not have; None where this one has none."""
        from transformers.utils import cached_file

        with self.reading(f"a model whose {name} can be read"):
            found = cached_file(
                self.source, name, **self.where, _raise_exceptions_for_missing_entries=False
            )
        return None if found is None else Path(found)

    def stop_ids(self, config: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
        """The model's own end-of-answer tokens, by all who may know them.

        Raises:
            BadFileError: a generation_config.json that cannot be read.
            UnavailableError: one of the hub that cannot be reached from here.
        """
        found: set[int] = set()
        if self.header is not None:
            found.update(gguf_model.stop_tokens(self.header))
        elif (path := self._beside(GENERATION)) is not None:
            with self.reading(f"a model whose {GENERATION} can be read"):
                found.update(stop_tokens(path))
        for holder in (config, config.get_text_config(decoder=True), tokenizer):
            ids = getattr(holder, "eos_token_id", None)
            found.update([ids] if isinstance(ids, int) else ids or [])
        return frozenset(i for i in found if i >= 0)  # some configs write -1 for none
