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

from probebench._version import __version__
from probebench.across.draw import draw
from probebench.detectors.ensembles import ensembles
from probebench.detectors.passes import detectors_beside
from probebench.errors import UsageError
from probebench.files import Lock, clean_json, content_key, write_atomic, write_json
from probebench.job.options import Options
from probebench.job.prepare import Prepared, check_place, prepare
from probebench.job.record import build_record
from probebench.models.blocks.sites import COMPONENTS
from probebench.models.devices import hardware
from probebench.models.passes.padding import known_alike
from probebench.probes.kinds import get_probe
from probebench.probes.saved import ProbeMeta, save_probe
from probebench.progress import Progress
from probebench.record.run import PROBE, RECORD, Run
from probebench.scoring.score import Result, score_run
from probebench.scoring.select import select
from probebench.stages import parquet
from probebench.stages.alone import alone_facts
from probebench.stages.fits import ATTRIBUTION, Cells
from probebench.stages.second_judge import model_opinions, opinion_facts, second_labels
from probebench.states.exchange.find import CONVENTION
from probebench.states.positions import POSITIONS
from probebench.studies.registry import neutral_alarms, studies
from probebench.types import CellFit

MATRICES = (
    ("auroc", "auroc", "test"),
    ("auroc_low", "auroc_low", "test"),
    ("auroc_high", "auroc_high", "test"),
    ("n", "n", "test"),
    ("auroc_validation", "auroc", "validation"),
)
"""Written as `matrix_<name>.csv`: name, metric, split."""


def evaluate(settings: Options, progress: Progress | None = None) -> Run:
    """Run the main job, or find it done.

    Raises:
        UsageError: what was asked for is wrong.
        RunError: the run cannot give a result.
    """
    return run_prepared(prepare(settings, progress))


def run_prepared(prepared: Prepared) -> Run:
    """Run a job that was checked, or find it done.

    Raises:
        UsageError: meanwhile its folder holds another run.
        RunError: the run cannot give a result.
    """
    started = time.time()
    stages, neutral, inputs = prepared.stages, prepared.neutral, prepared.inputs
    settings, progress = stages.settings, stages.progress
    with Lock(stages.folder):
        if (finished := prepared.finished()) is not None:
            return finished
        check_place(stages, prepared.key)  # again: it was not locked before
        answers = stages.labelled()
        alone_facts(stages, answers)  # while the model is there
        opinions = model_opinions(stages, answers)
        cells = Cells(stages, answers, prepared.plan)
        job = cells.job(cells.states())
        fits = cells.fits(job)
        more = detectors_beside(cells, job, fits)
        with progress.stage("Scoring", 1, "map") as counter:
            if "ensembles" not in settings.skip:
                more += ensembles(fits, cells.labels, select(fits), given=stages.statements)
            result = score_run(answers, fits, job, more, text="text" not in settings.skip)
            beside = studies(cells, job, fits, result, second_labels(stages, answers, opinions))
            counter.advance()
        fitted = cells.selected_probe(job, result.selected)
        beside["neutral"] = (
            None if neutral is None else neutral_alarms(cells, job, result, fitted, neutral)
        )
        attribution = cells.attribution(fitted, result.selected) if settings.attribution else None
        opinion = opinion_facts(stages, answers, opinions)
        return _finish(cells, inputs, fits, result, (beside, opinion), fitted, attribution, started)


