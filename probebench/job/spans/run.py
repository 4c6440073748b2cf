"""A run at tokens inside answers: read, fitted, scored, written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from probebench._version import __version__
from probebench.detectors.text import fit_text
from probebench.engines.engine import LocalEngine
from probebench.engines.mapped import map_facts
from probebench.files import write_json
from probebench.job.options import Options
from probebench.job.record import commit
from probebench.job.spans.prepare import PreparedSpans, check_place, prepare_spans
from probebench.job.spans.write import write_spans
from probebench.job.write import timing_facts
from probebench.metrics.auroc import auroc
from probebench.metrics.intervals import auroc_interval
from probebench.probes.kinds import get_probe
from probebench.probes.labels import split_index
from probebench.progress import Progress
from probebench.record.inside.kinds import SPANS
from probebench.record.inside.spans import SPANS_VERSION, SpanRun
from probebench.record.words import unchecked
from probebench.scoring.spans import LEVELS, SpanRows, draws_of, rows_of, units_of
from probebench.stages.stage import drop_all
from probebench.stages.tokens.fits import TokenFits, fit_layers, labels_of
from probebench.stages.tokens.plan import SpanPlan
from probebench.stages.tokens.read import TokenStates, TokenVectors
from probebench.store.lock import Lock
from probebench.types import SPLITS, Floats

WINDOW = 80
"""Characters up to a token's last one that the text baseline sees."""


def evaluate_spans(options: Options, progress: Progress | None = None) -> SpanRun:
    """Run the job on a task whose labels are inside answers, or find it done.

    Raises:
        UsageError: what was asked for is wrong.
        RunError: the run cannot give a result.
    """
    return run_spans(prepare_spans(options), progress or Progress())


def run_spans(prepared: PreparedSpans, progress: Progress) -> SpanRun:
    """Run a job that was checked, or find it done."""
    started, plan = time.time(), prepared.plan
    with Lock(plan.folder):
        if (finished := prepared.finished()) is not None:
            if prepared.options.discard_states and finished.record.states is None:
                drop_all(plan.folder, [TokenStates])  # where it was killed before that
            return finished
        check_place(prepared.options, plan)  # again: it was not locked before
        offline = prepared.options.offline
        with LocalEngine().runner(plan.folder, progress, offline=offline) as runner:
            mapped = map_facts(plan.handle, [m.prompt_ids for m in plan.marked], runner)
            done = runner.run(TokenStates(plan))
            vectors = TokenVectors.of(plan, done)
            fits = fit_layers(plan, vectors, progress)
            with progress.stage("Scoring", 1, "table") as counter:
                decisions = _decisions(plan, vectors, fits)
                record = _record(prepared, fits, decisions)
                if mapped and mapped["why"]:
                    record["notes"].append(unchecked(mapped["why"]))
                counter.advance()
            place = None if prepared.options.discard_states else str(done.store.folder)
            run = write_spans(prepared, (record, fits, decisions), place)
            timing = timing_facts(plan.handle, progress, started)
            run = SpanRun(run.folder, run.record.changed(timing=timing))
            write_json(plan.folder / SPANS, run.record.plain())
            if place is None:
                done.drop()  # what is lost before the record is written has to be read again
            return run


def _decisions(plan: SpanPlan, vectors: TokenVectors, fits: TokenFits) -> dict[str, Floats]:
    """Detector -> (token,), higher for tokens that are more likely right."""
    logprob, entropy = vectors.scores()
    found = {"probe": fits.probe.decisions}
    if fits.embedding is not None:
        found["probe_embedding"] = fits.embedding.decisions
    text = np.full(len(logprob), np.nan)
    at = np.flatnonzero(plan.table.scored)
    text[at] = fit_text([_before(plan, int(k)) for k in at], labels_of(plan))[0]
    return {**found, "logprob": logprob, "entropy": -entropy, "text": text}


