"""An example from a row, in the publisher's columns or in the plain form; its group."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from probebench.errors import BadFileError
from probebench.tasks.judging.amounts import amounts, read_amount
from probebench.tasks.labelled.spans import Marked, marked_of
from probebench.tasks.labelled.turns import LABELS, as_text, turns_of
from probebench.tasks.local.rows import (
    NOTHING,
    PANDAS,
    FileRow,
    check_there,
    lookup,
    strings,
    text_of,
    value_of,
)
from probebench.tasks.schema import Task
from probebench.types import Example

WITH_OPTIONS = ("choice", "closest")
"""Judges that compare what is right with what is wrong."""
ANSWERS = "answers"
"""Column of the accepted answers in the plain form."""
WRONG = "wrong_answers"
PLAIN = "plain form"
"""Marks a row that came as `question, answers`: prompts then use the question as it stands."""
POLARITY = "polarity"
"""The column that says whether a statement affirms or negates."""


def sampled(names: Sequence[str], limit: int | None) -> list[int]:
    """Places of `limit` names, always the same ones whatever their order, in that order; of all
    where there are no more."""
    every = range(len(names))
    if limit is None or limit >= len(names):
        return list(every)
    return sorted(sorted(every, key=lambda i: hashlib.sha256(names[i].encode()).digest())[:limit])


def to_example(task: Task, row: FileRow) -> Example:
    """One example from a row in the publisher's columns, or in the plain `question, answers` form.

    Raises:
        BadFileError: no question, answers, label or group, with the line.
    """
    if task.spans:
        return _marked(task, row, marked_of(task.spans, row.fields, row.where))
    where, statements = row.where, task.kind == "statements"
    fields = _from_plain(task, row.fields)
    turns = turns_of(task.turns, fields, where) if task.turns else ()
    question = lookup(fields, task.fields.question) or (
        fields.get("statement") if statements else None
    )
    if turns:
        question = as_text(turns)
    if not isinstance(question, str) or not question.strip():
        raise _missing("statement" if statements else "question", [task.fields.question], row)
    if not turns:
        check_there(question, "statement" if statements else "question", where, listed=False)
    references: tuple[str, ...] = ()
    label: int | None = None
    if statements:
        label = _label(task, fields, where)
    else:
        references = _answers(task, fields, task.fields.answers, where)
        if not references:
            plain = [ANSWERS] if PLAIN in fields else []
            raise _missing("answer", [*task.fields.answers, *plain], row)
    wrong = _answers(task, fields, task.fields.wrong, where)
    if row.file and not statements:
        references = _with_plain(task, fields, references, wrong, where)
    check_options(task, references, wrong, where)
    wrong = tuple(dict.fromkeys(w for w in (*wrong, *task.options) if w not in references))
    if not statements:
        check_judged(task, references, wrong, where)
    group = group_of(task, fields, as_text(turns[:-1]) if turns else question, where)
    given = lookup(fields, task.fields.id) if task.fields.id else fields.get("id")
    content = json.dumps([group, question, references, label])
    identity = given if given is not None else hashlib.sha256(content.encode()).hexdigest()[:16]
    context = " ".join(strings(lookup(fields, task.fields.context))) if task.fields.context else ""
    split = row.split if task.split == "official" else None
    columns = {**fields, "context": context} if context else dict(fields)
    _check_prompted(task, columns, where)
    return Example(
        text_of(identity), question.strip(), references, group, split, wrong, label, columns, turns
    )


def _check_prompted(task: Task, columns: Mapping[str, Any], where: str) -> None:
    """Complain about a column of the prompt that is there and has no value: the word None would
    stand in its place. A passage has words."""
    for name in (name for name in task.prompt.columns if name in columns):
        value, passage = columns[name], name in ("context", task.fields.context)
        check_there(value, name, where, listed=False, words=NOTHING if passage else PANDAS)
        if value is None or value != value or (passage and not strings(value)):
            raise BadFileError(
                f"{where}: {name!r} is empty, and the prompt of task {task.name!r} holds it. Fill "
                "it in, or leave the row out."
            )


def _marked(task: Task, row: FileRow, marked: Marked) -> Example:
    """An example whose answer was made elsewhere and has labels inside."""
    answer, turns, fields = marked.answer, marked.turns, row.fields
    question = lookup(fields, task.fields.question)
    if turns:
        question = turns[0][1] if len(turns) == 2 else as_text(turns[:-1])
    if not isinstance(question, str) or not question.strip():
        raise _missing("question", [task.fields.question], row)
    check_there(question, "question", row.where, listed=False)
    group = group_of(task, fields, question, row.where)
    given = lookup(fields, task.fields.id) if task.fields.id else fields.get("id")
    content = json.dumps([group, question, answer.text])
    identity = given if given is not None else hashlib.sha256(content.encode()).hexdigest()[:16]
    context = " ".join(strings(lookup(fields, task.fields.context))) if task.fields.context else ""
    return Example(
        text_of(identity),
        question.strip(),
        (),
        group,
        row.split if task.split == "official" else None,
        fields={**fields, "context": context} if context else fields,
        turns=turns,
        marked=answer,
    )


def _label(task: Task, fields: Mapping[str, Any], where: str) -> int:
    """The label that came with a statement or a transcript."""
    value, own = lookup(fields, task.fields.label), task.turns.labels if task.turns else {}
    text = text_of(value)
    label = own.get(text, LABELS.get(text.lower()))
    if label is None:
        words = "".join(f", {name} ({meant})" for name, meant in own.items())
        raise BadFileError(
            f"{where}: label in field {task.fields.label!r} must be 1 or true, 0 or false{words}; "
            f"got {value!r}."
        )
    return label


def _from_plain(task: Task, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of the plain form (`question, answers`, and `wrong_answers` where there are some) in
    the task's own columns."""
    own = task.fields
    if (
        "question" not in fields
        or ANSWERS not in fields
        or any(lookup(fields, path) is not None for path in own.answers)
    ):
        return fields
    named = {own.question: fields["question"], own.answers[0]: fields[ANSWERS]}
    if own.wrong and WRONG in fields:
        named[own.wrong[0]] = fields[WRONG]
    return {**fields, **named, PLAIN: True}


