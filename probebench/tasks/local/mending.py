"""Token ids of answers as people dump them, brought into the form that generation gives: prompt
ids, then answer ids, nothing else.

A batched `generate()` returns rows padded to one length, on the left before the prompt and on the
right behind the stop token, and its rows begin with the prompt. What was put around the ids is
taken off where there is one reading; each thing done has a name and is counted. Where there are two
readings (one leading token that is begin and padding at once, content behind a stop token) the row
is refused with its line, since one token too many moves every position that counts from that end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from probebench.errors import BadFileError
from probebench.tasks.local.echoes import Repeat, repeated
from probebench.tasks.local.edges import Dumped, Mended, Said, head_of, tail_of
from probebench.tasks.local.marks import IGNORED, Ids, Marks, Runs, ends_with, run_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def mend_prompts(found: Sequence[Dumped], marks: Marks) -> list[Mended]:
    """Prompts without padding.

    Raises:
        BadFileError: padding only, a begin token twice, or one token that may be either, with file
            and line.
    """
    around = marks.pads | marks.ends
    begun = [d.ids[_before_begin(d.ids, marks) :] for d in found]
    left = Runs.of(begun, around)
    right = Runs.of((ids[::-1] for ids in begun), around)
    mended = []
    for d, ids in zip(found, begun, strict=True):
        if run_of(ids, around) == len(ids):
            raise BadFileError(f"{d.where}: {d.name} holds padding only.")
        ids = ids[
            _padding(d, ids, left, marks, own=marks.starts, soft=marks.begins, side="begins") :
        ]
        ids = ids[: len(ids) - _padding_behind(d, ids, right, marks)]
        _check_twice(d, ids, marks)
        _check_suffix(d, ids, marks)
        _check_runs(d, ids, marks)
        _check_runs(d, ids[::-1], marks, side="ends")
        mended.append(Mended(ids, ("prompt_pads",) if len(ids) < len(d.ids) else ()))
    return mended


def lacking(ids: Ids, marks: Marks) -> tuple[str, ...]:
    """What a prompt of this model has and this one has not, by name: its begin token, the opening
    of a turn. Text that was decoded without special tokens lacks both."""
    lacks = []
    if marks.starts and ids[0] not in marks.starts:
        lacks.append("prompt_no_begin")
    if marks.openers and not marks.openers.intersection(ids):
        lacks.append("prompt_no_turn")
    return tuple(lacks)


def _before_begin(ids: Ids, marks: Marks) -> int:
    """How many ids of one kind of special token stand before the begin token: padding, whatever
    token it was done with."""
    at = next((i for i, token in enumerate(ids) if token in marks.begins), 0)
    return at if len(set(ids[:at])) == 1 and (ids[0] in marks.special or ids[0] in IGNORED) else 0


def _padding_behind(d: Dumped, ids: Ids, runs: Runs, marks: Marks) -> int:
    """How many of the last ids are padding: all that stand behind the opening of the model's turn,
    which nothing has been said in."""
    k = run_of(ids[::-1], marks.pads | marks.ends)
    if k and ends_with(ids[: len(ids) - k], marks.opening):
        return k
    return _padding(d, ids[::-1], runs, marks, own=marks.closers, soft=marks.ends, side="ends")


def _padding(
    d: Dumped,
    ids: Ids,
    runs: Runs,
    marks: Marks,
    *,
    own: frozenset[int],
    soft: frozenset[int],
    side: str,
) -> int:
    """How many of the first ids are padding.

    Args:
        d: the row, for messages.
        ids: its ids; reversed for what stands behind.
        runs: how the rows of the file begin.
        marks: of the model.
        own: tokens of which one belongs there.
        soft: tokens of which a single one may belong there.
        side: `begins` or `ends`.

    Raises:
        BadFileError: it cannot be told.
    """
    k = run_of(ids, marks.pads | marks.ends)
    if not k:
        return 0
    token = ids[0]
    if token in own:
        return k - 1 if runs.longest[token] > 2 or len(runs.counts[token]) > 1 else 0
    if token not in soft or runs.longest[token] > 1:
        return k
    if runs.always(token):
        return 0
    raise BadFileError(
        f"{d.where}: {d.name} {side} with the token {token}, and in {runs.n - runs.begun[token]} "
        f"of {runs.n} rows it does not: "
        "it may be padding or belong there"
        + (", or the prompts hold their answers" if side == "ends" else "")
        + ". Take off what the model did not see, or give the prompts as text."
    )


def _check_twice(d: Dumped, ids: Ids, marks: Marks) -> None:
    """A begin token that stands twice: the model may have seen it so, or it came in when the ids
    were written down."""
    n = len(marks.prefix)
    for token in {ids[0]} & (marks.starts | frozenset(marks.prefix[:1])):
        if ids[:2] == (token, token) or (n and ids[: 2 * n] == marks.prefix * 2):
            raise BadFileError(
                f"{d.where}: {d.name} begins with the token {token} twice: a prompt that has its "
                "begin token was tokenised with special tokens again. Take one off, or generate "
                "the answers anew if the model saw both."
            )


def _check_suffix(d: Dumped, ids: Ids, marks: Marks) -> None:
    """What the tokenizer puts behind a text: the model may have seen it, or it came in when the ids
    were written down."""
    if ends_with(ids, marks.suffix) and not ends_with(marks.opening, marks.suffix):
        raise BadFileError(
            f"{d.where}: {d.name} ends with the token {ids[-1]}, which this tokenizer puts behind "
            "a text and after which a model begins something new. Take it off, or generate the "
            "answers anew without it if the model saw it."
        )


def _check_runs(d: Dumped, ids: Ids, marks: Marks, *, side: str = "begins") -> None:
    """One special token, or the id 0, again and again: padding that was made with another token
    than the tokenizer's own."""
    token = ids[0]
    if (
        ids[:2] == (token, token)
        and (token == 0 or token in marks.special)
        and token not in marks.pads | marks.ends
    ):
        raise BadFileError(
            f"{d.where}: {d.name} {side} with the token {token} more than once, which looks like "
            "padding, but is not the padding token of this model. Take the padding off."
        )


