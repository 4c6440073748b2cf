"""The main job: one model, one task, one run directory."""

from __future__ import annotations

import time

from probebench.detectors.suite import detectors
from probebench.engines.engine import Engine, LocalEngine, opened
from probebench.engines.mapped import map_facts
from probebench.engines.part import Part
from probebench.errors import UnfinishedError
from probebench.job.options import Options
from probebench.job.place import check_place
from probebench.job.prepare import Prepared, prepare
from probebench.job.write import Findings, discard, write_run
from probebench.progress import Progress
from probebench.record.exports.trackers import log_to_all
from probebench.record.run import Run
from probebench.scoring.score import score_run
from probebench.scoring.select import select
from probebench.stages.answers import alone_facts
from probebench.stages.components.attributed import attributed
from probebench.stages.data import RunData
from probebench.stages.fits import fits_of, job_of
from probebench.stages.labelled import labelled_answers
from probebench.stages.plan import Plan
from probebench.stages.sampling.at_cell import sample_vectors
from probebench.stages.sampling.drawn import drawn_samples
from probebench.stages.second_judge import model_opinions, opinion_facts
from probebench.stages.stage import Runner
from probebench.stages.states import hidden_states
from probebench.store.lock import Lock
from probebench.studies.registry import Scored
from probebench.studies.resplits import resplits
from probebench.studies.suite import studies


def evaluate(options: Options, progress: Progress | None = None) -> Run:
    """Run the main job, or find it done.

    Raises:
        UsageError: what was asked for is wrong.
        RunError: the run cannot give a result.
        NotLoggedError: it is finished, and a tracker does not take it.
    """
    with opened(options.where, options.model.device) as engine:
        return run_prepared(prepare(options, progress, find=engine.find), engine)


def run_prepared(prepared: Prepared, engine: Engine) -> Run:
    """Run a job that was checked, or find it done; a run that is new is put into the trackers that
    were asked for.

    Raises:
        UsageError: meanwhile its folder holds another run.
        RunError: the run cannot give a result.
        NotLoggedError: it is finished, and a tracker does not take it.
    """
    if prepared.options.part is not None:
        return run_part(prepared, Part.read(prepared.options.part))
    run = _run(prepared, engine)
    if not run.resumed:
        log_to_all(run, prepared.options.log_to)
    return run


def _run(prepared: Prepared, engine: Engine) -> Run:
    started, plan = time.time(), prepared.plan
    with Lock(plan.folder):
        if (finished := prepared.finished()) is not None:
            if finished.record.states is None:
                discard(prepared)  # where it was killed between its record and that
            return finished
        check_place(prepared.options, plan)  # again: it was not locked before
        progress, offline = prepared.progress, prepared.options.offline
        with engine.runner(plan.folder, progress, offline=offline) as runner:
            found = compute(plan, runner, progress)
            return write_run(prepared, runner, found, started)


def run_part(prepared: Prepared, part: Part) -> Run:
    """Compute what a part of a run can, beside others; the run, where it is finished.

    Raises:
        UnfinishedError: the part has done its share; with what is missing.
        LockedError: another process works as this part, or has the run to itself.
    """
    plan, progress, offline = prepared.plan, prepared.progress, prepared.options.offline
    with Lock(plan.folder, part.writer):
        if (finished := prepared.finished()) is not None:
            return finished
        check_place(prepared.options, plan)
        try:
            with LocalEngine(part).runner(plan.folder, progress, offline=offline) as runner:
                compute(plan, runner, progress)
            left = UnfinishedError(
                "Every shard is there. The same command without --part finishes the run.",
                missing=False,
            )
        except UnfinishedError as error:  # which is no failure: nothing is to be taken away
            left = error
    raise left


def compute(plan: Plan, runner: Runner, progress: Progress) -> Findings:
    """Every stage of a plan, and what follows from them.

    Raises:
        RunError: there can be no result.
    """
    mapped = map_facts(plan.handle, plan.questions.prompt_ids, runner)
    answers = labelled_answers(plan, runner)
    alone = alone_facts(plan, runner, answers)  # while the model is there
    samples = drawn_samples(plan, runner)
    opinions = model_opinions(plan, runner, answers)
    answers, states = hidden_states(plan, runner, answers)
    job = job_of(plan, answers, states)
    fits = fits_of(plan, runner, job, states)
    data = RunData(plan, answers, states, job, fits, select(fits), opinions, samples)
    others = resplits(data, runner)
    sampled = sample_vectors(data, runner)
    found = detectors(data, runner)
    with progress.stage("Scoring", 1, "map") as counter:
        result = score_run(fits, job, found.detectors, data.chosen)
        fitted = job.final(result.selected)
        sections = studies(Scored(data, result, fitted, others, sampled))
        counter.advance()
    attribution = (
        attributed(plan, runner, answers, fitted, result.selected)
        if plan.beside.attribution
        else None
    )
    opinion = opinion_facts(plan, answers, opinions)
    return Findings(
        data, result, found.absent, sections, fitted, attribution, alone, mapped, opinion
    )
