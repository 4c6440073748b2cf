"""One folder, one run: what a run directory holds already, and how it differs from what is
asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from probebench.errors import UsageError
from probebench.job.options import Options
from probebench.models.loading import ModelSpec
from probebench.record.run import Run
from probebench.stages.plan import Plan
from probebench.text import clipped

ADDED = frozenset(
    {"attribution", "controls", "encoder", "judge_model", "label_noise", "neutral", "train_sizes"}
)
"""Options that add to a run and change none of its numbers: a run without them may be replaced by
one with them."""
FILES = ("data", "answers")
"""Options that name files: what counts is what these hold."""
SETTINGS = tuple(
    f.name
    for f in fields(Options)
    if f.name not in {*FILES, "model", "task", "out", "offline", "discard_states"}
)
"""Options of which another value asks for another run."""
SPEC = tuple(f.name for f in fields(ModelSpec) if f.name not in {"name", "revision", "peft"})
"""The same of the model."""
MODEL = ("revision", "peft", "chat_template")
"""Parts of a model's identity that can change under the same name."""
OPTION = {"controls": "control", "attention": "attn-implementation"}
"""Options whose option has another name."""


def check_place(options: Options, plan: Plan) -> None:
    """Complain where the folder holds a finished run that this one would replace.

    The same settings under other versions of the package or its libraries are the same run: it is
        computed again in its place.

    Raises:
        UsageError: settings, weights or files differ, with what and how.
    """
    found = Run.there(plan.folder)
    if found is None or found.record.get("key") == plan.key:
        return
    differ = list(_differences(found.record, options, plan))
    if differ:
        raise UsageError(
            f"{plan.folder} holds a finished run that this one would replace; it differs in "
            f"{'; '.join(differ)}. Write this one "
            f"elsewhere with --out DIR, or delete the folder if that run may go."
        )


def _differences(record: Mapping[str, Any], options: Options, plan: Plan) -> Iterator[str]:
    """What was asked for there and here, where that is not the same."""
    s, theirs, identity = options, record["settings"], plan.handle.identity
    old_task, new_task = record["task"], plan.task
    yield from _differ("the model", record["model"]["name"], identity.name)
    if record["model"]["name"] == identity.name:
        for name in MODEL:
            yield from _differ(
                f"the model's {name.replace('_', ' ')}",
                record["model"].get(name),
                getattr(identity, name),
            )
    # without a task it is called after the file of its answers
    if s.task is not None or theirs.get("task") is not None:
        yield from _differ("the task", old_task["name"], plan.name)
    # a task of the suite changes with the package
    own = s.task is not None and s.task.endswith((".yaml", ".yml"))
    if (
        own
        and new_task is not None
        and old_task["name"] == new_task.name
        and old_task["hash"] != new_task.hash
    ):
        yield f"the content of {s.task}"
    plain = Options(ModelSpec(""))
    for old, new, default, names in (
        (theirs, s, plain, SETTINGS),
        (theirs["model"], s.model, plain.model, SPEC),
    ):
        for name in names:
            # a record may be older than the setting
            before = old.get(name, _json(getattr(default, name)))
            if before or name not in ADDED:
                yield from _differ(
                    f"--{OPTION.get(name, name).replace('_', '-')}",
                    before,
                    _json(getattr(new, name)),
                )
    for name in FILES:
        here = getattr(s, name)
        if bool(theirs.get(name)) != bool(here):
            yield from _differ(f"--{name}", theirs.get(name), _json(here))
        elif (
            here
            and theirs.get("limit") == s.limit
            and record["data"]["sha256"] != plan.questions.facts["sha256"]
        ):
            yield f"the content of {here if isinstance(here, str) else ', '.join(here)}"


def _differ(what: str, there: Any, here: Any) -> Iterator[str]:
    if there != here:
        yield f"{what} ({_word(there)} there, {_word(here)} here)"


def _json(value: Any) -> Any:
    """A setting as it stands in a record."""
    return json.loads(
        json.dumps(asdict(value) if is_dataclass(value) and not isinstance(value, type) else value)
    )


def _word(value: Any) -> str:
    """A setting as a user would say it."""
    if isinstance(value, Mapping):
        return str(value.get("name"))
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return clipped(str(value), 60)
