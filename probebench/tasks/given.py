"""Answers produced elsewhere (`--answers FILE`): read, checked, and brought into the form that
generation gives.

One row per answer, in jsonl, json, csv, tsv or parquet, with the columns of `tasks.local.columns`
(docs/answers.md). What stands around the ids of prompts and answers is taken off and counted, or
the row is refused (`probebench.tasks.local.mending`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.errors import BadFileError
from probebench.tasks.exact.rules import find_words
from probebench.tasks.exact.spans import decode
from probebench.tasks.examples import check_judged, check_options, group_of, normalise, sampled
from probebench.tasks.local.echoes import Pair, Written, check_apart, without_prompts
from probebench.tasks.local.edges import Dumped, Mended, Said
from probebench.tasks.local.fields import (
    check_inside,
    ended_of,
    filled,
    ids_of,
    label_of,
    missing_of,
    tokens_of,
)
from probebench.tasks.local.marks import Ids, Marks
from probebench.tasks.local.mending import lacking, mend_answers, mend_prompts, told_by_stops
from probebench.tasks.local.rows import FileRow, check_there, read_rows, strings, text_of, value_of
from probebench.tasks.local.texts import answer_in, asked_in, question_in, rendered
from probebench.tasks.prompts import chat, encode_prompt
from probebench.tasks.schema import Task
from probebench.tasks.split import file_splits
from probebench.tasks.thinking import ThinkingIds, reply_start, thinking_ids
from probebench.types import SPLITS, Example, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """One answer from a file."""

    example: Example
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    stopped: bool
    """True when the last id is a stop token."""
    text: str
    label: int | None
    """None when the judge decides."""
    exact: Span | None
    exact_given: bool
    """True when the file says where the exact answer is, or that there is none."""
    ended: bool = True
    """False when the answer was cut off."""
    mended: tuple[str, ...] = ()
    """What was put right in the row, by name; `probebench.tasks.local.notes` has the sentences."""


def read_answers(
    path: Path,
    tokenizer: PreTrainedTokenizerBase,
    stops: frozenset[int],
    task: Task | None = None,
    limit: int | None = None,
) -> list[GivenAnswer]:
    """Answers of a file; with a task, its options and group rule hold where the file says nothing.

    Raises:
        BadFileError: a missing file, an unknown or missing field, a value that cannot be; with file
            and line.
    """
    every = [filled(row) for row in read_rows(path)]
    if not every:
        raise BadFileError(f"{path.name} holds no answers.")
    rows = every
    if limit is not None:
        said = [json.dumps(row.fields, default=str, sort_keys=True) for row in every]
        rows = [every[i] for i in sampled(said, limit)]
    marks = Marks.of(tokenizer, stops)
    prompts = _prompts(rows, tokenizer, marks)
    answers = _answers(rows, prompts, tokenizer, marks)
    thoughts = thinking_ids(tokenizer)
    given = [
        _given(row, p, a, tokenizer, (marks, thoughts), task)
        for row, p, a in zip(rows, prompts, answers, strict=True)
    ]
    seen: set[str] = set()
    for row, g in zip(rows, given, strict=True):
        if g.example.id in seen:
            raise BadFileError(
                f"{row.where}: the id {g.example.id!r} stands in an earlier row too; ids must be "
                "unique."
            )
        seen.add(g.example.id)
    check_apart(
        [
            Pair(row.where, p.name, p.ids, g.answer_ids, g.text)
            for row, p, g in zip(rows, prompts, given, strict=True)
            if p.name != "question"
        ],
        tokenizer,
        marks,
    )
    placed = file_splits(path.name, [g.example for g in given])
    return [replace(g, example=example) for g, example in zip(given, placed, strict=True)]


def _given(
    row: FileRow,
    prompt: _Prompt,
    answer: Mended,
    tokenizer: PreTrainedTokenizerBase,
    known: tuple[Marks, ThinkingIds | None],
    task: Task | None,
) -> GivenAnswer:
    """One row, put together; `known` are the model's special tokens."""
    fields, where, prompt_ids, answer_ids = row.fields, row.where, prompt.ids, answer.ids
    told = "exact_answer" in fields
    fields = {k: v for k, v in fields.items() if v is not None and v != ""}
    if "question" in fields:
        fields["question"] = prompt.question
    stopped = answer_ids[-1] in known[0].ends
    text = decode(tokenizer, answer_ids[:-1] if stopped else answer_ids)
    label, references = label_of(fields, where)
    exact = None
    if (wanted := fields.get("exact_answer")) is not None:
        start = reply_start(tokenizer, known[1], prompt_ids, answer_ids, text)
        found = find_words(text[start:], answer_in(wanted, "exact_answer", where))
        exact = found and Span(found.start + start, found.end + start)
        if exact is None:
            raise BadFileError(
                f"{where}: exact_answer {wanted!r} does not stand in the answer {text[:80]!r}."
            )
    split = fields.get("split")
    if split is not None and split not in SPLITS:
        raise BadFileError(f"{where}: split must be one of {', '.join(SPLITS)}; got {split!r}.")
    check_there(fields.get("group"), "group", where, listed=False)
    group = normalise(text_of(fields.get("group", prompt.question)))
    if task is not None and "group" not in fields:
        group = group_of(task, fields, prompt.question, where)
    content = json.dumps([prompt_ids, answer_ids]).encode()
    identity = text_of(fields["id"]) if "id" in fields else hashlib.sha256(content).hexdigest()[:16]
    wrong = tuple(strings(value_of(fields.get("wrong_answers"), "wrong_answers", where)))
    if task is not None and label is None:
        check_options(task, references, wrong, where)
    wrong = wrong or tuple(o for o in (task.options if task else ()) if o not in references)
    if task is not None and label is None:
        check_judged(task, references, wrong, where)
    example = Example(identity, prompt.question, references, group, split, wrong, fields=fields)
    mended = (*prompt.mended, *answer.done)
    return GivenAnswer(
        example, prompt_ids, answer_ids, stopped, text, label, exact, told, answer.ended, mended
    )


