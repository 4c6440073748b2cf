"""Beginning and end of an answer's tokens: what a template or an engine put there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probebench.errors import BadFileError
from probebench.tasks.exact.spans import decode
from probebench.tasks.local.marks import Ids, Marks, Runs, run_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def head_of(d: Dumped, runs: Runs, marks: Marks, done: list[str]) -> int:
    """How many ids before an answer are padding or what the tokenizer puts before a text."""
    k = run_of(d.ids, marks.pads | marks.ends)
    if k == len(d.ids):
        return 0  # an empty answer, or padding only: its end says which
    if k and d.ids[0] in marks.ends and runs.longest[d.ids[0]] < 2 and not runs.always(d.ids[0]):
        raise BadFileError(
            f"{d.where}: {d.name} begins with the stop token {d.ids[0]} and goes on: it may be "
            "padding, or the model may have been "
            f"run past its end. Take it off, or cut the answer there."
        )
    if k:
        done.append("answer_pads")
    token = d.ids[k]
    if token in marks.begins - marks.ends and len(d.ids) > k + 1:
        if token in marks.turns:
            raise BadFileError(
                f"{d.where}: {d.name} begins with the token {token}, which opens a turn of this "
                "model. Leave it out."
            )
        done.append("answer_prefix")
        k += (
            len(marks.prefix)
            if marks.prefix and d.ids[k : k + len(marks.prefix)] == marks.prefix
            else 1
        )
    return k


def tail_of(
    s: Said, ids: Ids, marks: Marks, tokenizer: PreTrainedTokenizerBase, done: list[str]
) -> Mended:
    """An answer up to its stop token, or up to its last token where it has none."""
    d = s.answer
    pads = marks.pads | ({tokenizer.eos_token_id} if pads_with_end(tokenizer) else set())
    if s.ended is False:
        kept = without_padding(ids, pads)
        if kept and kept[-1] in marks.ends:
            raise BadFileError(
                f"{d.where}: the file says that this answer was cut off, but {d.name} ends with "
                f"the stop token {kept[-1]}."
            )
    else:
        kept = without_padding(ids, marks.pads - marks.stops)
        at = next(
            (
                i
                for i, token in enumerate(kept)
                if token in marks.ends and holds_nothing(kept[i + 1 :], marks, tokenizer)
            ),
            None,
        )
        first = next((i for i, token in enumerate(kept) if token in marks.stops), None)
        if first is not None and (at is None or first < at):
            rest = decode(tokenizer, kept[first + 1 :]).strip()
            raise BadFileError(
                f"{d.where}: {d.name} goes on after the stop token {kept[first]} (token "
                f"{first + 1} of {len(kept)}) with {rest[:40]!r}. Cut the answer there, or leave "
                "the token out if the model did not stop at it."
            )
        kept = kept if at is None else kept[: at + 1]
    if not kept:
        raise BadFileError(f"{d.where}: {d.name} holds padding only.")
    if len(kept) < len(ids):
        done.append("after_end")
    stopped = kept[-1] in marks.ends
    return Mended(kept, tuple(done), bool(stopped or s.ended))


def pads_with_end(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Is the stop token what rows are padded with, since the tokenizer has no token of its own for
    it?"""
    return (
        tokenizer.pad_token_id in (None, tokenizer.eos_token_id)
        and tokenizer.eos_token_id is not None
    )


def without_padding(ids: Ids, pads: Iterable[int]) -> Ids:
    """Ids without trailing padding."""
    known = set(pads)
    n = len(ids)
    while n and ids[n - 1] in known:
        n -= 1
    return ids[:n]


def holds_nothing(ids: Ids, marks: Marks, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Are these padding, further stop tokens, or the blank that a chat template writes behind
    one?"""
    rest = [i for i in ids if i not in marks.pads and i not in marks.ends]
    return not rest or (
        not marks.special.intersection(rest) and not decode(tokenizer, rest).strip()
    )


@dataclass(frozen=True, slots=True)
class Dumped:
    """One prompt or answer of a file."""

    where: str
    name: str
    """The column it stands in."""
    ids: Ids


@dataclass(frozen=True, slots=True)
class Mended:
    """Ids without what was put around them."""

    ids: Ids
    done: tuple[str, ...] = ()
    """What was taken off, by name."""
    ended: bool = True
    """False for an answer that was cut off."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer beside its prompt."""

    answer: Dumped
    given: Ids
    """The prompt's ids as they stand in the file."""
    prompt: Ids
    """The same without padding."""
    ended: bool | None
    """What the file says: True when the model ended the answer, False when it was cut off; None
    when it says nothing."""
