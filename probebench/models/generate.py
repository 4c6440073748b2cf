"""Greedy generation in batches, with log-probabilities from the same pass.

The chosen token's log-probability, logit and the entropy of its distribution are taken while the
model decodes; the vocabulary-wide scores are never kept. `plain` decodes with a cache that grows;
`fast` with one of fixed size, for which transformers compiles the model on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probebench.errors import UsageError
from probebench.models.decoding.guided import Guide, Texts
from probebench.models.decoding.steps import StopText, Watch
from probebench.models.handles import LoadedModel, ModelHandle
from probebench.models.loading import quiet_libraries
from probebench.models.passes.agreement import apart, gap
from probebench.models.passes.batches import Budget, in_batches
from probebench.models.passes.padding import Alike, known_alike, pad_token, rows_of
from probebench.tasks.exact.spans import decode, token_spans
from probebench.tasks.prompts import encode_prompt, tokens_with
from probebench.tasks.schema import Generation
from probebench.types import Answer

if TYPE_CHECKING:
    import torch

GENERATIONS = ("fast", "plain")
TRIED, STEPS = 32, 6
"""Prompt tokens and new tokens on which it is seen what padding does to an unknown architecture."""
CACHE_STEP, ROW_STEP = 128, 16
"""A cache of fixed size is a multiple of these, in tokens and examples, so that few shapes have to
be compiled."""


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to answer."""

    id: str
    prompt_ids: tuple[int, ...]


def requests(ids: Sequence[str], prompts: Sequence[str], handle: ModelHandle) -> list[Request]:
    """Prompts as token ids."""
    return [
        Request(i, encode_prompt(handle.tokenizer, p)) for i, p in zip(ids, prompts, strict=True)
    ]


def stop_tokens(handle: ModelHandle, generation: Generation) -> frozenset[int]:
    """Ids that end an answer: the model's own, and for base prompts every token with a stop text in
    it."""
    extra = (
        frozenset()
        if handle.tokenizer.chat_template
        else tokens_with(handle.tokenizer, generation.stop)
    )
    return handle.stop_ids | extra


def pick_generation(handle: ModelHandle, asked: str | None) -> str:
    """`fast` or `plain`: what was asked for, or fast on a GPU where the model can.

    Raises:
        UsageError: fast was asked of a model that cannot.
    """
    can = bool(getattr(type(handle.skeleton), "_can_compile_fullgraph", False))
    # prompts are padded to a few widths, to compile few shapes
    can = can and known_alike(handle.skeleton.config) != "equal"
    if asked == "fast" and not can:
        raise UsageError(
            "--generation fast needs a cache of fixed size, which transformers does not have for "
            f"{handle.identity.architecture}. Take --generation plain."
        )
    return asked or ("fast" if can and handle.placement.device.type == "cuda" else "plain")


def stop_texts(handle: ModelHandle, generation: Generation) -> tuple[str, ...]:
    """Texts that end an answer, for base prompts; they may be spread over several tokens."""
    return () if handle.tokenizer.chat_template else generation.stop


def generate(
    loaded: LoadedModel,
    wanted: Sequence[Request],
    max_new_tokens: int,
    stops: frozenset[int],
    texts: tuple[str, ...] = (),
    *,
    how: str = "plain",
    budget: Budget | None = None,
    guides: Sequence[Texts] | None = None,
) -> list[Answer]:
    """Answers in the order of `wanted`, each up to its first stop token or the end of the first
    stop text.

    Args:
        loaded: the model.
        wanted: prompts.
        max_new_tokens: where an answer is cut off.
        stops: tokens that end an answer.
        texts: texts that end an answer; they may be spread over several tokens.
        how: `plain` or `fast`.
        budget: what a batch may hold; None: the fixed one.
        guides: what each answer may be, in the order of `wanted`; None: anything.
    """

    alike = alike_of(loaded, wanted)

    def run(rows: list[int]) -> list[Answer]:
        some = None if guides is None else [guides[i] for i in rows]
        return _generate_batch(
            loaded,
            [wanted[i] for i in rows],
            max_new_tokens,
            stops,
            texts,
            how,
            alike=alike,
            guides=some,
        )

    return in_batches(
        [len(r.prompt_ids) + max_new_tokens for r in wanted], run, "generating", budget, alike
    )


