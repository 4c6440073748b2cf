"""Cache layers whose rows come and go: keys and values in buffers with room at the end.

transformers' own layers grow by concatenation, which copies the whole cache at every token, and
their rows end where the longest one ends. Here all layers share one grid: a row's tokens stand in
the columns before the grid's end, a new token is written into the next column, and rows are copied
only when they move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import cache_utils
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

SLACK = 16
"""Spare columns of a buffer, so that it is seldom made anew."""


@dataclass(slots=True)
class Grid:
    """Which part of the buffers is in use; the same for every layer."""

    rows: int = 0
    first: int = 0
    """The first column that a row has a token in."""
    end: int = 0
    """The column after the last token of every row."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of one grid whose tokens stand in the same columns, and the rows that they go to."""

    sources: list[int]
    targets: list[int]
    length: int
    end: int
    """The column after their last token, in the grid that they come from."""


class Columns(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer, (row, head, column, width).

    A layer with a sliding window keeps all columns, too: masks are made of the distance between
    columns, which left padding does not change.
    """

    is_sliding = False
    is_compileable = False

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Buffers with the heads and widths of what comes."""
        self._begin(key_states, value_states, self.grid.end + key_states.shape[2])

    def _begin(self, keys: torch.Tensor, values: torch.Tensor, columns: int) -> None:
        self.dtype, self.device = keys.dtype, keys.device
        self.keys, self.values = (
            like.new_empty(self.grid.rows, like.shape[1], columns, like.shape[3])
            for like in (keys, values)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new columns behind the grid's end; all columns in use."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        g, after = self.grid, self.grid.end + key_states.shape[-2]
        self.keys[: g.rows, :, g.end : after] = key_states
        self.values[: g.rows, :, g.end : after] = value_states
        return self.keys[: g.rows, :, g.first : after], self.values[: g.rows, :, g.first : after]

    def get_seq_length(self) -> int:
        """Columns in use."""
        return self.grid.end - self.grid.first

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns that a mask covers, and the first of them."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """There is none."""
        return -1

    def fits(self, rows: int, end: int) -> bool:
        """Is there room for so many rows, and for columns up to `end`?"""
        return not self.is_initialized or (rows <= self.keys.shape[0] and end <= self.keys.shape[2])

    def rebuild(self, rows: int, end: int, room: int) -> None:
        """New buffers for `rows` rows, where the tokens in use end at column `end` and `room`
        columns follow."""
        if not self.is_initialized:
            return
        g, live = self.grid, self.grid.end - self.grid.first
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty(rows, old.shape[1], end + room, old.shape[3])
            new[: g.rows, :, : end - live] = 0
            new[: g.rows, :, end - live : end] = old[: g.rows, :, g.first : g.end]
            setattr(self, name, new)

    def take(self, other: Columns, stretches: Sequence[Stretch], room: int) -> None:
        """Copy rows of another grid so that they end where this one ends, with room for columns
        after them; what stands before them is masked, and must still be a number."""
        if not other.is_initialized:  # this layer looks at the keys of another one
            return
        end = self.grid.end
        if not self.is_initialized:
            self._begin(other.keys, other.values, end + room)
        for s in stretches:
            there, here = slice(s.end - s.length, s.end), slice(end - s.length, end)
            for own, new in ((self.keys, other.keys), (self.values, other.values)):
                own[s.targets, :, : end - s.length] = 0
                own[s.targets, :, here] = new[s.sources, :, there]

    def keep(self, order: Sequence[int]) -> None:
        """Row i is what row order[i] was; only rows that move are copied."""
        if not self.is_initialized:
            return
        g = self.grid
        targets = [i for i, source in enumerate(order) if i != source]
        sources = [order[i] for i in targets]
        for buffer in (self.keys, self.values):
            buffer[targets, :, g.first : g.end] = buffer[sources, :, g.first : g.end]


LINEAR: Any = getattr(cache_utils, "LinearAttentionLayer", object)
"""Older versions of transformers keep such states in caches of each model's own."""


class States(LINEAR):  # type: ignore[misc]
    """One state per row, as of a convolution or a recurrence."""

    has_previous_state: Any
    conv_kernel_size: Any
    dtype: Any
    device: Any

    def take(self, other: States, stretches: Sequence[Stretch], room: int) -> None:
        """Copy rows of another layer behind one's own."""
        pairs = [p for s in stretches for p in zip(s.targets, s.sources, strict=True)]
        sources = [source for _, source in sorted(pairs)]
        for own, new in (
            (self.conv_states, other.conv_states),
            (self.recurrent_states, other.recurrent_states),
        ):
            for i, states in new.items():
                if states is not None:
                    some = states[sources]
                    own[i] = some if own[i] is None else torch.cat([own[i], some])
        for name in ("is_conv_states_initialized", "is_recurrent_states_initialized"):
            setattr(self, name, dict(getattr(other, name)))
        self.has_previous_state = dict(other.has_previous_state)
        self.conv_kernel_size = dict(other.conv_kernel_size)
        self.dtype, self.device = other.dtype, other.device

    def keep(self, order: Sequence[int]) -> None:
        """Row i is what row order[i] was."""
        for states in (self.conv_states, self.recurrent_states):
            for i, some in states.items():
                if some is not None:
                    states[i] = some[list(order)]


class ColumnsAndStates(States, Columns):
    """A layer that has both."""

    def __init__(self, grid: Grid, number_of_states: int) -> None:
        Columns.__init__(self, grid)
        LINEAR.__init__(self, number_of_states=number_of_states)

    def lazy_initialization(self, *args: Any, **kwargs: Any) -> None:
        """Of the columns with keys and values, of the states with states by name."""
        (Columns if args else LINEAR).lazy_initialization(self, *args, **kwargs)

    def take(self, other: Any, stretches: Sequence[Stretch], room: int) -> None:
        """Copy rows of another layer."""
        Columns.take(self, other, stretches, room)
        States.take(self, other, stretches, room)

    def keep(self, order: Sequence[int]) -> None:
        """Row i is what row order[i] was."""
        Columns.keep(self, order)
        States.keep(self, order)


def layer_like(layer: Any, grid: Grid) -> Any | None:
    """A layer of ours in place of one of transformers' own; None where there is none for it."""
    kind = type(layer)
    if kind in (DynamicLayer, DynamicSlidingWindowLayer):
        return Columns(grid)
    if kind is LINEAR:
        return States(number_of_states=layer.number_of_states)
    if kind.__name__ == "DummyLayer":  # keeps nothing
        return layer
    both = "LinearAttentionAndFullAttentionLayer", "LinearAttentionAndSlidingWindowAttentionLayer"
    return ColumnsAndStates(grid, layer.number_of_states) if kind.__name__ in both else None
