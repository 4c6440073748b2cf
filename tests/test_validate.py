"""A valid submission passes; each rule broken once, and files of noise, are refused with file and
field, and nothing crashes."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from made import make_submission

from probebench.leaderboard.check import recompute
from probebench.leaderboard.check.comment import comment
from probebench.leaderboard.check.rules.mentions import check_mentions, check_readable
from probebench.leaderboard.check.submission import check, lines_of
from probebench.leaderboard.check.validate import resolve, run_checks, validate
from probebench.leaderboard.submission import columns
from probebench.leaderboard.submission.read import (
    Decisions,
    Submission,
    read_decisions,
    read_submission,
)
from probebench.leaderboard.submission.strict import JSON_BYTES, shown
from probebench.metrics.paired import paired

FOLDER = "v2/org__model/people"
POSITION = "exact_answer_last"


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    return make_submission(tmp_path_factory.mktemp("valid"))


@pytest.fixture(scope="module", autouse=True)
def remembered():
    """The table of detectors is computed once per set of decisions: most corruptions leave them as
    they are."""
    real, kept = recompute.evaluate_detectors, {}

    def evaluate(detectors, y, splits, groups, seed):
        content = [
            y.tobytes(),
            str(splits),
            str(groups),
            seed,
            *((d.name, d.decisions.tobytes()) for d in detectors),
        ]
        key = hash(tuple(content))
        if key not in kept:
            kept[key] = real(detectors, y, splits, groups, seed)
        return kept[key]

    recompute.evaluate_detectors = evaluate
    yield
    recompute.evaluate_detectors = real


@pytest.fixture
def folder(valid, tmp_path):
    """A copy to be broken."""
    return shutil.copytree(valid, tmp_path / FOLDER)


def change(folder, edit):
    """Edit `record.json`."""
    record = json.loads((folder / "record.json").read_text())
    edit(record)
    (folder / "record.json").write_text(json.dumps(record))


def change_cells(folder, edit):
    table = pd.read_csv(folder / "cells.csv", dtype=str, keep_default_na=False)
    (folder / "cells.csv").write_text(edit(table).to_csv(index=False))


def change_decisions(folder, edit):
    table = pq.read_table(folder / "decisions.parquet")
    pq.write_table(edit(table), folder / "decisions.parquet", store_schema=False)


def set_column(name, values, nulls=True):
    """An edit of decisions: one column from a function of its values; NaN is written as null, or as
    NaN."""

    def edit(table):
        at = table.column_names.index(name)
        new = values(table.column(name).to_numpy(zero_copy_only=False))
        return table.set_column(
            at, name, pa.array(new, table.schema.field(name).type, from_pandas=nulls)
        )

    return edit


def put(value, *path):
    """An edit of the record: one value."""

    def edit(record):
        for step in path[:-1]:
            record = record[step]
        record[path[-1]] = value

    return edit


def other(table, column, layer, value):
    """A map with another value in one row of cells."""
    return table.assign(**{column: table[column].where(table.layer != layer, value)})


def drop(*path):
    def edit(record):
        for step in path[:-1]:
            record = record[step]
        del record[path[-1]]

    return edit


def first(values, value):
    values = np.array(values)
    values[0] = value
    return values


def nudge(values):
    values = np.array(values)
    values[:200] = -values[:200]
    return values


METRIC = {"value": 1, "low": 1, "high": 1, "n": 9, "positive": "correct"}
CELL = {"site": "resid", "layer": "0", "position": "-1"}
BEFORE = ("readable", "before")
ALONE = {
    "examples": 8,
    "tokens": 32,
    "differ": 4,
    "share": 0.5,
    "first_token": 2,
    "logprob_gap": 0.1,
}
FITS = (
    ("selection",),
    ("sites", "resid", "best"),
    ("by_position", 5),
    ("readable", "after", "cell"),
)
"""Where the record names the selected cell and its C."""
RECORDS = {
    "schema": (put(1, "schema_version"), "schema_version"),
    "schema as text": (put("2", "schema_version"), "schema_version"),
    "protocol to come": (put(3, "protocol_version"), "protocol_version"),
    "protocol before this one": (put(1, "protocol_version"), "protocol_version"),
    "protocol as boolean": (put(True, "protocol_version"), "protocol_version"),
    "format": (put(7, "submission", "format"), "submission.format"),
    "no detectors": (drop("detectors"), "detectors"),
    "empty detectors": (put([], "detectors"), "detectors"),
    "detectors not a list": (put({"a": 1}, "detectors"), "detectors"),
    "record key": (put("xyz", "key"), "key"),
    "model outside": (put("../../etc/passwd", "model", "name"), "model.name"),
    "model markup": (put("<script>alert(1)</script>", "model", "name"), "model.name"),
    "model of the system": (put("con", "model", "name"), "model.name"),
    "model in Cyrillic": (put("оrg/model", "model", "name"), "model.name"),
    "model endless": (put("a" * 150, "model", "name"), "model.name"),
    "model of another folder": (put("org/other", "model", "name"), "path"),
    "another variant": (put("bitsandbytes-8bit", "model", "quantization"), "path"),
    "code of the model": (put("sha256:abc", "model", "remote_code"), "model.remote_code"),
    "task unknown": (put("peopl", "task", "name"), "task.name"),
    "task version": (put(9, "task", "version"), "task.version"),
    "task hash": (put("0" * 64, "task", "hash"), "task.hash"),
    "judge": (put("number", "task", "judge"), "task.judge"),
    "exact answer": (put("gold", "task", "exact_answer"), "task.exact_answer"),
    "custom data": (put("my_questions.jsonl", "data", "origin"), "data.origin"),
    "data hash": (put("0" * 64, "data", "sha256"), "data.sha256"),
    "limit": (put({"limit": 100}, "settings", "overrides"), "settings.overrides.limit"),
    "seed": (put(1, "settings", "seed"), "settings.seed"),
    "probe": (put("mlp", "probe", "name"), "probe.name"),
    "dirty": (put(True, "package", "dirty"), "package.dirty"),
    "another package": (put("probbench", "package", "name"), "package.name"),
    "positions": (put(["last_q"], "positions"), "positions"),
    "layers": (put(["emb", "0"], "layers"), "layers"),
    "n of test": (put(541, "counts", "test", "n"), "counts.test.n"),
    "correct of validation": (
        put(3, "counts", "validation", "correct"),
        "counts.validation.correct",
    ),
    "groups of test": (put(3, "counts", "test", "groups"), "counts.test.groups"),
    "sum over splits": (put(9, "counts", "all", "correct"), "counts.all.correct"),
    "sum of empty answers": (put(9, "counts", "all", "empty"), "counts.all.empty"),
    "accuracy": (put(0.999, "counts", "train", "accuracy"), "counts.train.accuracy"),
    "n of all": (
        lambda r: (put(1529, "counts", "train", "n")(r), put(2561, "counts", "all", "n")(r)),
        "counts.all.n",
    ),
    "AUROC": (put(0.9, "detectors", 0, "auroc"), "detectors[0] (probe).auroc"),
    "AUROC of a baseline by 1e-5": (
        lambda r: put(r["detectors"][4]["auroc"] + 1e-5, "detectors", 4, "auroc")(r),
        ".auroc",
    ),
    "AUROC above one": (put(1.5, "detectors", 0, "auroc"), "detectors[0].auroc"),
    "AUROC as text": (put("0.9", "detectors", 0, "auroc"), "detectors[0].auroc"),
    "interval": (put([0.7, 0.9], "detectors", 0, "auroc_95"), "detectors[0] (probe).auroc_95[0]"),
    "interval upside down": (put([0.9, 0.7], "detectors", 0, "auroc_95"), "detectors[0].auroc_95"),
    "interval beyond one": (put([0.7, 1.5], "detectors", 0, "auroc_95"), "detectors[0].auroc_95"),
    "interval of a difference": (
        put([-2.0, 0.1], "detectors", 3, "probe_minus_this_95"),
        "detectors[3].probe_minus_this_95",
    ),
    "interval of the selected cell": (
        put([0.7, 1.5], "selection", "test_auroc_95"),
        "selection.test_auroc_95",
    ),
    "DeLong's interval": (put([0.7, 0.9], "detectors", 0, "auroc_95_delong"), "auroc_95_delong"),
    "average precision": (put(0.99, "detectors", 0, "auprc"), "auprc"),
    "prevalence": (put(0.9, "detectors", 0, "prevalence"), "prevalence"),
    "n of a detector": (put(500, "detectors", 3, "n"), ".n"),
    "difference": (put(0.3, "detectors", 3, "probe_minus_this"), "probe_minus_this"),
    "a metric": (put(0.01, "detectors", 0, "metrics", "brier", "value"), "metrics.brier.value"),
    "a metric's interval": (
        put(0.01, "detectors", 0, "metrics", "ece", "high"),
        "metrics.ece.high",
    ),
    "a metric left out": (drop("detectors", 0, "metrics", "prr"), "metrics.prr"),
    "a metric of one's own": (put(METRIC, "detectors", 0, "metrics", "score"), "metrics.score"),
    "a detector without decisions": (
        lambda r: r["detectors"].append(dict(r["detectors"][3], name="mine")),
        "d:mine",
    ),
    "a detector left out": (lambda r: r["detectors"].pop(3), "detectors"),
    "a detector twice": (lambda r: r["detectors"].append(r["detectors"][3]), "detectors"),
    "a detector with a path for a name": (put("../x", "detectors", 3, "name"), "detectors[3].name"),
    "a detector with a name of another form": (
        put("my-text", "detectors", 3, "name"),
        "detectors[3].name",
    ),
    "a reason for a name of another form": (
        put({"my.text": "none"}, "comparison", "absent"),
        "comparison.absent",
    ),
    "the probe not first": (lambda r: r["detectors"].reverse(), "detectors[0].name"),
    "a reason for what is there": (
        put({"text": "none"}, "comparison", "absent"),
        "comparison.absent.text",
    ),
    "examples dropped": (put(3, "comparison", "dropped", "wrong"), "comparison.dropped.wrong"),
    "n compared": (put(3, "comparison", "n_compared"), "comparison.n_compared"),
    "what is added": (put(0.9, "added", "difference"), "added.difference"),
    "AUROC without the probe": (
        lambda r: put(r["added"]["without"]["auroc"] + 1e-4, "added", "without", "auroc")(r),
        "added.without.auroc",
    ),
    "p of what is added": (
        lambda r: put(1.1 * r["added"]["difference_p"], "added", "difference_p")(r),
        "added.difference_p",
    ),
    "p of what is added left out": (drop("added", "difference_p"), "added.difference_p"),
    "selected by test": (put("0", "selection", "layer"), "selection"),
    "selected cell that is not there": (put("77", "selection", "layer"), "selection"),
    "validation AUROC": (put(0.99, "selection", "validation_auroc"), "selection.validation_auroc"),
    "test AUROC of the cell": (put(0.99, "selection", "test_auroc"), "selection.test_auroc"),
    "p of the cell": (put(0.5, "selection", "p"), "selection.p"),
    "the probe's cell": (put("0", "detectors", 0, "detail", "layer"), "detectors[0].detail.layer"),
    "best layer of a position": (put("2", "by_position", 5, "layer"), "by_position[5]"),
    "cells that beat chance": (
        put(44, "controls", "permutation", "cells_p_below_05"),
        "controls.permutation.cells_p_below_05",
    ),
    "control": (
        put(0.5, "controls", "shuffled_labels", "mean_auroc"),
        "controls.shuffled_labels.mean_auroc",
    ),
    "a repeat of the control": (
        put(0.5, "controls", "shuffled_labels", "auroc", 2),
        "controls.shuffled_labels.auroc[2]",
    ),
    "repeats left out": (put(4, "controls", "shuffled_labels", "repeats"), "s:0"),
    "a cell mentioned elsewhere": (
        put({"extra": {**CELL, "test_auroc": 0.99}}, "studies"),
        "extra.test_auroc",
    ),
    "the difference to the best baseline": (
        put(0.5, "readable", "after", "difference"),
        "readable.after.difference",
    ),
    "the best baseline": (
        put(0.2, "readable", "after", "best_baseline", "auroc"),
        "readable.after.best_baseline.auroc",
    ),
    "the probe beside it": (
        put(0.99, "readable", "after", "cell", "auroc"),
        "readable.after.cell.auroc",
    ),
    "n of a comparison": (put(5, "readable", "after", "n"), "readable.after.n"),
    "a baseline beside another cell": (
        put(0.9, "readable", "before", "best_baseline", "auroc"),
        "readable.before.best_baseline.auroc",
    ),
    "correct answers of the cell": (
        put(3, "selection", "n_test_correct"),
        "selection.n_test_correct",
    ),
    "a detector mentioned elsewhere": (
        put({"extra": {"name": "text", "auroc": 0.99}}, "studies"),
        "extra.auroc",
    ),
    "a share beside its counts": (put(0.5, "near_twins", "share"), "near_twins.share"),
    "more near twins than texts": (put(5400, "near_twins", "n"), "near_twins"),
    "near twins of other texts": (put(7, "near_twins", "n_test"), "near_twins.n_test"),
    "a rate beside its counts": (
        put(0.2, "counts", "test", "exact_found", "all", "rate"),
        "counts.test.exact_found.all.rate",
    ),
    "labels of other answers": (put(5, "labels", "judged"), "labels.judged"),
    "no texts to have twins": (put(0, "near_twins", "n_test"), "near_twins"),
    "confounds of other examples": (put(7, "confounds", "linear", "n"), "confounds.linear.n"),
    "a study taken out": (put(None, "near_twins"), "near_twins"),
    "confounds taken out": (put(None, "confounds"), "confounds"),
    "the probe beside its confounds": (
        put(0.99, "confounds", "residual", "probe_auroc"),
        "confounds.residual.probe_auroc",
    ),
    "another difference than theirs": (
        put(0.4, "confounds", "linear", "probe_minus_this"),
        "confounds.linear.probe_minus_this",
    ),
    "an interval beside its number": (
        put([0.1, 0.2], "confounds", "residual", "auroc_95"),
        "confounds.residual.auroc_95",
    ),
    "a p that no number of shuffles gives": (
        put(0.0001, "controls", "permutation", "max_statistic_p"),
        "controls.permutation.max_statistic_p",
    ),
    "a p of nothing": (
        put(0.0, "controls", "permutation", "max_statistic_p"),
        "controls.permutation.max_statistic_p",
    ),
    "no p where cells have one": (
        put(None, "controls", "permutation", "max_statistic_p"),
        "controls.permutation.max_statistic_p",
    ),
    "shuffles of another site": (
        put("mlp_out", "controls", "permutation", "site"),
        "controls.permutation.site",
    ),
    "another rule of selection": (put("the best on test", "selection", "rule"), "selection.rule"),
    "a C of no grid": (lambda r: [put(0.5, *at, "C")(r) for at in FITS], "selection.C"),
    "another C of the same cell": (put(10.0, "selection", "C"), ".C"),
    "another C in the table of positions": (put(10.0, "by_position", 5, "C"), "by_position[5].C"),
    "a C of no grid there": (put(0.5, "by_position", 0, "C"), "by_position[0].C"),
    "another C of the cell that is readable": (
        put(10.0, "readable", "after", "cell", "C"),
        "readable.after.cell.C",
    ),
    "the interval of a position": (
        put([0.1, 0.9], "by_position", 5, "test_auroc_95"),
        "by_position[5].test_auroc_95",
    ),
    "a position of no paper": (put(True, "by_position", 1, "paper"), "by_position[1].paper"),
    "a position of the paper": (put(False, "by_position", 0, "paper"), "by_position[0].paper"),
    "when a position can be read": (put("after", "by_position", 0, "when"), "by_position[0].when"),
    "AUROC of another cell": (
        lambda r: put(r["readable"]["before"]["cell"]["auroc"] + 0.01, *BEFORE, "cell", "auroc")(r),
        "readable.before.cell.auroc",
    ),
    "a difference of other numbers": (
        lambda r: put(r["readable"]["before"]["difference"] + 0.01, *BEFORE, "difference")(r),
        "readable.before.difference",
    ),
    "validation AUROC of the best baseline": (
        put(0.9, "readable", "after", "best_baseline", "validation_auroc"),
        "readable.after.best_baseline.validation_auroc",
    ),
    "the same of a cell without decisions": (
        put(0.9, "readable", "before", "best_baseline", "validation_auroc"),
        "readable.before.best_baseline.validation_auroc",
    ),
    "validation examples of the best baseline": (
        put(10**6, "readable", "after", "best_baseline", "n_validation"),
        "readable.after.best_baseline.n_validation",
    ),
    "p of a difference": (
        put(0.2, "readable", "after", "difference_p"),
        "readable.after.difference_p",
    ),
    "p below .05 around 0": (
        lambda r: r["readable"]["before"].update(difference_p=0.01, difference_95=[-0.5, 0.5]),
        "readable.before.difference_p",
    ),
    "p above .05 away from 0": (
        lambda r: r["readable"]["before"].update(
            difference_p=0.06, difference_95=[r["readable"]["before"]["difference"] - 1e-3, -1e-3]
        ),
        "readable.before.difference_p",
    ),
    "standard error of a difference": (
        lambda r: r["readable"]["after"].update(
            difference_se=1e-3, detectable_difference=2.8015852e-3
        ),
        "readable.after.difference_se",
    ),
    "what difference could be found": (
        put(1e-3, "readable", "after", "detectable_difference"),
        "readable.after.detectable_difference",
    ),
    "correct answers of a comparison": (
        put(3, "readable", "after", "n_correct"),
        "readable.after.n_correct",
    ),
    **{
        f"{name} of a site's best cell": (
            put(value, "sites", "resid", "best", name),
            f"sites.resid.best.{name}",
        )
        for name, value in (
            ("test_auroc_95", [0.1, 0.9]),
            ("p", 0.5),
            ("q", 0.5),
            ("selectivity", 0.4),
            ("C", 10.0),
            ("layer", "0"),
        )
    },
    "a value of C that no cell can have": (put({"0.5": 60}, "sites", "resid", "C"), "resid.C"),
    "fewer fits than cells": (put({"1": 7}, "sites", "resid", "C"), "sites.resid.C"),
    "more answers at a position than there are": (
        put(10**5, "positions_present", "last_q", "n"),
        "positions_present.last_q.n",
    ),
    "fewer than its cells are of": (
        put(9, "positions_present", "last_q", "n"),
        "positions_present.last_q.n",
    ),
    "more in the prompt than at all": (
        put(10**5, "positions_present", "-1", "in_prompt"),
        "positions_present.-1.in_prompt",
    ),
    "a position that is readable before": (
        put("before", "positions_present", "-1", "readable"),
        "positions_present.-1.readable",
    ),
    "more that thought than there are": (
        put(10**6, "counts", "test", "thinking"),
        "counts.test.thinking",
    ),
    "more refusals than answers": (
        lambda r: [put(5000, "counts", split, "refused")(r) for split in ("all", "train")],
        "counts.train.refused",
    ),
    "thinking over splits": (put(9, "counts", "all", "thinking"), "counts.all.thinking"),
    "exact answers of other examples": (
        put({"n": 9, "of": 9, "rate": 1.0}, "counts", "test", "exact_found", "wrong"),
        "counts.test.exact_found.wrong.of",
    ),
    "exact answers of both classes": (
        put({"n": 1, "of": 540, "rate": 1 / 540}, "counts", "test", "exact_found", "all"),
        "counts.test.exact_found.all.n",
    ),
    "the share of an answer": (
        put(0.9, "said", "commonest", "wrong", "share"),
        "said.commonest.wrong.share",
    ),
    "answers of another class": (
        put({"answer": "x", "n": 1, "of": 2, "share": 0.5}, "said", "commonest", "correct"),
        "said.commonest.correct.of",
    ),
    "more than all": (
        put({"answer": "x", "n": 4, "of": 2, "share": 1.0}, "said", "commonest", "correct"),
        "said.commonest.correct.n",
    ),
    "near twins by split": (put({"train": 3}, "near_twins", "by_split"), "near_twins.n"),
    "more near twins in a split": (
        put({"train": 60, "validation": 0}, "near_twins", "by_split"),
        "near_twins.n",
    ),
    "twins that are not near": (
        put([{"id": "a", "near": "b", "split": "train", "cosine": 0.5}], "near_twins", "examples"),
        "near_twins.examples[0].cosine",
    ),
    "the probe beside its strata": (
        put(0.99, "confounds", "within", 0, "probe_auroc"),
        "confounds.within[0].probe_auroc",
    ),
    "pairs of strata": (
        put(0.9, "confounds", "within", 0, "share_of_pairs"),
        "confounds.within[0].share_of_pairs",
    ),
    "correct answers beside confounds": (
        put(3, "confounds", "linear", "n_correct"),
        "confounds.linear.n_correct",
    ),
    "a number beside the reason why there is none": (
        put(0.6, "confounds", "text_embedding", "auroc"),
        "confounds.text_embedding.auroc",
    ),
    "n of what there is not": (
        put(540, "confounds", "text_embedding", "n"),
        "confounds.text_embedding.n",
    ),
    "no reason why it is absent": (
        put(None, "confounds", "text_embedding", "reason"),
        "confounds.text_embedding.reason",
    ),
    "an interval of no number": (
        put(None, "confounds", "within", 0, "auroc"),
        "confounds.within[0].auroc_95",
    ),
    "where answers are cut off": (
        put(7, "generation", "max_new_tokens"),
        "generation.max_new_tokens",
    ),
    "a share of answers generated alone": (
        put({**ALONE, "share": 0.1}, "generation", "alone"),
        "generation.alone.share",
    ),
    "a token beyond those generated alone": (
        put({**ALONE, "first_token": 40}, "generation", "alone"),
        "generation.alone.first_token",
    ),
    "another rule of exact answers": (put("gold", "exact_answer", "rule"), "exact_answer.rule"),
    "the probe that was asked for": (put("mlp", "settings", "probe"), "settings.probe"),
    "the solver that was asked for": (put("sklearn", "settings", "solver"), "settings.solver"),
    "a solver": (put("sklearn", "probe", "solver"), "probe.solver"),
    "a grid": (put([0.1, 1.0], "probe", "grid"), "probe.grid"),
    "a key that no record has": (put(1, "extra"), "extra"),
    "endless text": (put("x" * 5000, "warnings", 0), "warnings"),
    "half a surrogate pair": (put("\ud800", "warnings", 0), "warnings"),
    "deep nesting": (lambda r: put(json.loads("[" * 30 + "]" * 30), "extra")(r), "JSON"),
    "too many values": (put([0] * 200_001, "extra"), "JSON"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_with_one_thing_wrong(folder, name):
    edit, field = RECORDS[name]
    change(folder, edit)
    found = check(folder).failures
    assert any(field in f"{f.field}" for f in found), [str(f) for f in found]
    assert all(f.file and f.given and f.expected for f in found)


TEXTS = {
    "not JSON": ("{", "JSON"),
    "a list": ("[1]", "JSON"),
    "NaN": ('{"schema_version": NaN}', "number"),
    "infinity": ('{"schema_version": -Infinity}', "number"),
    "overflow": ('{"schema_version": 1e999}', "number"),
    "endless number": ('{"schema_version": ' + "9" * 5000 + "}", "number"),
    "a key twice": ('{"a": 1, "a": 2}', "a"),
    "NUL": ('{"a": "\0"}', "text"),
    "byte-order mark": ("\ufeff{}", "JSON"),
    "a hundred thousand brackets": ('{"a":' + "[" * 100_000, "JSON"),
    "brackets behind an open string": ('{"a": "' + "[" * 100_000, "JSON"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_that_is_not_a_record(folder, name):
    text, field = TEXTS[name]
    (folder / "record.json").write_text(text)
    found = check(folder).failures[0]
    assert (found.file, found.field) == ("record.json", field)


CELLS = {
    "a column more": (lambda t: t.assign(extra=1), "header"),
    "a column less": (lambda t: t.drop(columns="p"), "header"),
    "a cell twice": (lambda t: pd.concat([t, t[:1]]), "line"),
    "a cell less": (lambda t: t[1:], "emb last_q"),
    "a cell of another layer": (lambda t: pd.concat([t, t[:1].assign(layer="9")]), "9 last_q"),
    "a word for a number": (lambda t: t.assign(auroc="high"), "auroc"),
    "nan": (lambda t: t.assign(auroc="nan"), "auroc"),
    "a number in disguise": (lambda t: t.assign(auroc="0_9"), "auroc"),
    "an AUROC above one": (lambda t: t.assign(auroc="1.5"), "auroc"),
    "a negative count": (lambda t: t.assign(n_test="-3"), "n_test"),
    "half an example": (lambda t: t.assign(n_test="0.5"), "n_test"),
    "more examples than there are": (lambda t: t.assign(n_test="9999"), "n_test"),
    "a masked cell without a reason": (lambda t: other(t, "auroc", "0", ""), "masked"),
    "interval upside down": (lambda t: t.assign(auroc_low="0.9", auroc_high="0.1"), "auroc_low"),
    "q not adjusted": (lambda t: t.assign(q=t.p), "q"),
    "a better cell on validation": (
        lambda t: t.assign(validation_auroc=t.validation_auroc.where(t.layer != "2", "0.99")),
        "selection",
    ),
    "the selected cell's numbers": (
        lambda t: other(t, "auroc", "1", "0.95"),
        "selection.test_auroc",
    ),
    "the embedding row": (lambda t: other(t, "auroc", "emb", "0.66"), "emb -1, auroc"),
    "a p above one": (lambda t: other(t, "p", "0", "2.5"), "line 17, p"),
    "outside its own interval": (lambda t: other(t, "auroc", "0", "0.95"), "0 -1, auroc"),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_map_with_one_thing_wrong(folder, name):
    edit, field = CELLS[name]
    change_cells(folder, edit)
    found = check(folder).failures
    assert any(field in f.field for f in found), [str(f) for f in found]


DECISIONS = {
    "a label turned": (set_column("label", lambda v: first(v, 1 - v[0])), "correct"),
    "a label of three": (set_column("label", lambda v: first(v, 3)), "label"),
    "decisions turned": (set_column("d:probe", lambda v: nudge(v)), "auroc"),
    "decisions of a baseline": (set_column("d:text", lambda v: nudge(v)), "auroc"),
    "decisions of the control": (set_column("s:1", lambda v: nudge(v)), "controls.shuffled_labels"),
    "infinity": (set_column("d:probe", lambda v: first(v, np.inf)), "d:probe"),
    "NaN": (set_column("d:probe", lambda v: first(v, np.nan), nulls=False), "d:probe"),
    "an unknown id": (set_column("id", lambda v: first(v, "people-9999")), "id"),
    "an id twice": (set_column("id", lambda v: first(v, v[1])), "id"),
    "an endless id": (set_column("id", lambda v: first(v.astype(object), "x" * 500)), "id"),
    "another split": (
        set_column("split", lambda v: first(v, "test" if v[0] == "validation" else "validation")),
        "split",
    ),
    "a third split": (set_column("split", lambda v: first(v, "train")), "split"),
    "another group": (set_column("group", lambda v: first(v, v[0] + 1)), "group"),
    "a negative group": (set_column("group", lambda v: first(v, -1)), "group"),
    "not scored": (set_column("scored", lambda v: np.zeros(len(v), dtype=bool)), "scored"),
    "a row less": (lambda t: t[1:], "n"),
    "no rows": (lambda t: t[:0], "rows"),
    "no probe": (lambda t: t.drop_columns(["d:probe"]), "d:probe"),
    "no label": (lambda t: t.drop_columns(["label"]), "label"),
    "a column of text": (lambda t: t.append_column("d:x", pa.array(["a"] * len(t))), "d:x"),
    "a column of lists": (lambda t: t.append_column("d:x", pa.array([[1.0]] * len(t))), "d:x"),
    "a column with another name": (
        lambda t: t.append_column("__index__", pa.array([1.0] * len(t))),
        "__index__",
    ),
    "a repeat missing": (lambda t: t.drop_columns(["s:1"]), "shuffled"),
    "integers for decisions": (
        lambda t: t.set_column(5, "d:probe", pa.array(range(len(t)))),
        "d:probe",
    ),
    "a majority that varies": (set_column("d:majority", lambda v: first(v, 0.0)), "d:majority"),
    "a length that is none": (set_column("d:length", lambda v: first(v, 0.5)), "d:length"),
    "too many columns": (
        lambda t: pa.table({f"d:x{i}": t["d:probe"] for i in range(300)}),
        "columns",
    ),
    "too many rows": (lambda t: pa.concat_tables([t] * 100), "rows"),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_decisions_with_one_thing_wrong(folder, name):
    edit, field = DECISIONS[name]
    change_decisions(folder, edit)
    found = check(folder).failures
    assert any(field in f.field for f in found), [str(f) for f in found]


def test_key_value_metadata_is_refused(folder):
    """That is where pickled types and schemas of Python objects travel."""
    table = pq.read_table(folder / "decisions.parquet")
    pq.write_table(table.replace_schema_metadata({"pandas": "{}"}), folder / "decisions.parquet")
    assert check(folder).failures[0].field == "metadata"


@pytest.mark.parametrize("name", ["record.json", "cells.csv", "decisions.parquet"])
def test_files_that_are_not_there_or_no_files(folder, name, tmp_path):
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    assert check(folder).failures[0].file == name
    (tmp_path / "elsewhere").write_bytes(content)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert "link" in check(folder).failures[0].given
    (folder / name).unlink()
    (folder / name).mkdir()
    assert "special" in check(folder).failures[0].given
    (folder / name).rmdir()
    os.mkfifo(folder / name)
    assert "special" in check(folder).failures[0].given


def test_a_large_file_is_not_opened(folder):
    with (folder / "record.json").open("r+b") as file:
        file.truncate(JSON_BYTES + 1)
    assert check(folder).failures[0].field == "size"
    with (folder / "decisions.parquet").open("r+b") as file:
        file.truncate(2**40)  # sparse: one terabyte
    assert check(folder).failures[0].field == "size"


def test_other_files_beside_a_submission(folder):
    (folder / "run.py").write_text("raise SystemExit")
    assert check(folder).failures[0].file == "run.py"


@pytest.mark.parametrize(
    ("field", "n", "most"), [("rows", 200_000, 2**28), ("row group", 20_000, 2**20)]
)
def test_a_footer_that_claims_too_much(folder, monkeypatch, field, n, most):
    """Zeros by the million pack into a few kilobytes: what the footer says is looked at before
    anything is unpacked."""
    monkeypatch.setattr(columns, "PARQUET_UNPACKED", most)
    table = pq.read_table(folder / "decisions.parquet").slice(0, 1)
    many = pa.table({c: pa.repeat(table[c][0], n) for c in table.column_names})
    pq.write_table(
        many,
        folder / "decisions.parquet",
        compression="zstd",
        store_schema=False,
        use_dictionary=False,
    )
    assert (folder / "decisions.parquet").stat().st_size < 2**18
    assert field in check(folder).failures[0].field


def test_noise_in_parquet_ends_in_a_finding(folder):
    """Bytes turned, cut and doubled at random places: refused, or read as the same numbers; never
    an exception."""
    whole = (folder / "decisions.parquet").read_bytes()
    rng = random.Random(0)
    refused = 0
    for k in range(150):
        content = bytearray(whole)
        if k % 3 == 0:
            content = content[: rng.randrange(len(content))]
        elif k % 3 == 1:  # near the end stands the footer
            for _ in range(rng.randrange(1, 8)):
                content[-rng.randrange(1, min(6000, len(content)))] = rng.randrange(256)
        else:
            for _ in range(20):
                content[rng.randrange(len(content))] = rng.randrange(256)
        (folder / "decisions.parquet").write_bytes(bytes(content))
        try:
            read_decisions(folder)
        except Exception as error:
            assert type(error).__name__ == "Broken", repr(error)
            refused += 1
    assert refused > 100


def test_noise_in_json_ends_in_a_finding(folder):
    whole = (folder / "record.json").read_text()
    rng = random.Random(0)
    marks = [
        '"',
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "1e400",
        "-0",
        "\\u0000",
        "\\",
        "true",
        "9" * 30,
        "é",
        "\x7f",
        "",
    ]
    for k in range(120):
        at = rng.randrange(len(whole))
        text = whole[:at] + rng.choice(marks) + whole[at + rng.randrange(12) :]
        text = text[: rng.randrange(len(text))] if k % 5 == 0 else text
        (folder / "record.json").write_text(text)
        report = check(folder)
        assert all(f.file and f.field and f.expected for f in report.failures)
        try:
            same = json.loads(text) == json.loads(whole)
        except ValueError:
            assert report.failures, "what is no JSON is found"
        else:
            assert not (same and report.failures)


def test_every_leaf_of_the_record_replaced(folder):
    """Each value by each of other types: no check may assume what was not checked."""
    record = json.loads((folder / "record.json").read_text())
    record["detectors"], record["by_position"] = record["detectors"][:3], record["by_position"][:2]
    rng, paths = random.Random(0), list(leaves(record))
    for path in rng.sample(paths, 80):
        copy = json.loads(json.dumps(record))
        put(
            rng.choice([None, True, -1, 10**14, 1e300, "", "<b>", [], {}, [None], {"a": [1]}]),
            *path,
        )(copy)
        (folder / "record.json").write_text(json.dumps(copy))
        report = check(folder)
        assert report.failures and not any(f.field == "content" for f in report.failures), (
            path,
            [str(f) for f in report.failures],
        )


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield (*path, i)
            yield from leaves(inner, (*path, i))


def test_map_and_record_that_agree_on_what_no_decision_says(folder):
    """The selected cell's AUROC on validation decides the selection, so it is computed again as
    well."""

    def better(record):
        for part in (
            record["selection"],
            record["by_position"][5],
            record["sites"]["resid"]["best"],
        ):
            part["validation_auroc"] = 0.99

    change(folder, better)
    change_cells(
        folder,
        lambda t: t.assign(
            validation_auroc=t.validation_auroc.where(
                (t.layer != "1") | (t.position != POSITION), "0.99"
            )
        ),
    )
    assert [f.field for f in check(folder).failures] == ["selection.validation_auroc"]


def test_what_a_study_of_one_s_own_calls_an_interval_is_its_own(folder):
    change(folder, put({"x": {"a": 1, "a_95": [1], "n": 1, "of": 2, "rate": 3}}, "studies"))
    assert check(folder).ok


def test_a_study_of_one_s_own_may_fit_a_cell_in_its_own_way(folder):
    change(folder, put({"x": {**CELL, "C": 0.5, "p": 0.01, "selectivity": 0.2}}, "studies"))
    assert check(folder).ok


def test_what_older_records_lack_is_not_asked_for(folder):
    for path in (
        ("sites",),
        ("positions_present",),
        ("said",),
        ("generation",),
        ("exact_answer",),
        ("probe", "grid"),
        ("probe", "solver"),
        ("selection", "rule"),
        ("selection", "C"),
        ("selection", "n_test_correct"),
        ("controls", "permutation", "site"),
        ("confounds", "within"),
        ("by_position", 0, "paper"),
        ("readable", "after", "difference_se"),
        ("readable", "after", "difference_p"),
        ("readable", "after", "best_baseline", "validation_auroc"),
    ):
        change(folder, drop(*path))
    assert check(folder).failures == ()


def test_a_map_of_cells_that_shuffled_labels_say_nothing_of_has_no_p(folder):
    """Where groups leave nothing to shuffle no cell has a p, and so the best of them has none."""
    change_cells(folder, lambda t: t.assign(p="", q=""))

    def without(record):
        record["selection"] |= {"p": None, "q": None}
        record["sites"]["resid"]["best"] |= {"p": None, "q": None}
        none = {"max_statistic_p": None, "cells_p_below_05": 0, "cells_q_below_05": 0}
        record["controls"]["permutation"] |= none

    change(folder, without)
    assert check(folder).failures == ()


def test_a_valid_submission(valid):
    report = check(valid)
    assert report.ok and not report.suspicious and not report.unchecked and report.facts["n"] == 540


def test_what_looks_wrong_does_not_reject(tmp_path):
    folder = make_submission(tmp_path, strength=8.0)
    change(folder, put(None, "package", "commit"))
    report = check(folder)
    assert report.ok
    assert {f.field for f in report.suspicious} == {"detectors (probe).auroc", "package.commit"}


def test_rows_that_stand_there_twice(tmp_path):
    one = make_submission(tmp_path, model="org/model")
    shutil.copytree(one, tmp_path / "v2" / "org__other" / "people")
    change(tmp_path / "v2" / "org__other" / "people", put("org/other", "model", "name"))
    shutil.copytree(one, tmp_path / "v2" / "Org__model" / "people")
    change(tmp_path / "v2" / "Org__model" / "people", put("Org/model", "model", "name"))
    reports = {r.path: r for r in validate(tmp_path, workers=0)}
    assert [f.field for f in reports["v2/org__other/people"].failures] == ["key"]
    fields = {
        f.field
        for path in ("v2/org__model/people", "v2/Org__model/people")
        for f in reports[path].failures
    }
    assert "name" in fields
    assert any("d:probe" in f.field for f in reports["v2/org__other/people"].suspicious)


def test_a_row_of_the_base_under_another_name_is_no_new_one(valid, tmp_path):
    """Also where the copy comes first by its name; nothing is said of the row that was there."""
    base = valid.parent.parent.parent
    for name in ("a__copy", "z__copy"):
        head = shutil.copytree(base, tmp_path / name)
        copy = head / "v2" / name / "people"
        shutil.copytree(valid, copy)
        change(copy, put(name.replace("__", "/"), "model", "name"))
        old, new = validate(head, base, workers=0)
        assert old.unchanged and old.ok and not old.suspicious
        assert new.path == f"v2/{name}/people"
        assert [f.field for f in new.failures] == ["key"]
        assert [f.field for f in new.suspicious] == ["d:probe"]
        assert "probe" not in lines_of(old)[0]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_row_of_an_older_protocol_stays_and_is_not_computed(valid, tmp_path, version):
    head = tmp_path / "head"
    folder = shutil.copytree(valid, head / "v1" / "org__model" / "people")
    change(folder, put(version, "protocol_version"))
    (report,) = validate(head, workers=0)
    if version == 1:
        assert report.ok and report.unchecked == ("numbers: protocol 1 is older than 2",)
    else:
        assert [f.field for f in report.failures] == ["protocol_version"]
    if version == 1:
        assert [r.unchanged for r in validate(head, head, workers=0)] == [True]
        empty = tmp_path / "empty"
        empty.mkdir()
        assert [f.field for r in validate(head, empty, workers=0) for f in r.failures]


def test_a_folder_of_somebody_called_as_a_version_is_not_the_leaderboards(valid, tmp_path):
    root = shutil.copytree(valid.parent.parent.parent, tmp_path / "v2" / "mine" / "leaderboards")
    for path in (root, root / FOLDER, root / "v2"):
        assert resolve(path) == (root, [root / FOLDER])


def test_a_string_without_an_end_takes_no_hours(valid, tmp_path):
    folder = shutil.copytree(valid, tmp_path / FOLDER)
    for text in (b'{"a":"' + 900_000 * b'\\"', b'{"a":"' + 900_000 * b'\\"' + b"\\"):
        (folder / "record.json").write_bytes(text)
        began = time.process_time()
        assert [f.field for f in check(folder).failures] == ["JSON"]
        assert time.process_time() - began < 30, "by the square of its length it would be hours"


@pytest.mark.parametrize("now", [None, '{"agrees": true}'])
def test_what_maintainers_said_of_a_row_stays(valid, tmp_path, now):
    base = shutil.copytree(valid.parent.parent.parent, tmp_path / "base")
    head = shutil.copytree(base, tmp_path / "head")
    (base / FOLDER / "rerun.json").write_text('{"agrees": false}')
    if now is not None:
        (head / FOLDER / "rerun.json").write_text(now)
    assert [f.file for r in validate(head, base, workers=0) for f in r.failures] == ["rerun.json"]


def test_rows_of_the_base_stay(valid, tmp_path):
    base = valid.parent.parent.parent
    head = shutil.copytree(base, tmp_path / "head")
    assert [r.unchanged for r in validate(head, base, workers=0)] == [True]
    change(head / FOLDER, put(["Another run."], "warnings"))
    assert [f.given for r in validate(head, base, workers=0) for f in r.failures] == [
        "other files than in the base"
    ]
    shutil.rmtree(head / "v2" / "org__model")
    assert [f.given for r in validate(head, base, workers=0) for f in r.failures] == ["removed"]


def test_a_change_adds_submissions_and_nothing_else(valid, tmp_path, monkeypatch):
    base = tmp_path / "base"
    (base / "v2").mkdir(parents=True)
    (base / "README.md").write_text("built")
    (base / "tables").mkdir()
    (base / "tables" / "people.csv").write_text("built")
    head = shutil.copytree(valid.parent.parent.parent, tmp_path / "head")
    (head / "README.md").write_text("built")
    shutil.copytree(base / "tables", head / "tables")
    assert all(r.ok for r in validate(head, base, workers=0))
    (head / "README.md").write_text("changed")
    (head / "setup.py").write_text("new")
    (head / "tables" / "people.csv").write_text("changed")
    files = [f.file for r in validate(head, base, workers=0) for f in r.failures]
    assert files == ["README.md", "setup.py", "tables/people.csv"]
    monkeypatch.setattr("probebench.leaderboard.check.validate.MOST_CHANGED", 0)
    assert [f.field for r in validate(head, base, workers=0) for f in r.failures] == ["submissions"]


def test_only_maintainers_say_that_a_run_was_repeated(valid, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    head = shutil.copytree(valid.parent.parent.parent, tmp_path / "head")
    (head / FOLDER / "rerun.json").write_text('{"agrees": true}')
    assert [f.file for r in validate(head, base, workers=0) for f in r.failures] == ["rerun.json"]
    assert [(f.file, f.field) for f in check(head / FOLDER).failures] == [
        ("rerun.json", "fingerprint")
    ]


def ends_the_process(folder, base=None):
    """Stands for a reader that crashes on one submission."""
    if folder.name == "crash":
        os._exit(11)
    return check(folder, base)


def test_a_worker_that_dies_takes_no_other_submission_along(valid, tmp_path, monkeypatch):
    shutil.copytree(valid, tmp_path / FOLDER)
    (tmp_path / "v2" / "org__model" / "crash").mkdir()
    folders = [tmp_path / "v2" / "org__model" / name for name in ("crash", "people")]
    monkeypatch.setattr("probebench.leaderboard.check.validate.check", ends_the_process)
    reports = list(run_checks(folders, None, 1))
    assert [r.ok for r in reports] == [False, True]
    assert "ended the process" in reports[0].failures[0].given


def test_the_command(valid, tmp_path):
    from probebench.cli.main import main

    root = shutil.copytree(valid.parent.parent.parent, tmp_path / "leaderboards")
    done = CliRunner().invoke(main, ["leaderboard", "validate", str(root), "--workers", "0"])
    assert done.exit_code == 0 and "1 submissions: 1 valid" in done.output
    change(root / FOLDER, put(0.9, "detectors", 0, "auroc"))
    out = tmp_path / "comment.md"
    done = CliRunner().invoke(
        main,
        ["leaderboard", "validate", str(root / FOLDER), "--workers", "0", "--comment", str(out)],
    )
    assert done.exit_code == 1 and "detectors[0] (probe).auroc: given 0.9, expected" in done.output
    assert "`detectors[0] (probe).auroc`" in out.read_text()


def test_a_folder_without_submissions_is_no_success(tmp_path):
    """A wrong path in CI must not be green."""
    from probebench.cli.main import main

    for given in (tmp_path, tmp_path / "runs"):
        given.mkdir(exist_ok=True)
        done = CliRunner().invoke(main, ["leaderboard", "validate", str(given), "--workers", "0"])
        assert done.exit_code == 2 and "holds no submission" in done.output


def test_strangers_words_cannot_leave_their_place():
    words = "`x` | <script>\n\x1b[31m\u202e"
    safe = shown(words)
    assert safe.isascii() and safe.isprintable() and not set("`|<>\n") & set(safe)
    assert "<" not in comment([], None)


def test_a_row_of_an_older_protocol_has_its_line_in_a_comment(valid, tmp_path):
    from probebench.cli.main import main

    old = tmp_path / "leaderboards/v1" / "/".join(valid.parts[-2:])
    shutil.copytree(valid, old)
    change(old, put(1, "protocol_version"))
    out = tmp_path / "comment.md"
    done = CliRunner().invoke(
        main,
        ["leaderboard", "validate", str(old), "--workers", "0", "--comment", str(out)],
        catch_exceptions=False,
    )
    assert done.exit_code == 0 and "v1/" in out.read_text()


def test_reading_gives_the_numbers_back(valid):
    s = read_submission(valid)
    assert len(s.cells) == 60 and s.decisions.shuffled.shape[0] == 20
    assert np.isnan(s.decisions.shuffled[:, s.decisions.split == "validation"]).all()


def test_a_comparison_is_held_against_its_own_sample():
    """Its n may differ from the table's: a submission whose detectors lack some examples is none
    the worse for it."""
    rng = np.random.default_rng(0)
    y, groups = rng.integers(0, 2, 90), np.arange(90)
    probe, text = y + rng.normal(size=90), y + 2 * rng.normal(size=90)
    probe[:20], text[15:30] = np.nan, np.nan
    split = np.where(groups < 80, "test", "validation")
    decisions = Decisions(
        groups.astype(str),
        groups,
        split,
        y,
        np.ones(90, dtype=bool),
        {"probe": probe, "text": text},
        np.zeros((0, 90)),
    )
    both = np.arange(30, 80)
    found = paired(y[both], y[both], probe[both], text[both], [f"{g:08d}" for g in both], 0)
    side = {
        "cell": {**CELL, "auroc": found.values[0]},
        "best_baseline": {"name": "text", "auroc": found.values[1]},
        "difference": found.difference,
        "n": 50,
    }
    side["cell"]["auroc_95"], side["best_baseline"]["auroc_95"] = (
        [i.low, i.high] for i in found.intervals
    )
    side["difference_95"] = [found.interval.low, found.interval.high]
    record = {
        "selection": CELL,
        "settings": {"seed": 0},
        "readable": {"before": None, "after": side},
        "detectors": [{"name": "text", "auroc": 0.1}],
    }
    s = Submission(Path(), record, (), decisions)
    assert [*check_readable(s), *check_mentions(s)] == []
    side["best_baseline"]["auroc"] += 0.01
    assert [f.field for f in check_readable(s)] == [
        "readable.after.difference",
        "readable.after.best_baseline.auroc",
    ]


def test_a_stack_that_is_fitted_again_may_swap_a_few_pairs(valid, tmp_path):
    """In another order of rows single precision moves a difference by some 1e-6, and its p by more:
    a row of 4,000 test examples was refused for it."""
    folder = shutil.copytree(valid, tmp_path / FOLDER)
    record = json.loads((folder / "record.json").read_text())
    a = record["added"]
    a["difference"], a["difference_p"] = a["difference"] + 5e-6, 1.01 * a["difference_p"]
    (folder / "record.json").write_text(json.dumps(record))
    assert check(folder).failures == ()
