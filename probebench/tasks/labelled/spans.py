"""Answers in which spans are marked right or wrong, from rows in the publisher's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from probebench.errors import BadFileError
from probebench.tasks.chats import Turn
from probebench.tasks.labelled.fields import SpanFields, TurnFields
from probebench.tasks.labelled.turns import LABELS, is_chat, records
from probebench.tasks.local.rows import FileRow, lookup, text_of, written
from probebench.types import LabelledSpan, MarkedAnswer


class Marked(NamedTuple):
    """What a row holds."""

    answer: MarkedAnswer
    turns: tuple[Turn, ...]
    """The conversation with the answer as its last turn, where the column holds one."""


def joined(at: SpanFields, rows: Sequence[FileRow]) -> list[FileRow]:
    """Rows with an answer, each with the columns of the row without one that it belongs to.

    Raises:
        BadFileError: an answer that belongs to no row, with its line.
    """
    if at.join is None:
        return list(rows)
    keys = [text_of(lookup(row.fields, at.join)) for row in rows]
    answers = [lookup(row.fields, at.answer) is not None for row in rows]
    others = {k: r for k, r, own in zip(keys, rows, answers, strict=True) if not own}
    found = []
    for key, row, own in zip(keys, rows, answers, strict=True):
        if own and key not in others:
            raise BadFileError(
                f"{row.where}: no row without an answer has {at.join} {key!r}; give the file that "
                "it joins too, with another --data."
            )
        if own:
            found.append(replace(row, fields={**others[key].fields, **row.fields}))
    return found


def marked_of(at: SpanFields, fields: Mapping[str, Any], where: str) -> Marked:
    """The answer of a row and its spans.

    Raises:
        BadFileError: no answer, or a span that cannot be one.
    """
    value, chat = lookup(fields, at.answer), TurnFields(at.answer)
    if is_chat(chat, as_list := written(value)):  # else an answer in brackets, kept to the letter
        value = as_list
    turns = tuple(records(chat, value, where)) if isinstance(value, list) else ()
    text = turns[-1][1] if turns else value
    if not isinstance(text, str) or not text.strip() or (turns and turns[-1][0] != "assistant"):
        raise BadFileError(
            f"{where}: no answer in field {at.answer!r}; it must be a text, or turns of which the "
            f"assistant has the last. Got {str(value)[:80]!r}."
        )
    given = written(lookup(fields, at.column))
    if not isinstance(given, list):
        raise BadFileError(
            f"{where}: field {at.column!r} must be a list of spans; got {str(given)[:80]!r}."
        )
    found, after = [], 0
    for span in given:
        if not isinstance(span, Mapping):
            raise BadFileError(f"{where}: a span must be a record; got {str(span)[:80]!r}.")
        label = _label(at, span, where)
        if label is None:
            continue
        place = _place(at, span, text, after, where)
        found.append(place and LabelledSpan(*place, label))
        after = place[1] if place else after
    spans = sorted((s for s in found if s), key=lambda s: (s.start, s.end))
    return Marked(MarkedAnswer(text, tuple(spans), len(found) - len(spans)), turns)


def _label(at: SpanFields, span: Mapping[str, Any], where: str) -> int | None:
    """1 or 0, None for what is neither.

    Where everything outside spans is right, a span without a label of its own is wrong."""
    text = text_of(lookup(span, at.label))
    if text in at.left_out:
        return None
    label = at.labels.get(text, LABELS.get(text.lower()))
    if label is None and at.others == "right":
        return 0
    if label is None:
        words = ", ".join(f"{name} ({meant})" for name, meant in at.labels.items())
        raise BadFileError(
            f"{where}: the label of a span in {at.label!r} must be one of {words}, or stand in "
            f"'left_out' of the task file; got {lookup(span, at.label)!r}."
        )
    return label


def _place(
    at: SpanFields, span: Mapping[str, Any], text: str, after: int, where: str
) -> tuple[int, int] | None:
    """First character of a span and the one after its last; None where its text is not there.

    Where the text does not stand at the place it is said to, it is where it stands nearest to it;
    without a place, after the span before."""
    said, start, end = (lookup(span, name) for name in (at.text, at.start, at.end))
    if start is None and not isinstance(said, str):
        raise BadFileError(
            f"{where}: a span needs its place ({at.start!r}, {at.end!r}) or its text "
            f"({at.text!r}); got {str(span)[:80]!r}."
        )
    if start is None:
        first = text.find(said, after)
        first = first if first >= 0 else text.find(said)
        return (first, first + len(said)) if said and first >= 0 else None
    if not isinstance(start, int) or not isinstance(end, int | None) or start < 0:
        raise BadFileError(
            f"{where}: a span begins and ends at whole numbers from 0 on; got {start!r}, {end!r}."
        )
    if not isinstance(said, str):
        if end is None or not start < end <= len(text):
            raise BadFileError(
                f"{where}: the span {start}:{end} does not lie in an answer of {len(text)} "
                "characters."
            )
        return start, end
    places = [i for i in range(len(text)) if text.startswith(said, i)] if said else []
    if not places:
        return None
    first = min(places, key=lambda i: abs(i - start))
    return first, first + len(said)
