"""The fields of one row of answers: text, ids, label, how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from probebench.errors import BadFileError
from probebench.tasks.local.columns import COLUMNS
from probebench.tasks.local.marks import IGNORED, Ids, Marks
from probebench.tasks.local.rows import FileRow, strings, text_of, value_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def filled(row: FileRow) -> FileRow:
    """A row without its empty fields; an empty exact answer says that there is none.

    Raises:
        BadFileError: what a row needs is there and empty.
    """
    fields = {
        k: v for k, v in row.fields.items() if (v is not None and v != "") or k == "exact_answer"
    }
    for names in NEEDED:
        if not fields.keys() & set(names) and row.fields.keys() & set(names):
            raise missing_of(row.fields, row.where, *names)
    return replace(row, fields=fields)


def tokens_of(text: str, where: str, tokenizer: PreTrainedTokenizerBase, marks: Marks) -> Ids:
    """A text's tokens, special ones that are written out among them."""
    if (ending := next((e for e in marks.foreign if text.rstrip().endswith(e)), None)) is not None:
        raise BadFileError(
            f"{where}: the answer ends with {ending!r}, which is no token of this model: it may be "
            "another model's stop token, or text. Take it off."
        )
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    if not ids:
        raise BadFileError(f"{where}: answer {text!r} has no tokens.")
    return ids


def ended_of(fields: Mapping[str, Any], where: str) -> bool | None:
    """Whether the model ended the answer, as the file says; None when it says nothing.

    Raises:
        BadFileError: a word that is not known, or two that contradict each other.
    """
    found = []
    if "stopped" in fields:
        word = text_of(fields["stopped"]).lower()
        if word not in {"1", "0", "true", "false"}:
            raise BadFileError(
                f"{where}: stopped must be 1 or true (the model ended it), 0 or false; got "
                f"{fields['stopped']!r}."
            )
        found.append(word in {"1", "true"})
    if "finish_reason" in fields:
        reason = fields["finish_reason"]
        word = text_of(reason.get("type") if isinstance(reason, Mapping) else reason).lower()
        if word not in STOPPED | CUT:
            raise BadFileError(
                f"{where}: finish_reason must be one of {', '.join(sorted(STOPPED))} (the model "
                f"ended it) or {', '.join(sorted(CUT))} (it was cut off); got {word!r}."
            )
        found.append(word in STOPPED)
    if len(set(found)) > 1:
        raise BadFileError(
            f"{where}: stopped is {fields['stopped']!r} and finish_reason "
            f"{fields['finish_reason']!r}: which is it?"
        )
    return found[0] if found else None


def label_of(row: Mapping[str, Any], where: str) -> tuple[int | None, tuple[str, ...]]:
    """The label that a row gives, and its references."""
    references = tuple(strings(value_of(row.get("references"), "references", where)))
    if "label" in row:
        value = text_of(row["label"]).lower()
        if value not in TRUE | FALSE:
            raise BadFileError(
                f"{where}: label must be 1 or true (correct), 0 or false (wrong); got "
                f"{row['label']!r}."
            )
        return int(value in TRUE), references
    if references:
        return None, references
    raise missing_of(row, where, "label", "references")


def ids_of(value: Any, name: str, where: str, marks: Marks) -> Ids:
    """A list of token ids, or its JSON."""
    try:
        items = json.loads(value) if isinstance(value, str) else list(value)
    except (ValueError, TypeError, RecursionError):
        items = None
    items = [items] if isinstance(items, int) else items
    items = items and [int(i) if isinstance(i, float) and i.is_integer() else i for i in items]
    if not items or not all(isinstance(i, int) and not isinstance(i, bool) for i in items):
        raise BadFileError(
            f"{where}: {name} must be a list of token ids with at least one entry; got "
            f"{str(value)[:60]!r}."
        )
    check_ids([i for i in items if i not in IGNORED], name, where, marks)
    return tuple(items)


def check_inside(ids: Sequence[int], name: str, where: str, marks: Marks) -> None:
    """Complain about ids that the tokenizer does not have, and about padding between others."""
    check_ids(ids, name, where, marks)
    at = next((i for i, token in enumerate(ids) if token in marks.outer), None)
    if at is not None:
        raise BadFileError(
            f"{where}: {name} holds the padding token {ids[at]} between others (token {at + 1} of "
            f"{len(ids)}). Take it out, or generate the answers anew if the model saw it."
        )


def check_ids(ids: Sequence[int], name: str, where: str, marks: Marks) -> None:
    """Complain about ids that the tokenizer does not have."""
    wrong = [i for i in ids if not 0 <= i < marks.size]
    if wrong:
        raise BadFileError(
            f"{where}: {name} holds the id {wrong[0]}, but the tokenizer has ids 0 to "
            f"{marks.size - 1}."
        )


def missing_of(row: Mapping[str, Any], where: str, *names: str) -> BadFileError:
    """The error about a row in which none of these fields is there, or all that are there are
    empty."""
    empty = [name for name in names if name in row]
    if empty:
        these = f"{' and '.join(map(repr, empty))} {'is' if len(empty) == 1 else 'are'} empty"
        silent = " Of a model that said nothing, give the stop token." if "answer" in names else ""
        return BadFileError(
            f"{where}: {these}, and one of {', '.join(map(repr, names))} is needed. Fill it in, or "
            f"leave the row out.{silent}"
        )
    unknown: Sequence[str] = [str(k) for k in row if k not in COLUMNS]
    extra = f" Unused fields here: {', '.join(unknown)}." if unknown else ""
    return BadFileError(f"{where}: one of {', '.join(map(repr, names))} is needed.{extra}")


NEEDED = (("prompt_ids", "prompt", "question"), ("answer_ids", "answer"), ("label", "references"))
"""Fields of which a row has one or more."""
TRUE, FALSE = {"1", "true", "1.0", "correct"}, {"0", "false", "0.0", "wrong"}
STOPPED = {"stop", "eos", "eos_token", "stop_sequence", "stop_token", "end_turn"}
"""`finish_reason` of an answer that the model ended, in the words of servers,"""
CUT = {"length", "max_tokens", "max_new_tokens", "max_length", "model_length"}
"""and of one that was cut off."""
