"""What a run will take in time, memory and disk, before its weights are loaded: what `--dry-run` prints.

Bytes of hidden states are exact. Device memory is counted tensor by tensor in a model of the same shape that has no numbers. Time
is measured on a random model of the same shape, with few layers where there are many, on batches of the planned shapes.
"""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from probebench.models.batches import BATCH_TOKENS, Budget
from probebench.models.generate import Request, generate, score_answers
from probebench.models.loading import LoadedModel, ModelHandle
from probebench.models.memory import (
    MOST_EXAMPLES,
    PROBE_ROWS,
    SHARE,
    Slope,
    bare_model,
    cached_pass,
    counted,
    gpu_free,
    host_budget,
    host_free,
)
from probebench.models.sites import base_of, plan_sites
from probebench.probes.fit import Labels, fit_cell
from probebench.probes.kinds import Probe
from probebench.states.extract import Extractor, plan_shards
from probebench.states.reader import SiteLayout
from probebench.states.shards import shard_size
from probebench.types import EMB, Cell

SMALL = 20_000_000
"""Parameters up to which a model is timed with all its layers."""
FEW = (1, 3)
"""Layers of the two models that larger ones are timed by."""
TIMED_TOKENS = 1024
"""Of the largest batch timed on a CPU, where longer ones take as much longer as they have more tokens."""
SHORT = (1, 5)
"""Tokens of the two timed generations; what they differ by is what a step costs."""
ANSWER_SHARE = 0.5
"""Of `max_new_tokens`, what a batch is taken to need until its last answer stops. The range is from a quarter to all of it."""


