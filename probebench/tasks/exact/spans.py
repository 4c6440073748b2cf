"""From characters of an answer to its generated tokens, by incremental decoding; nothing is ever
re-encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from probebench.types import Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

INCOMPLETE = "\ufffd"
"""What tokenizers write for a character whose bytes are not all there yet."""


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of generated ids: special tokens left out, spaces as they are."""
    return str(
        tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    )


def token_spans(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[Span]:
    """Characters of `decode(ids)` that each token stands for.

    A character spread over several tokens belongs to all of them; a special token has an empty
    span. The concatenated pieces equal the whole text.
    """
    spans: list[Span] = []
    text = ""
    context = read = (
        # tokens [context, read) are decoded again with every new one: decoding depends on what is
        # before
        0
    )
    for i in range(len(ids)):
        known = decode(tokenizer, ids[context:read])
        longer = decode(tokenizer, ids[context : i + 1])
        if longer.endswith(INCOMPLETE) and i + 1 < len(ids):
            continue
        piece = longer[len(known) :] if longer.startswith(known) else None
        if piece is None:
            return _token_spans_by_prefix(tokenizer, ids)
        span = Span(len(text), len(text) + len(piece))
        spans.extend([span] * (i + 1 - read))
        text += piece
        context, read = max(read - 3, 0), i + 1
    if text != decode(tokenizer, ids):
        return _token_spans_by_prefix(tokenizer, ids)
    return spans


def _token_spans_by_prefix(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[Span]:
    """The same by decoding every prefix whole: slower, for tokenizers whose pieces depend on far
    context."""
    whole = decode(tokenizer, ids)
    spans: list[Span] = []
    done = waiting = 0
    for i in range(len(ids)):
        prefix = decode(tokenizer, ids[: i + 1])
        waiting += 1
        if prefix.endswith(INCOMPLETE) and i + 1 < len(ids):
            continue
        end = min(max(len(prefix), done), len(whole)) if i + 1 < len(ids) else len(whole)
        spans.extend([Span(done, end)] * waiting)
        done, waiting = end, 0
    return spans


def tokens_of(span: Span, pieces: Sequence[Span]) -> tuple[int, int] | None:
    """First and last token that share a character with `span`; None when no token does."""
    inside = [
        i for i, piece in enumerate(pieces) if piece.start < span.end and piece.end > span.start
    ]
    return (inside[0], inside[-1]) if inside else None
