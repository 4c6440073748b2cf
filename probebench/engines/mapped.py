"""A model that is spread over devices (`--device-map`), held against the same model in one piece:
where weights or states do not come to their device, it says something else, and raises nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from probebench.errors import StatesError
from probebench.models.devices import Placement
from probebench.models.handles import LoadedModel, ModelHandle
from probebench.models.loading import load_model
from probebench.models.passes.agreement import apart
from probebench.models.passes.memory import host_free, weights_size
from probebench.models.passes.scored import score_answers
from probebench.record.versions import versions
from probebench.stages.engine import Work
from probebench.stages.stage import Runner, Stage

TOKENS = 64
"""Of the first prompt, that both read at most."""
SPARE = 1.2
"""Times its weights, what the model in one piece may take of the computer's memory."""


@dataclass(frozen=True, eq=False)
class Mapped(Stage[dict[str, Any]]):
    """The log-probabilities of one prompt's tokens, by the model as it is spread and by the model
    in one piece on the processor."""

    handle: ModelHandle
    ids: tuple[int, ...]
    """Token ids of the prompt."""
    name: ClassVar[str] = "mapped"
    title: ClassVar[str] = "Checking the device map"
    unit: ClassVar[str] = "prompts"
    suffix: ClassVar[str] = "json"

    @property
    def inputs(self) -> Mapping[str, Any]:
        return {"model": self.handle.identity.key(), "ids": self.ids, "versions": versions()}

    @property
    def lengths(self) -> list[int]:
        return [len(self.ids)]

    @property
    def needs(self) -> ModelHandle:
        return self.handle

    def compute(self, rows: list[int], work: Work) -> dict[str, Any]:
        found = {"tokens": len(self.ids) - 1, "logprob_gap": None, "why": self._hindrance()}
        if found["why"] is not None:
            return found
        spread = self._scores(work.models.get(self.handle))
        import torch

        alone = replace(self.handle, placement=Placement(torch.device("cpu"), None))
        whole = self._scores(load_model(alone, offline=work.models.offline))
        gap, most = float(np.max(np.abs(spread - whole))), apart(self.handle.identity.dtype)
        if not gap <= most:  # nor where it is no number
            raise StatesError(
                f"Spread by --device-map {self.handle.identity.device_map}, "
                f"{self.handle.identity.name!r} gives log-probabilities that lie {gap:.2g} from "
                f"those of the same weights in one piece, and rounding makes less than {most:g}. "
                "Some part of it does not get to its device: try another map, --device, or other "
                "versions of accelerate and transformers."
            )
        return found | {"logprob_gap": gap}

    def _hindrance(self) -> str | None:
        """Why the model cannot be had in one piece; None where it can."""
        size, free = weights_size(self.handle), host_free()
        if not self.handle.causal:
            return "the model gives no log-probabilities"
        if self.handle.identity.packed:
            return "quantised weights need their device"
        if size * SPARE > free:
            return f"its weights, {size:,} bytes, do not fit beside what is in memory"
        return None

    def _scores(self, loaded: LoadedModel) -> np.ndarray[Any, Any]:
        """(token,) log-probabilities of all tokens but the first."""
        return score_answers(loaded, [(self.ids[:1], self.ids[1:])])[0].logprobs

    def pack(self, found: dict[str, Any], rows: list[int]) -> bytes:
        return json.dumps(found).encode()

    def unpack(self, content: bytes) -> dict[str, Any]:
        return dict(json.loads(content))


def map_facts(
    handle: ModelHandle, prompts: Sequence[tuple[int, ...]], runner: Runner
) -> dict[str, Any] | None:
    """For the record: how far a model that is spread over devices is from the model in one piece,
    on the first prompt with two tokens. None where it is not spread, or no prompt has two.

    Raises:
        StatesError: farther than rounding makes them.
    """
    ids = next((p for p in prompts if len(p) > 1), None)
    if handle.placement.map is None or ids is None:
        return None
    ((_, found),) = runner.run(Mapped(handle, ids[: TOKENS + 1])).parts()
    return found
