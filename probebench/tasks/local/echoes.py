"""Answers that begin with their prompt, as sequences of ids and a pipeline's `generated_text` do,
and prompts that end with their answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probebench.errors import BadFileError
from probebench.tasks.exact.spans import decode
from probebench.tasks.local.edges import Said
from probebench.tasks.local.marks import Ids, Marks, ends_with, run_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Written:
    """One answer that a file holds as text."""

    where: str
    text: str
    prompt: str | None
    """Its prompt as text, where the file holds text."""
    prompt_ids: tuple[int, ...]


def without_prompts(
    found: Sequence[Written], tokenizer: PreTrainedTokenizerBase, marks: Marks
) -> list[tuple[str, tuple[str, ...]]]:
    """Texts without the prompt that they repeat, and what was done, by name.

    A prompt with special tokens in it is never an answer's own words, so it is taken off wherever
    it stands; one of plain words is taken off when every answer of the file begins with its own,
    and else left and counted: a model may repeat a question.

    Raises:
        BadFileError: nothing but the prompt.
    """
    cuts = [_repeated(w, tokenizer, marks) for w in found]
    every = all(at for at, _ in cuts) and len(found) > 1
    result: list[tuple[str, tuple[str, ...]]] = []
    for w, (at, sure) in zip(found, cuts, strict=True):
        if at and not sure and not every:
            result.append((w.text, ("prompt_echoed",)))
            continue
        if at and not w.text[at:].strip():
            raise BadFileError(f"{w.where}: the answer holds nothing but the prompt.")
        result.append((w.text[at:], ("prompt_repeated",) if at else ()))
    return result


def _repeated(w: Written, tokenizer: PreTrainedTokenizerBase, marks: Marks) -> tuple[int, bool]:
    """Where a text goes on behind its prompt (0: it does not begin with it), and whether special
    tokens make that sure."""
    start, pad = 0, str(tokenizer.pad_token or "")
    while pad and w.text.startswith(pad, start):
        start += len(pad)
    whole = str(tokenizer.decode(list(w.prompt_ids), clean_up_tokenization_spaces=False))
    plain, bos = decode(tokenizer, w.prompt_ids), str(tokenizer.bos_token or "")
    for text in (w.prompt or "", whole, whole.removeprefix(bos) if bos else whole, plain):
        if text.strip() and w.text.startswith(text, start):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            return start + len(text), bool(marks.special.intersection(ids))
    return 0, False


@dataclass(frozen=True, slots=True)
class Repeat:
    """The prompt, or its end, at the beginning of an answer's ids."""

    at: int
    """Where the answer begins behind it."""
    sure: bool = True
    """Special tokens stand in it, so that it is never an answer's own words."""
    echo: bool = False
    """It lacks the begin token that the prompt has, and the rest are plain words: a model may have
    said them again."""


def repeated(s: Said, marks: Marks) -> Repeat | None:
    """The prompt, its end from the opening of the model's turn on or more, and padding or a begin
    token before; None where an answer begins with nothing of it."""
    ids, whole = s.answer.ids, s.answer.name == "answer_ids"
    sure = bool(marks.special.intersection(s.prompt))
    if whole and ids[: len(s.given)] == s.given:
        return Repeat(len(s.given), sure)
    last = max((i for i, token in enumerate(s.prompt) if token in marks.special), default=None)
    turn = () if last is None else s.prompt[last:]  # how the template opens the model's turn
    starts = range(run_of(ids, marks.pads | marks.ends) + 1)
    for k in starts:
        for part in (s.prompt if whole else (), turn):
            if part and ids[k : k + len(part)] == part:
                return Repeat(k + len(part), sure)
    bare = s.prompt[begin_of(s.prompt, marks) :]
    for k in starts if whole and bare else ():
        at = k + begin_of(ids[k:], marks)
        for start in {k, at}:
            if ids[start : start + len(bare)] == bare:
                told = start > k or bool(marks.special.intersection(bare))
                return Repeat(start + len(bare), told, echo=not told)
    if last is None or last < begin_of(s.prompt, marks):
        return None
    for j in range(min(last, len(ids) - len(turn) - 1), 0, -1):
        if ids[j : j + len(turn)] == turn and ids[:j] == s.prompt[last - j : last]:
            return Repeat(j + len(turn))
    return None


def begin_of(ids: Ids, marks: Marks) -> int:
    """How many of the first ids are what the tokenizer puts before a text, or a begin token."""
    if marks.prefix and ids[: len(marks.prefix)] == marks.prefix:
        return len(marks.prefix)
    return int(bool(ids) and ids[0] in marks.begins)


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt of a file and its answer, as they were read."""

    where: str
    name: str
    """The column of the prompt."""
    prompt: Ids
    answer: Ids
    said: str
    """The answer as text."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """The beginning of an answer, or all of it, at the end of its prompt."""

    text: str
    whole: bool
    sure: bool
    """It stands in the model's own turn or its opening, or with its stop token."""


def check_apart(found: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, marks: Marks) -> None:
    """Prompts that end with the answer, or with its beginning, in every row.

    A base model may say the last words of its prompt again. It does not do so in every row, with
    other words each time.

    Raises:
        BadFileError: an answer that stands in its prompt too, with file and line.
    """
    overlaps = []
    for pair in found:
        if not any(i not in marks.ends for i in pair.answer):
            continue  # nothing was said, which stands nowhere
        overlap = _overlap(pair, tokenizer, marks)
        if overlap is None:
            return
        overlaps.append((pair, overlap))
    several = len({overlap.text for _, overlap in overlaps}) > 1
    sure = all(o.sure and (o.whole or len(overlaps) > 1) for _, o in overlaps)
    if overlaps and (sure or several):
        pair, overlap = overlaps[0]
        ends = "ends with its answer" if overlap.whole else "ends as its answer begins"
        every = ", as in every row" if len(overlaps) > 1 else ""
        text = overlap.text.strip()[:40]
        raise BadFileError(
            f"{pair.where}: {pair.name} {ends} ({text!r}){every}, so that this would stand twice "
            "before the model. Leave it out of one of the two."
        )


def _overlap(pair: Pair, tokenizer: PreTrainedTokenizerBase, marks: Marks) -> Overlap | None:
    """What a prompt and its answer share; stop tokens and padding behind both do not count."""
    around = marks.pads | marks.ends
    prompt = pair.prompt[: len(pair.prompt) - _run_behind(pair.prompt, around)]
    answer = pair.answer[: len(pair.answer) - _run_behind(pair.answer, around)]
    ended = len(prompt) < len(pair.prompt)
    n = min(len(prompt), len(answer))
    for k in [k for k in range(n, 0, -1) if prompt[-k] == answer[0]]:
        text = decode(tokenizer, answer[:k])
        if prompt[-k:] == answer[:k] and any(c.isalnum() for c in text):
            whole = k == len(answer)
            own = ends_with(prompt[:-k], marks.opening) or (
                k < len(marks.opening) and ends_with(prompt, marks.opening)
            )
            return Overlap(text, whole, own or (whole and ended))
    said = pair.said.strip()
    last = max((i for i, token in enumerate(prompt) if token in marks.special), default=-1)
    shown = decode(tokenizer, prompt[last + 1 :]).rstrip()
    before = shown.removesuffix(said)
    if said and shown.endswith(said) and not before[-1:].isalnum():
        return Overlap(said, True, ended or (bool(marks.opening) and not before.strip()))
    return None


def _run_behind(ids: Ids, around: frozenset[int]) -> int:
    """How many of the last ids are among these."""
    return next((k for k, i in enumerate(reversed(ids)) if i not in around), len(ids))
