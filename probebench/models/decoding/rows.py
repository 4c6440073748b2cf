"""Sequences in a model's cache, a row each: read on, copied, taken in, and dropped."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import Cache, DynamicCache

from probebench.models.decoding.columns import SLACK, Columns, Grid, States, Stretch, layer_like
from probebench.models.decoding.replies import Ids
from probebench.models.handles import LoadedModel


class Rows:
    """Some sequences that a model has read.

    All rows end at the same column, so that the next token of each goes into one: a shorter row has
    masked columns before it. After `extend` with stretches of different lengths rows end at
    different columns; `copy` and `take` bring them together again.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.base = loaded, loaded.base
        self.grid, self.lengths, self.ends = Grid(), list[int](), list[int]()
        known = _layers(loaded, self.grid)
        assert known is not None, "asked of a model without such a cache"
        self.layers = known
        parameters = inspect.signature(self.base.forward).parameters
        self.cache_name = "cache_params" if "cache_params" in parameters else "past_key_values"
        self.positions = "position_ids" in parameters

    @staticmethod
    def can(loaded: LoadedModel) -> bool:
        """Does the model keep what it has read in layers that are known here?"""
        model: Any = loaded.model
        return model._supports_default_dynamic_cache() and _layers(loaded, Grid()) is not None

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def runs_on(self) -> bool:
        """Does a layer have a state that runs over every token, padding included?"""
        return any(isinstance(layer, States) for layer in self.layers)

    @property
    def width(self) -> int:
        """Columns in use."""
        return self.grid.end - self.grid.first

    def extend(self, stretches: Sequence[Ids]) -> torch.Tensor:
        """Read a stretch of new tokens in every row.

        Args:
            stretches: of each row at least one token; of any length where the cache has no states
                and for new rows, else one token each.

        Returns:
            (row, width) the model's output, before the vocabulary projection, at the last token of
            each.
        """
        g, news = self.grid, [len(s) for s in stretches]
        q, device = max(news), self.loaded.device
        if not self.lengths:
            g.rows, self.lengths = len(news), [0] * len(news)
        elif any(not c.fits(g.rows, g.end + q) for c in self._columns):
            self._rebuild(g.rows, self.width, q + SLACK)
        left = self.runs_on  # padding on the right would be in the states
        ids = torch.zeros((len(news), q), dtype=torch.long)
        for i, stretch in enumerate(stretches):
            ids[i, q - len(stretch) if left else 0 :][: len(stretch)] = torch.tensor(stretch)
        old, new = torch.tensor(self.lengths), torch.tensor(news)
        column, step = torch.arange(self.width), torch.arange(q)
        # padding on the right comes after all that is read, and needs no mask
        there = step >= q - new[:, None] if left else (step >= 0).expand(len(news), -1)
        mask = torch.cat([column >= self.width - old[:, None], there], dim=1).long()
        place = old[:, None] + step - (q - new[:, None] if left else 0)
        inputs = {"input_ids": ids}
        if self._columns or not sum(self.lengths):  # states have read past padding once and for all
            inputs["attention_mask"] = mask
        if self.positions:
            # padding on the right stays within the row, and so within the model's positions
            inputs["position_ids"] = place.clamp(min=0).minimum((old + new - 1)[:, None])
        out = self.base(
            **{name: x.to(device) for name, x in inputs.items()},
            **{self.cache_name: Cache(layers=self.layers)},
            use_cache=True,
        ).last_hidden_state
        g.end += q
        self.ends = [g.end] * len(news) if left else [g.end - q + n for n in news]
        self.lengths = [a + b for a, b in zip(self.lengths, news, strict=True)]
        last = torch.full_like(new, q - 1) if left else new - 1
        return out[torch.arange(len(news)), last.to(out.device)]

    def copy(self, picks: Sequence[int], columns: int) -> Rows:
        """Some rows, each as often as it is named, ending at the same column, with room for so many
        new ones."""
        rows = Rows(self.loaded)
        rows.take(self, picks, columns=columns)
        return rows

    def take(
        self, other: Rows, picks: Sequence[int], *, room: int = 0, columns: int = SLACK
    ) -> None:
        """Copy rows of another cache behind one's own.

        Args:
            other: where they are.
            picks: which.
            room: rows that there should be place for.
            columns: new ones that there should be place for.
        """
        g, n = self.grid, len(self)
        widest = max(other.lengths[i] for i in picks)
        rows = n + len(picks)
        if not n:
            g.rows, g.first, g.end = 0, 0, 0
        if g.end < widest or any(not c.fits(rows, g.end) for c in self._columns):
            self._rebuild(max(rows, room), max(self.width, widest), columns)
        g.rows = max(rows, room)  # of a layer that begins here
        stretches: dict[tuple[int, int], Stretch] = {}
        for target, i in enumerate(picks, n):
            key = other.lengths[i], other.ends[i]
            s = stretches.setdefault(key, Stretch([], [], *key))
            s.sources.append(i)
            s.targets.append(target)
        for own, new in zip(self.layers, other.layers, strict=True):
            if isinstance(own, (Columns, States)):
                own.take(new, list(stretches.values()), columns)
        self._now([*self.lengths, *(other.lengths[i] for i in picks)])

    def drop(self, gone: Iterable[int]) -> list[int]:
        """Let rows go; the last ones take their places.

        Returns:
            (row,) which row each was before.
        """
        out = set(gone)
        n = len(self) - len(out)
        movers = iter([i for i in range(n, len(self)) if i not in out])
        order = [next(movers) if i in out else i for i in range(n)]
        for layer in self.layers:
            if isinstance(layer, (Columns, States)):
                layer.keep(order)
        self._now([self.lengths[i] for i in order])
        return order

    def _now(self, lengths: list[int]) -> None:
        """Rows that end at the grid's end."""
        g = self.grid
        self.lengths, self.ends, g.rows = lengths, [g.end] * len(lengths), len(lengths)
        g.first = g.end - max(lengths, default=0)

    @property
    def _columns(self) -> list[Columns]:
        return [layer for layer in self.layers if isinstance(layer, Columns)]

    def _rebuild(self, rows: int, end: int, room: int) -> None:
        for layer in self._columns:
            layer.rebuild(rows, end, room)
        self.grid.first, self.grid.end = end - self.width, end
        self.ends = [end] * len(self)


def _layers(loaded: LoadedModel, grid: Grid) -> list[Any] | None:
    """A cache's layers for a model; None where it keeps something that is not known here."""
    config = loaded.model.config.get_text_config(decoder=True)
    layers = [layer_like(layer, grid) for layer in DynamicCache(config=config).layers]
    return None if None in layers else layers
