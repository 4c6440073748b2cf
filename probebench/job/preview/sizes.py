"""What a run will take in memory and disk, and for its probes, before its weights are loaded: what
`--dry-run` prints.

Bytes of hidden states are exact. Device memory is counted tensor by tensor in a model of the same
shape that has no numbers, or, where an architecture looks at its numbers, in small passes with
random ones.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probebench.files import elsewhere
from probebench.job.preview.timing import batches_of
from probebench.models.decoding.columns import SLACK
from probebench.models.decoding.continuous import READ_AT_ONCE
from probebench.models.handles import ModelHandle
from probebench.models.passes.bare import Pass, first_pass, held, last_step, plain_pass
from probebench.models.passes.batches import Budget
from probebench.models.passes.head import chunk_rows
from probebench.models.passes.memory import (
    MOST_EXAMPLES,
    MOST_TOKENS,
    PROBE_ROWS,
    SHARE,
    Slope,
    gpu_free,
    host_budget,
    host_free,
    power_of_two,
    weights_size,
)
from probebench.models.passes.padding import known_alike
from probebench.probes.fit import fit_cell
from probebench.probes.kinds import Probe
from probebench.probes.labels import Labels
from probebench.states.extract import plan_shards
from probebench.states.reader import SiteLayout
from probebench.states.shards import shard_size
from probebench.types import Cell

ANSWER_SHARE = 0.5
"""Of `max_new_tokens`, what an answer is taken to have; the range is a quarter of them to all."""


def states_size(
    layout: Mapping[str, SiteLayout],
    n_positions: int,
    lengths: Sequence[int],
    dtype: str,
    scored: Sequence[int] | None = None,
) -> int:
    """Bytes of the shards of hidden states, exactly.

    Args:
        layout: what is stored of each site.
        n_positions: token positions.
        lengths: one per example, tokens.
        dtype: what the vectors are stored as.
        scored: tokens of each example whose scores are stored beside; None: there are none.
    """
    return sum(
        shard_size(
            {
                s: (len(at.layers), n_positions, len(rows), max(at.widths))
                for s, at in layout.items()
            },
            dtype,
            len(rows),
            None if scored is None else sum(scored[i] for i in rows),
        )
        for rows in plan_shards(lengths)
    )


def free_at(folder: Path) -> int | None:
    """Bytes that are free where a folder is, or would be; None where that cannot be known."""
    if elsewhere(folder):
        return None
    return next(
        shutil.disk_usage(place).free
        for place in (folder, *folder.absolute().parents)
        if place.is_dir()
    )


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on the device."""

    weights: int
    largest: int
    """What lives beside them in the largest batch: keys and values, activations and scores."""
    which: str
    """The stage of that batch."""

    @property
    def total(self) -> int:
        """Both."""
        return self.weights + self.largest


def planned_budget(handle: ModelHandle, longest: int) -> Budget:
    """The budget that a run would find; on a GPU by counting, where the run measures."""
    if handle.placement.device.type != "cuda":
        return host_budget(handle, longest, host_free() - weights_size(handle))
    found = held(handle, *(first_pass(n, longest, _vocabulary(handle)) for n in PROBE_ROWS))
    peaks = [(n * longest, peak) for n, peak in zip(PROBE_ROWS, found, strict=True)]
    free = min(gpu_free().values()) - weights_size(handle) / max(torch.cuda.device_count(), 1)
    tokens = Slope.through(*peaks).tokens(free * SHARE)
    return Budget(power_of_two(min(tokens, MOST_TOKENS)), MOST_EXAMPLES)


def device_memory(
    handle: ModelHandle,
    prompts: Sequence[int],
    new: int,
    budget: Budget,
    *,
    scored: Sequence[int] = (),
) -> Memory:
    """Weights and the largest batch of a run.

    Args:
        handle: the model.
        prompts: tokens of each prompt; with `new` 0 of each whole sequence.
        new: tokens that an answer may have.
        budget: what a batch of answers may hold.
        scored: tokens of each given answer, which are projected to the vocabulary chunk by chunk.
    """
    whole = [n + new for n in prompts]
    rows, longest = max(batches_of(whole, Budget()), key=lambda b: b[0] * b[1])
    tokens, wide = math.ceil(rows * sum(scored) / max(len(scored), 1)), _vocabulary(handle)
    wanted = [plain_pass(rows, longest, min(tokens, chunk_rows(wide)), wide)]
    if new:
        rows, longest = max(batches_of(whole, budget), key=lambda b: b[0] * b[1])
        wanted.append(last_step(rows, longest, wide))
        wanted += _first_passes(handle, rows, longest - new, new)
    reading, *answering = held(handle, *wanted)
    if max(answering, default=0) > reading:
        return Memory(weights_size(handle), max(answering), "generating answers")
    return Memory(weights_size(handle), reading, "reading hidden states")


def _first_passes(handle: ModelHandle, rows: int, prompt: int, new: int) -> list[Pass]:
    """Reading the prompts of a batch: at once, or, on a CPU where prompts of any length go
    together, in groups, whose cache is copied behind that of the rows which are there already."""
    wide, group = _vocabulary(handle), min(max(READ_AT_ONCE // prompt, 1), rows)
    on_gpu = handle.placement.device.type == "cuda"
    if on_gpu or known_alike(handle.skeleton.config) != "any":
        return [first_pass(rows, prompt, wide)]
    there = last_step(rows, prompt + max(new, SLACK) + 1).before
    read = last_step(group, prompt + 1).before
    assert there is not None and read is not None  # they make caches

    def both(model: Any, n: int) -> Any:
        return there(model, n), read(model, group)

    found = [first_pass(group, prompt, wide), Pass(rows, lambda *_: None, both)]
    if beside := min(group, rows - group):
        one = first_pass(beside, prompt, wide)
        found.append(Pass(rows, lambda model, _, cache: one.run(model, beside, cache), there))
    return found


def _vocabulary(handle: ModelHandle) -> int:
    config: Any = handle.skeleton.config
    return int(config.get_text_config(decoder=True).vocab_size)


def start_seconds(clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds until a new process that fits probes is ready, measured with one."""

    def used() -> float:
        if clock is not time.process_time:
            return clock()
        times = os.times()  # a process's own clock does not count its children
        return times.children_user + times.children_system

    started = used()
    subprocess.run([sys.executable, "-c", "import probebench.probes.fit"], check=True)
    return used() - started


def fit_seconds(
    n: int,
    width: int,
    n_train: int,
    probe: Probe,
    shuffles: int,
    device: str | None,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of one cell's probe, fitted to random vectors of the same shape, much of their
    variance in one direction."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    X = rng.standard_normal((n, width), dtype=np.float32)
    X += np.outer(y - 0.5 + rng.standard_normal(n), rng.standard_normal(width)).astype(np.float32)
    rest = (n - n_train) // 2
    splits = ("train",) * n_train + ("validation",) * rest + ("test",) * (n - n_train - rest)
    labels = Labels(y, splits, tuple(map(str, range(n))))  # type: ignore[arg-type]
    taken = []
    for _ in range(2):
        started = clock()
        fit_cell(
            X, np.ones(n, dtype=bool), labels, probe, Cell("resid", 0, "-1"), shuffles, 0, device
        )
        taken.append(clock() - started)
    return min(taken)
