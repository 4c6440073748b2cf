"""Transcripts as token ids: all turns but the last through the chat template, then the last one's
text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probebench.tasks.chats import Turn
from probebench.tasks.labelled.turns import as_text
from probebench.tasks.prompts import encode_prompt, short_questions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Rendered:
    """A transcript as token ids."""

    ids: tuple[int, ...]
    begin: int
    """First token of the last turn's text; the sequence ends with the text, before whatever ends a
    turn."""


def encode_turns(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> Rendered:
    """A transcript as a model would have come to it: the turns before the last through its chat
    template with its generation prompt (thinking closed), then the last turn's text.

    Args:
        tokenizer: the model's; without a chat template the turns are written `Role: text`.
        turns: the last one is the assistant's.

    Raises:
        UsageError: the template refuses these turns.
    """
    before, said = turns[:-1], turns[-1][1]
    if tokenizer.chat_template:
        prompt = short_questions(tokenizer, before)
    else:
        prompt, said = f"{as_text(before)}\n\nAssistant:", f" {said}"
    ids = encode_prompt(tokenizer, prompt)
    return Rendered((*ids, *tokenizer(said, add_special_tokens=False)["input_ids"]), len(ids))
