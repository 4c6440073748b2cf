"""What attribution is to: the log-probability of the exact answer, and the selected probe's
decision, of some answers by one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probebench.models.blocks.outputs import states_in
from probebench.models.blocks.sites import plan_sites
from probebench.models.blocks.taps import Tap
from probebench.models.handles import LoadedModel
from probebench.models.passes.head import Head
from probebench.models.passes.scored import pad_right
from probebench.states.positions import locate
from probebench.types import Cell, LabelledAnswer

if TYPE_CHECKING:
    import torch

LOGPROB, PROBE = "logprob", "probe"


@dataclass(frozen=True, slots=True, eq=False)
class ProbeTarget:
    """A linear probe as a target."""

    cell: Cell
    weight: NDArray[np.float64]
    """(width,) on raw vectors of the cell."""
    bias: float


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One target of some answers."""

    rows: tuple[int, ...]
    """The answers of the batch that have it."""
    values: torch.Tensor
    """(row,) float32 or finer; of the probe's decision without its bias, which nothing changes."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some answers as a model takes them."""

    answers: Sequence[LabelledAnswer]
    ids: torch.Tensor
    """(answer, token) padded on the right."""
    mask: torch.Tensor
    """(answer, token) 1 where there is a token."""

    @classmethod
    def of(cls, answers: Sequence[LabelledAnswer], loaded: LoadedModel) -> Batch:
        """On the model's device."""
        ids, mask = (x.to(loaded.device) for x in pad_right([a.answer.ids for a in answers]))
        return cls(answers, ids, mask)


class Targets:
    """The targets that there are, by the hooks that a caller has set.

    Args:
        loaded: the model.
        probe: the selected probe; None when it is not linear.
    """

    def __init__(self, loaded: LoadedModel, probe: ProbeTarget | None) -> None:
        self.loaded, self.probe, self.head = loaded, probe, Head(loaded)
        cell = probe.cell if probe is not None else None
        n_layers = loaded.handle.identity.n_layers
        plan = cell and plan_sites(loaded.base, n_layers, [cell.site], [cell.layer])
        self.taps = tuple(plan.taps.values()) if plan else ()
        self.last = cell.layer if cell else n_layers
        """The last block that the probe's decision depends on."""

    def __call__(self, batch: Batch) -> dict[str, Value]:
        """Both targets of a batch, those that some answer has."""
        with self.reading() as read:
            states = self.head.states(batch.ids, batch.mask)
        found = {LOGPROB: self._logprob(batch, states), PROBE: self.decision(batch, read)}
        return {name: value for name, value in found.items() if value is not None}

    @contextmanager
    def reading(self) -> Iterator[list[torch.Tensor]]:
        """Meanwhile the vectors that the probe reads are put into the list."""
        read: list[torch.Tensor] = []
        hooks = [_read(tap, read) for tap in self.taps]
        try:
            yield read
        finally:
            for hook in hooks:
                hook.remove()

    def _logprob(self, batch: Batch, states: torch.Tensor) -> Value | None:
        import torch

        spans = [(i, a.tokens.exact) for i, a in enumerate(batch.answers)]
        have = [(i, *exact) for i, exact in spans if exact is not None and exact[0] > 0]
        if not have or not self.loaded.handle.causal:
            return None
        # a token is foretold at the place before it
        wanted = torch.cat([states[i, first - 1 : last] for i, first, last in have])
        tokens = torch.cat([batch.ids[i, first : last + 1] for i, first, last in have])
        parts, done = [], 0
        for logits in self.head.logits(wanted):
            own = tokens[done : done + len(logits), None].to(logits.device)
            fine = logits.to(torch.promote_types(logits.dtype, torch.float32))
            parts.append(torch.log_softmax(fine, dim=-1).gather(1, own)[:, 0])
            done += len(logits)
        each = torch.cat(parts).split([last - first + 1 for _, first, last in have])
        return Value(tuple(i for i, _, _ in have), torch.stack([x.sum() for x in each]))

    def decision(self, batch: Batch, read: Sequence[torch.Tensor]) -> Value | None:
        """The probe's decisions on what it read, without its bias; None where it read nothing."""
        import torch

        if self.probe is None or not read:
            return None
        position = self.probe.cell.position
        table = locate([a.tokens for a in batch.answers], [position])[:, 0].tolist()
        rows = tuple(i for i, (first, _) in enumerate(table) if first >= 0)
        if not rows:
            return None
        dtype = torch.promote_types(read[0].dtype, torch.float32)
        weight = torch.from_numpy(self.probe.weight).to(read[0].device, dtype)
        vectors = [
            read[0][i, first : last + 1].to(dtype).mean(dim=0)
            for i, (first, last) in enumerate(table)
            if first >= 0
        ]
        return Value(rows, torch.stack(vectors) @ weight)


def _read(tap: Tap, read: list[torch.Tensor]) -> Any:
    """Keep the vectors that the probe reads, in the graph where there is one."""

    def after(module: Any, args: Any, output: Any) -> None:
        read.append(tap.take(states_in(output)).clone())

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        read.append(tap.take(args[0] if args else kwargs["hidden_states"]).clone())

    if tap.side == "output":
        return tap.module.register_forward_hook(after)
    return tap.module.register_forward_pre_hook(before, with_kwargs=True)
