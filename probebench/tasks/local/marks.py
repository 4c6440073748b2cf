"""Special tokens that stand around prompts and answers, and how often the rows of a file begin or
end with one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probebench.tasks.prompts import chat
from probebench.tasks.thinking import thinking_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = tuple[int, ...]
IGNORED = (-100, -1)
"""Padding of labels, in no vocabulary."""
ENDINGS = (
    "</s>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<eos>",
    "<|end|>",
    "<|return|>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<｜end▁of▁sentence｜>",
)
"""How models write that their turn ends, as decoding with special tokens shows it."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Special tokens that may stand around a prompt or an answer."""

    pads: frozenset[int]
    prefix: Ids
    """What the tokenizer puts before a text."""
    starts: frozenset[int]
    """Tokens that a prompt of this model begins with: by its tokenizer, or its chat template."""
    begins: frozenset[int]
    """The begin token, where the model has one, and what the tokenizer puts first."""
    turns: frozenset[int]
    """Tokens that stand inside a rendered prompt, not only at its begin."""
    closers: frozenset[int]
    """Tokens that it ends with."""
    stops: frozenset[int]
    """Tokens at which generation stops."""
    ends: frozenset[int]
    """Those, and others that end a turn."""
    foreign: tuple[str, ...]
    """Endings that are no token of this model."""
    size: int
    """Ids are 0 to one less."""
    special: frozenset[int]
    """Special tokens, and others that were added to the vocabulary."""
    suffix: Ids = ()
    """What the tokenizer puts behind a text."""
    opening: Ids = ()
    """How the chat template opens the model's turn: its last special token, and what follows."""
    openers: frozenset[int] = frozenset()
    """Special tokens that open a turn."""
    outer: frozenset[int] = frozenset()
    """Padding that is nothing else: it stands around ids, never inside them."""

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, stops: frozenset[int]) -> Marks:
        """The marks of a model."""
        own = frozenset(int(i) for i in tokenizer.all_special_ids)
        special = own | frozenset(tokenizer.get_added_vocab().values())
        plain, whole = (
            tuple(tokenizer("a", add_special_tokens=own)["input_ids"]) for own in (False, True)
        )
        at = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
        rendered = [whole]
        asked: Ids = ()
        if tokenizer.chat_template:
            asked = tuple(tokenizer(chat(tokenizer, "a"), add_special_tokens=False)["input_ids"])
            rendered.append(asked)
        written = {text: _token_of(tokenizer, text) for text in ENDINGS}
        ends = stops | {
            token for token in (*written.values(), tokenizer.eos_token_id) if token is not None
        }
        begins = frozenset({*whole[:at][:1], tokenizer.bos_token_id} - {None})
        last = max((i for i, token in enumerate(asked) if token in special), default=len(asked))
        opens = [*[i for i in asked if i in special - begins][:1], *asked[last:][:1]]
        thoughts = thinking_ids(tokenizer)  # an answer may well begin with thinking
        silent = ends | begins | {tokenizer.pad_token_id}
        silent |= {*thoughts.open, *thoughts.close} if thoughts else set()
        return cls(
            pads=frozenset({*IGNORED, tokenizer.pad_token_id} - {None}),
            prefix=whole[:at],
            starts=frozenset(ids[0] for ids in rendered) & own,
            begins=begins,
            turns=frozenset(i for ids in rendered for i in ids[1:]),
            closers=frozenset(ids[-1] for ids in rendered) & own,
            stops=stops,
            ends=frozenset(ends),
            foreign=tuple(text for text, token in written.items() if token is None),
            size=len(tokenizer),
            special=special,
            suffix=whole[at + len(plain) :] if whole[at : at + len(plain)] == plain else (),
            opening=asked[last:],
            openers=frozenset(opens) - silent,
            outer=frozenset({tokenizer.pad_token_id} & special)
            - {tokenizer.unk_token_id, *ends, *begins, *asked},
        )


@dataclass(frozen=True, slots=True)
class Runs:
    """How often, and how far, rows of a file begin with one and the same padding token."""

    n: int
    longest: Counter[int]
    begun: Counter[int]
    counts: dict[int, set[int]]

    @classmethod
    def of(cls, rows: Iterable[Ids], pads: frozenset[int]) -> Runs:
        longest: Counter[int] = Counter()
        begun: Counter[int] = Counter()
        counts: dict[int, set[int]] = {}
        n = 0
        for ids in rows:
            n += 1
            if k := run_of(ids, pads):
                longest[ids[0]], begun[ids[0]] = max(longest[ids[0]], k), begun[ids[0]] + 1
                counts.setdefault(ids[0], set()).add(k)
        return cls(n, longest, begun, counts)

    def always(self, token: int) -> bool:
        """Does every row begin with it?"""
        return self.begun[token] == self.n


def run_of(ids: Ids, pads: frozenset[int]) -> int:
    """How many of the first ids are one and the same padding token."""
    if not ids or ids[0] not in pads:
        return 0
    return next((k for k, i in enumerate(ids) if i != ids[0]), len(ids))


def ends_with(ids: Ids, part: Ids) -> bool:
    """Are the last ids these, if they are any?"""
    return bool(part) and ids[-len(part) :] == part


def _token_of(tokenizer: PreTrainedTokenizerBase, text: str) -> int | None:
    """The one token that a written-out special token is; None where a tokenizer takes it for mere
    text."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return (
        int(ids[0]) if len(ids) == 1 and tokenizer.convert_ids_to_tokens(ids[0]) == text else None
    )
