"""Tasks: one declarative file each, read strictly.

A task file says everything that decides a number: source, fields, prompts, generation limits, judge, exact-answer rule,
group key, split. It holds no code. Files of the suite lie in `tasks/`; a path to any other file works the same way.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal

from probebench.errors import BadFileError, UnknownNameError

Kind = Literal["qa"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the examples come from: exactly one of `embedded` and `hub`."""

    embedded: str | None = None
    """A file that travels in the package."""
    hub: str | None = None
    """A data set id on the hub, loaded with `datasets`."""
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    """Commit of the hub data set; None takes the newest and the record says which one that was."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Which columns of the source hold what; a dot goes into nested records (`answer.aliases`)."""

    question: str = "question"
    answers: tuple[str, ...] = ("answers",)
    id: str | None = None
    group: tuple[str, ...] = ("question",)
    """Columns that together name the group; examples of one group never cross a split."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Templates with `{question}` or any top-level column of the source."""

    chat: str = "{question}"
    base: str = "Q: {question}\nA:"


@dataclass(frozen=True, slots=True)
class Generation:
    """Greedy decoding until the model stops, a stop text appears (base prompts) or the limit is reached."""

    max_new_tokens: int = 100
    stop: tuple[str, ...] = ("\n",)


@dataclass(frozen=True, slots=True)
class ExactAnswer:
    """How the exact answer is found, never looking at the label."""

    rule: str = "model"
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
    judge: str
    judge_examples: JudgeExamples
    exact_answer: ExactAnswer
    fields: Fields = field(default_factory=Fields)
    prompt: Prompt = field(default_factory=Prompt)
    generation: Generation = field(default_factory=Generation)
    path: str = ""
    """File that the task was read from; not part of its hash."""

    @property
    def hash(self) -> str:
        """SHA-256 over everything in the file that can change a number."""
        words = {"description", "changelog", "licence", "citation", "judge_examples", "path"}
        content = {k: v for k, v in dataclasses.asdict(self).items() if k not in words}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def task_folder() -> Path:
    """`tasks/` of the checkout, or its copy inside an installed wheel."""
    installed = Path(__file__).parent / "_tasks"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "tasks"


def list_tasks() -> list[Task]:
    """Every task of the suite, by name."""
    return [read_task(path) for path in sorted(task_folder().glob("*.yaml"))]


def load_task(name: str) -> Task:
    """A task of the suite by name, or any task file by path.

    Raises:
        UnknownNameError: no such task, with the nearest name.
        BadFileError: the file breaks the schema.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise BadFileError(f"There is no task file {name!r}.")
        return read_task(path)
    path = task_folder() / f"{name}.yaml"
    if not path.is_file() or path.parent != task_folder():
        known = [p.stem for p in sorted(task_folder().glob("*.yaml"))]
        raise UnknownNameError(
            "task", name, known, "`probebench tasks` lists all; a task of your own is given as a path ending in .yaml."
        )
    return read_task(path)


def read_task(path: Path) -> Task:
    """Read and check one task file.

    Raises:
        BadFileError: names file, key, value and the nearest right key.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadFileError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise BadFileError(f"{path}: a task file is a mapping of keys; got {type(content).__name__}.")
    content.pop("path", None)
    task: Task = _build(Task, content, f"{path}")
    if task.name != path.stem:
        raise BadFileError(f"{path}: key 'name' must equal the file's name {path.stem!r}; got {task.name!r}.")
    if (task.source.embedded is None) == (task.source.hub is None):
        raise BadFileError(f"{path}: key 'source' must name exactly one of 'embedded' and 'hub'.")
    if task.version not in task.changelog:
        raise BadFileError(f"{path}: key 'changelog' has no line for version {task.version}.")
    return dataclasses.replace(task, path=str(path))


def _build(cls: Any, content: Mapping[str, Any], where: str) -> Any:
    """A dataclass from a mapping; unknown and missing keys are errors."""
    if not isinstance(content, Mapping):
        raise BadFileError(f"{where}: must be a mapping; got {content!r}.")
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls) if f.name != "path"]
    values = {}
    for key, value in content.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(known)}."
            raise BadFileError(f"{where}: unknown key {key!r} (value {value!r}); {hint}")
        values[key] = _convert(hints[key], value, f"{where}: key {key!r}")
    required = [f.name for f in dataclasses.fields(cls) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise BadFileError(f"{where}: key {missing[0]!r} is missing.")
    return cls(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type that the schema asks for, strictly."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    if origin is Literal:
        if value not in arguments:
            raise BadFileError(f"{where} must be one of {', '.join(map(repr, arguments))}; got {value!r}.")
        return value
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _convert(arguments[0], value, where)
    if origin is tuple and arguments[-1] is Ellipsis:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, Sequence):
            raise BadFileError(f"{where} must be a list; got {value!r}.")
        return tuple(_convert(arguments[0], item, where) for item in items)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != len(arguments):
            raise BadFileError(f"{where} must be a list of {len(arguments)}; got {value!r}.")
        return tuple(_convert(a, v, where) for a, v in zip(arguments, value, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise BadFileError(f"{where} must be a mapping; got {value!r}.")
        return {_convert(arguments[0], k, where): _convert(arguments[1], v, where) for k, v in value.items()}
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise BadFileError(f"{where} must be {hint.__name__}; got {value!r}.")
    return value
