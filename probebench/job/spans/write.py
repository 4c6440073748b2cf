"""The files of a finished run at tokens inside answers, but for the record itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from probebench._version import __version__
from probebench.errors import UsageError
from probebench.files import clean_json, located, seen_from, write_atomic
from probebench.job.place import write_config
from probebench.job.spans.prepare import PreparedSpans
from probebench.probes.disk import save_probe
from probebench.probes.saved import ProbeMeta
from probebench.record.inside.kinds import SPANS
from probebench.record.inside.spans import SpanRecord, SpanRun
from probebench.record.run import PROBE, PROBE_FILES
from probebench.stages.parquet import parquet_bytes
from probebench.stages.tokens.fits import TOKEN, TokenFits
from probebench.stages.tokens.plan import SpanPlan
from probebench.stages.tokens.read import SITE
from probebench.states.exchange.find import CONVENTION
from probebench.types import Floats


def write_spans(
    prepared: PreparedSpans,
    found: tuple[dict[str, Any], TokenFits, Mapping[str, Floats]],
    states: str | None,
) -> SpanRun:
    """Write tables and probe; the run, whose record names them and is not written yet.

    Args:
        prepared: what was asked for.
        found: the record so far, the probes, and detector -> (token,) decisions.
        states: folder of the vectors; None where they are not kept.
    """
    plan, (record, fits, decisions) = prepared.plan, found
    (plan.folder / SPANS).unlink(missing_ok=True)  # of an earlier run, whose files are replaced
    tables = {
        "answers.parquet": _answers_table(plan),
        "spans.parquet": _spans_table(plan),
        "tokens.parquet": _tokens_table(plan, decisions),
    }
    for name, table in tables.items():
        write_atomic(plan.folder / name, parquet_bytes(table))
    write_config(plan.folder, prepared.options)
    probe, note = _save(prepared, fits)
    record["probe"] = {**record["probe"], "file": probe}
    record["notes"] = [*record["notes"], *([note] if note else [])]
    record["states"] = None if states is None else seen_from(plan.folder, located(states))
    files = [*tables, *(PROBE_FILES if probe else [])]
    content = clean_json({**record, "files": files})
    return SpanRun(plan.folder, SpanRecord.from_plain(content))


def _answers_table(plan: SpanPlan) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [e.id for e in plan.examples],
            "question": [e.question for e in plan.examples],
            "answer": [e.marked.text for e in plan.examples if e.marked],
            "group": [e.group for e in plan.examples],
            "split": list(plan.splits),
            "whole": [i in plan.shown for i in range(len(plan.examples))],
        }
    )


def _spans_table(plan: SpanPlan) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {k: [] for k in "id start end first last label".split()}
    for e, m in zip(plan.examples, plan.marked, strict=True):
        for s in m.spans:
            values = (e.id, m.pieces[s.first].start, m.pieces[s.last].end, s.first, s.last, s.label)
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    return pd.DataFrame(columns)


def _tokens_table(plan: SpanPlan, decisions: Mapping[str, Floats]) -> pd.DataFrame:
    t = plan.table
    pieces = [plan.marked[i].pieces[k] for i, k in zip(t.answer, t.place, strict=True)]
    return pd.DataFrame(
        {
            "id": [plan.examples[i].id for i in t.answer],
            "token": t.place,
            "start": [p.start for p in pieces],
            "end": [p.end for p in pieces],
            "split": list(plan.token_splits),
            "label": pd.array([None if y < 0 else int(y) for y in t.y], dtype="Int64"),
            **decisions,
        }
    )


def _save(prepared: PreparedSpans, fits: TokenFits) -> tuple[str | None, str]:
    """Write the selected layer's probe, in place of an earlier run's; its file stem, or why there
    is none."""
    plan, identity = prepared.plan, prepared.plan.handle.identity
    meta = ProbeMeta(
        probe=prepared.options.probe,
        C=None if np.isnan(fits.chosen.C) else fits.chosen.C,
        site=SITE,
        layer=fits.chosen.cell.layer,
        layer_convention=CONVENTION,
        position=TOKEN,
        position_rule="Each token of a labelled span.",
        model=identity.name,
        revision=identity.revision,
        dtype=identity.dtype,
        attention=identity.attention,
        version=__version__,
    )
    try:
        save_probe(plan.folder / PROBE, fits.probe.fitted, meta)
    except UsageError as error:
        for old in PROBE_FILES:
            (plan.folder / old).unlink(missing_ok=True)
        return None, f"The probe was not saved: {error}"
    return PROBE, ""
