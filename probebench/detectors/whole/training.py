"""Networks over the tokens of an answer: trained on train, their epoch chosen on validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from probebench.errors import RunError
from probebench.metrics.auroc import auroc
from probebench.stages.whole.tokens import Ragged
from probebench.types import Floats, SplitName

if TYPE_CHECKING:
    import torch

    from probebench.detectors.whole.nets import Net

LEAST = 1e-6
"""A number's deviation over tokens below which it is taken for constant."""
MANY = 256
"""Examples of a batch that nothing is learnt from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained."""

    optimizer: Literal["adam", "adamw"]
    rate: float
    """Of the first epoch."""
    last_rate: float | None = None
    """Of the last one, to which it falls along a cosine; None: it stays."""
    plateau: int | None = None
    """Halve the rate after so many epochs without a better loss on validation."""
    decay: float
    batch: int
    epochs: int = 0
    steps: int = 0
    """Batches in all, where the paper counts them and not epochs."""
    patience: int | None = None
    """Epochs after the best one; None: all are run."""

    def length(self, n: int) -> int:
        """Epochs with so many train examples."""
        return self.epochs or -(-self.steps // -(-n // self.batch))


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A network at its best epoch."""

    decisions: Floats
    """(example,) logits."""
    epoch: int
    """From 1 on: that of the lowest loss on validation."""
    validation_auroc: float


class Standardised:
    """Tokens on a device, each number centred and divided by its deviation over those of train.

    Args:
        data: of all examples, each with a token.
        rows: examples of each split.
        device: a GPU; None: the CPU.
    """

    def __init__(
        self, data: Ragged, rows: Mapping[SplitName, NDArray[np.int64]], device: str | None = None
    ) -> None:
        import torch

        self.device, self.rows, self.width = torch.device(device or "cpu"), rows, data.width
        values = torch.from_numpy(data.values)
        values = values.view(torch.bfloat16) if values.dtype == torch.uint16 else values
        self.values = values.to(self.device)
        self.sizes = torch.from_numpy(data.sizes).to(self.device)
        self.first = torch.from_numpy(data.ends).to(self.device) - self.sizes
        self.centre, self.spread = torch.zeros(2, data.width, device=self.device)
        self.centre, self.spread = self._scale()

    def __call__(self, examples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(example, token, width) of some examples, zeros behind the shorter ones, and (example,
        token) where there is a token."""
        import torch

        X, there = self._raw(examples)
        return torch.where(there[..., None], (X - self.centre) / self.spread, 0.0), there

    def _raw(self, examples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        sizes = self.sizes[examples][:, None]
        place = torch.arange(int(sizes.max()), device=self.device)
        at = self.first[examples][:, None] + torch.minimum(place, sizes - 1)
        found = self.values.index_select(0, at.flatten()).float()
        return found.view(*at.shape, self.width), place < sizes

    def _scale(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(width,) mean and deviation over the tokens of train, summed in double precision."""
        own = self.examples("train")
        n = int(self.sizes[own].sum())

        def parts() -> Iterator[torch.Tensor]:
            # read anew for each sum: no second copy of all tokens is held
            return (X[there].double() for X, there in map(self._raw, own.split(MANY)))

        centre = sum(x.sum(dim=0) for x in parts()) / n
        spread = (sum((x - centre).square().sum(dim=0) for x in parts()) / n).sqrt()
        spread[spread < LEAST] = 1.0
        return centre.float(), spread.float()

    def examples(self, split: SplitName) -> torch.Tensor:
        """Those of one split."""
        import torch

        return torch.from_numpy(self.rows[split]).to(self.device)


def train(
    make: Callable[[], Net], data: Standardised, y: NDArray[np.integer], recipe: Recipe, seed: int
) -> Trained:
    """Train a network on train; its epoch is the one with the lowest loss on validation.

    Weights, order and dropout follow the seed, and torch's own random state is left as it was.

    Args:
        make: makes it.
        data: tokens of all examples.
        y: (example,) 1 = correct.
        recipe: how.
        seed: of all that is random.

    Raises:
        RunError: after no epoch is the loss on validation a finite number.
    """
    import torch

    held = data.rows["validation"]
    with torch.random.fork_rng(devices=[data.device] if data.device.type == "cuda" else []):
        torch.manual_seed(seed)
        net = make()
        net.parts.to(data.device)
        epoch = _best_epoch(net, data, np.asarray(y, dtype=np.float32), recipe)
    every = torch.arange(len(y), device=data.device)
    decisions = _decide(net, data, every)
    return Trained(decisions, epoch, auroc(y[held], decisions[held]))


def _best_epoch(net: Net, data: Standardised, y: NDArray[np.float32], recipe: Recipe) -> int:
    """Train; the network then has the weights of the epoch that is given back.

    Raises:
        RunError: after no epoch is the loss on validation a finite number.
    """
    import torch

    held, targets = data.examples("validation"), torch.from_numpy(y).to(data.device)
    own, truth = data.examples("train"), y[data.rows["validation"]]
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    optimizer = kind(net.parts.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    least, best, kept = math.inf, 0, _weights(net)
    for epoch, falling in enumerate(_rates(recipe, len(own)), 1):
        halvings = (epoch - 1 - best) // recipe.plateau if recipe.plateau else 0
        if recipe.plateau and halvings and (epoch - 1 - best) % recipe.plateau == 0:
            for group in optimizer.param_groups:
                group["lr"] /= 2
        if recipe.plateau is None:
            for group in optimizer.param_groups:
                group["lr"] = falling
        net.parts.train()
        for batch in _batches(own[torch.randperm(len(own)).to(own.device)], recipe.batch):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                net.logits(*data(batch)), targets[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        z = _decide(net, data, held)
        if (found := float(np.mean(np.logaddexp(0, z) - truth * z))) < least:
            least, best, kept = found, epoch, _weights(net)
        if recipe.patience is not None and epoch - best >= recipe.patience:
            break
    if not best:
        raise RunError(
            f"needs a finite loss on validation, and after none of {epoch} epochs there was one: "
            "training diverges. Leave it out of --detectors."
        )
    net.parts.load_state_dict(kept)
    return best


def _rates(recipe: Recipe, n: int) -> Iterator[float]:
    """The rate of each epoch."""
    last, epochs = recipe.rate if recipe.last_rate is None else recipe.last_rate, recipe.length(n)
    for k in range(epochs):
        falling = (1 + math.cos(math.pi * k / max(epochs - 1, 1))) / 2
        yield last + (recipe.rate - last) * falling


def _weights(net: Net) -> dict[str, torch.Tensor]:
    return {name: t.detach().clone() for name, t in net.parts.state_dict().items()}


def _decide(net: Net, data: Standardised, examples: torch.Tensor) -> Floats:
    """(example,) logits of some examples, those of similar length together."""
    import torch

    net.parts.eval()
    order = torch.argsort(data.sizes[examples], stable=True)
    out = torch.empty(len(examples), dtype=torch.float64, device=data.device)
    with torch.inference_mode():
        for part in order.split(MANY):
            out[part] = net.logits(*data(examples[part])).double()
    return np.asarray(out.cpu().numpy())


def _batches(examples: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """Batches; a last one of a single example, which has no variance, goes with the one before."""
    parts = list(examples.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        import torch

        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts
