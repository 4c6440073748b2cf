"""The files of a finished run, the record last."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from probebench._version import __version__
from probebench.across.draw import draw
from probebench.errors import UsageError
from probebench.files import write_atomic, write_json
from probebench.job.place import write_config
from probebench.job.prepare import Prepared
from probebench.job.record import build_record
from probebench.models.blocks.sites import COMPONENTS
from probebench.models.devices import hardware
from probebench.models.handles import ModelHandle
from probebench.models.passes.padding import known_alike
from probebench.probes.disk import save_probe
from probebench.probes.kinds import get_probe
from probebench.probes.saved import ProbeMeta
from probebench.progress import Progress
from probebench.record.run import PROBE, PROBE_FILES, RECORD, Run
from probebench.record.schema import Record
from probebench.scoring.score import Result
from probebench.scoring.tables import predictions_table, scores_table
from probebench.stages.data import RunData
from probebench.stages.exact import exact_facts
from probebench.stages.labelled import label_facts
from probebench.stages.parquet import answers_table, parquet_bytes
from probebench.stages.sampling.samples import samples_table
from probebench.stages.stage import Runner, drop_all
from probebench.stages.states import StatesStage
from probebench.stages.whole.tokens import Tokens
from probebench.states.attribution.summary import Attribution
from probebench.states.exchange.find import CONVENTION
from probebench.states.positions import POSITIONS

ATTRIBUTION, SAMPLES = "attribution.parquet", "samples.parquet"
MATRICES = (
    ("auroc", "auroc", "test"),
    ("auroc_low", "auroc_low", "test"),
    ("auroc_high", "auroc_high", "test"),
    ("n", "n", "test"),
    ("auroc_validation", "auroc", "validation"),
)
"""Written as `matrix_<name>.csv`: name, metric, split."""


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """All that a run found, before it is written."""

    data: RunData
    result: Result
    absent: Mapping[str, str]
    """Detectors that were asked for and could not be made, and why."""
    sections: dict[str, Any]
    """Of the record: what studies say beside the map."""
    fitted: Any
    """The selected cell's probe."""
    attribution: Attribution | None
    alone: dict[str, Any] | None
    """How the first answers differ from those that the same prompts get alone."""
    mapped: dict[str, Any] | None
    """How far the model, where it is spread over devices, is from the model in one piece."""
    opinion: dict[str, Any] | None
    """The record's `second_opinion`."""


def write_run(prepared: Prepared, runner: Runner, found: Findings, started: float) -> Run:
    """Write every result file, the record last.

    Args:
        prepared: what was asked for.
        runner: what computed it.
        found: what came of it.
        started: when, in seconds since the epoch.
    """
    plan, data, result = prepared.plan, found.data, found.result
    folder, answers = plan.folder, found.data.answers
    record = record_of(prepared, runner, found)  # a mistake there costs no earlier run its own
    (folder / RECORD).unlink(missing_ok=True)  # of an earlier run, whose files are to be replaced
    tables = {
        "answers.parquet": answers_table(answers),
        "predictions.parquet": predictions_table(answers, result),
        "scores.parquet": scores_table(result.matrices.values(), data.fits, result.comparison),
    }
    if found.attribution is not None:
        tables[ATTRIBUTION] = found.attribution.table
    if data.samples is not None:
        tables[SAMPLES] = samples_table(data.samples)
    for name, table in tables.items():
        write_atomic(folder / name, parquet_bytes(table))
    probe, note = _save_selected(prepared, found)
    record = record.changed(
        files=list(tables),
        probe={**record.probe.plain(), "file": probe},
        warnings=[*record.warnings, *plan.notes, *([note] if note else [])],
    )
    run = Run(folder, record)
    files = ["answers.parquet", "predictions.parquet", "scores.parquet", *_matrices(run, result)]
    files += PROBE_FILES if probe else []
    files += [name for name in (ATTRIBUTION, SAMPLES) if name in tables]
    files += [path.name for path in draw([run], folder)]
    if any(site in COMPONENTS and at.best for site, at in run.record.sites.items()):
        files += [path.name for path in draw([run], folder, kind="components")]
    for old in (*PROBE_FILES, ATTRIBUTION, SAMPLES):
        if old not in files:  # of an earlier run into this folder
            (folder / old).unlink(missing_ok=True)
    write_config(folder, prepared.options)
    tokens = {
        "prompts": sum(len(a.answer.prompt_ids) for a in answers),
        "answers": sum(len(a.answer.answer_ids) for a in answers),
    }
    timing = {**timing_facts(plan.handle, prepared.progress, started), "tokens": tokens}
    run = Run(folder, run.record.changed(files=files, timing=timing))
    write_json(folder / RECORD, run.record.plain())
    discard(prepared)
    return run


