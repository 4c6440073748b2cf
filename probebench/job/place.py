"""One folder, one run: where a run goes, what its directory holds already, and how that differs
from what is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from probebench.across.listing import is_run, run_around, run_inside
from probebench.detectors.suite import EVERY
from probebench.errors import UsageError
from probebench.files import content_key, place, write_atomic
from probebench.job.options import OPTIONS, Options
from probebench.models.specs import EMBEDDED, ModelSpec
from probebench.options.config import TYPED, as_config, lies_there
from probebench.options.field import Option, own_options
from probebench.record.inside.kinds import holds_spans
from probebench.record.run import RECORD, Run
from probebench.record.schema import Record
from probebench.stages.plan import Plan
from probebench.text import clipped

WHERE = ("out", "part", "log_to", "engine", "address", "workers", "gpus_per_worker")
"""Options that say where a run is computed, kept and shown, and nothing of what it is."""
CONFIG = "run.yaml"
"""What was asked, for `--config`, but for where it lies."""
MODEL = (
    "revision",
    "peft",
    "tokenizer",
    "chat_template",
    "dtype",
    "attention",
    "device",
    "device_map",
    "quantization",
)
"""Parts of a model's identity that can change under the same name and options."""
DRAWN = {"temperature": 1.0, "top_p": 1.0}
"""How `--samples` are drawn, and what stands for None: where there are some, another value takes
them away."""


def run_folder(o: Options, name: str) -> Path:
    """The run directory: `runs/<model>/<task>`, with a suffix when options differ from the
    protocol's.

    Args:
        o: what was asked for.
        name: of the task, or of the file of answers.
    """
    if o.out is not None:
        return place(o.out)
    model = {
        m.name: value
        for m in own_options(ModelSpec)
        if not m.required and (value := getattr(o.model, m.name)) != m.default
    }
    given = {
        own.name: value
        for own in own_options(Options)
        if own.changes == "source" and own.name != "task" and (value := getattr(o, own.name))
    }
    changed = {**o.overrides, **model, **given}
    suffix = f"--{content_key(changed)[:8]}" if changed else ""
    return Path("runs") / o.model.slug / f"{name}{suffix}"


def check_apart(o: Options, folder: Path) -> None:
    """Complain about an `--out` that would put one run inside another; a run that lies so already
    is found again.

    Raises:
        UsageError: a finished run is around it, or runs lie under it.
    """
    if o.out is None or is_run(folder):
        return
    if (around := run_around(folder)) is not None:
        raise UsageError(
            f"--out {o.out} lies inside {around}, which is a finished run. Write this one "
            f"elsewhere, such as {around.parent / folder.name}."
        )
    if (inside := run_inside(folder)) is not None:
        raise UsageError(
            f"--out {o.out} is a folder above other runs, such as {inside}. Name one of this run's "
            f"own, such as {folder / o.model.slug}."
        )


def check_place(options: Options, plan: Plan) -> None:
    """Complain where the folder holds a finished run that this one would replace, or is no place
    for a run.

    The same settings under other versions of the package or its libraries are the same run: it is
    computed again in its place.

    Raises:
        UsageError: settings, weights or files differ, with what and how.
    """
    check_apart(options, plan.folder)
    if holds_spans(plan.folder):
        refuse(plan.folder, ["the kind of its task, whose labels are inside answers"])
    found = Run.there(plan.folder)
    if found is None:
        refuse(plan.folder, list(_unread(plan)))
    elif found.record.key != plan.key:
        refuse(plan.folder, list(_differences(found.record, options, plan)))


def refuse(folder: Path, differ: Sequence[str]) -> None:
    """Complain about a run that would be replaced.

    Args:
        folder: where it lies.
        differ: in what it is another run; nothing is said where it is the same.

    Raises:
        UsageError: it is another one.
    """
    if differ:
        raise UsageError(
            f"{folder} holds a finished run that this one would replace; it differs in "
            f"{'; '.join(differ)}. Write this one "
            f"elsewhere with --out DIR, or delete the folder if that run may go."
        )


def _unread(plan: Plan) -> Iterator[str]:
    """Model and task there and here, by a record of another version, whose settings cannot be
    compared. One that is broken is no run."""
    try:
        there = json.loads((plan.folder / RECORD).read_text(encoding="utf-8"))
        model, task = there["model"]["name"], there["task"]["name"]
    except (OSError, ValueError, TypeError, LookupError):
        return
    yield from differ("the model", model, plan.handle.identity.name)
    yield from differ("the task", task, plan.name)


