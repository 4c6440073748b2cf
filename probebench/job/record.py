"""The run record: everything that a reader needs to trust, repeat and cite a run, as versioned
JSON."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from probebench._version import __version__
from probebench.detectors.suite import left_out
from probebench.files import clean_json
from probebench.metrics.intervals import mean_interval
from probebench.models.blocks.sites import SitePlan
from probebench.probes.choose import best_cell
from probebench.record.published import published
from probebench.record.schema import PROTOCOL_VERSION, SCHEMA_VERSION, Record
from probebench.record.versions import versions
from probebench.scoring.comparison import detector_facts, ends
from probebench.scoring.matrix import tested
from probebench.scoring.score import Result
from probebench.scoring.select import RULE, cell_facts
from probebench.states.positions import POSITIONS, locate, readable_when
from probebench.states.reader import SiteLayout
from probebench.studies.warnings import warnings
from probebench.types import EMB, SPLITS, CellFit, LabelledAnswer, layer_name


def commit() -> dict[str, Any]:
    """Git commit of the package's own folder, when it is a checkout."""
    root = Path(__file__).parent.parent.parent  # paths below are as seen from there

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *words],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    top = git("rev-parse", "--show-toplevel")
    if top is None or Path(top) != root:
        return {"commit": None, "dirty": None}
    changed = git("status", "--porcelain", "--", "probebench", "tasks")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if changed is None else bool(changed)}


def counts(answers: Sequence[LabelledAnswer]) -> dict[str, Any]:
    """How many answers, how many right, how many exact answers found, in all and by split."""
    result: dict[str, Any] = {"all": _count(answers)}
    result |= {split: _count([a for a in answers if a.split == split]) for split in SPLITS}
    return result


def _count(answers: Sequence[LabelledAnswer]) -> dict[str, Any]:
    correct = [a for a in answers if a.label == 1]
    wrong = [a for a in answers if a.label == 0]
    return {
        "n": len(answers),
        "correct": len(correct),
        "accuracy": len(correct) / len(answers) if answers else float("nan"),
        "groups": len({a.example.group for a in answers}),
        "refused": sum(a.refused for a in answers),
        "not_stopped": sum(a.cut_off for a in answers),
        "empty": sum(a.empty for a in answers),
        "thinking": sum(
            bool(a.tokens.thinking and a.tokens.thinking.first is not None) for a in answers
        ),
        "exact_found": {
            name: _found(part)
            for name, part in (("all", answers), ("correct", correct), ("wrong", wrong))
        },
    }


def _found(answers: Sequence[LabelledAnswer]) -> dict[str, Any]:
    n = sum(a.tokens.exact is not None for a in answers)
    return {"n": n, "of": len(answers), "rate": n / len(answers) if answers else float("nan")}


def position_facts(answers: Sequence[LabelledAnswer], positions: Sequence[str]) -> dict[str, Any]:
    """How often each position exists, how often one that belongs to the answer reaches into the
    prompt, and when it is readable."""
    table = locate([a.tokens for a in answers], positions)
    prompt = np.array([a.tokens.n_prompt for a in answers])
    given = answers[0].example.label is not None  # a statement has no prompt
    facts = {}
    for j, name in enumerate(positions):
        there = table[:, j, 0] >= 0
        after = (
            POSITIONS[name].when == "after" and name != "exact_answer_before_first" and not given
        )
        reaches = there & (table[:, j, 0] < prompt) if after else np.zeros(len(answers), dtype=bool)
        facts[name] = {
            "n": int(there.sum()),
            "in_prompt": int(reaches.sum()),
            "readable": readable_when(name, given=given),
        }
    return facts


def selection_facts(
    result: Result, fits: Sequence[CellFit], answers: Sequence[LabelledAnswer]
) -> dict[str, Any]:
    """The cell chosen on validation and its test AUROC on all test examples that have its token;
    columns that did not compete, and what would have won had they."""
    scored = np.isfinite(result.selected.decisions)
    there = {
        split: [a.label for a, s in zip(answers, scored, strict=True) if s and a.split == split]
        for split in SPLITS
    }
    cell = result.selected.cell
    own = [f for f in fits if f.cell.site == cell.site and f.cell.layer != EMB]
    first = best_cell(own, barred=True)
    other = None if first is None or first.cell == cell else first.cell
    return {
        "rule": RULE.format(site=cell.site),
        **tested_facts(result, result.selected),
        "n_test_correct": sum(there["test"]),
        "n_validation": len(there["validation"]),
        "barred": {f.cell.position: f.barred for f in own if f.barred},
        "would_win": other and {"site": other.site, "layer": other.row, "position": other.position},
    }


