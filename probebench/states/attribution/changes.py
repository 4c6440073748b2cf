"""Changes of a target when a component is replaced by its mean: estimated block by block, and
measured by a pass for each.

Measured: every token's vector of one component (the output of one projection) is replaced by the
mean that stands for it there, and the rest of the model is run on what follows. This is mean
ablation. Estimated: the component's own block alone is run on what follows, and from there on the
target is taken to be linear. With h the output of the block, h' the one with the component
replaced, and T the target,

    sum over tokens of (h' - h) . dT/dh

which is attribution patching (Syed et al. 2023, arXiv:2310.10348; Kramár et al. 2024,
arXiv:2403.00745) where all that is not linear within the block is exact: norms behind a component,
the softmax over keys, gates. Kramár et al. compute the softmax alone in this way. It costs about
as much as eight passes, whatever the number of layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from probebench.models.blocks.outputs import states_in, with_states
from probebench.models.blocks.sites import SitePlan, find_blocks
from probebench.models.blocks.taps import Tap
from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import halving, plan_batches
from probebench.states.attribution.means import BATCH_TOKENS, Key, Means, kinds_of
from probebench.states.attribution.resumed import Resumed
from probebench.states.attribution.targets import PROBE, Batch, ProbeTarget, Targets, Value
from probebench.types import LabelledAnswer

if TYPE_CHECKING:
    import torch
    from torch import nn

Given = tuple[tuple[Any, ...], dict[str, Any]]
"""What a block is called with, by place and by name."""
COLUMNS = ("target", "site", "layer", "answer", "change")


def changes(
    loaded: LoadedModel,
    plan: SitePlan,
    means: Means,
    answers: Sequence[LabelledAnswer],
    probe: ProbeTarget | None,
    *,
    exact: bool,
) -> pd.DataFrame:
    """What replacing each component at all tokens of an answer changes in each target.

    Args:
        loaded: the model.
        plan: the components.
        means: what they are replaced by.
        answers: what to look at; those without an exact answer have no target `logprob`, those
            without the probe's token no target `probe`.
        probe: the selected probe; None when it is not linear.
        exact: measure it by a pass for each component; otherwise estimate it.

    Returns:
        One row per target, site, layer and answer (by index), with the `change`, which is 0 where
        nothing of a component reaches the target, as above the probe.

    Raises:
        MemoryLimitError: a single answer does not fit.
    """
    targets = Targets(loaded, probe)
    blocks = find_blocks(loaded.model, loaded.handle.identity.n_layers)

    def run(rows: list[int]) -> list[pd.DataFrame]:
        batch = Batch.of([answers[i] for i in rows], loaded)
        swap = Swap(plan.taps, means, kinds_of(batch))
        measured = (
            _measured(swap, batch, targets, blocks)
            if exact
            else _estimated(swap, batch, targets, blocks)
        )
        found = [
            (name, *key, rows[i], float(change))
            for name, key, value in measured
            for i, change in zip(value.rows, value.values.tolist(), strict=True)
        ]
        return [pd.DataFrame(found, columns=COLUMNS)]

    parts = [pd.DataFrame([], columns=COLUMNS)]
    for rows in plan_batches([len(a.answer.ids) for a in answers], tokens=BATCH_TOKENS):
        parts += halving(rows, run, "measuring attribution")
    return pd.concat([p for p in parts if len(p)] or parts, ignore_index=True)


@dataclass(frozen=True, slots=True, eq=False)
class Swap:
    """Components of a batch, and what they are replaced by."""

    taps: Mapping[Key, Tap]
    means: Means
    kinds: torch.Tensor
    """(answer, token) kinds of tokens."""

    def set(self, key: Key) -> Any:
        """Replace one component from now on, until the hook is removed."""
        import torch

        tap, kinds = self.taps[key], self.kinds

        def hook(module: Any, args: Any, output: Any) -> Any:
            whole = states_in(output)
            flat = whole.clone().reshape(*kinds.shape, whole.shape[-1])
            places = tap.take(torch.arange(whole.shape[-1], device=whole.device))
            there = (kinds >= 0).to(flat.device)[..., None]
            instead = self.means.at(key, kinds, flat)
            flat[..., places] = torch.where(there, instead, flat[..., places])
            return with_states(output, flat.reshape(whole.shape))

        return tap.module.register_forward_hook(hook)


def _measured(
    swap: Swap, batch: Batch, targets: Targets, blocks: Sequence[nn.Module]
) -> Iterator[tuple[str, Key, Value]]:
    """Changes of one batch, by a pass for each component that begins at its block."""
    import torch

    with torch.inference_mode():
        resumed, before = Resumed.after(blocks, lambda: targets(batch))
        skips = resumed.holds(lambda: targets(batch))
        for key in swap.taps:
            layer = key[1]
            hook = swap.set(key)
            try:
                with resumed.at(layer if skips else 0):
                    after = targets(batch)
            finally:
                hook.remove()
            for name, value in before.items():
                reached = name != PROBE or layer <= targets.last
                now = after[name].values if reached else value.values
                yield name, key, Value(value.rows, now - value.values)


def _estimated(
    swap: Swap, batch: Batch, targets: Targets, blocks: Sequence[nn.Module]
) -> Iterator[tuple[str, Key, Value]]:
    """Estimates of one batch, by a pass, a gradient of each target, and passes of single blocks."""
    import torch

    given: dict[int, Given] = {}
    outputs: dict[int, torch.Tensor] = {}
    hooks = [h for layer, block in enumerate(blocks) for h in _keep(layer, block, given, outputs)]
    hooks.append(blocks[0].register_forward_pre_hook(_with_gradient, with_kwargs=True))
    try:
        with torch.enable_grad():
            found = targets(batch)
    finally:
        for hook in hooks:
            hook.remove()
    called, reached = tuple(outputs), tuple(outputs.values())
    gradients = {
        name: dict(zip(called, _gradients(value.values.sum(), reached), strict=True))
        for name, value in found.items()
    }
    have = {name: value.rows for name, value in found.items()}
    del found, outputs, reached  # the graph goes before blocks are run again
    with torch.no_grad():
        for layer in called:  # Mllama passes over its blocks for pictures where there is none
            block = blocks[layer]
            before, decided = _again(block, given[layer], batch, targets)
            for key in (k for k in swap.taps if k[1] == layer):
                hook = swap.set(key)
                try:
                    after, decides = _again(block, given[layer], batch, targets)
                finally:
                    hook.remove()
                for name, rows in have.items():
                    if name == PROBE and decided is not None and decides is not None:
                        change = decides.values - decided.values  # the probe reads in this block
                    else:
                        every = _dot(after - before, gradients[name][layer], batch)
                        change = every[list(rows)]
                    yield name, key, Value(rows, change)


def _gradients(
    value: torch.Tensor, outputs: Sequence[torch.Tensor]
) -> Sequence[torch.Tensor | None]:
    """Of one number with respect to each output, None where it does not depend on it."""
    import torch

    found: Sequence[torch.Tensor | None] = torch.autograd.grad(
        value, outputs, retain_graph=True, allow_unused=True
    )
    return found


def _again(
    block: nn.Module, given: Given, batch: Batch, targets: Targets
) -> tuple[torch.Tensor, Value | None]:
    """Output of one block for what it was given, and the probe's decision where it reads there."""
    args, kwargs = given
    with targets.reading() as read:
        output = block(*map(_own, args), **{k: _own(v) for k, v in kwargs.items()})
    return states_in(output), targets.decision(batch, read)


