"""Texts of answers that begin with their prompt, as a decoded sequence or a pipeline's
`generated_text` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probebench.errors import BadFileError
from probebench.tasks.exact.spans import decode
from probebench.tasks.local.marks import Marks

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
