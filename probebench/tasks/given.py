"""Answers produced elsewhere (`--answers FILE`): read, checked, and brought into the form that generation gives.

One row per answer, in jsonl, json, csv, tsv or parquet. Of each line the first field that is there counts:

    prompt_ids | prompt | question   the ids that the model saw; the text it saw, special tokens written out; or a bare
                                     question, put through the model's own chat template
    answer_ids | answer              the generated ids, stop token included; or the text, to which the stop token is added
    label | references               1 or true = correct, 0 or false = wrong; or accepted answers for the task's judge
    wrong_answers                    the other options, for the judges of choice tasks; optional for others
    exact_answer                     optional: the words of the answer that decide it; they must stand in the answer
    id, group, split                 optional: identity; what must not cross splits (default: question or prompt);
                                     train, validation or test, for all rows or for none
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench.errors import BadFileError
from probebench.tasks.exact import find_words
from probebench.tasks.prompts import chat, encode_prompt
from probebench.tasks.rows import read_rows, strings
from probebench.tasks.schema import Task
from probebench.tasks.sources import group_of, normalise
from probebench.tasks.spans import decode
from probebench.tasks.thinking import reply_start, thinking_ids
from probebench.types import SPLITS, Example, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FIELDS = (
    "id",
    "prompt_ids",
    "prompt",
    "question",
    "answer_ids",
    "answer",
    "label",
    "references",
    "wrong_answers",
    "exact_answer",
    "group",
    "split",
)
TRUE, FALSE = {"1", "true", "1.0", "correct"}, {"0", "false", "0.0", "wrong"}


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """One answer from a file."""

    example: Example
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    stopped: bool
    text: str
    label: int | None
    """None when the judge decides."""
    exact: Span | None
    exact_given: bool
    """True when the file says where the exact answer is, or that there is none."""


def read_answers(
    path: Path, tokenizer: PreTrainedTokenizerBase, stops: frozenset[int], task: Task | None = None, limit: int | None = None
) -> list[GivenAnswer]:
    """Answers of a file; with a task, its options and group rule hold where the file says nothing.

    Raises:
        BadFileError: a missing file, an unknown or missing field, a value that cannot be; with file and line.
    """
    given = []
    seen: set[str] = set()
    for row in read_rows(path):
        where = row.where
        answer = _read(row.fields, where, tokenizer, stops, task)
        if answer.example.id in seen:
            raise BadFileError(f"{where}: the id {answer.example.id!r} stands in an earlier row too; ids must be unique.")
        seen.add(answer.example.id)
        given.append(answer)
        if limit is not None and len(given) == limit:
            break
    if not given:
        raise BadFileError(f"{path.name} holds no answers.")
    splits = {g.example.split for g in given}
    if None in splits and len(splits) > 1:
        raise BadFileError(f"{path.name}: some rows have a 'split' and some have none; give it for all rows or for none.")
    sides: dict[str, str | None] = {}
    for g in given:
        if sides.setdefault(g.example.group, g.example.split) != g.example.split:
            raise BadFileError(
                f"{path.name}: the group {g.example.group!r} stands in {sides[g.example.group]} and in {g.example.split}. Rows of "
                f"one group must be in one split; say which rows belong together with 'group'."
            )
    return given


def _read(
    row: Mapping[str, Any], where: str, tokenizer: PreTrainedTokenizerBase, stops: frozenset[int], task: Task | None
) -> GivenAnswer:
    told = "exact_answer" in row
    row = {k: v for k, v in row.items() if v is not None and v != ""}
    prompt_ids, question = _prompt(row, where, tokenizer)
    answer_ids, stopped = _answer(row, where, tokenizer, stops)
    text = decode(tokenizer, answer_ids[:-1] if stopped else answer_ids)
    label, references = _label(row, where)
    exact = None
    if row.get("exact_answer") is not None:
        start = reply_start(tokenizer, thinking_ids(tokenizer), prompt_ids, answer_ids, text)
        found = find_words(text[start:], str(row["exact_answer"]))
        exact = found and Span(found.start + start, found.end + start)
        if exact is None:
            raise BadFileError(f"{where}: exact_answer {row['exact_answer']!r} does not stand in the answer {text[:80]!r}.")
    split = row.get("split")
    if split is not None and split not in SPLITS:
        raise BadFileError(f"{where}: split must be one of {', '.join(SPLITS)}; got {split!r}.")
    group = normalise(str(row.get("group", question)))
    if task is not None and "group" not in row:
        group = group_of(task, row, question, where)
    identity = str(row["id"]) if "id" in row else hashlib.sha256(json.dumps([prompt_ids, answer_ids]).encode()).hexdigest()[:16]
    wrong = tuple(strings(row.get("wrong_answers"))) or tuple(o for o in (task.options if task else ()) if o not in references)
    if task is not None and label is None and task.judge in ("choice", "closest") and not wrong:
        raise BadFileError(f"{where}: judge {task.judge!r} of task {task.name!r} needs 'wrong_answers' beside 'references'.")
    example = Example(identity, question, references, group, split, wrong, fields=dict(row))
    return GivenAnswer(example, prompt_ids, answer_ids, stopped, text, label, exact, told)


def _prompt(row: Mapping[str, Any], where: str, tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], str]:
    """Prompt ids and the question as text."""
    if "prompt_ids" in row:
        ids = _ids(row["prompt_ids"], "prompt_ids", where, tokenizer)
        return ids, str(row.get("question", decode(tokenizer, ids)))
    if "prompt" in row:
        text = str(row["prompt"])
        bos = tokenizer.bos_token
        ids = tuple(tokenizer(text, add_special_tokens=not (bos and text.startswith(bos)))["input_ids"])
        return ids, str(row.get("question", text))
    if "question" in row:
        question = str(row["question"])
        return encode_prompt(tokenizer, chat(tokenizer, question) if tokenizer.chat_template else question), question
    raise _missing(row, where, "prompt_ids", "prompt", "question")


def _answer(
    row: Mapping[str, Any], where: str, tokenizer: PreTrainedTokenizerBase, stops: frozenset[int]
) -> tuple[tuple[int, ...], bool]:
    """Answer ids, and whether the last one is a stop token."""
    if "answer_ids" in row:
        ids = _ids(row["answer_ids"], "answer_ids", where, tokenizer)
        return ids, ids[-1] in stops
    if "answer" in row:
        ids = tuple(tokenizer(str(row["answer"]), add_special_tokens=False)["input_ids"])
        if not ids:
            raise BadFileError(f"{where}: answer {row['answer']!r} has no tokens.")
        stop = tokenizer.eos_token_id
        return ((*ids, stop), True) if stop is not None else (ids, False)
    raise _missing(row, where, "answer_ids", "answer")


def _label(row: Mapping[str, Any], where: str) -> tuple[int | None, tuple[str, ...]]:
    references = tuple(strings(row.get("references")))
    if "label" in row:
        value = str(row["label"]).strip().lower()
        if value not in TRUE | FALSE:
            raise BadFileError(f"{where}: label must be 1 or true (correct), 0 or false (wrong); got {row['label']!r}.")
        return int(value in TRUE), references
    if references:
        return None, references
    raise _missing(row, where, "label", "references")


def _ids(value: Any, name: str, where: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    try:
        items = json.loads(value) if isinstance(value, str) else list(value)
    except (ValueError, TypeError):
        items = None
    items = [items] if isinstance(items, int) else items
    if not items or not all(isinstance(i, int) and not isinstance(i, bool) for i in items):
        raise BadFileError(f"{where}: {name} must be a list of token ids with at least one entry; got {str(value)[:60]!r}.")
    wrong = [i for i in items if not 0 <= i < len(tokenizer)]
    if wrong:
        raise BadFileError(f"{where}: {name} holds the id {wrong[0]}, but the tokenizer has ids 0 to {len(tokenizer) - 1}.")
    return tuple(items)


def _missing(row: Mapping[str, Any], where: str, *names: str) -> BadFileError:
    unknown: Sequence[str] = [str(k) for k in row if k not in FIELDS]
    extra = f" Unused fields here: {', '.join(unknown)}." if unknown else ""
    return BadFileError(f"{where}: one of {', '.join(map(repr, names))} is needed.{extra}")