def discard(prepared: Prepared) -> None:
    """Delete the hidden states of a finished run, if it was asked to keep none."""
    if prepared.options.discard_states:
        tokens = [] if prepared.plan.beside.keep_tokens else [Tokens]
        drop_all(prepared.plan.folder, [*StatesStage.__subclasses__(), *tokens])


def _matrices(run: Run, result: Result) -> list[str]:
    """Write the score matrices of the selected cell's site; their names."""
    names = []
    for name, metric, split in MATRICES:
        table = run.matrix(metric, split=split, site=result.selected.cell.site)
        names.append(f"matrix_{name}.csv")
        write_atomic(run.folder / names[-1], table.to_csv(float_format="%.6f").encode())
    return names


def _discards(prepared: Prepared) -> bool:
    """Are the hidden states deleted? What was given is not ours to delete."""
    return prepared.options.discard_states and prepared.plan.reading.given is None


def _save_selected(prepared: Prepared, found: Findings) -> tuple[str | None, str]:
    """Write the selected cell's probe; its file stem, or why there is none."""
    identity, chosen = prepared.plan.handle.identity, found.result.selected
    cell = chosen.cell
    if prepared.plan.fitting.width is not None and cell.site != "resid":
        return None, "The selected probe reads randomly projected vectors and was not saved."
    meta = ProbeMeta(
        probe=prepared.options.probe,
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
        save_probe(prepared.plan.folder / PROBE, found.fitted, meta)
    except UsageError as error:
        return None, f"The selected probe was not saved: {error}"
    return PROBE, ""


def record_of(prepared: Prepared, runner: Runner, found: Findings) -> Record:
    """The record, but for the files and the time that writing takes."""
    plan, data = prepared.plan, found.data
    head = {
        **_head(prepared, runner, found),
        "states": None if _discards(prepared) else data.states.place,
        "second_opinion": found.opinion,
        "attribution": found.attribution and found.attribution.facts,
    }
    reading = plan.reading
    return build_record(
        head,
        data.answers,
        reading.positions,
        (reading.sites, reading.layout),
        data.fits,
        found.result,
        found.absent,
        found.sections,
    )


def _head(prepared: Prepared, runner: Runner, found: Findings) -> dict[str, Any]:
    """What was asked for, as it was resolved: the first part of the record."""
    o, plan = prepared.options, prepared.plan
    task, probe = plan.task, plan.fitting.probe
    return {
        "key": plan.key,
        "model": asdict(plan.handle.identity),
        "task": {
            "name": plan.name,
            "version": task.version if task else None,
            "hash": task.hash if task else None,
            "kind": task.kind if task else "qa",
            "judge": plan.judge,
            "exact_answer": plan.exact.name,
        },
        "labels": label_facts(plan),
        "data": plan.questions.facts,
        "probe": {
            "name": o.probe,
            "grid": list(probe.grid),
            "width": o.width,
            "solver": o.solver if get_probe(o.probe).batched else None,
        },
        "settings": o.recorded(),
        "extraction": found.data.states.facts,
        "exact_answer": exact_facts(plan, found.data.answers),
        "generation": {
            "how": plan.generation,
            "alike": known_alike(plan.handle.skeleton.config) or "tried",
            "budgets": runner.budgets.facts(),
            "max_new_tokens": plan.max_new_tokens,
            "alone": found.alone,
            **({} if found.mapped is None else {"mapped": found.mapped}),
        },
    }


def timing_facts(handle: ModelHandle, progress: Progress, started: float) -> dict[str, Any]:
    """The record's `timing`, but for tokens: seconds of this process alone."""
    return {
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "device": hardware(handle.placement.device),
        "stages": progress.facts(),
        "total_seconds": round(time.time() - started, 2),
    }
