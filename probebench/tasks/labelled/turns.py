"""Transcripts: the turns of a conversation from a row in the publisher's columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from probebench.errors import BadFileError, nearest
from probebench.tasks.chats import Turn
from probebench.tasks.labelled.fields import TurnFields
from probebench.tasks.local.rows import FileRow, lookup, strings, text_of, written

ROLES = ("system", "user", "assistant")
LABELS = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0}
"""What a given label is in any task."""


def answers_apart(at: TurnFields, label: str, rows: Sequence[FileRow]) -> Iterator[FileRow]:
    """Each answer in a row of its own, without those whose label is left out.

    Args:
        at: the task's.
        label: column of the labels.
        rows: of the source.

    Raises:
        BadFileError: not as many labels as answers.
    """
    for row in rows:
        some = lookup(row.fields, at.answer) if at.answer else None
        if at.answer is None or not isinstance(some, list):
            alone = [row]
        else:
            found = lookup(row.fields, label)
            own = found if isinstance(found, list) else [found]
            if len(own) != len(some):
                raise BadFileError(
                    f"{row.where}: {len(some)} answers in field {at.answer!r} and {len(own)} "
                    f"labels in field {label!r}; give one label for each answer."
                )
            alone = [
                replace(row, fields={**row.fields, at.answer: said, label: value})
                for said, value in zip(some, own, strict=True)
            ]
        for one in alone:
            if text_of(lookup(one.fields, label)) not in at.left_out:
                yield one


def turns_of(at: TurnFields, fields: Mapping[str, Any], where: str) -> tuple[Turn, ...]:
    """The turns of a row, the last one the assistant's.

    Raises:
        BadFileError: no transcript, a role that is none, or a last turn that says nothing.
    """
    value = lookup(fields, at.column)
    turns = _cut(at, value, where) if at.pattern else records(at, written(value), where)
    if at.answer is not None:
        said = " ".join(strings(lookup(fields, at.answer)))
        if turns[-1][0] == "assistant":  # the beginning of the answer, put into the model's mouth
            said = f"{turns.pop()[1]} {said}"
        turns.append(("assistant", said))
    if len(turns) < 2 or turns[-1][0] != "assistant" or not turns[-1][1].strip():
        raise BadFileError(
            f"{where}: a transcript needs a turn of the user and then a last one in which the "
            f"assistant says something; got {', '.join(role for role, _ in turns) or 'none'}."
        )
    return tuple((role, text.strip()) for role, text in turns)


def _cut(at: TurnFields, value: Any, where: str) -> list[Turn]:
    match = re.search(at.pattern or "", value, re.DOTALL) if isinstance(value, str) else None
    if match is None:
        raise BadFileError(
            f"{where}: the pattern {at.pattern!r} of 'turns' does not match field {at.column!r}: "
            f"{str(value)[:80]!r}."
        )
    found = match.groupdict()
    return [(role, found[role]) for role in ROLES if found.get(role)]


def is_chat(at: TurnFields, value: Any) -> bool:
    """Is it a list of turns, whole or broken: with a record that has a role or a content?"""
    return isinstance(value, list) and any(
        isinstance(turn, Mapping) and (at.role in turn or at.content in turn) for turn in value
    )


def records(at: TurnFields, value: Any, where: str) -> list[Turn]:
    """Turns from a list of records, those of one role that follow each other as one.

    Raises:
        BadFileError: no such list, or a role that is none.
    """
    if not isinstance(value, list) or not value:
        raise BadFileError(
            f"{where}: field {at.column!r} must be a list of turns, each a record of "
            f"{at.role!r} and {at.content!r}; got {str(value)[:80]!r}."
        )
    turns: list[Turn] = []
    for turn in value:
        if not isinstance(turn, Mapping) or at.role not in turn or at.content not in turn:
            raise BadFileError(
                f"{where}: a turn must be a record of {at.role!r} and {at.content!r}; got "
                f"{str(turn)[:80]!r}."
            )
        role = at.roles.get(text_of(turn[at.role]), text_of(turn[at.role]))
        if role not in ROLES:
            hint = nearest(role, ROLES) or "user"
            raise BadFileError(
                f"{where}: the role {role!r} is none of {', '.join(ROLES)}; say what it stands for "
                f"with 'roles' in the task file, such as {role}: {hint}."
            )
        content = turn[at.content]
        text = content if isinstance(content, str) else " ".join(strings(content))
        if turns and turns[-1][0] == role:
            text = f"{turns.pop()[1]}\n\n{text}"
        turns.append((role, text))
    return turns


def as_text(turns: Sequence[Turn]) -> str:
    """A transcript to be read, and what a model without a chat template sees."""
    return "\n\n".join(f"{role.capitalize()}: {text}" for role, text in turns)
