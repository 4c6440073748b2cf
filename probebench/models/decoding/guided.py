"""Guided decoding: at every step only tokens that continue one of the texts that are allowed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


@dataclass(slots=True)
class Node:
    """A place in a tree of token ids."""

    children: dict[int, Node] = field(default_factory=dict)
    text: int | None = None
    """Which text ends here; None inside of texts. Of equal texts it is the first."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts that a reply may be, as a tree of their tokens."""

    root: Node

    def at(self, ids: Sequence[int]) -> Node | None:
        """The node that these ids lead to; None where they leave the tree."""
        node: Node | None = self.root
        for token in ids:
            if node is None:
                return None
            node = node.children.get(token)
        return node

    def goes_on(self, ids: Sequence[int], best: int) -> list[int] | None:
        """Tokens that may follow, of which the likeliest should; None where the reply ends.

        Where a text may end, it ends when `best`, the model's own next token, is none that goes on
        with a text.
        """
        node = self.at(ids)
        if (
            node is None
            or not node.children
            or (node.text is not None and best not in node.children)
        ):
            return None
        return list(node.children)

    def which(self, ids: Sequence[int]) -> int | None:
        """The text that these ids spell in full; None for any other ids, a beginning among them."""
        node = self.at(ids)
        return None if node is None else node.text


def tree(sequences: Iterable[Sequence[int]]) -> Texts:
    """The tree of some token sequences; an empty one is no text."""
    root = Node()
    for number, ids in enumerate(sequences):
        node = root
        for token in ids:
            node = node.children.setdefault(token, Node())
        if ids and node.text is None:
            node.text = number
    return Texts(root)


def encode_after(
    tokenizer: PreTrainedTokenizerBase, tail: str, texts: Sequence[str]
) -> list[list[int]]:
    """Token ids of texts as they continue a prompt that ends in `tail`; of each text alone where
    they melt into it."""
    before = tokenizer(tail, add_special_tokens=False)["input_ids"]
    together = tokenizer([tail + t for t in texts], add_special_tokens=False)["input_ids"]
    melted = [i for i, ids in enumerate(together) if ids[: len(before)] != before]
    result = [list(ids[len(before) :]) for ids in together]
    if melted:
        alone = tokenizer([texts[i] for i in melted], add_special_tokens=False)["input_ids"]
        for i, ids in zip(melted, alone, strict=True):
            result[i] = list(ids)
    return result


class Guide:
    """A logits processor that keeps each row of a batch inside its own texts."""

    def __init__(self, texts: Sequence[Texts], start: int, stop: int) -> None:
        """Texts of each row, the column where replies begin, and the token that ends them."""
        self.texts, self.start, self.stop = texts, start, stop

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        allowed = torch.full_like(scores, -torch.inf)
        best = scores.argmax(-1).tolist()
        for row, ids in enumerate(input_ids[:, self.start :].tolist()):
            tokens = self.texts[row].goes_on(ids, best[row])
            if tokens is None:
                allowed[row, self.stop] = 0.0
            else:
                allowed[row, tokens] = scores[row, tokens]
        return allowed
