"""Greedy generation in batches, with log-probabilities from the same pass.

The chosen token's log-probability, logit and the entropy of its distribution are taken while the model decodes; the
vocabulary-wide scores are never kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from probebench.errors import MemoryLimitError
from probebench.models.loading import LoadedModel, ModelHandle, quiet_libraries
from probebench.tasks.prompts import encode_prompt, tokens_with
from probebench.tasks.schema import Generation
from probebench.tasks.spans import decode, token_spans
from probebench.types import Answer

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 8192
"""Prompt and answer tokens of one batch, padding included."""
MAX_BATCH = 128
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to answer."""

    id: str
    prompt_ids: tuple[int, ...]


def requests(ids: Sequence[str], prompts: Sequence[str], handle: ModelHandle) -> list[Request]:
    """Prompts as token ids."""
    return [Request(i, encode_prompt(handle.tokenizer, p)) for i, p in zip(ids, prompts, strict=True)]


def stop_tokens(handle: ModelHandle, generation: Generation) -> frozenset[int]:
    """Ids that end an answer: the model's own, and for base prompts every token with a stop text in it."""
    extra = frozenset() if handle.tokenizer.chat_template else tokens_with(handle.tokenizer, generation.stop)
    return handle.stop_ids | extra


def plan_batches(lengths: Sequence[int], tokens: int = BATCH_TOKENS, largest: int = MAX_BATCH) -> list[list[int]]:
    """Indices in batches of similar length, `tokens` padded tokens each at most, longest first."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for i in order:
        if batches and len(batches[-1]) < largest and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def halving(batch: list[int], run: Callable[[list[int]], list[T]], what: str) -> Iterator[T]:
    """Run a batch; out of memory halves it, down to one example, then gives up with advice."""
    import torch

    try:
        results: list[T] | None = run(batch)
    except (torch.OutOfMemoryError, MemoryError):
        results = None
    except RuntimeError as error:  # what PyTorch's CPU allocator raises
        if "alloc" not in str(error):
            raise
        results = None
    if results is not None:
        yield from results
        return
    # out of the except block, so that the failed batch's tensors are free before the next try
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(batch) == 1:
        raise MemoryLimitError(
            f"Out of memory with a single example while {what}. Lower the task's max_new_tokens, use --dtype bfloat16, "
            f"or a device with more memory."
        )
    half = len(batch) // 2
    yield from halving(batch[:half], run, what)
    yield from halving(batch[half:], run, what)


def stop_texts(handle: ModelHandle, generation: Generation) -> tuple[str, ...]:
    """Texts that end an answer, for base prompts; they may be spread over several tokens."""
    return () if handle.tokenizer.chat_template else generation.stop


def generate(
    loaded: LoadedModel, wanted: Sequence[Request], max_new_tokens: int, stops: frozenset[int], texts: tuple[str, ...] = ()
) -> list[Answer]:
    """Answers in the order of `wanted`, each up to its first stop token or the end of the first stop text."""
    answers: dict[int, Answer] = {}
    for batch in plan_batches([len(r.prompt_ids) + max_new_tokens for r in wanted]):
        done = halving(batch, lambda b: _generate_batch(loaded, [wanted[i] for i in b], max_new_tokens, stops, texts), "generating")
        answers.update(zip(batch, done, strict=True))
    return [answers[i] for i in range(len(wanted))]


def _generate_batch(
    loaded: LoadedModel, batch: list[Request], max_new_tokens: int, stops: frozenset[int], texts: tuple[str, ...]
) -> list[Answer]:
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    pad = loaded.tokenizer.pad_token_id
    pad = pad if pad is not None else min(stops, default=0)
    width = max(len(r.prompt_ids) for r in batch)
    ids = torch.full((len(batch), width), pad, dtype=torch.long)
    mask = torch.zeros((len(batch), width), dtype=torch.long)
    for row, r in enumerate(batch):  # generation continues at the right end, so prompts are padded on the left
        ids[row, width - len(r.prompt_ids) :] = torch.tensor(r.prompt_ids)
        mask[row, width - len(r.prompt_ids) :] = 1
    watch = _Watch()
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
            logits_processor=LogitsProcessorList([watch]),
            stopping_criteria=StoppingCriteriaList([_StopText(loaded, texts, width)] if texts else []),
        )
    generated = out[:, width:].cpu().tolist()
    logprobs, logits, entropies = watch.table()
    return [_answer(loaded, r, generated[i], stops, texts, logprobs[i], logits[i], entropies[i]) for i, r in enumerate(batch)]


def _answer(
    loaded: LoadedModel, request: Request, ids: list[int], stops: frozenset[int], texts: tuple[str, ...], *scores: Any
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
    return Answer(request.id, request.prompt_ids, kept, end is not None, text, logprobs, logits, entropies)


class _StopText:
    """Ends each row whose last tokens spell a stop text."""

    def __init__(self, loaded: LoadedModel, texts: tuple[str, ...], start: int) -> None:
        self.tokenizer, self.texts, self.start = loaded.tokenizer, texts, start
        self.tail = max(map(len, texts)) + 2  # a token is at least one byte

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        import torch

        tails = input_ids[:, max(self.start, input_ids.shape[1] - self.tail) :].tolist()
        ended = [any(t in text for t in self.texts) for text in self.tokenizer.batch_decode(tails, skip_special_tokens=True)]
        return torch.tensor(ended, device=input_ids.device)


class _Watch:
    """A logits processor that changes nothing and notes the greedy token's scores at every step."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        logprobs = torch.log_softmax(scores.float(), dim=-1)
        best = scores.argmax(dim=-1, keepdim=True)
        entropy = -(logprobs.exp() * logprobs).nan_to_num(0.0).sum(-1)
        chosen = torch.stack([logprobs.gather(-1, best)[:, 0], scores.gather(-1, best)[:, 0].float(), entropy])
        self.steps.append(chosen)
        return scores

    def table(self) -> Any:
        """(log-probability | logit | entropy, example, step)."""
        import torch

        return torch.stack(self.steps, dim=-1).cpu().numpy()


