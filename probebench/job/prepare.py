"""All that can be checked of a run before anything is computed: names, files, templates, splits,
and what its folder holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from probebench.errors import LabelError, UsageError
from probebench.files import content_key
from probebench.job.options import Options
from probebench.job.record import versions
from probebench.models.loading import ModelHandle, ModelSpec, find_model
from probebench.progress import Progress
from probebench.record.run import Run
from probebench.stages.answers import Stages
from probebench.stages.fits import Asked, plan_run
from probebench.stages.second_judge import check_second
from probebench.states.exchange.find import find_states, read_manifest
from probebench.studies.curves import check_sizes
from probebench.studies.neutral import open_neutral
from probebench.tasks.exact.rules import check_rule
from probebench.tasks.judge import get_judge
from probebench.tasks.schema import load_task
from probebench.text import clipped
from probebench.types import SPLITS

ADDED = frozenset(
    {"attribution", "controls", "encoder", "judge_model", "label_noise", "neutral", "train_sizes"}
)
"""Settings that add to a run and change none of its numbers: a run without them may be replaced by
one with them."""
FILES = ("data", "answers")
"""Settings that name files: what counts is what these hold."""
SETTINGS = tuple(
    f.name
    for f in fields(Options)
    if f.name not in {*FILES, "model", "task", "out", "offline", "discard_states"}
)
"""Settings of which another value asks for another run."""
SPEC = tuple(f.name for f in fields(ModelSpec) if f.name not in {"name", "revision", "peft"})
"""The same of the model."""
MODEL = ("revision", "peft", "chat_template")
"""Parts of a model's identity that can change under the same name."""
OPTION = {"controls": "control", "attention": "attn-implementation"}
"""Settings whose option has another name."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A run that can begin: everything was looked at that needs no weights."""

    stages: Stages
    inputs: Mapping[str, Any]
    """Everything that decides the numbers of the run."""
    key: str
    """Their content key."""
    plan: Asked
    neutral: Run | None
    """The run of `--neutral`."""

    def finished(self) -> Run | None:
        """This very run, if it is there already with all that was asked for."""
        run = Run.find(self.stages.folder, self.key)
        kept = run is not None and (self.stages.settings.discard_states or run.has_states)
        return run if kept else None

    def check_known(self) -> None:
        """Judge what is there before the model is asked, statements and answers made elsewhere;
        nothing is written.

        Raises:
            LabelError: no probe can be fitted to these labels.
        """
        known = self.stages.known()
        if known is not None and self.finished() is None:
            self.stages.labels(known, keep=False)


def prepare(
    settings: Options, progress: Progress | None = None, handle: ModelHandle | None = None
) -> Prepared:
    """Read and check everything of a run that needs no weights: every prompt is rendered, nothing
    is written.

    Args:
        settings: what was asked for.
        progress: what the run will report to.
        handle: the model of the settings, where it was found before.

    Raises:
        UsageError: what was asked for is wrong, or its folder holds a run with other settings.
        UnavailableError: a model or data set cannot be reached.
        LabelError: a split is empty, or labels that came with the data are of one class.
    """
    settings.check()
    task = load_task(settings.task) if settings.task is not None else None
    if task is not None:
        check_rule(task.exact_answer, task.path)
        get_judge(task.judge)
    handle = handle or find_model(settings.model, offline=settings.offline)
    stages = Stages(settings, task, handle, progress or Progress())
    neutral = open_neutral(settings.neutral, asdict(handle.identity)) if settings.neutral else None
    inputs = run_inputs(stages, neutral)
    key = content_key(inputs)
    check_place(stages, key)
    check_splits(stages)
    check_sizes(settings.train_sizes, stages.splits.count("train"))
    check_second(stages)
    plan = plan_run(stages)
    return Prepared(stages, inputs, key, plan, neutral)


def run_inputs(stages: Stages, neutral: Run | None) -> dict[str, Any]:
    """Everything that decides what a run's record says."""
    s = stages.settings
    return {
        "generation": stages.answer_inputs(),
        "probe": s.probe_inputs(),
        "attribution": s.attribution,
        "positions": stages.positions,
        "layers": stages.layers,
        "sites": s.sites,
        "states": None if s.states is None else read_manifest(find_states(s.states))[0]["key"],
        "states_dtype": s.states_dtype,
        "batching": s.batching,
        "exact_answer": stages.finder.rule,
        "extractor": stages.finder.extractor.identity.key() if stages.finder.extractor else None,
        "judge_model": asdict(s.judge_model) if s.judge_model else None,
        "controls": sorted(set(s.controls)),
        "skip": sorted(set(s.skip)),
        "encoder": stages.encoder.identity.key() if stages.encoder else None,
        "train_sizes": s.train_sizes,
        "label_noise": s.label_noise,
        "neutral": neutral.record["key"] if neutral else None,
        "versions": versions(),
    }


def check_splits(stages: Stages) -> None:
    """Complain about an empty split before anything is computed."""
    splits = stages.splits
    for name in SPLITS:
        if name not in splits:
            groups = len({e.group for e in stages.examples})
            raise LabelError(
                f"The {name} split is empty: {len(splits)} examples in {groups} groups. Take more "
                "examples (a larger --limit or "
                f"--data FILE), or say the split of each row with --answers."
            )


# -- one folder, one run ---------------------------------------------------------------------------


def check_place(stages: Stages, key: str) -> None:
    """Complain where the folder holds a finished run that this one would replace.

    The same settings under other versions of the package or its libraries are the same run: it is
        computed again in its place.

    Raises:
        UsageError: settings, weights or files differ, with what and how.
    """
    found = Run.there(stages.folder)
    if found is None or found.record.get("key") == key:
        return
    differ = list(_differences(found.record, stages))
    if differ:
        raise UsageError(
            f"{stages.folder} holds a finished run that this one would replace; it differs in "
            f"{'; '.join(differ)}. Write this one "
            f"elsewhere with --out DIR, or delete the folder if that run may go."
        )


def _differences(record: Mapping[str, Any], stages: Stages) -> Iterator[str]:
    """What was asked for there and here, where that is not the same."""
    s, theirs, identity = stages.settings, record["settings"], stages.handle.identity
    old_task, new_task = record["task"], stages.task
    yield from _differ("the model", record["model"]["name"], identity.name)
    if record["model"]["name"] == identity.name:
        for name in MODEL:
            yield from _differ(
                f"the model's {name.replace('_', ' ')}",
                record["model"].get(name),
                getattr(identity, name),
            )
    if (
        s.task is not None or theirs.get("task") is not None
    ):  # else it is called after the file of its answers
        yield from _differ("the task", old_task["name"], stages.name)
    own = s.task is not None and s.task.endswith(
        (".yaml", ".yml")
    )  # a task of the suite changes with the package
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
            before = old.get(
                name, _json(getattr(default, name))
            )  # a record may be older than the setting
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
            and record["data"]["sha256"] != stages.facts["sha256"]
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
