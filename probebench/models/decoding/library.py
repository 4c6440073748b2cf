"""Decoding by transformers' own `generate()`: with a cache of fixed size, for which it
compiles the model on a GPU, and for models whose cache has rows that cannot come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessorList, StaticCache, StoppingCriteriaList

from probebench.models.decoding.ends import Ends
from probebench.models.decoding.guided import Guide, Texts
from probebench.models.decoding.replies import Ids, Reply
from probebench.models.handles import LoadedModel
from probebench.models.loading import quiet_libraries
from probebench.models.passes.padding import pad_token, rows_of
from probebench.models.passes.token_scores import token_scores

CACHE_STEP, ROW_STEP = 128, 16
"""A cache of fixed size is a multiple of these, in tokens and examples, so that few shapes have to
be compiled."""


Draw = Callable[[int, torch.Tensor], torch.Tensor]
"""(step, (row, vocabulary) logits) -> (row,) tokens."""


class StopText:
    """Ends each row whose last tokens spell a stop text."""

    def __init__(self, ends: Ends, start: int) -> None:
        self.ends, self.start = ends, start

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        ended = self.ends.spelt(input_ids[:, self.start :].tolist())
        return torch.tensor(ended, device=input_ids.device)


class Watch:
    """A logits processor that notes the scores of each token that is written: the likeliest, which
    it leaves to greedy decoding, or one that is drawn, beside which it allows no other."""

    def __init__(self, draw: Draw | None = None) -> None:
        self.draw, self.steps = draw, list[torch.Tensor]()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        chosen = None if self.draw is None else self.draw(len(self.steps), scores)
        found = token_scores(scores, chosen)
        self.steps.append(torch.stack([found.logprobs, found.logits, found.entropies]))
        if chosen is None:
            return scores
        only = torch.full_like(scores, -torch.inf)
        return only.scatter(-1, chosen[:, None], 0.0)

    def table(self) -> Any:
        """(log-probability | logit | entropy, example, step)."""
        return torch.stack(self.steps, dim=-1).cpu().numpy()


def by_library(
    loaded: LoadedModel,
    prompts: Sequence[Ids],
    ends: Ends,
    guides: Sequence[Texts] | None,
    *,
    fast: bool,
    padded: bool,
    draw: Draw | None = None,
) -> list[Reply]:
    """Answers to one batch of prompts, all of which are decoded until the last one ends.

    Args:
        loaded: the model.
        prompts: token ids.
        ends: what ends an answer.
        guides: what each answer may be; None: anything.
        fast: with a cache of fixed size.
        padded: prompts may be padded to a few widths.
        draw: draws the tokens of a step, of one row a prompt; None: each is the likeliest.
    """
    pad = pad_token(loaded.tokenizer, ends.stops, rows_of(loaded.model))
    width, rows, cache = max(map(len, prompts)), list(prompts), {}
    if fast:
        room = _up(width + ends.limit, CACHE_STEP)
        width = room - ends.limit if padded else width
        rows += [prompts[-1]] * (_up(len(prompts), ROW_STEP) - len(prompts))  # dropped at the end
        # made here, because generate() would never take a shorter one than before, however many
        # more rows it has
        text = loaded.model.config.get_text_config(decoder=True)
        cache = {"past_key_values": StaticCache(config=text, max_cache_len=room)}
    ids, mask = pad_left(rows, width, pad)
    watch, guide = Watch(draw), []
    if guides is not None:
        own = [*guides, *[guides[-1]] * (len(rows) - len(prompts))]
        guide = [Guide(own, width, min(ends.stops))]
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=ends.limit,
        pad_token_id=pad,
        eos_token_id=sorted(ends.stops) or None,
        use_cache=True,
    )
    with torch.inference_mode(), quiet_libraries():
        out = loaded.model.generate(
            input_ids=ids.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([*guide, watch]),
            stopping_criteria=StoppingCriteriaList([StopText(ends, width)] if ends.texts else []),
            **cache,
        )
    generated = out[: len(prompts), width:].cpu().tolist()
    scores = np.asarray(watch.table(), dtype=np.float32)
    return [Reply(ids, scores[:, i]) for i, ids in enumerate(generated)]


def pad_left(prompts: Sequence[Ids], width: int, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, both (example, width): generation goes on at the right end."""
    ids = torch.full((len(prompts), width), pad, dtype=torch.long)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    return ids, mask


def _up(n: int, step: int) -> int:
    """The next multiple."""
    return -(-n // step) * step
