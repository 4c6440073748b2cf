"""Generation, greedy or drawn, with log-probabilities from the same pass.

The chosen token's log-probability, logit and the entropy of its distribution are taken while the
model decodes; the vocabulary-wide scores are never kept. `plain` is our own loop, whose rows come
and go; `fast` is `generate()` with a cache of fixed size, for which transformers compiles the model
on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probebench.errors import UsageError
from probebench.models.decoding.drawing import Drawing, Named
from probebench.models.decoding.ends import Ends
from probebench.models.decoding.guided import Texts
from probebench.models.decoding.replies import Ids, Reply
from probebench.models.handles import LoadedModel, ModelHandle
from probebench.models.passes.agreement import apart, gap
from probebench.models.passes.batches import Budget, in_batches, until_it_fits
from probebench.models.passes.padding import Alike, known_alike
from probebench.tasks.exact.spans import decode, token_spans
from probebench.tasks.prompts import encode_prompt, tokens_with
from probebench.tasks.schema import Generation
from probebench.types import Answer

GENERATIONS = ("fast", "plain")
TRIED, STEPS = 32, 6
"""Prompt tokens and new tokens on which it is seen what padding does to an unknown architecture."""


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

    ends = Ends(max_new_tokens, stops, texts, loaded.tokenizer)
    prompts = [r.prompt_ids for r in wanted]
    alike = alike_of(loaded, prompts)
    replies = _replies(loaded, prompts, ends, guides, alike, how, budget or Budget())
    return [_answer(r, reply, ends) for r, reply in zip(wanted, replies, strict=True)]


def draw(
    loaded: LoadedModel,
    wanted: Sequence[Request],
    max_new_tokens: int,
    stops: frozenset[int],
    texts: tuple[str, ...],
    how: Drawing,
    budget: Budget | None = None,
) -> list[list[Answer]]:
    """Several drawn answers to each of `wanted`, with the log-probabilities that the model gives
    their tokens: at temperature 1, of all tokens.

    A cache of fixed size holds as many rows as were planned and is not used here; where a cache's
    rows cannot come and go, each answer is asked for by itself.

    Args:
        loaded: the model.
        wanted: prompts; their names decide what is drawn.
        max_new_tokens: where an answer is cut off.
        stops: tokens that end an answer.
        texts: texts that end an answer.
        how: how many are drawn, and how.
        budget: what a batch may hold; None: the fixed one.
    """
    ends = Ends(max_new_tokens, stops, texts, loaded.tokenizer)
    prompts, named = [r.prompt_ids for r in wanted], Named(how, [r.id for r in wanted])
    alike = alike_of(loaded, prompts * 2)  # even one prompt is asked several times
    replies = _drawn(loaded, prompts, ends, alike, named, budget or Budget())
    answers = [_answer(wanted[i // how.n], reply, ends) for i, reply in enumerate(replies)]
    return [answers[i : i + how.n] for i in range(0, len(answers), how.n)]


def _drawn(
    loaded: LoadedModel,
    prompts: Sequence[Ids],
    ends: Ends,
    alike: Alike,
    named: Named,
    budget: Budget,
) -> list[Reply]:
    """What the model writes, the answers to one prompt together."""
    import torch

    from probebench.models.decoding.continuous import Decoder
    from probebench.models.decoding.library import by_library
    from probebench.models.decoding.rows import Rows

    n = named.how.n
    lengths = [len(ids) + ends.limit for ids in prompts for _ in range(n)]
    if alike == "any" and Rows.can(loaded):
        return until_it_fits(
            lambda: Decoder(loaded, prompts, ends, None, budget, named),
            lengths,
            "generating",
            budget,
        )

    def batch(rows: list[int]) -> list[Reply]:
        streams = [named.stream(*divmod(i, n)) for i in rows]

        def tokens(step: int, logits: torch.Tensor) -> torch.Tensor:
            return named.how.tokens(logits, [s.at(step) for s in streams])

        some = [prompts[i // n] for i in rows]
        return by_library(loaded, some, ends, None, fast=False, padded=False, draw=tokens)

    return in_batches(lengths, batch, "generating", budget, alike, each=n)


def _replies(
    loaded: LoadedModel,
    prompts: Sequence[Ids],
    ends: Ends,
    guides: Sequence[Texts] | None,
    alike: Alike,
    how: str,
    budget: Budget,
) -> list[Reply]:
    """What the model writes; out of memory begins again with half the budget."""
    from probebench.models.decoding.continuous import Decoder
    from probebench.models.decoding.library import by_library
    from probebench.models.decoding.rows import Rows

    lengths = [len(ids) + ends.limit for ids in prompts]

    # a model that cannot take padding keeps a state of its rows outside of the cache
    if how == "fast" or alike != "any" or not Rows.can(loaded):

        def batch(rows: list[int]) -> list[Reply]:
            own = None if guides is None else [guides[i] for i in rows]
            some = [prompts[i] for i in rows]
            return by_library(loaded, some, ends, own, fast=how == "fast", padded=alike == "any")

        return in_batches(lengths, batch, "generating", budget, alike)
    return until_it_fits(
        lambda: Decoder(loaded, prompts, ends, guides, budget), lengths, "generating", budget
    )


def alike_of(loaded: LoadedModel, prompts: Sequence[Ids]) -> Alike:
    """Which prompts a model may be given together: as its family is known to take them, else as it
    is seen to.

    What an unknown architecture does with padding, and with several prompts at all, is measured on
    stretches of the longest prompt: stretches of different length answered together, of equal
    length together, and each alone.
    """
    known = known_alike(loaded.model.config)
    if known is not None or len(prompts) < 2:
        return known or "any"
    ids = max(prompts, key=len)[:TRIED]
    n = len(ids)
    stretches: dict[Alike, list[Ids]] = {
        "any": [ids, ids[: n // 2], ids[: n // 4]],
        "equal": [ids[: n // 2], ids[n // 4 : n // 4 + n // 2], ids[n - n // 2 :]],
    }
    far, ends = apart(loaded.handle.identity.dtype), Ends(STEPS, frozenset(), (), loaded.tokenizer)

    def tried(some: list[Ids]) -> list[Answer]:
        replies = _replies(loaded, some, ends, None, "any", "plain", Budget())
        return [
            _answer(Request("", ids), reply, ends) for ids, reply in zip(some, replies, strict=True)
        ]

    for alike, some in stretches.items():
        some = [ids for ids in some if ids]
        alone = [tried([ids])[0] for ids in some]
        if all(gap(a, b) <= far for a, b in zip(tried(some), alone, strict=True)):
            return alike
    return "alone"


def _answer(request: Request, reply: Reply, ends: Ends) -> Answer:
    """An answer up to its first stop token, or up to the token that completes a stop text."""
    ids, tokenizer = reply.ids, ends.tokenizer
    end = next((i + 1 for i, token in enumerate(ids) if token in ends.stops), None)
    whole = decode(tokenizer, ids[:end])
    at = min((whole.find(t) for t in ends.texts if t in whole), default=None)
    if at is not None:
        until = next(at + len(t) for t in ends.texts if whole.startswith(t, at))
        pieces = token_spans(tokenizer, ids[:end])
        end = next(i + 1 for i, piece in enumerate(pieces) if piece.end >= until)
    kept = tuple(ids[:end])
    words = kept[:-1] if end is not None else kept
    text = whole[:at] if at is not None else decode(tokenizer, words)
    scores = (np.asarray(s[: len(kept)], dtype=np.float32) for s in reply.scores)
    return Answer(request.id, request.prompt_ids, kept, end is not None, text, *scores)
