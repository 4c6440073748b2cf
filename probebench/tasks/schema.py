"""Tasks: one declarative file each, read strictly.

A task file says everything that decides a number: source, fields, prompts, generation limits,
judge, exact-answer rule, group key, split. It holds no code. Files of the suite lie in `tasks/`; a
path to any other file works the same way.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from probebench.errors import BadFileError, UnknownNameError
from probebench.tasks.labelled.fields import SpanFields, TurnFields
from probebench.tasks.typed import build, check_template, read_yaml

Kind = Literal["qa", "choice", "numeric", "statements", "spans"]


@dataclass(frozen=True, slots=True)
class File:
    """One file in a public repository, pinned."""

    url: str
    """Address with the commit in it."""
    sha256: str
    split: Literal["train", "test"] | None = None
    """The publisher's own split, used when the task's `split` is `official`."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the examples come from: exactly one of `embedded`, `hub` and `files`."""

    embedded: str | None = None
    """A file that travels in the package."""
    hub: str | None = None
    """A data set id on the hub, loaded with `datasets`."""
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    """Commit of the hub data set; None takes the newest and the record says which one that was."""
    files: tuple[File, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    """Keep only rows whose columns have these values."""

    @property
    def name(self) -> str:
        """For lists and messages."""
        return self.hub or self.embedded or ", ".join(Path(f.url).name for f in self.files)


@dataclass(frozen=True, slots=True)
class Group:
    """What must not cross a split: the same columns, or the same part of the first one."""

    columns: tuple[str, ...] = ("question",)
    pattern: str | None = None
    """Regular expression searched in the first column; its group named `group` (or several,
    `group1`, ...) is the key."""
    unordered: bool = False
    """True where the order of the parts does not matter, as for pairs of options."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Which columns of the source hold what; a dot goes into nested records (`answer.aliases`)."""

    question: str = "question"
    """The question; for kind `statements` the statement."""
    answers: tuple[str, ...] = ("answers",)
    """Accepted answers."""
    wrong: tuple[str, ...] = ()
    """Answers known to be wrong; for kind `choice` the other options."""
    label: str = "label"
    """For kind `statements`: 1 = true."""
    context: str | None = None
    """Text for `{context}` in prompts; nested lists are joined."""
    id: str | None = None
    group: Group = field(default_factory=Group)
    answer_pattern: str | None = None
    """Regular expression searched in each answer; its group `answer` is the reference."""
    separator: str | None = None
    """Splits a column that holds several answers as one text."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Values of the answer columns and what they stand for, such as 0: negative."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Templates with `{question}`, `{context}` or any top-level column of the source."""

    chat: str = "{question}"
    base: str = "Q: {question}\nA:"

    @property
    def columns(self) -> list[str]:
        """Columns besides the question that either template is filled with."""
        parts = [*Formatter().parse(self.chat), *Formatter().parse(self.base)]
        names = {name for _, name, _, _ in parts if name}
        return sorted(names - {"question"})


@dataclass(frozen=True, slots=True)
class Generation:
    """Greedy decoding until the model stops, a stop text appears (base prompts) or the limit is
    reached."""

    max_new_tokens: int = 100
    stop: tuple[str, ...] = ("\n",)


@dataclass(frozen=True, slots=True)
class ExactAnswer:
    """How the exact answer is found, never looking at the label."""

    rule: str = "new_words"
    patterns: tuple[str, ...] = ()
    """Regular expressions with a group named `exact`, for the rule `pattern`."""


@dataclass(frozen=True, slots=True)
class JudgeExamples:
    """What the judge must accept and reject, as (reference, answer) pairs."""

    accept: tuple[tuple[str, str], ...] = ()
    reject: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One task file."""

    name: str
    version: int
    kind: Kind
    description: str
    changelog: Mapping[int, str]
    source: Source
    licence: str
    citation: str
    judge: str = "aliases"
    judge_examples: JudgeExamples = field(default_factory=JudgeExamples)
    exact_answer: ExactAnswer = field(default_factory=ExactAnswer)
    options: tuple[str, ...] = ()
    """For kind `choice` with the same options for every question."""
    split: Literal["hash", "official"] = "hash"
    fields: Fields = field(default_factory=Fields)
    prompt: Prompt = field(default_factory=Prompt)
    generation: Generation = field(default_factory=Generation)
    turns: TurnFields | None = None
    """For kind `statements` whose statements are transcripts."""
    spans: SpanFields | None = None
    """For kind `spans`: answers made elsewhere, with labels inside."""
    variants: Mapping[str, Any] = field(default_factory=dict)
    """Name -> the keys that differ, for relatives of this task such as its negated statements."""
    path: str = ""
    """File that the task was read from; not part of its hash."""

    @property
    def hash(self) -> str:
        """SHA-256 over everything in the file that can change a number."""
        words = {
            "description",
            "changelog",
            "licence",
            "citation",
            "judge_examples",
            "variants",
            "path",
        }
        every = dataclasses.asdict(self).items()
        content = {k: v for k, v in every if k not in words and v is not None}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def task_folder() -> Path:
    """`tasks/` of the checkout, or its copy inside an installed wheel."""
    installed = Path(__file__).parent.parent / "_tasks"
    return installed if installed.is_dir() else Path(__file__).parent.parent.parent / "tasks"


def list_tasks() -> list[Task]:
    """Every task of the suite and its variants, by file."""
    return [task for path in sorted(task_folder().glob("*.yaml")) for task in read_file(path)]


def load_task(name: str) -> Task:
    """A task of the suite or a variant by name, or any task file by path (`mine.yaml`, or
    `mine.yaml:variant`).

    Raises:
        UnknownNameError: no such task, with the nearest name.
        BadFileError: the file breaks the schema.
    """
    file, _, variant = name.partition(":")
    if file.endswith((".yaml", ".yml")):
        path = Path(file)
        if not path.is_file():
            raise BadFileError(f"There is no task file {file!r}.")
        found = {task.name: task for task in read_file(path)}
        if variant and variant not in found:
            raise UnknownNameError("variant", variant, list(found)[1:])
        return found[variant] if variant else next(iter(found.values()))
    if (path := task_folder() / f"{name}.yaml").is_file() and path.parent == task_folder():
        return read_file(path)[0]
    if "/" in name:
        raise BadFileError(
            f"There is no task file {name!r}: a task of your own is a path ending in .yaml."
        )
    found = {task.name: task for task in list_tasks()}
    if name not in found:
        hint = (
            "`probebench tasks` lists all; a task of your own is given as a path ending in .yaml."
        )
        raise UnknownNameError("task", name, found, hint)
    return found[name]


def read_file(path: Path) -> list[Task]:
    """Read and check one task file: the task, then its variants.

    Raises:
        BadFileError: names file, key, value and the nearest right key.
    """
    content = read_yaml(path)
    task = _check(build(Task, content, f"{path}"), path, path.stem)
    tasks = [task]
    for name, changes in task.variants.items():
        if not isinstance(changes, Mapping):
            raise BadFileError(
                f"{path}: variant {name!r} must be a mapping of the keys that differ; got "
                f"{changes!r}."
            )
        merged = (
            {k: v for k, v in content.items() if k != "variants"} | {"name": name} | dict(changes)
        )
        tasks.append(_check(build(Task, merged, f"{path}, variant {name!r}"), path, name))
    return tasks


def _check(task: Task, path: Path, name: str) -> Task:
    """What no single key can say."""
    if task.name != name:
        raise BadFileError(
            f"{path}: key 'name' must equal the file's name {name!r}; got {task.name!r}."
        )
    given = [key for key in ("embedded", "hub", "files") if getattr(task.source, key)]
    if len(given) != 1:
        raise BadFileError(
            f"{path}: key 'source' must name exactly one of 'embedded', 'hub' and 'files'; got "
            f"{given or 'none'}."
        )
    if task.version not in task.changelog:
        raise BadFileError(f"{path}: key 'changelog' has no line for version {task.version}.")
    if task.kind == "choice" and not (task.options or task.fields.wrong):
        raise BadFileError(
            f"{path}: kind 'choice' needs 'options', or the other options' columns in 'fields: "
            "wrong'."
        )
    if task.turns and task.kind != "statements":
        raise BadFileError(
            f"{path}: 'turns' are for kind 'statements', whose labels are given; got {task.kind!r}."
        )
    if (task.spans is not None) != (task.kind == "spans"):
        raise BadFileError(f"{path}: kind 'spans' and key 'spans' go together; kind {task.kind!r}.")
    for key, pattern, groups in (
        ("turns: pattern", task.turns and task.turns.pattern, ("assistant",)),
        ("answer_pattern", task.fields.answer_pattern, ("answer",)),
        ("pattern", task.fields.group.pattern, ("group", "group1")),
    ):
        try:
            named = re.compile(pattern).groupindex if pattern else groups
        except re.error as error:
            raise BadFileError(
                f"{path}: key {key!r}: {pattern!r} is not a regular expression: {error}."
            ) from None
        if not set(groups) & set(named):
            raise BadFileError(
                f"{path}: key {key!r}: {pattern!r} has no group named {groups[0]!r}, written "
                f"(?P<{groups[0]}>...)."
            )
    if task.generation.max_new_tokens < 1 or not all(task.generation.stop):
        raise BadFileError(
            f"{path}: key 'generation': an answer has at least 1 token and ends at texts that are "
            f"not empty; got max_new_tokens {task.generation.max_new_tokens}, stop "
            f"{list(task.generation.stop)!r}."
        )
    for key in ("chat", "base"):
        check_template(getattr(task.prompt, key), f"{path}: key 'prompt: {key}'")
    return dataclasses.replace(task, path=str(path))
