"""Decoding where a row leaves when its answer ends, and a waiting prompt takes its place.

A batch of ordinary decoding goes on until its longest answer ends, and pays for every row until
then. Here what is paid for is what is written: rows that end are dropped at once, and while prompts
wait, the batch stays full. Prompts are read in groups of similar length, what all of them begin
with only once; where several answers to each are drawn, all of them go on from one reading.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from probebench.models.decoding.drawing import Named, Stream
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
    """Among all answers."""
    numbers: Stream | None = None
    """What its tokens are drawn by; None: each is the likeliest."""
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
            It is told how many prompts' answers have ended.
        drawing: how each prompt's answers are drawn, and its name; None: one greedy answer each.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        prompts: Sequence[Ids],
        ends: Ends,
        guides: Sequence[Texts] | None = None,
        budget: Budget | None = None,
        drawing: Named | None = None,
    ) -> None:
        self.loaded, self.prompts, self.ends, self.guides = loaded, prompts, ends, guides
        self.budget, self.drawing = budget or Budget(), drawing
        self.each = 1 if drawing is None else drawing.how.n
        self.head = Head(loaded)
        order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
        self.waiting = deque(asked for i in order for asked in self._asked(i))
        self.running: list[_Row] = []
        self.replies: dict[int, Reply] = {}
        self.at_once: list[int] = []
        """Answers that were last in memory together."""

    def run(self) -> list[Reply]:
        """All answers, in the order of the prompts, those of one prompt together."""
        with torch.inference_mode():
            self.rows, self.at_once = (
                Rows(self.loaded),
                [*self.waiting[0][:1]] if self.waiting else [],
            )
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
                self._tell()
        return [self.replies[i] for i in range(len(self.prompts) * self.each)]

    def _asked(self, prompt: int) -> list[range]:
        """Answers to one prompt that go on from one reading: all, if memory has place for them."""
        every = range(prompt * self.each, (prompt + 1) * self.each)
        most = self._room(len(self.prompts[prompt]))
        return [every[i : i + most] for i in range(0, len(every), most)]

    def _prompt(self, answer: int) -> Ids:
        return self.prompts[answer // self.each]

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

    def _next_group(self) -> list[range]:
        """Answers to waiting prompts that are begun next; none while too few places are free."""
        places, group, inside = self._places(), list[range](), len(self.running)
        waiting = sum(map(len, self.waiting))
        if inside and places - inside < min(waiting, -(-places // PART)):
            return []
        for some in self.waiting:
            full = inside and inside + len(some) > places
            longest = len(self._prompt(group[0][0])) if group else 0
            if full or (group and (len(group) + 1) * longest > READ_AT_ONCE):
                break
            group.append(some)
            inside += len(some)
        for _ in group:
            self.waiting.popleft()
        return group

    def _places(self) -> int:
        """Rows that may be in memory together, the longest of these with all that it may write."""
        some = [row.index for row in self.running] + [a[0] for a in list(self.waiting)[:1]]
        return self._room(max(len(self._prompt(i)) for i in some)) if some else 0

    def _room(self, longest: int) -> int:
        """The same beside a longest prompt of so many tokens."""
        return max(min(self.budget.largest, self.budget.tokens // (longest + self.ends.limit)), 1)

    def _read(self, group: Sequence[range]) -> None:
        """Read some prompts, and take in those whose answers do not end with their first token."""
        begun = [(k, i) for k, some in enumerate(group) for i in some]
        self.at_once = [*(row.index for row in self.running), *(i for _, i in begun)]
        known = 0 if self.prefix is None else self.prefix.lengths[0]
        rest = [self._prompt(some[0])[known:] for some in group]
        if self.prefix is None:
            new = Rows(self.loaded)
        else:
            new = self.prefix.copy([0] * len(group), max(map(len, rest)))
        rows = [_Row(i, self._numbers(i)) for _, i in begun]
        states = new.extend(rest)
        ended = set(self._choose(rows, states[[k for k, _ in begun]]))
        if left := [k for k in range(len(rows)) if k not in ended]:
            self.rows.take(new, [begun[k][0] for k in left], room=self._places())
            self.running += [rows[k] for k in left]

    def _choose(self, rows: Sequence[_Row], states: torch.Tensor) -> list[int]:
        """Write each row's next token; which rows have ended."""
        at = 0
        for logits in self.head.logits(states):
            some = rows[at : at + len(logits)]
            found = token_scores(logits, self._wanted(some, logits))
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
        return ended

    def _tell(self) -> None:
        """Say how many are through. One at work counts by the tokens it has of those it may have:
        where all of a shard are begun at once, none ends for long and then most do."""
        begun = sum(len(row.ids) for row in self.running) / self.ends.limit
        self.budget.reached(int((len(self.replies) + begun) / self.each))

    def _numbers(self, answer: int) -> Stream | None:
        """What the tokens of an answer are drawn by."""
        if self.drawing is None:
            return None
        return self.drawing.stream(*divmod(answer, self.each))

    def _wanted(self, rows: Sequence[_Row], logits: torch.Tensor) -> torch.Tensor | None:
        """(row,) the tokens that are drawn, or that guides allow; None: the likeliest."""
        if self.drawing is None:
            return self._guided(rows, logits)
        numbers = [row.numbers.at(len(row.ids)) for row in rows if row.numbers is not None]
        return self.drawing.how.tokens(logits, numbers)

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