@dataclass(frozen=True, slots=True)
class _Prompt:
    """One prompt of a file."""

    name: str
    """The column it stands in."""
    given: Ids
    """As it stands there."""
    ids: Ids
    question: str
    text: str | None
    """The text that the model saw, where the file holds text."""
    mended: tuple[str, ...]


def _prompts(
    rows: Sequence[FileRow], tokenizer: PreTrainedTokenizerBase, marks: Marks
) -> list[_Prompt]:
    """Prompt ids and questions of all rows."""
    dumped: list[Dumped] = []
    asked: list[_Prompt | None] = []
    for row in rows:
        f, where = row.fields, row.where
        asked.append(None)
        if "prompt_ids" in f:
            ids = ids_of(f["prompt_ids"], "prompt_ids", where, marks)
            dumped.append(Dumped(where, "prompt_ids", ids))
            continue
        name = "prompt" if "prompt" in f else "question"
        if name not in f:
            raise missing_of(f, where, "prompt_ids", "prompt", "question")
        text = asked_in(f[name], name, where)
        if name == "prompt" and isinstance(text, str):
            ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
            if not ids:
                raise BadFileError(f"{where}: prompt {text!r} has no tokens.")
            dumped.append(Dumped(where, "prompt", ids))
            continue
        if not isinstance(text, str):
            text = rendered(text, tokenizer, name, where)
        elif tokenizer.chat_template:
            text = chat(tokenizer, text)
        ids = encode_prompt(tokenizer, text)
        question = question_in(f.get("question", f[name]), name, where)
        asked[-1] = _Prompt("question", ids, ids, question, text, ())
    mended = iter(zip(dumped, mend_prompts(dumped, marks), strict=True))
    return [
        p or _written(row, *next(mended), tokenizer, marks)
        for row, p in zip(rows, asked, strict=True)
    ]


def _written(
    row: FileRow, d: Dumped, found: Mended, tokenizer: PreTrainedTokenizerBase, marks: Marks
) -> _Prompt:
    """A prompt that a file holds as the model saw it."""
    f, ids, seen = row.fields, found.ids, None
    question = question_in(f["question"], "question", row.where) if "question" in f else None
    if d.name == "prompt":
        seen = question_in(f["prompt"], "prompt", row.where)
        if ids[: len(marks.prefix)] != marks.prefix:
            ids = marks.prefix + ids
    check_inside(ids, d.name, row.where, marks)
    if question is None and set(d.ids).isdisjoint(tokenizer.all_special_ids):
        question = seen
    question = question or decode(tokenizer, ids)  # what stands between special tokens
    return _Prompt(d.name, d.ids, ids, question, seen, (*found.done, *lacking(ids, marks)))


def _answers(
    rows: Sequence[FileRow],
    prompts: Sequence[_Prompt],
    tokenizer: PreTrainedTokenizerBase,
    marks: Marks,
) -> list[Mended]:
    """Answer ids of all rows, with the stop token where the model ended the answer."""
    written = [
        None
        if "answer_ids" in row.fields or "answer" not in row.fields
        else Written(row.where, answer_in(row.fields["answer"], "answer", row.where), p.text, p.ids)
        for row, p in zip(rows, prompts, strict=True)
    ]
    texts = iter(without_prompts([w for w in written if w is not None], tokenizer, marks))
    said: list[Said] = []
    cut: list[tuple[str, ...]] = []
    for row, p in zip(rows, prompts, strict=True):
        f, ended = row.fields, ended_of(row.fields, row.where)
        cut.append(())
        if "answer_ids" in f:
            dumped = Dumped(
                row.where, "answer_ids", ids_of(f["answer_ids"], "answer_ids", row.where, marks)
            )
        elif "answer" in f:
            text, cut[-1] = next(texts)
            dumped = Dumped(row.where, "answer", tokens_of(text, row.where, tokenizer, marks))
        else:
            raise missing_of(f, row.where, "answer_ids", "answer")
        said.append(Said(dumped, p.given, p.ids, ended))
    found = mend_answers(said, marks, tokenizer)
    said, found = told_by_stops(said, found, marks)
    return [
        _finished(s, m, done, tokenizer, marks) for s, m, done in zip(said, found, cut, strict=True)
    ]


def _finished(
    s: Said, mended: Mended, done: tuple[str, ...], tokenizer: PreTrainedTokenizerBase, marks: Marks
) -> Mended:
    """An answer of a file with what its form asks for: a stop token behind a text that was not cut
    off."""
    check_inside(mended.ids, s.answer.name, s.answer.where, marks)
    done = (*done, *mended.done)
    stop = tokenizer.eos_token_id
    if (
        s.answer.name != "answer"
        or s.ended is False
        or stop is None
        or mended.ids[-1] in marks.ends
    ):
        return replace(mended, done=done)
    return Mended((*mended.ids, stop), done if s.ended else (*done, "stop_added"))
