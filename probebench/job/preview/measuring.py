"""Seconds of a pass, a step, and a projection to the vocabulary, measured on random models of the
same shape before any weights are loaded.

The models have few layers where there are many. On a CPU they have a small vocabulary too, and the
projection to the whole one is timed by itself, on a part of it, so that a quarter of a million
tokens cost no memory. A batch twice as large takes twice as long there, so those timed take less
than half a second each; a step of decoding is timed with as many examples, and a cache as long, as
planned. On a GPU answers of the planned shapes are timed as they will be generated, compiled where
a run compiles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from probebench.models.blocks.sites import base_of
from probebench.models.handles import LoadedModel, ModelHandle
from probebench.models.loading import quiet_libraries
from probebench.models.passes.bare import SMALL_VOCABULARY, known_tokens, random_model
from probebench.models.passes.batches import BATCH_TOKENS
from probebench.models.passes.token_scores import token_scores

SMALL = 20_000_000
"""Parameters up to which a model is timed with all its layers."""
FEW = (1, 3)
"""Layers of the two models that larger ones are timed by; more where these would fit into a
processor's cache."""
CACHED = 96 * 2**20
"""Bytes of weights that no cache of a processor holds: whether weights come from memory decides
what a step takes."""
TIMED_SECONDS, TIMED_TOKENS = 0.4, (64, 1024)
"""What one timed batch should take on a CPU, and the tokens that it may have."""
HEAD_BYTES, HEAD_TOKENS, HEAD_ROWS = 128 * 2**20, 2**16, (8, 64)
"""Of the part of the vocabulary that is timed, bytes and tokens at most; and the examples that it
is timed with."""


@dataclass(frozen=True, slots=True)
class Line:
    """a + b x, through two measured points."""

    a: float
    b: float

    @classmethod
    def through(cls, x: Sequence[float], y: Sequence[float]) -> Line:
        """Slopes below zero are noise and taken as zero; through one point and the origin where
        both are the same."""
        if x[1] == x[0]:
            return cls(0.0, y[0] / x[0] if x[0] else 0.0)
        b = max((y[1] - y[0]) / (x[1] - x[0]), 0.0)
        return cls(max(y[0] - b * x[0], 0.0), b)

    def __call__(self, x: float) -> float:
        return self.a + self.b * x


