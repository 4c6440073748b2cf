"""What a run asks: examples and prompts from a task's source, a local file, or answers made
elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probebench.errors import UsageError
from probebench.files import content_key
from probebench.models.handles import ModelHandle
from probebench.models.passes.padding import beyond_note, check_inside, rows_of
from probebench.tasks.chats import turn_note
from probebench.tasks.examples import loses_group
from probebench.tasks.given import GivenAnswer, read_answers
from probebench.tasks.labelled.rendered import encode_turns
from probebench.tasks.local.notes import split_note
from probebench.tasks.prompts import encode_prompt, encode_statement, render_prompt
from probebench.tasks.schema import Task
from probebench.tasks.sources import load_dataset
from probebench.types import Example


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """The examples of a run, with their prompts as a model sees them."""

    examples: Sequence[Example]
    prompt_ids: Sequence[tuple[int, ...]]
    """Token ids of each prompt; of each whole statement for statement tasks."""
    given: Sequence[GivenAnswer] | None
    """Answers made elsewhere, one per example; None when the model is to answer."""
    facts: Mapping[str, Any]
    """Origin, revision, content hash, and how many rows were left out."""
    begins: Sequence[int] | None = None
    """(example,) first token of what is labelled in each statement; None: the second of all."""
    notes: tuple[str, ...] = ()
    """What a reader of the record should know of the model's tokens and its template."""

    @property
    def lengths(self) -> list[int]:
        """(example,) tokens that are there: of each prompt, with the answer made elsewhere."""
        if self.given is None:
            return [len(ids) for ids in self.prompt_ids]
        return [len(g.prompt_ids) + len(g.answer_ids) for g in self.given]

    def content_of(self, columns: Sequence[str]) -> str | None:
        """Content key of these columns of the examples' rows; None where no row has one."""
        said = [[e.fields.get(name) for name in columns] for e in self.examples]
        there = any(value is not None for row in said for value in row)
        return content_key({"rows": said}) if there else None


def task_questions(
    task: Task,
    handle: ModelHandle,
    data: str | tuple[str, ...] | None = None,
    *,
    limit: int | None = None,
    thinking: bool | None = None,
    max_new_tokens: int | None = None,
    offline: bool = False,
) -> Questions:
    """A task's examples, without those that do not fit into the model's context; the facts count
    these.

    Args:
        task: which.
        handle: the model that reads them.
        data: local files and folders instead of the task's source.
        limit: only so many.
        thinking: asks the chat template to switch thinking on or off.
        max_new_tokens: tokens that an answer may have; None for statements.
        offline: never ask the hub.

    Raises:
        UsageError: no example fits.
        BadFileError: a file that cannot be read as what it should be.
        UnavailableError: a source that cannot be reached.
    """
    found, tokenizer = load_dataset(task, data, limit, offline=offline), handle.tokenizer
    begins = None
    if task.turns:
        rendered = [encode_turns(tokenizer, e.turns) for e in found.examples]
        prompts, begins = [r.ids for r in rendered], [r.begin for r in rendered]
    elif task.kind == "statements":
        prompts = [
            encode_statement(tokenizer, e.question, causal=handle.causal)[0] for e in found.examples
        ]
    else:
        prompts = [
            encode_prompt(tokenizer, render_prompt(task, e, tokenizer, thinking=thinking))
            for e in found.examples
        ]
    facts = {
        "origin": found.origin,
        "revision": found.revision,
        "sha256": found.sha256,
        "n_dropped": found.n_dropped,
    }
    asked = Questions(found.examples, prompts, None, facts, begins)
    return _fitting(asked, task, handle, max_new_tokens)


