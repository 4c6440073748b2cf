"""The main job: one model, one task, one run directory."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from probebench import tables
from probebench._version import __version__
from probebench.beside import detectors_beside
from probebench.cells import ATTRIBUTION, Cells, plan_run
from probebench.errors import LabelError, UsageError
from probebench.maps.draw import draw
from probebench.models.devices import hardware
from probebench.models.loading import find_model
from probebench.models.sites import COMPONENTS
from probebench.opinions import check_second, model_opinions, opinion_facts, second_labels
from probebench.probes.fit import MIN_CLASS, Labels
from probebench.probes.kinds import get_probe
from probebench.probes.saved import ProbeMeta, save_probe
from probebench.progress import Progress
from probebench.record import build_record
from probebench.run import PROBE, RECORD, Run
from probebench.scoring.curves import check_sizes
from probebench.scoring.ensembles import ensembles
from probebench.scoring.neutral import open_neutral
from probebench.scoring.score import Result, score_run, select
from probebench.settings import Settings
from probebench.stages import Stages
from probebench.states.exchange import CONVENTION
from probebench.states.positions import POSITIONS
from probebench.store import Lock, clean_json, content_key, write_atomic, write_json
from probebench.studies import neutral_alarms, studies
from probebench.tasks.exact import check_rule
from probebench.tasks.judge import get_judge
from probebench.tasks.schema import load_task
from probebench.types import SPLITS, CellFit, LabelledAnswer

MATRICES = (
    ("auroc", "auroc", "test"),
    ("auroc_low", "auroc_low", "test"),
    ("auroc_high", "auroc_high", "test"),
    ("n", "n", "test"),
    ("auroc_validation", "auroc", "validation"),
)
"""Written as `matrix_<name>.csv`: name, metric, split."""


def evaluate(settings: Settings, progress: Progress | None = None) -> Run:
    """Run the main job, or find it done.

    Raises:
        UsageError: what was asked for is wrong.
        RunError: the run cannot give a result.
    """
    settings.check()
    progress = progress or Progress()
    started = time.time()
    task = load_task(settings.task) if settings.task is not None else None
    if task is not None:
        check_rule(task.exact_answer, task.path)
        get_judge(task.judge)
    handle = find_model(settings.model, offline=settings.offline)
    stages = Stages(settings, task, handle, progress)
    with Lock(stages.folder):
        neutral = open_neutral(settings.neutral, asdict(handle.identity)) if settings.neutral else None
        inputs = {**stages.inputs(), "train_sizes": settings.train_sizes, "label_noise": settings.label_noise,
                  "neutral": neutral.record["key"] if neutral else None}  # fmt: skip
        finished = Run.find(stages.folder, content_key(inputs))
        if finished is not None and (settings.discard_states or finished.has_states):
            return finished
        _check_splits(stages)
        check_sizes(settings.train_sizes, stages.splits.count("train"))
        check_second(stages)
        asked = plan_run(stages)
        answers = stages.labelled()
        opinions = model_opinions(stages, answers)
        cells = Cells(stages, answers, asked)
        _check_labels(cells.labels, answers)
        job = cells.job(cells.states())
        fits = cells.fits(job)
        more = detectors_beside(cells, job, fits)
        with progress.stage("Scoring", 1, "map") as counter:
            result = score_run(answers, fits, job, [*more, *ensembles(fits, cells.labels, select(fits), given=stages.statements)])
            beside = studies(cells, job, fits, result, second_labels(stages, answers, opinions))
            counter.advance()
        fitted = cells.selected_probe(job, result.selected)
        beside["neutral"] = None if neutral is None else neutral_alarms(cells, job, result, fitted, neutral)
        attribution = cells.attribution(fitted, result.selected) if settings.attribution else None
        opinion = opinion_facts(stages, answers, opinions)
        return _finish(cells, inputs, fits, result, (beside, opinion), fitted, attribution, started)


def _check_splits(stages: Stages) -> None:
    """Complain about an empty split before anything is computed."""
    splits = stages.splits
    for name in SPLITS:
        if name not in splits:
            groups = len({e.group for e in stages.examples})
            raise LabelError(
                f"The {name} split is empty: {len(splits)} examples in {groups} groups. Take more examples (a larger --limit or "
                f"--data FILE), or say the split of each row with --answers."
            )


def _check_labels(labels: Labels, answers: Sequence[LabelledAnswer]) -> None:
    """One clear error when no probe can be fitted."""
    n1 = int(labels.y.sum())
    n0 = len(labels.y) - n1
    if min(n0, n1) < MIN_CLASS:
        refused = sum(a.refused for a in answers)
        what = "one class only" if min(n0, n1) == 0 else f"fewer than {MIN_CLASS} of one class"
        raise LabelError(
            f"{n1} correct and {n0} wrong answers ({refused} of them refusals): {what}. A probe needs at least {MIN_CLASS} "
            f"of each. Take more examples (a larger --limit or --data FILE), or a task that this model gets right and wrong."
        )
    for split in SPLITS:
        y = labels.y[[s == split for s in labels.splits]]
        if len(set(y.tolist())) < 2:
            raise LabelError(
                f"The {split} split holds {len(y)} answers with {int(y.sum())} correct: one class only. "
                f"Take more examples or more groups."
            )


def _save_selected(cells: Cells, chosen: CellFit, fitted: Any) -> tuple[str | None, str]:
    """Write the selected cell's probe; its file stem, or why there is none."""
    identity, cell = cells.stages.handle.identity, chosen.cell
    if cells.settings.width is not None and cell.site != "resid":
        return None, "The selected probe reads randomly projected vectors and was not saved."
    meta = ProbeMeta(
        probe=cells.settings.probe, C=None if np.isnan(chosen.C) else chosen.C, site=cell.site, layer=cell.layer,
        layer_convention=CONVENTION, position=cell.position, position_rule=POSITIONS[cell.position].meaning, model=identity.name,
        revision=identity.revision, dtype=identity.dtype, attention=identity.attention, version=__version__,
    )  # fmt: skip
    try:
        save_probe(cells.stages.folder / PROBE, fitted, meta)
    except UsageError as error:
        return None, f"The selected probe was not saved: {error}"
    return PROBE, ""


