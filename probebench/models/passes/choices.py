"""How likely a model finds one of two next tokens: one forward pass per prompt, nothing of the
vocabulary's width is kept."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np

from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import BATCH_TOKENS, Budget, in_batches
from probebench.models.passes.scored import pad_right
from probebench.types import Floats


def choice_scores(
    loaded: LoadedModel,
    prompts: Sequence[tuple[int, ...]],
    first: Sequence[int],
    second: Sequence[int],
    budget: Budget | None = None,
) -> Floats:
    """Scores of two sets of next tokens after each prompt.

    Args:
        loaded: a causal language model.
        prompts: token ids, at least one each.
        first: tokens that stand for the first choice; their probabilities are added up.
        second: tokens that stand for the second choice.
        budget: what a batch may hold; None: half of the fixed one, since next to states there are
            scores.

    Returns:
        (prompt, 2) probability of the first choice, normalised over the two; and what both have
        together of all next tokens.
    """

    def run(rows: list[int]) -> list[tuple[float, float]]:
        return _batch(loaded, [prompts[i] for i in rows], first, second)

    limit = budget if budget is not None else Budget(BATCH_TOKENS // 2)
    found = in_batches([len(p) for p in prompts], run, "asking for p(True)", limit)
    return np.array(found, dtype=np.float64).reshape(-1, 2)


def _batch(
    loaded: LoadedModel, prompts: list[tuple[int, ...]], first: Sequence[int], second: Sequence[int]
) -> list[tuple[float, float]]:
    import torch

    ids, mask = pad_right(prompts)
    # the vocabulary projection is run at places where some prompt ends, and nowhere else
    ends, at = torch.tensor([len(p) - 1 for p in prompts]).unique(return_inverse=True)
    narrow = "logits_to_keep" in inspect.signature(loaded.model.forward).parameters
    options = {"logits_to_keep": ends.to(loaded.device)} if narrow else {}
    inputs = {
        "input_ids": ids.to(loaded.device),
        "attention_mask": mask.to(loaded.device),
        "use_cache": False,
    }
    with torch.inference_mode():
        logits = loaded.model(**inputs, **options).logits
        own = logits[torch.arange(len(prompts)), at if narrow else ends[at]].double()
        both = torch.stack([own[:, list(t)].logsumexp(dim=-1) for t in (first, second)], dim=-1)
        share = both.softmax(dim=-1)[:, 0]
        mass = (both.logsumexp(dim=-1) - own.logsumexp(dim=-1)).exp()
    return list(zip(share.tolist(), mass.tolist(), strict=True))
