"""All that can be checked of a run before anything is computed: names, files, templates, splits,
and what its folder holds."""

from __future__ import annotations

from dataclasses import dataclass

from probebench.detectors.suite import known
from probebench.detectors.whole.pooled import ASKED
from probebench.errors import LabelError, UsageError
from probebench.job.options import Options
from probebench.job.place import check_place
from probebench.job.planning import make_plan
from probebench.models.handles import ModelHandle
from probebench.models.loading import Find, find_model
from probebench.progress import Progress
from probebench.record.run import Run
from probebench.stages.answers import known_answers
from probebench.stages.labelled import label
from probebench.stages.plan import Plan
from probebench.studies.curves import check_sizes
from probebench.tasks.exact.rules import check_rule
from probebench.tasks.judge import get_judge
from probebench.tasks.opinion import BY_MODEL
from probebench.tasks.schema import load_task
from probebench.text import counted
from probebench.types import SPLITS


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A run that can begin: everything was looked at that needs no weights."""

    options: Options
    """What was asked for, as it was asked."""
    plan: Plan
    """The same, resolved."""
    progress: Progress

    def finished(self) -> Run | None:
        """This very run, if it is there already with all that was asked for; hidden states that
        were freed since are not missed."""
        run, o = Run.find(self.plan.folder, self.plan.key), self.options
        if run is None or not (o.discard_states or run.has_states or run.states_freed):
            return None
        return run if not o.keep_tokens or _has_tokens(run) else None

    def check_known(self) -> None:
        """Judge what is there before the model is asked, statements and answers made elsewhere;
        nothing is written.

        Raises:
            LabelError: no probe can be fitted to these labels.
        """
        known = known_answers(self.plan)
        if known is not None and self.finished() is None:
            label(self.plan, known, None)


def prepare(
    options: Options,
    progress: Progress | None = None,
    handle: ModelHandle | None = None,
    find: Find = find_model,
) -> Prepared:
    """Read and check everything of a run that needs no weights: every prompt is rendered, nothing
    is written.

    Args:
        options: what was asked for.
        progress: what the run will report to.
        handle: the model of the options, where it was found before.
        find: finds models: on this machine, or on one like those that will load them.

    Raises:
        UsageError: what was asked for is wrong, or its folder holds a run with other settings.
        UnavailableError: a model or data set cannot be reached.
        LabelError: a split is empty, or labels that came with the data are of one class.
    """
    options.check()
    task = load_task(options.task) if options.task is not None else None
    if task is not None and task.kind == "spans":
        raise UsageError(
            f"Task {task.name!r} has its labels inside answers and runs alone. On the command line "
            "no other task or model stands beside it; in Python it is `probebench.evaluate_spans`."
        )
    if task is not None:
        check_rule(task.exact_answer, task.path)
        get_judge(task.judge)
    handle = handle or find(options.model, offline=options.offline)
    plan = make_plan(options, task, handle, find)
    check_place(options, plan)
    check_splits(plan)
    check_sizes(options.train_sizes, plan.splits.count("train"))
    check_samples(plan)
    check_second(plan)
    return Prepared(options, plan, progress or Progress())


def _has_tokens(run: Run) -> bool:
    """Are the tokens there that its pooled probes were trained on, as far as there are any?"""
    rows = known()
    pooled = [d for d in run.record.detectors if d.name in rows and rows[d.name].asked == ASKED]
    return all(d.tokens is not None and (run.folder / d.tokens).is_dir() for d in pooled)


def check_splits(plan: Plan) -> None:
    """Complain about an empty split before anything is computed."""
    for name in SPLITS:
        if name not in plan.splits:
            groups = counted(len({e.group for e in plan.examples}), "group")
            raise LabelError(
                f"The {name} split is empty: {counted(len(plan.splits), 'example')} in {groups}. "
                "Take more examples (a larger --limit or --data FILE), or say the split of each "
                "row with --answers."
            )


def check_samples(plan: Plan) -> None:
    """Complain about further answers where nothing is answered.

    Raises:
        UsageError: the task gives statements.
    """
    if plan.beside.drawing is not None and plan.statements:
        raise UsageError(
            f"--samples {plan.beside.drawing.n} draws further answers, and statements have none. "
            "Leave it out for this task."
        )


def check_second(plan: Plan) -> None:
    """Complain about a second judge that would have nothing to say.

    Raises:
        UsageError: statements, the task's own judge again, or no accepted answers to compare with.
    """
    name, task = plan.beside.label_noise, plan.task
    if name is None:
        return
    if plan.statements:
        raise UsageError(
            "--label-noise judges answers again; statements come with their labels. Leave it out "
            "for this task."
        )
    if name == BY_MODEL:
        return
    if task is not None and name == task.judge and plan.questions.given is None:
        raise UsageError(
            f"--label-noise {name} is the judge that the task {task.name!r} is labelled by. Name "
            "another one."
        )
    if not any(e.references for e in plan.examples):
        raise UsageError(
            f"--label-noise {name} compares with accepted answers, and these examples have none."
        )