def _dot(change: torch.Tensor, gradient: torch.Tensor | None, batch: Batch) -> torch.Tensor:
    """(answer,) what a change of a block's output changes, to first order."""
    n, width = batch.ids.shape
    if gradient is None:  # nothing of it reaches the target
        return batch.ids.new_zeros(n).double()
    product = change.double() * gradient.double()
    # several streams stand in front
    axis = 0 if product.shape[:2] == (n, width) else 1
    return product.movedim(axis, 0).flatten(1).sum(dim=1)


def _own(x: Any) -> Any:
    """A copy of what a block may change in place."""
    import torch

    if isinstance(x, torch.Tensor):
        return x.detach().clone()
    return dict(x) if isinstance(x, dict) else x


def _keep(
    layer: int, block: nn.Module, given: dict[int, Given], outputs: dict[int, torch.Tensor]
) -> list[Any]:
    """Keep what a block is given and what it gives; what goes on is a copy, since some models
    change it in place."""

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given[layer] = tuple(map(_own, args)), {k: _own(v) for k, v in kwargs.items()}

    def after(module: Any, args: Any, output: Any) -> Any:
        outputs[layer] = states_in(output)
        return with_states(output, outputs[layer].clone())

    return [
        block.register_forward_pre_hook(before, with_kwargs=True),
        block.register_forward_hook(after),
    ]


def _with_gradient(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Begin the graph at block 0: the weights need no gradients."""
    if args:
        return (args[0].detach().requires_grad_(), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": kwargs["hidden_states"].detach().requires_grad_()}