def pad_right(sequences: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, both (example, token), padded on the right with zeros."""
    import torch

    width = max(map(len, sequences))
    ids = torch.zeros((len(sequences), width), dtype=torch.long)
    mask = torch.zeros((len(sequences), width), dtype=torch.long)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.tensor(sequence)
        mask[i, : len(sequence)] = 1
    return ids, mask


def score_answers(
    loaded: LoadedModel, sequences: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Log-probabilities, logits and entropies of given answers, by one forward pass over prompt + answer.

    Args:
        sequences: (prompt ids, answer ids) per example.

    Returns:
        Per example three (answer token,) float32 arrays.
    """
    results: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for batch in plan_batches([len(p) + len(a) for p, a in sequences], tokens=BATCH_TOKENS // 2):
        done = halving(batch, lambda b: _score_batch(loaded, [sequences[i] for i in b]), "scoring given answers")
        results.update(zip(batch, done, strict=True))
    return [results[i] for i in range(len(sequences))]


def _score_batch(
    loaded: LoadedModel, batch: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    import torch

    ids, mask = pad_right([p + a for p, a in batch])
    results = []
    with torch.inference_mode():
        logits = loaded.model(input_ids=ids.to(loaded.device), attention_mask=mask.to(loaded.device), use_cache=False).logits
        for row, (p, a) in enumerate(batch):
            own = logits[row, len(p) - 1 : len(p) + len(a) - 1].float()
            logprobs = torch.log_softmax(own, dim=-1)
            chosen = torch.tensor(a, device=own.device, dtype=torch.long)[:, None]
            entropy = -(logprobs.exp() * logprobs).nan_to_num(0.0).sum(-1)
            results.append(
                (
                    logprobs.gather(-1, chosen)[:, 0].cpu().numpy(),
                    own.gather(-1, chosen)[:, 0].cpu().numpy(),
                    entropy.cpu().numpy(),
                )
            )
    return results
