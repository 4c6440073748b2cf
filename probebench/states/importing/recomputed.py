"""Hidden states made elsewhere held against our own pass over some of the same answers, layer by
layer.

The numbers of an array tell much (`conventions`), but not whose they are: a shifted layer, another
request's states, or a pass that did not see the beginning have the right shape and finite values. A
handful of answers, the longest among them, are computed again and compared at every layer; as many
of the others as a fixed amount of work allows at the lowest layer alone, where a pass ends early
and exchanged requests show as well. What they look like instead is said by `lookalike`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError
from probebench.models.blocks.sites import plan_sites, watch
from probebench.progress import Progress
from probebench.types import EMB, Float32s

if TYPE_CHECKING:
    import torch

    from probebench.models.handles import LoadedModel

CHECKED = 8
"""Answers that are compared at every layer."""
LONG_ONES = 2
"""Of them the longest ones, which limits on the length and chunks of a prefill reach first."""
SPREAD = 256
"""Tokens of one answer that are compared, evenly spread from the first to the last."""
WORK = 2e12
"""Weights times tokens that the comparison of the others may cost on a CPU."""
GPU = 50
"""How much more of it on a GPU."""
TOLERANCE = {"float32": 0.01, "float16": 0.02, "bfloat16": 0.05}
"""Relative distance allowed to the median vector of a layer, by the coarser of the dtypes of file
and pass (DECISIONS.md)."""
QUANTISED = 0.2
OUTLIER = 3
"""How many times that a single token may differ, in the median over the layers."""
NEARER, ALIKE = 0.7, 1e-3
"""A layer is taken for its neighbour when that is so much nearer, and the distance is more than
nothing."""


class _Enough(Exception):
    """The wanted layers have passed by."""


class OwnPass:
    """Residual streams of one sequence at a time.

    Args:
        loaded: the model.

    Raises:
        StatesError: a model whose stream cannot be read.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        n = loaded.handle.identity.n_layers
        self.loaded, self.layers = loaded, (EMB, *range(n))
        self.plan = plan_sites(loaded.base, n, ["resid"], self.layers)
        if self.plan.absent:
            raise StatesError(
                f"These states cannot be compared with our own pass: "
                f"{next(iter(self.plan.absent.values()))}."
            )

    def __call__(self, ids: Sequence[int], upto: int | None = None) -> Float32s:
        """(layer, token, width), `emb` first; after the last block once more what comes after the
        final norm.

        Args:
            ids: the sequence.
            upto: end the pass after this layer; None: run all of it.
        """
        import torch

        kept: list[torch.Tensor] = []

        def sink(site: str, layer: int, values: torch.Tensor) -> None:
            kept.append(values[0].float().cpu())
            if layer == upto:
                raise _Enough

        tokens = torch.tensor([list(ids)], device=self.loaded.device)
        hooks = watch(self.plan, sink)
        try:
            with torch.inference_mode():
                out = self.loaded.base(
                    input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False
                )
            kept.append(out[0][0].float().cpu())
        except _Enough:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return np.stack([k.numpy() for k in kept])

    def cost(self, upto: int) -> int:
        """Weights that one token meets up to a layer."""
        modules = {
            id(m): m
            for (_, layer), tap in self.plan.taps.items()
            if EMB < layer <= upto
            for m in (tap.module,)
        }
        return sum(p.numel() for m in modules.values() for p in m.parameters())


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is compared."""

    names: Sequence[str]
    """Id of each answer."""
    sequences: Sequence[tuple[int, ...]]
    """Token ids of each."""
    read: Callable[[int], NDArray[Any]]
    """(entry, token, width) of an answer."""
    layers: tuple[int, ...]
    """Layers that the file is said to hold."""
    at: tuple[int, ...]
    """Entry of each of them."""
    last: int | None = None
    """Entry that is said to come after the final norm."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What the comparison found."""

    whole: int
    """Answers compared at every layer."""
    lowest: int
    """Further ones, compared at the lowest layer."""
    largest: float
    """Largest distance of a layer's median vector, relative to its length."""
    tolerance: float
    last_is_stream: bool
    """The entry said to come after the final norm is the last block's output before it."""


def distances(theirs: NDArray[Any], ours: Float32s) -> Float32s:
    """|theirs - ours| / |ours| of each vector."""
    size = np.linalg.norm(ours, axis=-1)
    return np.asarray(
        np.linalg.norm(theirs - ours, axis=-1) / np.where(size > 0, size, 1), dtype=np.float32
    )