def _with_plain(
    task: Task,
    fields: Mapping[str, Any],
    references: tuple[str, ...],
    wrong: Sequence[str],
    where: str,
) -> tuple[str, ...]:
    """Accepted answers of a given file's row in the task's own columns and, where it has them
    beside these, in the plain form's, which may be the options: without what is wrong."""
    own = {path.partition(".")[0] for path in task.fields.answers}
    if ANSWERS in own or ANSWERS not in fields:
        return references
    more = _answers(task, fields, (ANSWERS,), where)
    known = set(map(normalise, wrong))
    return tuple(dict.fromkeys((*references, *(t for t in more if normalise(t) not in known))))


def _answers(
    task: Task, fields: Mapping[str, Any], paths: Sequence[str], where: str
) -> tuple[str, ...]:
    """Answers in the given columns, cut out, split and renamed as the task says."""
    found: dict[str, None] = {}
    for path in paths:
        name = ANSWERS if PLAIN in fields and path == task.fields.answers[0] else path
        for text in strings(value_of(lookup(fields, path), name, where)):
            if task.fields.answer_pattern:
                match = re.search(task.fields.answer_pattern, text)
                if match is None and task.judge == "number":
                    _check_alone(task, text, where)
                text = match.group("answer") if match else text
            parts = text.split(task.fields.separator) if task.fields.separator else [text]
            found.update(
                dict.fromkeys(
                    task.fields.rename.get(p.strip(), p.strip()) for p in parts if p.strip()
                )
            )
    return tuple(found)


def _check_alone(task: Task, text: str, where: str) -> None:
    """A solution without the mark of its result, whose first number would be taken for it."""
    if len(amounts(text)) > 1:
        raise BadFileError(
            f"{where}: the answer pattern {task.fields.answer_pattern!r} of task {task.name!r} "
            f"does not match {text[-80:]!r}, which holds several numbers. Write the number alone."
        )


def check_options(task: Task, references: Sequence[str], wrong: Sequence[str], where: str) -> None:
    """Complain about an option that a row calls right and, in other case or spaces, wrong, and
    about a right one that is none of the task's; where all options are listed as wrong, the right
    one among them to the letter, it is taken out.

    Raises:
        BadFileError: there is one.
    """
    known = {normalise(option) for option in task.options}
    strange = next((text for text in references if normalise(text) not in known), None)
    if known and strange is not None:
        raise BadFileError(
            f"{where}: {strange!r} is none of the options of task {task.name!r}: "
            f"{', '.join(task.options)}. Write one of them, or leave the row out."
        )
    right = {normalise(text) for text in references}
    others = (text for text in wrong if text not in references)
    both = next((text for text in others if normalise(text) in right), None)
    if both is not None and task.judge in WITH_OPTIONS:
        raise BadFileError(
            f"{where}: {both!r} stands among the accepted answers and among the wrong ones. Take "
            "it out of one of them."
        )


def check_judged(task: Task, references: Sequence[str], wrong: Sequence[str], where: str) -> None:
    """Complain about references that the task's judge cannot judge by.

    Raises:
        BadFileError: no wrong answers for a judge of options, no number for one of numbers.
    """
    if task.judge in WITH_OPTIONS and not wrong:
        raise BadFileError(
            f"{where}: judge {task.judge!r} of task {task.name!r} needs 'wrong_answers' beside the "
            "accepted ones."
        )
    if task.judge == "number" and not any(read_amount(text) for text in references):
        raise BadFileError(
            f"{where}: judge 'number' of task {task.name!r} reads no number in "
            f"{', '.join(map(repr, references))[:80]}. Write the number alone, or leave the row "
            "out."
        )


def group_of(task: Task, fields: Mapping[str, Any], question: str, where: str) -> str:
    """The group key of a row: case and outer spaces do not count.

    Raises:
        BadFileError: the task's pattern does not match, or a word for a missing value.
    """
    rule = task.fields.group
    values = [lookup(fields, column) for column in rule.columns]
    for column, value in zip(rule.columns, values, strict=True):
        check_there(value, column, where, listed=False)
    parts = [question if value is None else " ".join(strings(value)) for value in values]
    if all(value is None for value in values):
        parts = [question]
    if rule.pattern is not None:
        match = re.search(rule.pattern, parts[0])
        if match is None:
            raise BadFileError(
                f"{where}: the group pattern {rule.pattern!r} of task {task.name!r} does not match "
                f"{parts[0][:80]!r}."
            )
        parts = [v for k, v in match.groupdict().items() if k.startswith("group") and v is not None]
    parts = [normalise(part) for part in parts]
    return " | ".join(sorted(parts) if rule.unordered else parts)


def loses_group(task: Task, fields: Mapping[str, Any]) -> bool:
    """Does a row lack a column that the task groups by, so that its question stands for it?"""
    own = {task.fields.question, "question", "statement"}
    return any(
        lookup(fields, column) is None for column in task.fields.group.columns if column not in own
    )


def normalise(text: str) -> str:
    """A group key without differences of case and spaces."""
    return " ".join(text.split()).casefold()


def _missing(what: str, columns: Sequence[str], row: FileRow) -> BadFileError:
    wanted = " or ".join(map(repr, columns))
    return BadFileError(
        f"{row.where}: no {what} in field {wanted}; fields here: {', '.join(map(str, row.fields))}."
    )