def _differences(record: Record, options: Options, plan: Plan) -> Iterator[str]:
    """What was asked for there and here, where that is not the same."""
    theirs = record.settings
    yield from _found(record, options, plan)
    yield from differing(theirs, options)
    for o in own_options(Options):
        if o.compared != "content":
            continue
        here = getattr(options, o.name)
        if bool(theirs.get(o.name)) != bool(here):
            yield from differ(o.flag, theirs.get(o.name), _json(here))
        elif here and theirs.get("limit") == options.limit and _other_content(record, plan):
            files = here if isinstance(here, str) else ", ".join(here)
            taken = "the examples taken from" if options.limit else "the content of"
            yield f"{taken} {files}"


def _other_content(record: Record, plan: Plan) -> bool:
    """Are the questions others, or the columns that are read beside them? An older record does not
    say what these were."""
    data, here = record.data, plan.questions.facts
    told = data.split is not None
    return data.sha256 != here["sha256"] or (told and data.columns != here["columns"])


def differing(settings: Mapping[str, Any], options: Options) -> Iterator[str]:
    """Options whose value is another one in the settings of a record, with both values."""
    for asked, old in ((options, settings), (options.model, settings["model"])):
        for o in own_options(type(asked)):
            if o.compared != "value" or o.changes == "nothing":
                continue
            # a record may be older than the option
            before, here = _json(old.get(o.name, o.default)), _json(getattr(asked, o.name))
            if o.name in DRAWN and old.get("samples") and options.samples:
                before, here = (DRAWN[o.name] if v is None else v for v in (before, here))
                yield from differ(o.flag, before, here)
            elif o.changes != "adds" or not _adds(before, here):
                yield from differ(o.flag, before, here)


def _adds(before: Any, here: Any) -> bool:
    """Does a value of an option that adds take nothing away that was there?"""
    if isinstance(before, list) and isinstance(here, list):
        return set(before) <= set(here) or EVERY in here
    more = type(before) is type(here) is int and here >= before
    return more or not before


def _found(record: Record, options: Options, plan: Plan) -> Iterator[str]:
    """The same of what was found under a name: model and task."""
    identity, old, new = plan.handle.identity, record.task, plan.task
    asked = record.settings["model"]
    yield from differ("the model", record.model.name, identity.name)
    if record.model.name == identity.name:
        for name in MODEL:
            if name in asked and asked[name] != _json(getattr(options.model, name)):
                continue  # named as an option
            there, here = record.model.get(name), getattr(identity, name)
            yield from differ(f"the model's {name.replace('_', ' ')}", there, here)
    judge, opinion = plan.beside.judge, record.second_opinion
    if judge is not None and opinion is not None:
        there, here = opinion.revision, judge.identity.revision
        yield from differ("the judge model's revision", there, here)
    # without a task it is called after the file of its answers
    if options.task is not None or record["settings"].get("task") is not None:
        yield from differ("the task", old["name"], plan.name)
    # a task of the suite changes with the package
    own = options.task is not None and options.task.endswith((".yaml", ".yml"))
    if own and new is not None and old["name"] == new.name and old["hash"] != new.hash:
        yield f"the content of {options.task}"


def differ(what: str, there: Any, here: Any) -> Iterator[str]:
    """What is another one here, with both; nothing where it is the same."""
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


# -- what was asked, in a file ---------------------------------------------------------------------


def write_config(folder: Path, options: Options) -> None:
    """Write what was asked, for `--config`. The file belongs to the run's own folder and is no part
    of what is published: it names files where they are on this machine."""
    asked = {**options.by_argument()}
    for o in OPTIONS:
        if o.path and (value := asked[o.argument]) is not None:
            whole = tuple(_whole(o, v) for v in ([value] if isinstance(value, str) else value))
            asked[o.argument] = whole[0] if isinstance(value, str) else whole
    text = as_config(asked, [o for o in OPTIONS if o.name not in WHERE])
    write_atomic(folder / CONFIG, text.encode())


def _whole(o: Option, value: str) -> str:
    """A file or folder of this machine from its root on, with a mark before what was typed; names
    and URLs as they are."""
    name = value.partition(":")[0] if o.name == "task" else value
    known = value in EMBEDDED or (o.name == "task" and not name.endswith((".yaml", ".yml")))
    if known or Path(value).is_absolute() or not lies_there(name):
        return value
    return f"{Path.cwd()}{TYPED}{value}"
