"""All that can be checked of a run at tokens before a weight is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from probebench.errors import BadFileError, ProbebenchError, UsageError
from probebench.job.options import Options
from probebench.job.place import check_apart, differ, differing, refuse, run_folder
from probebench.job.planning import plan_reading, probe_inputs
from probebench.models.blocks.sites import resolve_layers
from probebench.models.devices import pick_device
from probebench.models.handles import ModelHandle
from probebench.models.loading import find_model
from probebench.models.passes.padding import beyond_note, check_inside, rows_of
from probebench.options.field import own_options
from probebench.probes.kinds import get_probe
from probebench.record.inside.spans import SpanRecord, SpanRun
from probebench.record.run import RECORD
from probebench.record.versions import versions
from probebench.stages.tokens.fits import check_tokens
from probebench.stages.tokens.plan import NEITHER, SpanPlan
from probebench.tasks.examples import loses_group
from probebench.tasks.labelled.tokens import tokenize_marked
from probebench.tasks.local.notes import split_note
from probebench.tasks.schema import Task, load_task
from probebench.tasks.sources import load_dataset
from probebench.tasks.split import split_examples

TAKEN = frozenset(
    "model task data limit layers probe solver batching seed states_dtype discard_states out "
    "offline".split()
)
"""Options that such a run takes."""
TOKENS = {"right": 1, "wrong": 0, "other": NEITHER}
SHOWN = 200
"""Tokens of the first answer that a dry run shows."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSpans:
    """A run at tokens that can begin."""

    options: Options
    plan: SpanPlan

    def finished(self) -> SpanRun | None:
        """This very run, if it is there already with all that was asked for; vectors that were
        freed since are not missed."""
        run, discard = SpanRun.find(self.plan.folder, self.plan.key), self.options.discard_states
        kept = run is not None and (discard or run.has_states or run.states_freed)
        return run if kept else None

    def facts(self) -> dict[str, Any]:
        """What the run would do, for programs."""
        plan, y = self.plan, self.plan.table.y
        labels = [s.label for m in plan.marked for s in m.spans]
        return {
            "dry_run": True,
            "model": asdict(plan.handle.identity),
            "task": plan.task.name,
            "answers": len(plan.marked),
            "groups": len({e.group for e in plan.examples}),
            "spans": {"right": labels.count(1), "wrong": labels.count(0)},
            "tokens": {name: int((y == k).sum()) for name, k in TOKENS.items()},
            "layers": len(plan.layers),
            "bytes": plan.n_bytes,
            "folder": str(plan.folder),
            "left_out": plan.facts["n_too_long"] + plan.facts["n_dropped"],
            "notes": list(plan.notes),
            "finished": self.finished() is not None,
        }

    def text(self) -> str:
        """What the run would do, with the beginning of the first answer: a dry run."""
        plan, f = self.plan, self.facts()
        spans, tokens = f["spans"], f["tokens"]
        return "\n".join(
            [
                f"{plan.handle.identity.name} on {f['task']}: labels inside answers",
                f"answers    {f['answers']:,} in {f['groups']:,} groups"
                + (f"; {f['left_out']:,} left out" if f["left_out"] else ""),
                f"spans      {spans['right']:,} right, {spans['wrong']:,} wrong",
                f"tokens     {tokens['right']:,} right, {tokens['wrong']:,} wrong, "
                f"{tokens['other']:,} others read",
                f"layers     {f['layers']}, one probe each ({plan.probe.name})",
                f"vectors    {f['bytes'] / 1e6:,.1f} MB on disk",
                f"directory  {plan.folder}"
                + (" (finished: nothing would be computed)" if f["finished"] else ""),
                *(f"note       {note}" for note in f["notes"]),
                "",
                "the first prompt and answer, special tokens included:",
                plan.handle.tokenizer.decode(plan.marked[0].ids[:SHOWN]),
            ]
        )


def is_spans(options: Options) -> bool:
    """Is the task one whose labels are inside answers? A task that cannot be read is none: its own
    error comes where it is read."""
    try:
        return options.task is not None and load_task(options.task).kind == "spans"
    except ProbebenchError:
        return False


