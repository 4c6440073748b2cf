"""Small networks as papers train them: layers that are rectified, a few epochs of shuffled
batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.stored.vectors import n_train
from probebench.probes.parts import OneScale
from probebench.stages.plan import Plan
from probebench.types import Float32s, Floats

if TYPE_CHECKING:
    import torch

SLOW, FAST = 2e10, 2e12
"""Operations a second that small networks reach on a processor and on a GPU: for prices."""
FLOOR = 0.2**3
"""Part of the first rate at which a cosine ends (the published code of HaloScope)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is built and trained."""

    hidden: tuple[int, ...]
    """Widths of the layers between vector and decision."""
    epochs: int
    batch: int
    rate: float
    momentum: float | None = None
    """Of stochastic gradient descent, whose rate falls along a cosine; None: Adam, at one rate."""
    decay: float = 0.0
    """Weight decay, of weights and not of biases."""
    dropout: float = 0.0
    """Part of the vector's numbers that are left out at a time."""
    balanced: bool = False
    """Weigh each class by the share of the other one."""

    def seconds(self, plan: Plan, times: int) -> float:
        """What training it so many times is expected to take."""
        width = plan.handle.identity.width
        sizes = (width, *self.hidden, 1)
        weights = sum(a * b for a, b in pairwise(sizes))
        speed = SLOW if plan.fitting.device is None else FAST
        return times * self.epochs * n_train(plan.splits) * 6 * weights / speed


Decide = Callable[[], Floats]


def epochs(
    X: Float32s,
    y: NDArray[np.integer],
    train: NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    device: str | None = None,
) -> Iterator[Decide]:
    """Train a network, epoch by epoch.

    Vectors are centred and divided by one number on train, so that one recipe fits models whose
    states are of any size.

    Args:
        X: (example, width).
        y: (train example,) 1 = correct, in the order of `train`.
        train: examples that it is trained on.
        recipe: how.
        seed: of weights, order and dropout.
        device: a GPU; None: this process's CPU.

    Yields:
        After each epoch what gives (example,) logits of all examples, of that epoch while it lasts.
    """
    import torch

    own = torch.Generator().manual_seed(seed)
    scaled = np.asarray(OneScale().fit(X[train]).transform(X), dtype=np.float32)
    vectors = torch.from_numpy(scaled).to(device or "cpu")
    targets = torch.from_numpy(np.asarray(y, dtype=np.float32)).to(vectors.device)
    share = float(targets.mean())
    weights = torch.where(targets > 0, 1 - share, share) if recipe.balanced else None
    layers = initial(X.shape[1], recipe, own, vectors.device)
    optimizer = _optimizer(layers, recipe)
    rows = torch.from_numpy(train).to(vectors.device)
    for epoch in range(1, recipe.epochs + 1):
        if recipe.momentum is not None:
            for group in optimizer.param_groups:
                group["lr"] = _cosine(recipe, epoch)
        for batch in torch.randperm(len(train), generator=own).split(recipe.batch):
            some = batch.to(vectors.device)
            out = forward(_dropped(vectors[rows[some]], recipe.dropout, own), layers)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                out, targets[some], None if weights is None else weights[some], reduction="sum"
            )
            total = len(some) if weights is None else weights[some].sum()
            optimizer.zero_grad()
            (loss / total).backward()
            optimizer.step()

        def decide() -> Floats:
            with torch.inference_mode():
                return np.asarray(forward(vectors, layers).cpu().numpy(), dtype=np.float64)

        yield decide


def last_epoch(
    X: Float32s,
    y: NDArray[np.integer],
    train: NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    device: str | None = None,
) -> Floats:
    """(example,) logits after the last epoch; the arguments are those of `epochs`."""
    *_, decide = epochs(X, y, train, recipe, seed, device)
    return decide()


Layers = list[tuple["torch.Tensor", "torch.Tensor"]]


def initial(width: int, recipe: Recipe, own: torch.Generator, device: torch.device) -> Layers:
    """Weights (in, out) and biases (out,), uniform within one over the root of what comes in."""
    import torch

    sizes, layers = (width, *recipe.hidden, 1), []
    for before, after in pairwise(sizes):
        pair = (torch.rand((n, after), generator=own) for n in (before, 1))
        weight, bias = (((2 * t - 1) / math.sqrt(before)).to(device) for t in pair)
        layers.append((weight.requires_grad_(), bias[0].clone().requires_grad_()))
    return layers


def forward(X: torch.Tensor, layers: Layers) -> torch.Tensor:
    """(example,) logits."""
    for weight, bias in layers[:-1]:
        X = (X @ weight + bias).relu()
    weight, bias = layers[-1]
    return (X @ weight + bias)[:, 0]


def _dropped(X: torch.Tensor, share: float, own: torch.Generator) -> torch.Tensor:
    """The same with a share of its numbers zero, and the rest larger by as much."""
    import torch

    if not share:
        return X
    kept = torch.rand(X.shape, generator=own) >= share
    return X * kept.to(X.device) / (1 - share)


def _optimizer(layers: Layers, recipe: Recipe) -> torch.optim.Optimizer:
    import torch

    groups = [
        {"params": [w for w, _ in layers], "weight_decay": recipe.decay},
        {"params": [b for _, b in layers]},
    ]
    if recipe.momentum is None:
        return torch.optim.Adam(groups, lr=recipe.rate)
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum)


def _cosine(recipe: Recipe, epoch: int) -> float:
    """The rate in one epoch, from 1 on."""
    low = recipe.rate * FLOOR
    return low + (recipe.rate - low) * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2