def tested_facts(result: Result, chosen: CellFit) -> dict[str, Any]:
    """A cell with its test AUROC, on all test examples that have its token."""
    test = result.matrices[chosen.cell.site, "test"]
    at = test.layers.index(chosen.cell.layer), test.positions.index(chosen.cell.position)
    return {
        **cell_facts(chosen),
        **tested(test, chosen.cell),
        "selectivity": float(test.values[at] - test.shuffled[at]),
        "p": float(test.p[at]),
        "q": float(test.q[at]),
    }


def _strengths(fits: Sequence[CellFit]) -> dict[str, int]:
    """Cells by the C that validation chose, rising."""
    found = Counter(f.C for f in fits if np.isfinite(f.C))
    return {f"{C:g}": found[C] for C in sorted(found)}


def sites_facts(
    result: Result, fits: Sequence[CellFit], plan: SitePlan, layout: Mapping[str, SiteLayout]
) -> dict[str, Any]:
    """Of each site asked for: widths, layers that do not have it and why, and its best cell by
    validation."""
    facts: dict[str, Any] = {}
    for site in plan.sites:
        at = layout.get(site)
        facts[site] = {
            "layers": [layer_name(layer) for layer in at.layers] if at else [],
            "widths": sorted(set(at.widths)) if at else [],
            "absent": {
                layer_name(layer): reason
                for (name, layer), reason in plan.absent.items()
                if name == site
            },
            "best": tested_facts(result, result.best[site]) if site in result.best else None,
            "C": _strengths([f for f in fits if f.cell.site == site]),
        }
    return facts


def permutation_facts(result: Result, fits: Sequence[CellFit]) -> dict[str, Any]:
    """What shuffled labels say of the selected cell's map as a whole."""
    test = result.matrices[result.selected.cell.site, "test"]
    blocks = [i for i, layer in enumerate(test.layers) if layer != EMB]
    once = test.distinct[blocks]
    p, q = test.p[blocks][once], test.q[blocks][once]
    return {
        "shuffles": max(len(f.null) for f in fits),
        "site": test.site,
        "max_statistic_p": result.max_statistic_p,
        "cells": int(np.isfinite(test.values[blocks][once]).sum()),
        "cells_p_below_05": int((p < 0.05).sum()),
        "cells_q_below_05": int((q < 0.05).sum()),
    }


def shuffled_facts(values: Sequence[float]) -> dict[str, Any]:
    """Mean over repeats with the 95 % interval of that mean (Student's t), and the spread of single
    repeats."""
    found = np.array(values)
    return {
        "repeats": len(found),
        "mean_auroc": float(found.mean()),
        "mean_auroc_95": ends(mean_interval(found)),
        "sd": float(found.std(ddof=1)),
        "auroc": list(values),
    }


def build_record(
    head: Mapping[str, Any],
    answers: Sequence[LabelledAnswer],
    positions: Sequence[str],
    sites: tuple[SitePlan, Mapping[str, SiteLayout]],
    fits: Sequence[CellFit],
    result: Result,
    absent: Mapping[str, str],
    studies: Mapping[str, Any],
) -> Record:
    """The record, all but its files and timing.

    Args:
        head: key, model, task, data, probe and settings, as the pipeline resolved them.
        answers: every labelled answer of the run.
        positions: columns of the map.
        sites: what was asked for and is absent, and what was read.
        fits: every cell's probe.
        result: what scoring gave.
        absent: detectors that were asked for and could not be made, and why.
        studies: what `probebench.studies.registry` found beside the map.
    """
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "protocol_version": PROTOCOL_VERSION,
        **head,
    }
    record["package"] = {"name": "probebench", "version": __version__, **commit()}
    record["versions"] = versions()
    record["counts"] = counts(answers)
    record["layers"] = [layer_name(layer) for layer in sorted({f.cell.layer for f in fits})]
    record["positions"] = list(positions)
    record["sites"] = sites_facts(result, fits, *sites)
    record["positions_present"] = position_facts(answers, positions)
    given = answers[0].example.label is not None
    record["selection"] = {
        **selection_facts(result, fits, answers),
        "readable": readable_when(result.selected.cell.position, given=given),
    }
    c = result.comparison
    record["detectors"] = [detector_facts(s) for s in c.scores]
    record["comparison"] = {
        "n_test": c.n_test,
        "n_compared": len(c.rows),
        "dropped": c.dropped,
        "absent": {**left_out(head["settings"]["skip"], given=given), **absent, **c.absent},
    }
    record["calibration"] = c.calibration
    record["controls"] = {
        "shuffled_labels": {
            **shuffled_facts(result.shuffled_aurocs),
            "group_sizes_auroc": result.kept_by_shuffles,
        },
        "permutation": permutation_facts(result, fits),
    }
    built = Record.from_plain(clean_json({**record, **studies}))
    built = built.changed(published=published(built))
    return built.changed(warnings=warnings(built, fits, c))
