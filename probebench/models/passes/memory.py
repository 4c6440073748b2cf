"""Memory of a pass through a model: measured on the device, or counted tensor by tensor; and the
batch that fits into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from probebench.models.handles import LoadedModel, ModelHandle
from probebench.models.passes.bare import cached_pass, counted, first_pass
from probebench.models.passes.batches import HOST_EXAMPLES, HOST_TOKENS, Budget, attempt

SHARE = 0.7
"""Of the free memory that a batch may take; the rest is for what a probe pass cannot show, such as
fragments."""
HOST_SHARE = 0.5
"""The same of a computer's own memory, which others use too."""
MOST_TOKENS, MOST_EXAMPLES = 2**20, 512
"""Beyond this a larger batch gains nothing on any device."""
PROBE_ROWS = (2, 6)
"""Examples of the two probe passes; what they differ by is what a token costs."""


def gpu_peaks(run: Callable[[], Any]) -> dict[int, int]:
    """Peak memory beyond what is in use before, by GPU."""
    gpus = range(torch.cuda.device_count())
    for i in gpus:
        torch.cuda.synchronize(i)
        torch.cuda.reset_peak_memory_stats(i)
    before = [torch.cuda.memory_allocated(i) for i in gpus]
    run()
    for i in gpus:
        torch.cuda.synchronize(i)
    return {i: torch.cuda.max_memory_allocated(i) - before[i] for i in gpus}


def gpu_free() -> dict[int, int]:
    """Memory that could be taken, by GPU."""
    return {
        i: torch.cuda.mem_get_info(i)[0]
        + torch.cuda.memory_reserved(i)
        - torch.cuda.memory_allocated(i)
        for i in range(torch.cuda.device_count())
    }


def host_free() -> int:
    """Memory of this computer that is not in use, or could be freed at once."""
    return int(psutil.virtual_memory().available)


def weights_size(handle: ModelHandle) -> int:
    """Bytes of the weights; of quantised ones as if they were not."""
    return (
        handle.identity.n_parameters
        * int(torch.finfo(getattr(torch, handle.identity.dtype)).bits)
        // 8
    )


@dataclass(frozen=True, slots=True)
class Slope:
    """What a pass costs: a fixed part, and a part for each padded token."""

    fixed: float
    per_token: float

    @classmethod
    def through(cls, small: tuple[int, int], large: tuple[int, int]) -> Slope:
        """From two passes, each (tokens, bytes)."""
        per_token = max((large[1] - small[1]) / (large[0] - small[0]), 0.0)
        return cls(max(small[1] - per_token * small[0], 0.0), per_token)

    def tokens(self, room: float) -> int:
        """Padded tokens that fit into so many bytes."""
        return int(max(room - self.fixed, 0.0) / self.per_token) if self.per_token else MOST_TOKENS


def probe_budget(loaded: LoadedModel, longest: int) -> Budget:
    """What a batch may hold whose sequences have up to `longest` tokens.

    A pass over whole sequences with a cache holds more at once than decoding them token by token.
    On a GPU two small ones are measured, on a CPU they are counted, and the budget is what fits
    into its free memory, rounded down to a power of two.
    """
    if loaded.device.type != "cuda":
        return host_budget(loaded.handle, longest, host_free())
    peaks: list[tuple[int, dict[int, int]]] = []
    for rows in PROBE_ROWS:
        found = attempt(
            lambda n: gpu_peaks(lambda: cached_pass(loaded.model, n, longest, loaded.device)), rows
        )
        if found is None:  # so little is free that halving will find the rest
            return Budget(max(rows // 2, 1) * longest, MOST_EXAMPLES)
        peaks.append((rows * longest, found))
    fits = [
        Slope.through(*((n, p[i]) for n, p in peaks)).tokens(room * SHARE)
        for i, room in gpu_free().items()
    ]
    return Budget(power_of_two(min(*fits, MOST_TOKENS)), MOST_EXAMPLES)


def power_of_two(tokens: int) -> int:
    """Rounded down, so that a little less free memory finds the same budget; at least 1."""
    return 1 << max(tokens.bit_length() - 1, 0)


def host_budget(handle: ModelHandle, longest: int, free: int) -> Budget:
    """What a CPU gains from, or less where `free` bytes are too few for it."""
    text: Any = handle.skeleton.config.get_text_config()
    inner = getattr(text, "intermediate_size", 0) or 0  # Gemma 3n lists one of each layer
    wide = max(*(inner if isinstance(inner, (list, tuple)) else [inner]), 4 * text.hidden_size)
    # more than any pass holds: keys and values of every layer, a few copies of a block's widest
    # values, scores of the last token
    generous = (
        8 * HOST_TOKENS * (text.num_hidden_layers * text.hidden_size + 8 * wide)
        + 32 * HOST_EXAMPLES * text.vocab_size
    )
    if generous < free * HOST_SHARE:
        return Budget(HOST_TOKENS, HOST_EXAMPLES)
    try:
        peaks = list(
            zip(
                (n * longest for n in PROBE_ROWS),
                counted(handle, *(first_pass(n, longest) for n in PROBE_ROWS)),
                strict=True,
            )
        )
    except (
        Exception
    ):  # an architecture that looks at its numbers cannot be counted without any; halving is left
        return Budget()
    fits = Slope.through(*peaks).tokens(free * HOST_SHARE)
    return Budget(power_of_two(min(fits, HOST_TOKENS)), HOST_EXAMPLES)