def _head(cells: Cells, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, as it was resolved: the first part of the record."""
    stages = cells.stages
    s, task = stages.settings, stages.task
    return {
        "key": content_key(inputs),
        "model": asdict(stages.handle.identity),
        "task": {"name": stages.name, "version": task.version if task else None, "hash": task.hash if task else None,
                 "kind": task.kind if task else "qa", "judge": task.judge if task else "aliases",
                 "exact_answer": stages.exact_rule},
        "data": stages.facts,
        "probe": {"name": s.probe, "grid": list(get_probe(s.probe).grid), "width": s.width,
                  "solver": s.solver if get_probe(s.probe).batched else None},
        "settings": {**asdict(s), "overrides": s.overrides},
        "extraction": cells.batching,
        "generation": {"how": stages.generation, "budgets": stages.budgets.facts()},
    }  # fmt: skip


def _finish(cells: Cells, inputs: Mapping[str, Any], fits: Sequence[CellFit], result: Result,
            beside: tuple[Mapping[str, Any], Mapping[str, Any] | None], fitted: Any, attribution: pd.DataFrame | None,
            started: float) -> Run:  # fmt: skip
    """Write every result file, the record last; `beside` is what studies found, and the second opinion."""
    stages, answers = cells.stages, cells.answers
    discard = stages.settings.discard_states and stages.settings.states is None  # what was given is not ours to delete
    head = {**_head(cells, inputs), "states": None if discard else cells.states_place, "second_opinion": beside[1]}
    (stages.folder / RECORD).unlink(missing_ok=True)  # of an earlier run, whose files are about to be replaced
    record = build_record(head, answers, stages.positions, (cells.plan, cells.layout), fits, result, beside[0])
    write_atomic(stages.folder / "answers.parquet", tables.parquet_bytes(tables.answers_table(answers)))
    write_atomic(
        stages.folder / "predictions.parquet",
        tables.parquet_bytes(tables.predictions_table(answers, result)),
    )
    scores = tables.scores_table(result.matrices.values(), fits, result.comparison)
    write_atomic(stages.folder / "scores.parquet", tables.parquet_bytes(scores))
    run = Run(stages.folder, clean_json(record))
    files = ["answers.parquet", "predictions.parquet", "scores.parquet"]
    for name, metric, split in MATRICES:
        table = run.matrix(metric, split=split, site=result.selected.cell.site)
        write_atomic(stages.folder / f"matrix_{name}.csv", table.to_csv(float_format="%.6f").encode())
        files.append(f"matrix_{name}.csv")
    run.record["warnings"] += stages.handle.notes
    run.record["probe"]["file"], note = _save_selected(cells, result.selected, fitted)
    if note:
        run.record["warnings"].append(note)
    else:
        files += [f"{PROBE}.safetensors", f"{PROBE}.json"]
    if attribution is not None:
        write_atomic(stages.folder / ATTRIBUTION, tables.parquet_bytes(attribution))
        files.append(ATTRIBUTION)
    run.record["files"] = files  # grows on; the maps look into it
    files += [path.name for path in draw([run], stages.folder)]
    if any(site in COMPONENTS and at["best"] for site, at in run.record["sites"].items()):
        files += [path.name for path in draw([run], stages.folder, kind="components")]
    for old in (PROBE + ".json", PROBE + ".safetensors", ATTRIBUTION):
        if old not in files:  # of an earlier run into this folder
            (stages.folder / old).unlink(missing_ok=True)
    run.record["timing"] = {"started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
                            "device": hardware(stages.handle.placement.device), "stages": stages.progress.facts(),
                            "tokens": {"prompts": sum(len(a.answer.prompt_ids) for a in answers),
                                       "answers": sum(len(a.answer.answer_ids) for a in answers)},
                            "total_seconds": round(time.time() - started, 2)}  # fmt: skip
    write_json(stages.folder / RECORD, run.record)
    if discard:
        shutil.rmtree(cells.states_stage.folder)
    return run