def mend_answers(
    found: Sequence[Said], marks: Marks, tokenizer: PreTrainedTokenizerBase
) -> list[Mended]:
    """Answers without the prompt and without padding, up to their stop token.

    Raises:
        BadFileError: nothing but prompt and padding, content behind a stop token, an end that
            contradicts what the file says, or what may be padding or not, with file and line.
    """
    cuts = [repeated(s, marks) for s in found]
    n = sum(cut is not None for cut in cuts)
    every = n == len(found) > 1
    echoes = [cut is not None and cut.echo and not every for cut in cuts]
    cuts = [None if echo else cut for cut, echo in zip(cuts, echoes, strict=True)]
    runs = Runs.of(
        (s.answer.ids for s, cut in zip(found, cuts, strict=True) if cut is None),
        marks.pads | marks.ends,
    )
    mended = []
    for s, cut, echo in zip(found, cuts, echoes, strict=True):
        d, done = s.answer, ["prompt_echoed"] * echo
        if cut is not None:
            _check_sure(d, cut, n, len(found))
            ids = d.ids[cut.at :]
            done.append("prompt_repeated")
            if not ids:
                raise BadFileError(f"{d.where}: {d.name} holds nothing but the prompt.")
            # the prompt was padded on its right
            if k := run_of(ids, marks.pads - marks.ends) % len(ids):
                ids = ids[k:]
                done.append("answer_pads")
        else:
            ids = d.ids[head_of(d, runs, marks, done) :]
        _check_runs(d, ids, marks)
        _check_opened(s, ids, marks)
        mended.append(tail_of(s, ids, marks, tokenizer, done))
    return mended


def _check_sure(d: Dumped, cut: Repeat, n: int, of: int) -> None:
    """Plain words of a prompt that only some rows repeat."""
    if n < of and not cut.sure:
        raise BadFileError(
            f"{d.where}: {d.name} begins with all of the prompt, as {n} of {of} rows do: it may be "
            "repeated, or the model may have said it again. Leave the prompt out of "
            f"{d.name} in all rows."
        )


def _check_opened(s: Said, ids: Ids, marks: Marks) -> None:
    """A token that opens a turn, where an answer should begin. A model that was not given the
    opening of its own turn writes it itself."""
    opened = ends_with(s.prompt, marks.opening)
    if ids[0] in marks.openers and (opened or ids[: len(marks.opening)] != marks.opening):
        d = s.answer
        raise BadFileError(
            f"{d.where}: {d.name} begins with the token {ids[0]}, which opens a turn of this "
            "model, and not with its prompt: it may hold another prompt. Leave the prompt out of "
            f"{d.name}."
        )


def told_by_stops(
    said: Sequence[Said], found: Sequence[Mended], marks: Marks
) -> tuple[list[Said], list[Mended]]:
    """Where texts of answers have their stop token written out, one without it was cut off, if the
    file does not say it."""
    written = any(
        s.answer.name == "answer" and m.ids[-1] in marks.ends
        for s, m in zip(said, found, strict=True)
    )
    cut = [
        written and s.answer.name == "answer" and s.ended is None and m.ids[-1] not in marks.ends
        for s, m in zip(said, found, strict=True)
    ]
    return (
        [replace(s, ended=False) if off else s for s, off in zip(said, cut, strict=True)],
        [
            replace(m, done=(*m.done, "cut_off")) if off else m
            for m, off in zip(found, cut, strict=True)
        ],
    )