class Stopwatch:
    """Short measurements on random models of the shape of a run's own.

    Args:
        handle: the model.
        clock: seconds by the clock, or of the processor (`time.process_time`), which others on the
            machine do not move.
    """

    def __init__(self, handle: ModelHandle, clock: Callable[[], float] = time.perf_counter) -> None:
        self.handle, self.clock = handle, clock
        n, self.device = handle.identity.n_layers, handle.placement.device
        self.gpu = self.device.type == "cuda"
        blocks = (
            max(handle.identity.n_parameters - sum(p.numel() for p in self._vocabulary), 1) // n
        )
        self.attended = blocks / (2 * handle.identity.width)
        """Length of a sequence at which attention takes as long as all else of a block."""
        size = blocks * getattr(torch, handle.identity.dtype).itemsize
        deep = min(max(FEW[1], -(-CACHED // size)), n)
        depths = (n,) if handle.identity.n_parameters <= SMALL or n <= FEW[1] else (FEW[0], deep)
        self.models = {k: self._make(k) for k in depths}

    @property
    def _vocabulary(self) -> list[Any]:
        """Weights of the first and the last layer, which are about the vocabulary."""
        model: Any = self.handle.skeleton
        tables = [
            model.get_input_embeddings(),
            model.get_output_embeddings() if self.handle.causal else None,
        ]
        return list({id(p): p for t in tables if t is not None for p in t.parameters()}.values())

    def _make(self, n_layers: int) -> LoadedModel:
        from transformers import GenerationConfig

        with quiet_libraries():
            model = random_model(
                self.handle, n_layers, self.device, None if self.gpu else SMALL_VOCABULARY
            )
        if self.handle.causal:
            model.generation_config = GenerationConfig()
        return LoadedModel(model, self.handle)

    # -- one measurement ---------------------------------------------------------------------------

    def measure(self, run: Callable[[LoadedModel], Any], repeats: int = 2) -> float:
        """Seconds with all layers: the shortest of the repeats, through two depths where the model
        is deep."""
        found = {}
        for k, loaded in self.models.items():
            if self.gpu:
                run(loaded)  # compiles, or picks a kernel
            found[k] = min(self._clocked(partial(run, loaded)) for _ in range(repeats))
        if len(found) == 1:
            return next(iter(found.values()))
        return Line.through(list(found), list(found.values()))(self.handle.identity.n_layers)

    def _clocked(self, run: Callable[[], Any]) -> float:
        started = self.clock()
        with torch.inference_mode(), quiet_libraries():
            run()
        if self.gpu:
            torch.cuda.synchronize()
        return self.clock() - started

    def ids(self, rows: int, width: int) -> torch.Tensor:
        """Tokens, not all of them alike, so that not all go to the same experts."""
        size = known_tokens(next(iter(self.models.values())).model)
        return torch.as_tensor(
            np.random.default_rng(0).integers(0, size, (rows, width)), device=self.device
        )

    @cached_property
    def tokens(self) -> int:
        """Tokens of a batch that takes about as long as one timed batch should; on a GPU all."""
        if self.gpu:
            return BATCH_TOKENS
        least, most = TIMED_TOKENS
        deepest = self.models[max(self.models)]
        taken = [self._clocked(lambda n=n: self._pass(deepest, 1, n)) for n in (8, least)][1]  # type: ignore[misc]
        return int(min(max(least * TIMED_SECONDS / max(taken, 1e-9), least), most))

    def _pass(self, loaded: LoadedModel, rows: int, width: int) -> None:
        ids = self.ids(rows, width)
        base_of(loaded.model)(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)

    def work(self, rows: int, width: int) -> float:
        """What a pass costs, in tokens of a short sequence."""
        return float(rows * width * (1 + width / self.attended))

    def _shapes(self, rows: int, width: int) -> list[tuple[int, int]]:
        """(examples, tokens of each) of the two timed batches: a quarter and the whole of what is
        timed of the planned one."""
        width = max(min(width, self.tokens), 1)
        rows = max(min(rows, self.tokens // width), 1)
        return [(rows // 4, width) if rows >= 4 else (rows, max(width // 4, 1)), (rows, width)]

    def line(self, run: Callable[[LoadedModel, int, int], Any], rows: int, width: int) -> Line:
        """Seconds of a pass, by its work; timed on batches up to these."""
        shapes = self._shapes(rows, width)
        return Line.through(
            [self.work(*s) for s in shapes],
            [self.measure(lambda m, s=s: run(m, *s)) for s in shapes],  # type: ignore[misc]
        )

    @cached_property
    def passes(self) -> Line:
        """Seconds of a pass without anything beside it, by its work."""
        return self.line(self._pass, self.tokens // 32, 32)

    @cached_property
    def head(self) -> Line:
        """Seconds of projecting tokens to the vocabulary and reading their scores, by tokens."""
        skeleton: Any = self.handle.skeleton
        table = skeleton.get_output_embeddings() if self.handle.causal else None
        if table is None:
            return Line(0.0, 0.0)
        (whole, width), dtype = table.weight.shape, getattr(torch, self.handle.identity.dtype)
        part = min(whole, HEAD_TOKENS, max(HEAD_BYTES // (width * dtype.itemsize), 1))
        weight = torch.full((part, width), 0.01, dtype=dtype, device=self.device)

        def run(n: int) -> None:
            token_scores(torch.nn.functional.linear(weight[:1].expand(n, width), weight))

        taken = []
        for n in HEAD_ROWS:
            run(n)
            taken.append(min(self._clocked(partial(run, n)) for _ in range(2)) * whole / part)
        return Line.through(HEAD_ROWS, taken)