def _save_selected(cells: Cells, chosen: CellFit, fitted: Any) -> tuple[str | None, str]:
    """Write the selected cell's probe; its file stem, or why there is none."""
    identity, cell = cells.stages.handle.identity, chosen.cell
    if cells.settings.width is not None and cell.site != "resid":
        return None, "The selected probe reads randomly projected vectors and was not saved."
    meta = ProbeMeta(
        probe=cells.settings.probe,
        C=None if np.isnan(chosen.C) else chosen.C,
        site=cell.site,
        layer=cell.layer,
        layer_convention=CONVENTION,
        position=cell.position,
        position_rule=POSITIONS[cell.position].meaning,
        model=identity.name,
        revision=identity.revision,
        dtype=identity.dtype,
        attention=identity.attention,
        version=__version__,
    )
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
        "task": {
            "name": stages.name,
            "version": task.version if task else None,
            "hash": task.hash if task else None,
            "kind": task.kind if task else "qa",
            "judge": task.judge if task else "aliases",
            "exact_answer": stages.finder.rule,
        },
        "labels": stages.label_facts,
        "data": stages.facts,
        "probe": {
            "name": s.probe,
            "grid": list(get_probe(s.probe).grid),
            "width": s.width,
            "solver": s.solver if get_probe(s.probe).batched else None,
        },
        "settings": {**asdict(s), "overrides": s.overrides},
        "extraction": cells.batching,
        "exact_answer": stages.finder.facts(cells.answers),
        "generation": {
            "how": stages.generation,
            "alike": known_alike(stages.handle.skeleton.config) or "tried",
            "budgets": stages.budgets.facts(),
            "max_new_tokens": stages.max_new_tokens,
            "alone": alone_facts(stages, cells.answers),
        },
    }


def _finish(
    cells: Cells,
    inputs: Mapping[str, Any],
    fits: Sequence[CellFit],
    result: Result,
    beside: tuple[Mapping[str, Any], Mapping[str, Any] | None],
    fitted: Any,
    attribution: pd.DataFrame | None,
    started: float,
) -> Run:
    """Write every result file, the record last; `beside` is what studies found, and the second
    opinion."""
    stages, answers = cells.stages, cells.answers
    discard = (
        stages.settings.discard_states and stages.settings.states is None
    )  # what was given is not ours to delete
    head = {
        **_head(cells, inputs),
        "states": None if discard else cells.states_place,
        "second_opinion": beside[1],
    }
    record = build_record(
        head, answers, stages.positions, (cells.plan, cells.layout), fits, result, beside[0]
    )
    (stages.folder / RECORD).unlink(
        missing_ok=True
    )  # of an earlier run, whose files are about to be replaced
    write_atomic(
        stages.folder / "answers.parquet", parquet.parquet_bytes(parquet.answers_table(answers))
    )
    write_atomic(
        stages.folder / "predictions.parquet",
        parquet.parquet_bytes(parquet.predictions_table(answers, result)),
    )
    scores = parquet.scores_table(result.matrices.values(), fits, result.comparison)
    write_atomic(stages.folder / "scores.parquet", parquet.parquet_bytes(scores))
    run = Run(stages.folder, clean_json(record))
    files = ["answers.parquet", "predictions.parquet", "scores.parquet"]
    for name, metric, split in MATRICES:
        table = run.matrix(metric, split=split, site=result.selected.cell.site)
        write_atomic(
            stages.folder / f"matrix_{name}.csv", table.to_csv(float_format="%.6f").encode()
        )
        files.append(f"matrix_{name}.csv")
    run.record["warnings"] += stages.notes
    run.record["probe"]["file"], note = _save_selected(cells, result.selected, fitted)
    if note:
        run.record["warnings"].append(note)
    else:
        files += [f"{PROBE}.safetensors", f"{PROBE}.json"]
    if attribution is not None:
        write_atomic(stages.folder / ATTRIBUTION, parquet.parquet_bytes(attribution))
        files.append(ATTRIBUTION)
    run.record["files"] = files  # grows on; the maps look into it
    files += [path.name for path in draw([run], stages.folder)]
    if any(site in COMPONENTS and at["best"] for site, at in run.record["sites"].items()):
        files += [path.name for path in draw([run], stages.folder, kind="components")]
    for old in (PROBE + ".json", PROBE + ".safetensors", ATTRIBUTION):
        if old not in files:  # of an earlier run into this folder
            (stages.folder / old).unlink(missing_ok=True)
    run.record["timing"] = {
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "device": hardware(stages.handle.placement.device),
        "stages": stages.progress.facts(),
        "tokens": {
            "prompts": sum(len(a.answer.prompt_ids) for a in answers),
            "answers": sum(len(a.answer.answer_ids) for a in answers),
        },
        "total_seconds": round(time.time() - started, 2),
    }
    write_json(stages.folder / RECORD, run.record)
    if discard:
        shutil.rmtree(cells.states_stage.folder)
    return run
