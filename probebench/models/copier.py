"""A language model that copies the deciding words out of answers; what it writes can only be words
of the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from probebench.files import content_key
from probebench.models.decoding.guided import Texts, encode_after, tree
from probebench.models.generate import Request, generate, pick_generation
from probebench.models.generate import requests as as_requests
from probebench.models.handles import LoadedModel, ModelHandle
from probebench.models.passes.batches import Budget
from probebench.tasks.exact.copying import copies, phrases, plain_prompt, turns
from probebench.tasks.prompts import short_questions
from probebench.types import Span

MAX_NEW_TOKENS = 32
"""Longer phrases cannot be copied, so that no reply is ever cut off."""
TAIL = 12
"""Characters at the end of a prompt that decide how the first word after it is cut into tokens."""


@dataclass(frozen=True, eq=False)
class Copier:
    """Prompts for some answers, and the phrases of each that may be copied."""

    handle: ModelHandle
    ids: Sequence[str]
    questions: Sequence[str]
    """(example,) what was asked."""
    said: Sequence[str]
    """(example,) the replies, thinking left out."""

    @cached_property
    def prompts(self) -> list[str]:
        """(example,) what the copying model is asked."""
        tokenizer = self.handle.tokenizer
        pairs = zip(self.questions, self.said, strict=True)
        if not tokenizer.chat_template:
            return [plain_prompt(q, a) for q, a in pairs]
        return [short_questions(tokenizer, turns(q, a)) for q, a in pairs]

    @cached_property
    def requests(self) -> list[Request]:
        """(example,) the prompts as token ids."""
        return as_requests(self.ids, self.prompts, self.handle)

    @property
    def lengths(self) -> list[int]:
        """(example,) tokens of each prompt."""
        return [len(r.prompt_ids) for r in self.requests]

    def inputs(self) -> dict[str, Any]:
        """What decides the copies, for content keys."""
        return {
            "extractor": self.handle.identity.key(),
            "prompts": content_key({"ids": [r.prompt_ids for r in self.requests]}),
            "said": content_key({"said": list(self.said)}),
            "max_new_tokens": MAX_NEW_TOKENS,
        }

    def guide(self, row: int) -> tuple[list[Span], Texts]:
        """The phrases of one answer that may be copied, and the tree of their tokens; NONE where
        the answer may be a refusal."""
        tokenizer = self.handle.tokenizer
        space = "" if tokenizer.chat_template else " "
        spans = phrases(self.questions[row], self.said[row])
        written = [space + text for text in copies(self.said[row], spans)]
        if not spans:
            return [], tree([])
        ids = encode_after(tokenizer, self.prompts[row][-TAIL:], written)
        return spans, tree([i if len(i) < MAX_NEW_TOKENS else () for i in ids])

    def copy(
        self, loaded: LoadedModel, rows: Sequence[int], stops: frozenset[int], budget: Budget | None
    ) -> list[Span | None]:
        """The copied phrase of some answers; None for an answer without words."""
        guides = {row: guide for row in rows if (guide := self.guide(row))[0]}
        asked = list(guides)
        replies = generate(
            loaded,
            [self.requests[row] for row in asked],
            MAX_NEW_TOKENS,
            stops or frozenset({self._stop()}),
            how=pick_generation(self.handle, None),
            budget=budget,
            guides=[guides[row][1] for row in asked],
        )
        found: dict[int, Span] = {}
        for row, reply in zip(asked, replies, strict=True):
            spans, texts = guides[row]
            which = texts.which(reply.answer_ids[:-1]) if reply.stopped else None
            if which is not None and which < len(spans):
                found[row] = spans[which]
        return [found.get(row) for row in rows]

    def _stop(self) -> int:
        """A token that ends a reply, for a model that names none."""
        return int(self.handle.tokenizer.pad_token_id or 0)


def spans_bytes(spans: Sequence[Span | None]) -> bytes:
    """One shard of spans."""
    return json.dumps([None if s is None else [s.start, s.end] for s in spans]).encode()


def read_spans_bytes(content: bytes) -> list[Span | None]:
    """The spans of one shard, in the order they were written."""
    return [None if s is None else Span(*s) for s in json.loads(content)]
