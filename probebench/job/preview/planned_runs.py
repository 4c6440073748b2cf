"""The workload of many runs counted, from configs, tokenizers and the tasks' examples: no weights
are read, nor have to be there.

Tokens are those of a sample of each task's examples, counted once for every tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from probebench.errors import UsageError
from probebench.job.options import Options
from probebench.job.planning import plan_reading, read_questions
from probebench.job.preview.sizes import ANSWER_SHARE, device_memory, states_size
from probebench.job.preview.workload import PlannedModel, PlannedRun, Throughput, Workload
from probebench.models.blocks.sites import resolve_layers
from probebench.models.handles import ModelHandle
from probebench.models.loading import find_model
from probebench.models.passes.batches import Budget
from probebench.models.specs import ModelSpec
from probebench.states.positions import PUBLISHED, STATEMENTS, resolve_positions
from probebench.tasks.given import read_answers
from probebench.tasks.schema import Task, load_task
from probebench.tasks.sources import load_dataset
from probebench.tasks.split import SHARES

SAMPLE = 256
"""Examples of each task whose prompts are rendered; the others are taken to be as long."""
RANGE = (0.25, ANSWER_SHARE, 1.0)
"""Of the tokens that an answer may have, what it is taken to have: shortest, expected, longest."""
HELD = 1 - dict(SHARES)["train"]
"""Share of the examples that p(True) asks about."""
ASKED = 4
"""How often it shows an answer: two questions, each in both orders; a statement half as often."""
FRAME = 30
"""Tokens of its own words, each time; what several questions share is read once."""
USABLE = 0.9
"""Of a device's memory; the rest is for its driver and for fragments."""
ROW, FIXED = 2048, 2_000_000
"""Bytes of all else in a run directory, for an example (answers, scores and decisions) and for the
run (figures, record); measured on real runs with every detector."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One task as a tokenizer sees it."""

    n: int
    """Examples."""
    lengths: tuple[int, ...]
    """(sample,) tokens of each prompt, of a whole sequence where nothing is answered."""
    new: int
    """Tokens that an answer may have; 0 where none is written."""
    statements: bool

    @property
    def mean(self) -> float:
        return sum(self.lengths) / len(self.lengths)


def plan_workload(
    wanted: Sequence[Options],
    throughput: Throughput | None = None,
    *,
    free: int | None = None,
    device_memory: int | None = None,
) -> Workload:
    """What many runs will take.

    Args:
        wanted: one for each model and task.
        throughput: of a device; None: hours are undefined.
        free: bytes where the runs go.
        device_memory: bytes of one device; None: as large as a model needs.

    Raises:
        UsageError: what is asked for cannot be.
        UnavailableError: a config, a tokenizer or a data set that cannot be reached.
    """
    by_model: dict[ModelSpec, list[Options]] = {}
    for o in wanted:
        o.check()
        by_model.setdefault(o.model, []).append(o)
    seen = _Seen()
    runs = [
        run
        for spec, asked in by_model.items()
        for run in _runs_of(spec, asked, seen, throughput, device_memory)
    ]
    return Workload(tuple(runs), throughput, free, wanted[0].discard_states)


class _Seen:
    """Tasks that were counted already: examples by task, prompts by task and tokenizer."""

    def __init__(self) -> None:
        self._n: dict[Any, int] = {}
        self._asked: dict[Any, Asked] = {}

    def asked(self, o: Options, handle: ModelHandle) -> Asked:
        """A task as a model's tokenizer sees it."""
        task, i = load_task(o.task) if o.task is not None else None, handle.identity
        if task is not None and task.kind == "spans":
            raise UsageError(
                f"Task {task.name!r} has its labels inside answers; what its run takes, "
                "`probebench eval --dry-run` says."
            )
        key = o.task, o.data, o.answers, o.limit, o.max_new_tokens
        seen = (*key, i.tokenizer, i.chat_template, handle.max_length)
        if key not in self._n:
            self._n[key] = _count(o, task, handle)
        if seen not in self._asked:
            self._asked[seen] = _sample(o, task, handle, self._n[key])
        return self._asked[seen]


def _count(o: Options, task: Task | None, handle: ModelHandle) -> int:
    """Examples of a task."""
    if task is None or o.answers is not None:
        path = Path(o.answers or "")
        return len(read_answers(path, handle.tokenizer, handle.stop_ids, task, o.limit))
    return len(load_dataset(task, o.data, o.limit, offline=o.offline).examples)


def _sample(o: Options, task: Task | None, handle: ModelHandle, n: int) -> Asked:
    """Lengths of some of its prompts, and how many of all fit into the model's context."""
    statements = task is not None and task.kind == "statements"
    new, some = o.new_tokens(task), min(n, SAMPLE)
    lengths = read_questions(replace(o, limit=some), task, handle, new).lengths
    return Asked(round(n * len(lengths) / some), tuple(lengths), new or 0, statements)


def _runs_of(
    spec: ModelSpec,
    wanted: Sequence[Options],
    seen: _Seen,
    throughput: Throughput | None,
    each: int | None,
) -> Iterator[PlannedRun]:
    """The runs of one model."""
    handle = find_model(spec, offline=wanted[0].offline, weights=False)
    asked = [seen.asked(o, handle) for o in wanted]
    widest = max(asked, key=lambda a: max(a.lengths) + a.new)
    memory = device_memory(handle, [n + widest.new for n in widest.lengths], 0, Budget())
    devices = math.ceil(memory.total / (each * USABLE)) if each else 1
    model = PlannedModel(spec.shown, handle.identity.n_parameters, memory, devices)
    for o, own in zip(wanted, asked, strict=True):
        yield planned_run(o, own, handle, model, throughput)


def planned_run(
    o: Options,
    asked: Asked,
    handle: ModelHandle,
    model: PlannedModel,
    throughput: Throughput | None,
) -> PlannedRun:
    """One model on one task.

    Args:
        o: the options.
        asked: the task.
        handle: the model, by its shape.
        model: the same in the workload.
        throughput: of a device; None: hours are undefined.
    """
    positions = resolve_positions(o.positions, STATEMENTS if asked.statements else PUBLISHED)
    layers = resolve_layers(o.layers, handle.identity.n_layers)
    layout = plan_reading(o, handle, positions, layers).layout
    found = [_tokens(o, asked, share * asked.new, handle) for share in RANGE]
    hours = [
        math.nan if throughput is None else throughput.seconds(model.parameters, *t) / 3600
        for t in found
    ]
    lengths = [asked.lengths[i % len(asked.lengths)] for i in range(asked.n)]
    widths = sum(sum(at.widths) for at in layout.values()) * len(positions)
    low, mid, high = (model.devices * h for h in hours)
    return PlannedRun(
        model,
        o.task or str(o.answers),
        asked.n,
        *found[1],
        (low, mid, high),
        0 if o.states else states_size(layout, len(positions), lengths, o.states_dtype),
        FIXED + ROW * asked.n + 4 * widths,
    )


def _tokens(o: Options, asked: Asked, answer: float, handle: ModelHandle) -> tuple[float, float]:
    """Tokens that one run reads and writes, with answers of that length."""
    one = asked.mean + answer
    read = 0.0 if o.states else one
    if handle.causal and "p-true" not in o.skip:
        read += HELD * (ASKED // 2 if asked.statements else ASKED) * (one + FRAME)
    if not asked.new:
        return asked.n * read, 0.0
    # drawn answers are written for every question, and those to test questions read again
    read += o.samples * dict(SHARES)["test"] * one
    return asked.n * read, asked.n * answer * (1 + o.samples)