def given_questions(
    path: Path, task: Task | None, handle: ModelHandle, *, limit: int | None = None
) -> Questions:
    """Answers made elsewhere with their questions, without those that do not fit into the model's
    context.

    Args:
        path: the file.
        task: whose judge and exact answers they are for; None: the file carries labels.
        handle: the model that answered.
        limit: only so many.

    Raises:
        UsageError: no example fits.
        BadFileError: the file cannot be read as what it should be.
    """
    given = read_answers(path, handle.tokenizer, handle.stop_ids, task, limit)
    columns = [] if task is None else task.prompt.columns
    columns = [name for name in columns if any(name in g.example.fields for g in given)]
    rows = [
        [
            e.id,
            e.question,
            g.prompt_ids,
            g.answer_ids,
            g.label,
            e.references,
            e.wrong,
            e.group,
            e.split,
            str(g.exact),
            g.exact_given,
            g.ended,
            *(e.fields.get(name) for name in columns),
        ]
        for g in given
        for e in [g.example]
    ]
    facts: dict[str, Any] = {
        "origin": path.name,
        "revision": None,
        "sha256": content_key({"rows": rows}),
        "n_dropped": 0,
    }
    facts |= {
        "mended": dict(sorted(Counter(name for g in given for name in g.mended).items())),
        **_stands_for(given),
    }
    examples, prompts = [g.example for g in given], [g.prompt_ids for g in given]
    return _fitting(Questions(examples, prompts, given, facts), task, handle, None)


def _fitting(
    asked: Questions, task: Task | None, handle: ModelHandle, max_new_tokens: int | None
) -> Questions:
    """The examples that fit into the model's context, answer included."""
    _check_tokens(asked, handle)
    limit, lengths = handle.max_length, [n + (max_new_tokens or 0) for n in asked.lengths]
    kept = [i for i, n in enumerate(lengths) if limit is None or n <= limit]
    if not kept:
        raise UsageError(
            f"No example fits into the {limit} tokens of {handle.identity.name!r}: the shortest "
            f"needs {min(lengths)}."
        )
    examples = [asked.examples[i] for i in kept]
    told = [asked.given is not None and "group" in e.fields for e in examples]
    pairs = zip(examples, told, strict=True)
    lost = 0 if task is None else sum(loses_group(task, e.fields) and not own for e, own in pairs)
    own = any(e.split is not None for e in examples)
    split = "hash" if not own else "official" if asked.given is None else "file"
    return Questions(
        examples=examples,
        prompt_ids=[asked.prompt_ids[i] for i in kept],
        given=None if asked.given is None else [asked.given[i] for i in kept],
        facts={
            **asked.facts,
            "split": split,
            "n_too_long": len(lengths) - len(kept),
            "n_ungrouped": lost,
        },
        begins=None if asked.begins is None else [asked.begins[i] for i in kept],
        notes=(*_notes(handle, answers=bool(max_new_tokens)), *split_note(task, examples)),
    )


def _notes(handle: ModelHandle, *, answers: bool) -> tuple[str, ...]:
    """Notes on tokens; on the template's end of a turn where the model answers."""
    beyond = beyond_note(handle.tokenizer, rows_of(handle.skeleton))
    return (*beyond, *(turn_note(handle.tokenizer, handle.stop_ids) if answers else ()))


def _check_tokens(asked: Questions, handle: ModelHandle) -> None:
    """Complain about tokens that the model does not have."""
    whole = (
        asked.prompt_ids
        if asked.given is None
        else [(*g.prompt_ids, *g.answer_ids) for g in asked.given]
    )
    rows = rows_of(handle.skeleton)
    check_inside(
        whole, [e.id for e in asked.examples], handle.tokenizer, rows, handle.identity.name
    )


def _stands_for(given: Sequence[GivenAnswer]) -> dict[str, str]:
    """What a file calls the rows that are reported and those that choose, where it lacks one of the
    three splits."""
    placed = {(g.example.fields.get("split"), g.example.split) for g in given}
    test = next(
        (str(own) for own, split in placed if split == "test" and own not in (None, "test")), None
    )
    return ({"test_is": test} if test else {}) | (
        {"validation_is": "train"} if ("train", "validation") in placed else {}
    )
