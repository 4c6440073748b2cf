"""Greedy decoding where a row leaves when its answer ends, and a waiting prompt takes its place.

A batch of ordinary decoding goes on until its longest answer ends, and pays for every row until
then. Here what is paid for is what is written: rows that end are dropped at once, and while prompts
wait, the batch stays full. Prompts are read in groups of similar length, what all of them begin
with only once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from probebench.models.decoding.ends import Ends
from probebench.models.decoding.guided import Texts
from probebench.models.decoding.replies import Ids, Reply, shared
from probebench.models.decoding.rows import Rows
from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import Budget
from probebench.models.passes.head import Head
from probebench.models.passes.token_scores import token_scores

READ_AT_ONCE = 2048
"""Prompt tokens of a group, padding included, unless one prompt alone is longer."""
SHARED = 8
"""Tokens that all prompts must begin with for it to be worth reading them once."""
PART = 8
"""Waiting prompts are taken in when this part of the places is free: a group costs a pass of its
own, and a free place costs little."""


@dataclass(slots=True)
class _Row:
    """An answer on its way."""

    index: int
    ids: list[int] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)


class Decoder:
    """Answers to some prompts.

    Args:
        loaded: the model; `Rows.can` must hold of it.
        prompts: token ids, at least one each.
        ends: what ends an answer.
        guides: what each answer may be; None: anything.
        budget: what may be in memory at once: prompts, with the room that their answers may take.
            It is told how many answers have ended.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        prompts: Sequence[Ids],
        ends: Ends,
        guides: Sequence[Texts] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.loaded, self.prompts, self.ends, self.guides = loaded, prompts, ends, guides
        self.budget = budget or Budget()
        self.head = Head(loaded)
        order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
        self.waiting = deque(order)
        self.running: list[_Row] = []
        self.replies: dict[int, Reply] = {}
        self.at_once: list[int] = []
        """Prompts that were last in memory together."""

    def run(self) -> list[Reply]:
        """All answers, in the order of the prompts."""
        with torch.inference_mode():
            self.rows = Rows(self.loaded)
            self.prefix = self._shared()
            while self.waiting or self.running:
                while group := self._next_group():
                    self._read(group)
                if self.running:
                    ended = self._choose(
                        self.running, self.rows.extend([(row.ids[-1],) for row in self.running])
                    )
                    if ended:
                        self.running = [self.running[i] for i in self.rows.drop(ended)]
        return [self.replies[i] for i in range(len(self.prompts))]

    def _shared(self) -> Rows | None:
        """What all prompts begin with, read once; None where that is little."""
        if len(self.prompts) < 2 or self.rows.runs_on:
            return None
        ids = shared(self.prompts)
        if len(ids) < SHARED:
            return None
        prefix = Rows(self.loaded)
        prefix.extend([ids])
        return prefix

    def _next_group(self) -> list[int]:
        """Waiting prompts that are read next; none while too few places are free."""
        places, group, inside = self._places(), list[int](), len(self.running)
        if inside and places - inside < min(len(self.waiting), -(-places // PART)):
            return []
        for i in self.waiting:
            full = inside + len(group) >= places
            if full or (group and (len(group) + 1) * len(self.prompts[group[0]]) > READ_AT_ONCE):
                break
            group.append(i)
        for _ in group:
            self.waiting.popleft()
        return group

    def _places(self) -> int:
        """Rows that may be in memory together, the longest of these with all that it may write."""
        some = [row.index for row in self.running] + list(self.waiting)[:1]
        if not some:
            return 0
        longest = max(len(self.prompts[i]) for i in some) + self.ends.limit
        return max(min(self.budget.largest, self.budget.tokens // longest), 1)

    def _read(self, group: list[int]) -> None:
        """Read some prompts, and take in those whose answers do not end with their first token."""
        self.at_once = [*(row.index for row in self.running), *group]
        known = 0 if self.prefix is None else self.prefix.lengths[0]
        rest = [self.prompts[i][known:] for i in group]
        if self.prefix is None:
            new = Rows(self.loaded)
        else:
            new = self.prefix.copy([0] * len(group), max(map(len, rest)))
        rows = [_Row(i) for i in group]
        ended = set(self._choose(rows, new.extend(rest)))
        if left := [k for k in range(len(rows)) if k not in ended]:
            self.rows.take(new, left, room=self._places())
            self.running += [rows[k] for k in left]

    def _choose(self, rows: Sequence[_Row], states: torch.Tensor) -> list[int]:
        """Write each row's next token; which rows have ended."""
        at = 0
        for logits in self.head.logits(states):
            some = rows[at : at + len(logits)]
            found = token_scores(logits, self._guided(some, logits))
            table = torch.stack([found.logprobs, found.logits, found.entropies], dim=1)
            for row, token, scores in zip(some, found.tokens.tolist(), table.tolist(), strict=True):
                row.ids.append(token)
                row.scores.append(scores)
            del logits, found  # before the next chunk is there
            at += len(some)
        ended = [k for k, end in enumerate(self.ends.reached([row.ids for row in rows])) if end]
        for k in ended:
            row = rows[k]
            self.replies[row.index] = Reply(row.ids, np.array(row.scores, dtype=np.float32).T)
        if ended:
            self.budget.reached(len(self.replies))
        return ended

    def _guided(self, rows: Sequence[_Row], logits: torch.Tensor) -> torch.Tensor | None:
        """(row,) the likeliest token that goes on with a text, or the one that ends the reply; None
        where anything may be written."""
        if self.guides is None:
            return None
        tokens = []
        for row, scores in zip(rows, logits, strict=True):
            may = self.guides[row.index].goes_on(row.ids, int(scores.argmax()))
            tokens.append(min(self.ends.stops) if may is None else may[int(scores[may].argmax())])
        return torch.tensor(tokens, device=logits.device)