def alike_of(loaded: LoadedModel, wanted: Sequence[Request]) -> Alike:
    """Which prompts a model may be given together: as its family is known to take them, else as it
    is seen to.

    What an unknown architecture does with padding, and with several prompts at all, is measured on
    stretches of the longest prompt: stretches of different length answered together, of equal
    length together, and each alone.
    """
    known = known_alike(loaded.model.config)
    if known is not None or len(wanted) < 2:
        return known or "any"
    ids = max((r.prompt_ids for r in wanted), key=len)[:TRIED]
    n = len(ids)
    stretches: dict[Alike, list[tuple[int, ...]]] = {
        "any": [ids, ids[: n // 2], ids[: n // 4]],
        "equal": [ids[: n // 2], ids[n // 4 : n // 4 + n // 2], ids[n - n // 2 :]],
    }
    far = apart(loaded.handle.identity.dtype)
    for alike, some in stretches.items():
        tried = [Request(str(i), stretch) for i, stretch in enumerate(some) if stretch]
        together = _generate_batch(loaded, tried, STEPS, frozenset(), (), "plain")
        alone = [_generate_batch(loaded, [r], STEPS, frozenset(), (), "plain")[0] for r in tried]
        if all(gap(a, b) <= far for a, b in zip(together, alone, strict=True)):
            return alike
    return "alone"


def _generate_batch(
    loaded: LoadedModel,
    batch: list[Request],
    max_new_tokens: int,
    stops: frozenset[int],
    texts: tuple[str, ...],
    how: str,
    *,
    alike: Alike = "any",
    guides: list[Texts] | None = None,
) -> list[Answer]:
    import torch
    from transformers import (
        GenerationConfig,
        LogitsProcessorList,
        StaticCache,
        StoppingCriteriaList,
    )

    pad = pad_token(loaded.tokenizer, stops, rows_of(loaded.model))
    width, rows, cache = max(len(r.prompt_ids) for r in batch), list(batch), {}
    if how == "fast":
        room = _up(width + max_new_tokens, CACHE_STEP)
        width = room - max_new_tokens if alike == "any" else width
        rows += [batch[-1]] * (_up(len(batch), ROW_STEP) - len(batch))  # answered too, and dropped
        # made here, because generate() would never take a shorter one than before, however many
        # more rows it has
        cache = {
            "past_key_values": StaticCache(
                config=loaded.model.config.get_text_config(decoder=True), max_cache_len=room
            )
        }
    ids, mask = pad_left([r.prompt_ids for r in rows], width, pad)
    watch, guide = Watch(), []
    if guides is not None:
        own = [*guides, *[guides[-1]] * (len(rows) - len(batch))]
        guide = [Guide(own, width, min(stops))]
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        eos_token_id=sorted(stops) or None,
        use_cache=True,
    )
    with torch.inference_mode(), quiet_libraries():
        out = loaded.model.generate(
            input_ids=ids.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([*guide, watch]),
            stopping_criteria=StoppingCriteriaList(
                [StopText(loaded, texts, width)] if texts else []
            ),
            **cache,
        )
    generated = out[:, width:].cpu().tolist()
    scores = watch.table()
    return [
        _answer(loaded, r, generated[i], stops, texts, *scores[:, i]) for i, r in enumerate(batch)
    ]


def pad_left(
    prompts: Sequence[tuple[int, ...]], width: int, pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, both (example, width): generation goes on at the right end."""
    import torch

    ids = torch.full((len(prompts), width), pad, dtype=torch.long)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    return ids, mask


def _up(n: int, step: int) -> int:
    """The next multiple."""
    return -(-n // step) * step


def _answer(
    loaded: LoadedModel,
    request: Request,
    ids: list[int],
    stops: frozenset[int],
    texts: tuple[str, ...],
    *scores: Any,
) -> Answer:
    end = next((i + 1 for i, token in enumerate(ids) if token in stops), None)
    whole = decode(loaded.tokenizer, ids[:end])
    at = min((whole.find(t) for t in texts if t in whole), default=None)
    if at is not None:  # up to the token that completes the stop text
        until = next(at + len(t) for t in texts if whole.startswith(t, at))
        pieces = token_spans(loaded.tokenizer, ids[:end])
        end = next(i + 1 for i, piece in enumerate(pieces) if piece.end >= until)
    kept = tuple(ids[:end])
    words = kept[:-1] if end is not None else kept
    text = whole[:at] if at is not None else decode(loaded.tokenizer, words)
    logprobs, logits, entropies = (np.asarray(s[: len(kept)], dtype=np.float32) for s in scores)
    return Answer(
        request.id, request.prompt_ids, kept, end is not None, text, logprobs, logits, entropies
    )