def prepare_spans(options: Options) -> PreparedSpans:
    """Read and check everything that needs no weights.

    Raises:
        UsageError: an option that does not apply, or a model that cannot read answers.
        BadFileError: a file that is not what it should be.
        LabelError: labels to which no probe can be fitted.
        UnavailableError: a model or data set that cannot be reached.
    """
    options.check()
    task = None if options.task is None else load_task(options.task)
    if task is None or task.kind != "spans":
        what = "Answers alone have" if task is None else f"Task {task.name!r} has"
        raise UsageError(
            f"{what} no labels inside answers. In Python `probebench.evaluate` runs it, on the "
            "command line `probebench eval`."
        )
    for asked in (options, options.where):
        for o in own_options(type(asked)):
            if o.name not in TAKEN and getattr(asked, o.name) != o.default:
                raise UsageError(
                    f"{o.flag} does not apply to a task of kind 'spans', whose labels are inside "
                    "answers. Leave it out."
                )
    handle = find_model(options.model, offline=options.offline)
    if not handle.causal:
        raise UsageError(
            f"{handle.identity.name!r} ({handle.identity.architecture}) says nothing of the tokens "
            "of an answer. Name a decoder."
        )
    plan = _plan(options, task, handle)
    check_tokens(plan)
    check_place(options, plan)
    return PreparedSpans(options, plan)


def _plan(o: Options, task: Task, handle: ModelHandle) -> SpanPlan:
    found = load_dataset(task, o.data, o.limit, offline=o.offline)
    every = [tokenize_marked(task, e, handle.tokenizer) for e in found.examples]
    most = handle.max_length
    kept = [i for i, m in enumerate(every) if most is None or len(m.ids) <= most]
    if not kept:
        shortest = min(len(m.ids) for m in every)
        raise UsageError(
            f"No answer fits into the {most} tokens of {handle.identity.name!r}: the shortest "
            f"needs {shortest} with its prompt."
        )
    examples, marked = [found.examples[i] for i in kept], [every[i] for i in kept]
    ids, rows = [e.id for e in examples], rows_of(handle.skeleton)
    check_inside([m.ids for m in marked], ids, handle.tokenizer, rows, handle.identity.name)
    device = pick_device(o.model.device)
    reading = plan_reading(o, handle, (), resolve_layers(o.layers, handle.identity.n_layers))
    return SpanPlan(
        folder=run_folder(o, task.name),
        task=task,
        handle=handle,
        examples=examples,
        marked=marked,
        splits=tuple(split_examples(examples, o.seed)),
        layers=reading.layout["resid"].layers,  # some models pass over some blocks
        dtype=o.states_dtype,
        batching=o.batching,
        probe=get_probe(o.probe, o.solver),
        device=str(device) if device.type == "cuda" else None,
        seed=o.seed,
        facts={
            "origin": found.origin,
            "revision": found.revision,
            "sha256": found.sha256,
            "n_dropped": found.n_dropped,
            "n_too_long": len(every) - len(kept),
            "n_ungrouped": sum(loses_group(task, e.fields) for e in examples),
        },
        notes=(*handle.notes, *beyond_note(handle.tokenizer, rows), *split_note(task, examples)),
        fitting=probe_inputs(o),
        versions=versions(),
    )


def check_place(options: Options, plan: SpanPlan) -> None:
    """Complain where the folder holds another finished run, or is no place for one.

    The same settings under other versions of the package or its libraries are the same run.

    Raises:
        UsageError: it does, with what differs.
    """
    check_apart(options, plan.folder)
    if (plan.folder / RECORD).is_file():
        refuse(plan.folder, ["the kind of its task, whose answers are right or wrong as a whole"])
    try:
        there = SpanRun.load(plan.folder).record
    except BadFileError:
        return
    if there.key != plan.key:
        refuse(plan.folder, list(_differences(there, options, plan)))


def _differences(there: SpanRecord, options: Options, plan: SpanPlan) -> Iterator[str]:
    """In what a run is another one."""
    yield from differ("the model", there.model.name, plan.handle.identity.name)
    yield from differ("the task", there.task.name, plan.task.name)
    yield from differing(there.settings, options)
    if there.data.sha256 != plan.facts["sha256"]:
        yield "the content of its data"
