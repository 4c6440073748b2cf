"""What a component is replaced by: its mean over the answers, of each kind of token.

The first token of a sequence is a kind of its own. Models gather attention there, so its vectors
are unlike all others; and where every sequence begins alike its mean is the vector itself, so that
nothing is replaced by what no model ever sees there. The rest of the prompt, and the answer, are
the other two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from probebench.models.blocks.sites import SitePlan, watch
from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import halving, plan_batches
from probebench.states.attribution.targets import Batch
from probebench.types import LabelledAnswer

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 2048
KINDS = ("first", "prompt", "answer")
"""Kinds of tokens, in the order of the means."""
Key = tuple[str, int]
"""Site and layer."""


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """Of every component of a plan."""

    values: Mapping[Key, torch.Tensor]
    """(kind of token, width) float64 of each; zeros for a kind that no answer has."""

    @classmethod
    def of(cls, table: pd.DataFrame) -> Means:
        """From the rows of `table`."""
        import torch

        found: dict[Key, list[torch.Tensor]] = {}
        for row in table.itertuples():
            found.setdefault((row.site, int(row.layer)), []).append(
                torch.from_numpy(np.array(row.vector))
            )
        return cls({key: torch.stack(parts) for key, parts in found.items()})

    @property
    def table(self) -> pd.DataFrame:
        """One row per site, layer and kind of token, with its `vector`."""
        rows = [
            (site, layer, kind, value.numpy())
            for (site, layer), values in self.values.items()
            for kind, value in zip(KINDS, values, strict=True)
        ]
        return pd.DataFrame(rows, columns=["site", "layer", "kind", "vector"])

    def at(self, key: Key, kinds: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """(answer, token, width) of one component, what stands at every token instead.

        Args:
            key: site and layer.
            kinds: (answer, token) from `kinds_of`.
            like: in whose type and on whose device.
        """
        own = self.values[key].to(like.device, like.dtype)
        return own[kinds.to(like.device).clamp(min=0)]


def kinds_of(batch: Batch) -> torch.Tensor:
    """(answer, token) index into `KINDS`, -1 for padding."""
    import torch

    kinds = torch.full(batch.ids.shape, -1)
    for i, a in enumerate(batch.answers):
        kinds[i, : a.tokens.n_total] = KINDS.index("prompt")
        kinds[i, a.tokens.n_prompt : a.tokens.n_total] = KINDS.index("answer")
        kinds[i, 0] = KINDS.index("first")
    return kinds


def component_means(
    loaded: LoadedModel, plan: SitePlan, answers: Sequence[LabelledAnswer]
) -> Means:
    """Means over some answers, added up batch by batch: no vectors are kept.

    Raises:
        MemoryLimitError: a single answer does not fit.
    """
    import torch

    sums: dict[Key, torch.Tensor] = {}
    counts = torch.zeros(len(KINDS), dtype=torch.float64)

    def add(rows: list[int]) -> list[tuple[dict[Key, torch.Tensor], torch.Tensor]]:
        batch = Batch.of([answers[i] for i in rows], loaded)
        one = torch.nn.functional.one_hot(kinds_of(batch).flatten() + 1, len(KINDS) + 1)[:, 1:].T
        own: dict[Key, torch.Tensor] = {}

        def sink(site: str, layer: int, states: torch.Tensor) -> None:
            here = states.flatten(0, 1).to("cpu", torch.float64)
            own[site, layer] = one.double() @ here

        hooks = watch(plan, sink)
        try:
            with torch.inference_mode():
                loaded.base(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        return [(own, one.sum(dim=1).double())]

    for rows in plan_batches([len(a.answer.ids) for a in answers], tokens=BATCH_TOKENS):
        for own, n in halving(rows, add, "taking means of components"):
            counts += n
            for key, value in own.items():
                sums[key] = sums[key] + value if key in sums else value.clone()
    return Means({key: s / counts.clamp(min=1)[:, None] for key, s in sums.items()})