def precision(values: NDArray[Any]) -> str:
    """The dtype that numbers were computed in, as far as they show it: float32 may hold what
    bfloat16 gave."""
    bits = values.astype(np.float32)
    if not (np.ascontiguousarray(bits).view(np.uint32) & 0xFFFF).any():
        return "bfloat16"
    with np.errstate(over="ignore"):
        return "float16" if (bits.astype(np.float16) == bits).all() else "float32"


def spread(n: int) -> NDArray[np.int64]:
    """Tokens of a sequence that are looked at."""
    return np.unique(np.linspace(0, n - 1, min(n, SPREAD)).round().astype(np.int64))


class Recomputation:
    """Compares answers with our own pass.

    Args:
        own: our pass.
        subject: what is compared.
        look: called with an answer's number, its tolerance and the dtype's name, when it is not
            what it should be; raises.
    """

    def __init__(
        self, own: OwnPass, subject: Subject, look: Callable[[int, float, str], None]
    ) -> None:
        self.own, self.subject, self.look = own, subject, look
        self.largest, self.tolerance, self.stream = 0.0, 0.0, subject.last is not None

    def allowed(self, values: NDArray[Any]) -> tuple[float, str]:
        """Tolerance for these numbers, and the dtype that it is for."""
        identity = self.own.loaded.handle.identity
        name = max(precision(values), identity.dtype, key=lambda dtype: TOLERANCE.get(dtype, 0))
        if identity.quantization != "none":
            return QUANTISED, f"{identity.quantization} weights"
        return TOLERANCE[name], name

    def whole(self, i: int) -> None:
        """One answer at every layer."""
        subject = self.subject
        tokens, values = spread(len(subject.sequences[i])), subject.read(i)
        theirs = values[list(subject.at)][:, tokens].astype(np.float32)
        ours = self.own(subject.sequences[i])[:, tokens]
        tolerance, name = self.allowed(theirs)
        found = np.stack(
            [distances(t, ours[layer + 1]) for t, layer in zip(theirs, subject.layers, strict=True)]
        )
        typical = np.median(found, axis=1)
        right = typical.max() <= tolerance and np.median(found, axis=0).max() <= OUTLIER * tolerance
        for entry, (vectors, layer) in enumerate(zip(theirs, subject.layers, strict=True)):
            # the rows before and after, the norm's included
            for other in (layer, layer + 2) if typical[entry] > ALIKE else ():
                if (
                    0 <= other < len(ours)
                    and np.median(distances(vectors, ours[other])) < NEARER * typical[entry]
                ):
                    right = False
        if not right:
            self.look(i, tolerance, name)
        self.largest, self.tolerance = (
            max(self.largest, float(typical.max())),
            max(self.tolerance, tolerance),
        )
        if subject.last is not None:
            end = values[subject.last][tokens].astype(np.float32)
            stream, normed = (float(np.median(distances(end, ours[row]))) for row in (-2, -1))
            self.stream &= stream <= tolerance and stream <= normed

    def lowest(self, i: int) -> None:
        """One answer at the lowest layer."""
        subject, layer = self.subject, self.subject.layers[0]
        tokens = spread(len(subject.sequences[i]))
        theirs = subject.read(i)[subject.at[0]][tokens].astype(np.float32)
        tolerance, name = self.allowed(theirs)
        found = distances(theirs, self.own(subject.sequences[i], layer)[-1][tokens])
        if np.median(found) > tolerance or found.max() > OUTLIER * tolerance:
            self.look(i, tolerance, name)


def recompute(
    own: OwnPass, subject: Subject, look: Callable[[int, float, str], None], progress: Progress
) -> Recomputed:
    """Hold some answers against our own pass.

    Raises:
        StatesError: by `look`, they are something else.
    """
    n = len(subject.sequences)
    lengths = np.array([len(s) for s in subject.sequences])
    first = [int(i) for i in np.argsort(-lengths, kind="stable")[:LONG_ONES]]
    first = list(
        dict.fromkeys(
            [*first, *(int(i) for i in np.linspace(0, n - 1, min(n, CHECKED - LONG_ONES)))]
        )
    )
    rest = [int(i) for i in np.random.default_rng(0).permutation(n) if i not in first]
    room = WORK * (GPU if own.loaded.device.type == "cuda" else 1)
    spent = (
        np.cumsum(lengths[rest].astype(float) * own.cost(subject.layers[0]))
        if rest
        else np.zeros(0)
    )
    rest = rest[: int((spent <= room).sum())]
    held = Recomputation(own, subject, look)
    with progress.stage("Comparing with our own", len(first) + len(rest), "answers") as counter:
        for i in first:
            held.whole(i)
            counter.advance()
        for i in rest:
            held.lowest(i)
            counter.advance()
    return Recomputed(len(first), len(rest), held.largest, held.tolerance, held.stream)