def states_size(layout: Mapping[str, SiteLayout], n_positions: int, lengths: Sequence[int], dtype: str) -> int:
    """Bytes of the shards of hidden states, exactly.

    Args:
        layout: what is stored of each site.
        n_positions: token positions.
        lengths: one per example; only how many there are decides.
        dtype: what the vectors are stored as.
    """
    return sum(
        shard_size({s: (len(at.layers), n_positions, len(rows), max(at.widths)) for s, at in layout.items()}, dtype, len(rows))
        for rows in plan_shards(lengths)
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
        return host_budget(handle, longest, host_free())
    peaks = [(n * longest, counted(handle, _cached(n, longest))) for n in PROBE_ROWS]
    free = min(gpu_free().values()) - weights_size(handle) / max(torch.cuda.device_count(), 1)
    tokens = Slope.through(*peaks).tokens(free * SHARE)
    return Budget(2 ** int(math.log2(max(tokens, 1))), MOST_EXAMPLES)


def weights_size(handle: ModelHandle) -> int:
    """Bytes of the weights; of quantised ones as if they were not."""
    return handle.identity.n_parameters * int(torch.finfo(getattr(torch, handle.identity.dtype)).bits) // 8


def device_memory(handle: ModelHandle, prompts: Sequence[int], new: int, budget: Budget) -> Memory:
    """Weights and the largest batch of a run.

    Args:
        handle: the model.
        prompts: tokens of each prompt; with `new` 0 of each whole sequence.
        new: tokens that an answer may have.
        budget: what a batch of answers may hold.
    """
    whole = [n + new for n in prompts]
    reading = max((shard for shard in _batches(whole, Budget())), key=lambda b: b[0] * b[1])
    peaks = {"reading hidden states": counted(handle, _plain(*reading))}
    if new:
        answering = max((b for b in _batches(whole, budget)), key=lambda b: b[0] * b[1])
        peaks["generating answers"] = counted(handle, _decoding(answering[0], answering[1] - new, answering[1]))
    which = max(peaks, key=lambda name: peaks[name])
    return Memory(weights_size(handle), peaks[which], which)


def _batches(lengths: Sequence[int], budget: Budget) -> list[tuple[int, int]]:
    """(examples, padded length) of each batch of each shard."""
    found = []
    for shard in plan_shards(lengths):
        some = [lengths[i] for i in shard]
        found += [(len(b), max(some[i] for i in b)) for b in budget.plan(some)]
    return found


def _cached(rows: int, tokens: int) -> Callable[[Any], None]:
    return lambda model: cached_pass(model, rows, tokens, torch.device("cpu"))


def _plain(rows: int, tokens: int) -> Callable[[Any], None]:
    def run(model: Any) -> None:
        ids = torch.zeros((rows, tokens), dtype=torch.long)
        base_of(model)(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)

    return run


def _decoding(rows: int, prompt: int, whole: int) -> Callable[[Any], None]:
    """The first pass, and one step when the cache is as long as it gets."""

    def run(model: Any) -> None:
        cached_pass(model, rows, prompt, torch.device("cpu"))
        ids = torch.zeros((rows, whole - 1), dtype=torch.long)
        out = base_of(model)(input_ids=ids[:, :1], use_cache=True)
        cache = out.past_key_values
        for layer in cache.layers:  # as long as it would be then
            keys, values = layer.keys, layer.values
            layer.keys = keys.new_empty((*keys.shape[:2], whole - 1, keys.shape[3]))
            layer.values = values.new_empty((*values.shape[:2], whole - 1, values.shape[3]))
        del out
        head = model.get_output_embeddings()
        out = base_of(model)(
            input_ids=ids[:, :1], attention_mask=torch.ones((rows, whole), dtype=torch.long), past_key_values=cache
        )
        torch.log_softmax(head(out[0][:, -1]).float(), dim=-1).exp()

    return run


@dataclass(frozen=True, slots=True)
class Line:
    """a + b x, through two measured points."""

    a: float
    b: float

    @classmethod
    def through(cls, x: Sequence[float], y: Sequence[float]) -> Line:
        """Slopes below zero are noise and taken as zero; through one point and the origin where both are the same."""
        if x[1] == x[0]:
            return cls(0.0, y[0] / x[0] if x[0] else 0.0)
        b = max((y[1] - y[0]) / (x[1] - x[0]), 0.0)
        return cls(max(y[0] - b * x[0], 0.0), b)

    def __call__(self, x: float) -> float:
        return self.a + self.b * x


def _generate(loaded: LoadedModel, wanted: Sequence[Request], new: int, how: str) -> None:
    generate(loaded, wanted, new, frozenset(), how=how)


class Timer:
    """Seconds that the stages of a run take, by short measurements on random models of the same shape.

    Args:
        handle: the model.
        clock: seconds by the clock, or of the processor (`time.process_time`), which others on the machine do not move.
    """

    def __init__(self, handle: ModelHandle, clock: Callable[[], float] = time.perf_counter) -> None:
        self.handle, self.clock = handle, clock
        n = handle.identity.n_layers
        sizes = (n,) if handle.identity.n_parameters <= SMALL or n <= FEW[1] else FEW
        self.models = {k: self._make(k) for k in sizes}

    def _make(self, n_layers: int) -> LoadedModel:
        with torch.device("meta"):
            model = bare_model(self.handle, n_layers)
        model = model.to_empty(device=self.handle.placement.device)
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.fill_(0.01)  # what memory happens to hold can be numbers that a CPU is slow at
        from transformers import GenerationConfig

        if self.handle.causal:
            model.generation_config = GenerationConfig()
        return LoadedModel(model.eval(), self.handle)

    def _rows(self, rows: int, width: int) -> list[int]:
        """Examples of the two timed batches: the planned one, or on a CPU a part that it is busy enough with, and a quarter."""
        if self.handle.placement.device.type == "cpu":
            rows = max(min(rows, TIMED_TOKENS // width), 1)
        return [max(rows // 4, 1), rows]

    def measure(self, run: Callable[[LoadedModel], Any], repeats: int = 2) -> float:
        """Seconds with all layers: the shortest of the repeats, through two depths where the model is deep."""
        found = {}
        for k, loaded in self.models.items():
            run(loaded)
            times = []
            for _ in range(repeats):
                started = self.clock()
                run(loaded)
                if self.handle.placement.device.type == "cuda":
                    torch.cuda.synchronize()
                times.append(self.clock() - started)
            found[k] = min(times)
        if len(found) == 1:
            return next(iter(found.values()))
        return Line.through(list(found), list(found.values()))(self.handle.identity.n_layers)

    def generation(self, prompts: Sequence[int], new: int, budget: Budget, how: str) -> Callable[[float], float]:
        """Seconds of generating, by the number of tokens that a batch decodes."""
        batches = _batches([n + new for n in prompts], budget)
        rows, width = max(batches, key=lambda b: b[0])
        width = max(width - new, 1)
        some = self._rows(rows, width)
        found: list[tuple[float, float]] = []  # first pass, step
        for n in some:
            wanted = [Request(str(i), (0,) * width) for i in range(n)]
            one, more = (self.measure(partial(_generate, wanted=wanted, new=k, how=how)) for k in SHORT)
            found.append((one, max(more - one, 0.0) / (SHORT[1] - SHORT[0])))
        first = Line.through([n * width for n in some], [found[0][0], found[-1][0]])
        step = Line.through(some, [found[0][1], found[-1][1]])
        return lambda tokens: sum(first(n * max(w - new, 1)) + max(tokens - 1, 0) * step(n) for n, w in batches)

    def reading(self, lengths: Sequence[int], sites: Sequence[str], n_positions: int, share: float, dtype: str) -> float:
        """Seconds of extracting; `share` is how many of the layers are read."""
        batches = _batches(lengths, Budget())
        rows, width = max(batches, key=lambda b: b[0] * b[1])
        table = np.minimum(np.arange(n_positions), width - 1)[None, :, None].repeat(rows, 0).repeat(2, 2)

        def run(loaded: LoadedModel, n: int) -> None:
            layers = range(int(loaded.model.config.get_text_config().num_hidden_layers))
            kept = [EMB, *layers[: max(round(len(layers) * share), 1)]]
            plan = plan_sites(loaded.base, len(layers), sites, kept)
            sink = Extractor(loaded, plan, dtype)
            sink([(0,) * width] * n, table[:n], [""] * n_positions)

        some = self._rows(rows, width)
        line = Line.through([n * width for n in some], [self.measure(lambda m, n=n: run(m, n)) for n in some])  # type: ignore[misc]
        return sum(line(n * w) for n, w in batches)

    def scoring(self, lengths: Sequence[int]) -> float:
        """Seconds of passes with the scores of whole answers."""
        batches = _batches(lengths, Budget(BATCH_TOKENS // 2))
        rows, width = max(batches, key=lambda b: b[0] * b[1])
        half = max(width // 2, 1)
        some = self._rows(rows, width)
        pair = ((0,) * (width - half), (0,) * half)
        times = [self.measure(lambda m, n=n: score_answers(m, [pair] * n)) for n in some]  # type: ignore[misc]
        line = Line.through([n * width for n in some], times)
        return sum(line(n * w) for n, w in batches)


def start_seconds(clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds until a new process that fits probes is ready, measured with one."""

    def used() -> float:
        if clock is not time.process_time:
            return clock()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)  # a process's own clock does not count them
        return children.ru_utime + children.ru_stime

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
    """Seconds of one cell's probe, fitted to random vectors of the same shape, much of their variance in one direction."""
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
        fit_cell(X, np.ones(n, dtype=bool), labels, probe, Cell("resid", 0, "-1"), shuffles, 0, device)
        taken.append(clock() - started)
    return min(taken)