def _before(plan: SpanPlan, k: int) -> str:
    """The end of the answer's text, up to a token."""
    i, place = int(plan.table.answer[k]), int(plan.table.place[k])
    marked = plan.examples[i].marked
    assert marked is not None
    end = plan.marked[i].pieces[place].end
    return marked.text[max(0, end - WINDOW) : end]


def _spans(plan: SpanPlan) -> list[tuple[int, SpanRows]]:
    """Every labelled span with its answer."""
    return [
        (i, SpanRows(plan.table.of_span(i, s.first, s.last), s.label, plan.examples[i].group))
        for i, m in enumerate(plan.marked)
        for s in m.spans
    ]


def _rows(plan: SpanPlan, decisions: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Numbers of the test split."""
    splits, groups = plan.token_splits, plan.token_groups
    own = np.array([s == "test" for s in splits]) & plan.table.scored
    at = np.flatnonzero(own)
    tokens = at, plan.table.y[at], [groups[k] for k in at]
    spans = [s for i, s in _spans(plan) if plan.splits[i] == "test"]
    return [
        row
        for level in LEVELS
        for row in rows_of(level, units_of(level, decisions, tokens, spans), "probe", plan.seed)
    ]


def _layers(plan: SpanPlan, fits: TokenFits) -> list[dict[str, Any]]:
    labels = labels_of(plan)
    test = split_index(labels.splits)["test"]
    y = labels.y[test]
    draws = draws_of(labels.group_names(test), plan.seed)
    found = []
    for fit in fits.layers:
        ends: tuple[float | None, float | None] = (None, None)
        value = None
        if not fit.masked:
            own = fit.decisions[test]
            value, interval = auroc(y, own), auroc_interval(draws, y, own)
            ends = (interval.low, interval.high)
        found.append(
            {
                "layer": fit.cell.row,
                "C": fit.C,
                "validation_auroc": fit.validation_auroc,
                "test_auroc": value,
                "n": len(y),
                "test_95": ends,
                "masked": fit.masked,
            }
        )
    return found


def _counts(plan: SpanPlan) -> dict[str, Any]:
    splits, y = np.array(plan.token_splits), plan.table.y
    found: dict[str, Any] = {}
    for split in SPLITS:
        own = [i for i, s in enumerate(plan.splits) if s == split]
        labels = [s.label for i in own for s in plan.marked[i].spans]
        there = y[splits == split]
        found[split] = {
            "answers": len(own),
            "groups": len({plan.examples[i].group for i in own}),
            "spans_right": labels.count(1),
            "spans_wrong": labels.count(0),
            "tokens_right": int((there == 1).sum()),
            "tokens_wrong": int((there == 0).sum()),
            "tokens_other": int((there < 0).sum()),
        }
    return found


def _record(
    prepared: PreparedSpans, fits: TokenFits, decisions: Mapping[str, Floats]
) -> dict[str, Any]:
    """The record, but for files and time."""
    o, plan = prepared.options, prepared.plan
    assert plan.task.spans is not None
    return {
        "spans_version": SPANS_VERSION,
        "key": plan.key,
        "model": asdict(plan.handle.identity),
        "task": {
            "name": plan.task.name,
            "version": plan.task.version,
            "hash": plan.task.hash,
            "kind": plan.task.kind,
            "judge": "none",
            "exact_answer": "none",
        },
        "data": dict(plan.facts),
        "others": plan.task.spans.others,
        "n_lost": sum(e.marked.n_lost for e in plan.examples if e.marked),
        "probe": {
            "name": o.probe,
            "grid": list(plan.probe.grid),
            "solver": o.solver if get_probe(o.probe).batched else None,
        },
        "settings": o.recorded(),
        "package": {"name": "probebench", "version": __version__, **commit()},
        "versions": dict(plan.versions),
        "counts": _counts(plan),
        "layers": _layers(plan, fits),
        "selected": fits.chosen.cell.row,
        "platt": {"slope": fits.platt.slope, "intercept": fits.platt.intercept},
        "rows": _rows(plan, decisions),
        "notes": list(plan.notes),
    }
