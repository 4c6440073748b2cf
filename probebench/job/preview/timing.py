"""Seconds that the stages of a run will take, by what passes and steps of models of the same shape
take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from probebench.job.preview.measuring import Line, Stopwatch
from probebench.models.blocks.sites import base_of, plan_sites
from probebench.models.generate import Request, generate
from probebench.models.handles import LoadedModel
from probebench.models.loading import quiet_libraries
from probebench.models.passes.bare import cache_of
from probebench.models.passes.batches import Budget
from probebench.states.extract import Extractor, plan_shards
from probebench.types import EMB

SHORT = (1, 5)
"""Tokens of the two timed generations; what they differ by is what a step costs."""


def batches_of(lengths: Sequence[int], budget: Budget) -> list[tuple[int, int]]:
    """(examples, padded length) of each batch of each shard."""
    found = []
    for shard in plan_shards(lengths):
        some = [lengths[i] for i in shard]
        found += [(len(b), max(some[i] for i in b)) for b in budget.plan(some)]
    return found


class Timer(Stopwatch):
    """Seconds that the stages of a run take."""

    def generation(
        self, prompts: Sequence[int], new: int, budget: Budget, how: str
    ) -> Callable[[float], float]:
        """Seconds of generating, by the number of tokens that a batch decodes."""
        batches = batches_of([n + new for n in prompts], budget)
        rows, width = max(batches, key=lambda b: b[0])
        width = max(width - new, 1)
        if self.gpu:
            first, step = self._generated(rows, width, how)
            head = Line(0.0, 0.0)  # in both
        else:
            first, step, head = self.passes, self._steps(rows, width + new // 2), self.head
        return lambda tokens: sum(
            first(self.work(n, max(w - new, 1)))
            + head(n)
            + max(tokens - 1, 0) * (step(n) + head(n))
            for n, w in batches
        )

    def _generated(self, rows: int, width: int, how: str) -> tuple[Line, Line]:
        """Seconds of a first pass, by its work, and of a step, by examples: from answers of two
        lengths."""
        found: list[tuple[float, float]] = []
        some = [max(rows // 4, 1), rows]
        for n in some:
            ids = self.ids(n, width).tolist()
            wanted = [Request(str(i), tuple(row)) for i, row in enumerate(ids)]
            one, more = (
                self.measure(partial(_generate, wanted=wanted, new=k, how=how)) for k in SHORT
            )
            found.append((one, max(more - one, 0.0) / (SHORT[1] - SHORT[0])))
        first = Line.through([self.work(n, width) for n in some], [found[0][0], found[-1][0]])
        return first, Line.through(some, [found[0][1], found[-1][1]])

    def _steps(self, rows: int, length: int) -> Line:
        """Seconds of a step on a CPU, by examples: with a cache as long as planned, and what
        generating does beside it."""

        def step(loaded: LoadedModel, n: int, cache: dict[str, Any]) -> None:
            mask = (
                {"attention_mask": torch.ones((n, _length(cache) + 1), dtype=torch.long)}
                if "past_key_values" in cache
                else {}
            )
            base_of(loaded.model)(input_ids=self.ids(n, 1), use_cache=True, **mask, **cache)

        def seconds(n: int, length: int) -> float:
            with torch.inference_mode(), quiet_libraries():
                caches = {
                    id(m): _long_cache(m.model, self.ids(n, 2), length)
                    for m in self.models.values()
                }
            return self.measure(lambda m: step(m, n, caches[id(m)]), repeats=3)

        some = [max(rows // 4, 1), rows]
        found = Line.through(some, [seconds(n, length) for n in some])
        wanted = [Request("0", tuple(self.ids(1, 8)[0].tolist()))]
        one, more = (
            self.measure(partial(_generate, wanted=wanted, new=k, how="plain")) for k in SHORT
        )
        beside = max((more - one) / (SHORT[1] - SHORT[0]) - seconds(1, 8), 0.0)
        return Line(found.a + beside, found.b)

    def reading(
        self,
        lengths: Sequence[int],
        sites: Sequence[str],
        n_positions: int,
        share: float,
        dtype: str,
    ) -> float:
        """Seconds of extracting; `share` is how many of the layers are read."""
        batches = batches_of(lengths, Budget())
        rows, width = max(batches, key=lambda b: b[0] * b[1])

        def run(loaded: LoadedModel, n: int, width: int) -> None:
            layers = range(int(loaded.model.config.get_text_config(decoder=True).num_hidden_layers))
            kept = [EMB, *layers[: max(round(len(layers) * share), 1)]]
            plan = plan_sites(loaded.base, len(layers), sites, kept)
            table = (
                np.minimum(np.arange(n_positions), width - 1)[None, :, None]
                .repeat(n, 0)
                .repeat(2, 2)
            )
            Extractor(loaded, plan, dtype)(
                [tuple(row) for row in self.ids(n, width).tolist()], table, [""] * n_positions
            )

        line = self.line(run, rows, width)
        return sum(line(self.work(n, w)) for n, w in batches)

    def passing(self, lengths: Sequence[int]) -> float:
        """Seconds of passes of which next to nothing is kept."""
        return sum(self.passes(self.work(n, w)) for n, w in batches_of(lengths, Budget()))

    def projecting(self, n_tokens: int) -> float:
        """Seconds of projecting so many tokens to the vocabulary in chunks, and of their scores."""
        return self.head(n_tokens)


def _generate(loaded: LoadedModel, wanted: Sequence[Request], new: int, how: str) -> None:
    generate(loaded, wanted, new, frozenset(), how=how)


def _length(cache: dict[str, Any]) -> int:
    found = cache["past_key_values"]
    return int(found.get_seq_length()) if hasattr(found, "get_seq_length") else 0


def _long_cache(model: Any, ids: torch.Tensor, length: int) -> dict[str, Any]:
    """The cache of a sequence of `length` tokens, most of them never passed through the model.

    Each layer takes keys and values in as it takes those of a pass, and keeps of them what it
    keeps: all, or those of a window.
    """
    cache = cache_of(
        base_of(model)(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True)
    )
    for layer in getattr(cache.get("past_key_values"), "layers", ()):
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if (
            isinstance(keys, torch.Tensor)
            and isinstance(values, torch.Tensor)
            and keys.ndim == values.ndim == 4
        ):
            more = length - keys.shape[-2]
            if more > 0:
                layer.update(*(x[..., -1:, :].repeat(1, 1, more, 1) for x in (keys, values)))
    return cache
