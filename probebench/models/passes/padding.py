"""Padding: what fills a batch up to its longest prompt, and which models answer otherwise because
of it.

Prompts are padded on the left when answers are generated. Attention is told by the mask what is
padding, but a state that runs over the tokens from left to right runs over padding too, unless its
architecture sees to it. Padding on the right, as in every other pass here, comes after all that is
read, and a causal model cannot see it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from probebench.errors import UsageError
from probebench.models.blocks.layouts import family_of
from probebench.text import listed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Alike = Literal["any", "equal", "alone"]
"""Which prompts may go through a model together: any, those of equal length, or each alone."""


def known_alike(config: Any) -> Alike | None:
    """Which prompts a model of this config may be given together to generate; None for an
    architecture that is not known.

    That families of the list answer alike in any batch, or in batches of equal length, is tested
    for each.
    """
    family = family_of(str(getattr(config.get_text_config(decoder=True), "model_type", "")))
    return None if family is None else "equal" if family.state_over_padding else "any"


def alike_key(config: Any) -> dict[str, str]:
    """What belongs into the content key of answers: nothing where any prompts may go together, as
    nearly everywhere."""
    known = known_alike(config)
    return {} if known == "any" else {"alike": known or "tried"}


def pad_inside(config: Any) -> Any:
    """The config, or a copy without its padding token where the embedding has no such row:
    transformers would not make it."""
    text = config.get_text_config(decoder=True)
    parts = [part for part in (config, text) if _outside(part, text)]
    if not parts:
        return config
    config = copy.deepcopy(config)
    for part in (config, config.get_text_config(decoder=True)):
        if _outside(part, text):
            part.pad_token_id = None
    return config


def _outside(part: Any, text: Any) -> bool:
    pad, size = getattr(part, "pad_token_id", None), getattr(text, "vocab_size", None)
    return isinstance(pad, int) and isinstance(size, int) and pad >= size


def rows_of(model: torch.nn.Module) -> int | None:
    """Tokens that a model's embedding has; None where it cannot be told."""
    table: Any = model.get_input_embeddings()
    size = getattr(table, "num_embeddings", None)
    if size is None and getattr(table, "weight", None) is not None:
        size = table.weight.shape[0]
    return None if size is None else int(size)


def pad_token(tokenizer: PreTrainedTokenizerBase, stops: Iterable[int], rows: int | None) -> int:
    """A token to fill with, of those that the embedding has: the tokenizer's own, else a stop
    token. It is masked everywhere."""
    wanted = [tokenizer.pad_token_id, *sorted(stops)]
    return next(
        (int(i) for i in wanted if i is not None and i >= 0 and (rows is None or i < rows)), 0
    )


def tokens_beyond(tokenizer: PreTrainedTokenizerBase, rows: int | None) -> tuple[str, ...]:
    """Tokens that a tokenizer has and the embedding has not, in order."""
    if rows is None or len(tokenizer) <= rows:
        return ()
    found = sorted((i, token) for token, i in tokenizer.get_vocab().items() if i >= rows)
    return tuple(token for _, token in found)


def check_inside(
    sequences: Sequence[Collection[int]],
    names: Sequence[str],
    tokenizer: Any,
    rows: int | None,
    model: str,
) -> None:
    """Complain about token ids that the embedding does not have; a model would end in an error of
    its device.

    Args:
        sequences: token ids of each example.
        names: what each is called.
        tokenizer: the model's.
        rows: tokens of the embedding.
        model: its name.

    Raises:
        UsageError: there are some.
    """
    if rows is None:
        return
    for ids, name in zip(sequences, names, strict=True):
        bad = next((i for i in ids if not 0 <= i < rows), None)
        if bad is not None:
            known = 0 <= bad < len(tokenizer)
            token = f"{tokenizer.convert_ids_to_tokens(bad)!r} (id {bad})" if known else f"id {bad}"
            raise UsageError(
                f"Example {name!r} has the token {token}, and the embedding of {model!r} has only "
                f"{rows:,} tokens. The tokenizer was given more than the model: take the tokenizer "
                "files of the model that it was trained from, or resize it."
            )


def beyond_note(tokenizer: PreTrainedTokenizerBase, rows: int | None) -> tuple[str, ...]:
    """A note for the record about tokens that the embedding does not have."""
    beyond = tokens_beyond(tokenizer, rows)
    if not beyond:
        return ()
    fill = " Batches are filled with another one." if tokenizer.pad_token in beyond else ""
    return (
        f"The tokenizer has tokens beyond the {rows:,} of the model's embedding: "
        f"{listed(beyond)}.{fill}",
    )
