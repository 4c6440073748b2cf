"""Warnings: a clean run has none but the missing encoder; each planted fault is named."""

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from records import merged

from probebench.record.schema import Record
from probebench.scoring.comparison import evaluate_detectors
from probebench.studies import warnings as concerns
from probebench.studies.checks import selection
from probebench.studies.checks.shuffles import AWAY
from probebench.studies.registry import CONCERNS, Concern
from probebench.tasks.split import split_of
from probebench.types import Cell, CellFit, Detector

ROOT = Path(__file__).parent.parent
N = 1500
GROUPS = [f"g{i // 2}" for i in range(N)]
SPLITS = tuple(split_of(g) for g in GROUPS)
Y = np.random.default_rng(0).integers(0, 2, N)


WHOLE = json.loads((ROOT / "leaderboards/v2/tiny/north/record.json").read_text())
OPINION = {"n": 1500, "with_opinion": 1500, "agreement": 0.9, "kappa": 0.8}
SCORE = {"auroc": 0.8, "auroc_95": [0.7, 0.9], "n": 280, "n_correct": 140}
CONTROL = {"mean_auroc": 0.5 + 3 * AWAY, "sd": 0.01, "repeats": 20}
NOISE = {
    **OPINION,
    "only_second_says_correct": 75,
    "only_first_says_correct": 75,
    "judge": "exact",
    "by_split": {},
    "n_test": 280,
    "scores": {"fitted_to_first": {"scored_under_first": SCORE, "scored_under_second": SCORE}},
    "refit": {"C": 1.0},
    "change": 0.05,
    "change_95": [0.02, 0.08],
    "attenuation": {
        "wrong_among_labelled_correct": 0.1,
        "correct_among_labelled_wrong": 0.1,
        "factor": 0.8,
        "factor_95": [0.7, 0.9],
        "observed": 0.8,
        "predicted": 0.8,
        "predicted_95": [0.7, 0.9],
        "bias": 0.0,
        "n": 280,
    },
}
"""Labels on which another judge differs."""


def noisy(strength, seed):
    return strength * Y + np.random.default_rng(seed).normal(size=N)


def comparison(**more):
    """The probe, text baselines and a text embedding; `more` replaces decisions by name."""
    decisions = {
        "probe": noisy(2, 1),
        "text": noisy(0.1, 2),
        "text_embedding": noisy(0.1, 3),
    } | more
    kinds = {"probe": "probe"}
    detectors = [
        Detector(name, name, d, kinds.get(name, "baseline"))
        for name, d in decisions.items()
        if d is not None
    ]
    return evaluate_detectors(detectors, Y, SPLITS, GROUPS, 0)


def warnings(changes, fits, comparison):
    """Those of a committed record with these changes."""
    record = Record.from_plain(merged(WHOLE, {"label_noise": None, "generation": None} | changes))
    return concerns.warnings(record, fits, comparison)


def clean():
    found = {"rate": 1.0}
    side = {
        "cell": {"auroc": 0.8, "auroc_95": [0.75, 0.85]},
        "best_baseline": {"label": "log-prob mean", "n_validation": 290},
        "difference": 0.2,
        "difference_95": [0.15, 0.25],
        "n": 300,
        "detectable_difference": 0.07,
    }
    return {
        "selection": {"readable": "after", "p": 0.001, "n_test": 300},
        "readable": {"before": None, "after": side},
        "confounds": {
            "features": ["answer_tokens", "question_tokens"],
            "linear": {
                "auroc": 0.55,
                "probe_minus_this": 0.3,
                "probe_minus_this_95": [0.2, 0.4],
                "n": 300,
            },
            "residual": {"auroc": 0.84, "auroc_95": [0.8, 0.88], "probe_auroc": 0.85, "n": 300},
            "answer_in_prompt": {"flag": False, "all": {"rate": 0.01}},
            "within": [],
        },
        **dict.fromkeys(("near_twins", "said", "coincidences", "resplits")),
        "task": {"kind": "qa", "exact_answer": "model"},
        "counts": {
            "all": {
                "n": N,
                "correct": N // 2,
                "accuracy": 0.5,
                "not_stopped": 0,
                "thinking": 0,
                "exact_found": {"correct": found, "wrong": found},
            },
            "test": {"n": 300},
        },
        "positions_present": {"-8": {"n": N, "in_prompt": 0}},
        "positions": ["first_answer", "-8"],
        "controls": {
            "permutation": {"shuffles": 100, "max_statistic_p": 0.01},
            "shuffled_labels": {"mean_auroc": 0.46, "sd": 0.09, "repeats": 20},
        },
        "data": {"n_too_long": 0},
        "label_noise": None,
    }


def fit(converged=True, unconverged=0, masked=""):
    return CellFit(
        Cell("resid", 3, "-1"), np.zeros(N), 1.0, 0.8, converged, 3, masked, unconverged=unconverged
    )


def put(record, path, value):
    *way, last = path.split(".")
    for key in way:
        record = record[key]
    record[last] = value


def test_a_clean_run_has_no_warnings():
    assert warnings(clean(), [fit()], comparison()) == []


def test_a_missing_encoder_is_said():
    (only,) = warnings(clean(), [fit()], comparison(text_embedding=None))
    assert "--encoder" in only


FAULTS = {
    "the best baseline wins": (
        {"readable.after.difference": -0.2, "readable.after.difference_95": [-0.3, -0.1]},
        "'log-prob mean' (chosen on validation, n = 290), beats the probe: probe minus baseline is "
        "-0.200 [-0.300, -0.100] over the 300 test examples that both score.",
    ),
    "or may": (
        {"readable.after.difference": -0.1, "readable.after.difference_95": [-0.3, 0.1]},
        "not distinguishable from the best baseline, 'log-prob mean' (chosen on validation, n = "
        "290): probe minus baseline is -0.100 [-0.300, +0.100] over the 300",
    ),
    "too little power": (
        {"readable.after.difference": 0.05},
        "small for such a difference to 'log-prob mean' (chosen on "
        "validation, n = 290): probe minus baseline is +0.050 [+0.150, +0.250] over the 300 test "
        "examples that both score; a difference of 0.070 would be found 4 times out of 5",
    ),
    "part of the examples": (
        {"selection.n_test": 250, "counts.test": {"n": 300}},
        "exists in 250 of 300 test examples",
    ),
    "a linear model does as well": (
        {"confounds.linear.probe_minus_this_95": [-0.01, 0.1]},
        "A linear model of answer tokens and question tokens is not distinguishable from the probe",
    ),
    "a linear model does better": (
        {"confounds.linear.probe_minus_this_95": [-0.2, -0.1]},
        "A linear model of answer tokens and question tokens beats the probe",
    ),
    "nothing left": (
        {"confounds.residual.auroc": 0.52, "confounds.residual.auroc_95": [0.47, 0.57]},
        "goes from 0.850 to 0.520, an interval that reaches 0.5 (n = 300)",
    ),
    "answer in the prompt": (
        {"confounds.answer_in_prompt": {"flag": True, "all": {"rate": 0.98}}},
        "in 98% of prompts",
    ),
    "unbalanced": (
        {"counts.all.accuracy": 0.95, "counts.all.correct": 1425, "counts.test.correct": 290},
        "1425 of 1500 answers are right, 290 in test",
    ),
    "cut off": ({"counts.all.not_stopped": 400}, "400 of 1500 answers ran into max_new_tokens"),
    "empty": ({"counts.all.empty": 400}, "400 of 1500 answers are empty and count as wrong"),
    "exact answers": (
        {"counts.all.exact_found.wrong": {"rate": 0.8}},
        "found in 100% of correct and 80% of wrong",
    ),
    "given exact answers": (
        {"counts.all.exact_found.wrong": {"rate": 0.8}, "task.exact_answer": "given"},
        "found in 100% of correct and 80% of wrong",
    ),
    "a draw": (
        {"readable.after.difference": 0.0, "readable.after.difference_95": [-0.01, 0.01]},
        "not distinguishable from the best baseline, 'log-prob mean' (chosen on validation, n = "
        "290): probe minus baseline is +0.000 [-0.010, +0.010] over the 300 test examples that "
        "both score; a difference of 0.070 would be found",
    ),
    "into the prompt": (
        {"positions_present.-8.in_prompt": 7},
        "Position -8 reaches into the prompt in 7 of 1,500",
    ),
    "no signal": ({"controls.permutation.max_statistic_p": 0.3}, "p = 0.30"),
    "no null": ({"controls.permutation.max_statistic_p": None}, "too little to shuffle"),
    "control off": (
        {"controls.shuffled_labels": {"mean_auroc": 0.6, "sd": 0.1, "repeats": 20}},
        "score 0.600 on average over 20, away from 0.5 (p < 0.001): look for groups that cross",
    ),
    "control off by sizes of groups": (
        {"controls.shuffled_labels": CONTROL | {"group_sizes_auroc": 0.57}},
        "away from 0.5 (p < 0.001): the size of an answer's group alone ranks at 0.570",
    ),
    "control off, and sizes of groups tell nothing": (
        {"controls.shuffled_labels": CONTROL | {"group_sizes_auroc": 0.5 + AWAY / 2}},
        "look for groups that cross",
    ),
    "control off, and sizes of groups tell the other way": (
        {"controls.shuffled_labels": CONTROL | {"group_sizes_auroc": 0.43}},
        "look for groups that cross",
    ),
    "thinking": ({"counts.all.thinking": 5}, "thinks before it answers (5 of 1500)"),
    "too long": ({"data.n_too_long": 3}, "3 examples do not fit"),
    "gold": ({"task.exact_answer": "gold"}, "found by the label"),
    "label noise": (
        {"label_noise": NOISE},
        "Under the labels of exact the probe's AUROC changes by +0.050 [+0.020, +0.080], n = 280",
    ),
    "no second fit": (
        {
            "label_noise": {
                **NOISE,
                "change": 0.0,
                "change_95": [-0.1, 0.1],
                "refit": {"C": None, "reason": "3 wrong answers"},
            }
        },
        "cannot be fitted to the labels of exact",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named_and_nothing_else(name):
    changes, words = FAULTS[name]
    record = copy.deepcopy(clean())
    for path, value in changes.items():
        put(record, path, value)
    (only,) = warnings(record, [fit()], comparison())
    assert words in only


def test_what_is_said_of_a_signal_or_a_column_is_said_once():
    record, table = clean(), comparison(text=noisy(2, 1))
    assert sum("'text'" in w for w in warnings(record, [fit()], table)) == 1
    side = record["readable"][record["selection"]["readable"]]
    put(side, "best_baseline", side["best_baseline"] | {"name": "text", "label": "text"})
    put(side, "difference_95", [-0.1, 0.1])
    (said,) = (w for w in warnings(record, [fit()], table) if "'text'" in w)
    assert "the best baseline, 'text'" in said
    why = "6 of 10 validation examples have this token; 90% are needed to be selected"
    barred = {"exact_answer_first": why, "exact_answer_last": why}
    whole = Record.from_plain(merged(WHOLE, {"selection": {"barred": barred}}))
    (rare,) = selection._rare(Concern(whole, [fit()], comparison()))
    assert rare.endswith(f"rare: exact_answer_first, exact_answer_last: {why}.")


def test_faults_of_fits_and_detectors():
    def of(fits=None, **more):
        return warnings(clean(), fits or [fit()], comparison(**more))

    assert of([fit(), fit(converged=False)]) == [
        "1 of 2 cells did not converge, the first: resid, layer 3, -1."
    ]
    assert of([fit(unconverged=4)]) == [
        "4 fits at other values of C or to shuffled labels did not converge."
    ]
    assert of([fit(), fit(masked="few"), fit(masked="few")]) == ["2 cells are masked: few."]
    assert "not distinguishable from 'text'" in of(text=noisy(2, 1))[0]
    assert "'text' beats the probe" in of(text=noisy(4, 1))[0]
    probe = comparison().scores[0]
    near = noisy(2, 1) + 0.6 * np.random.default_rng(5).normal(size=N)
    lies = [w for w in of(text=near) if "within the probe's 95 % interval" in w]
    assert len(lies) == 1
    assert f"from {probe.interval.low:.3f}" in lies[0]
    assert any("significantly below 0.5" in w for w in of(text=-noisy(1, 7)))
    absent = noisy(2, 1)
    absent[::12] = np.nan
    assert not any("compared over" in w for w in of(text=absent)), "the others lose nothing"
    table, record = comparison(probe=absent), clean()
    record["selection"]["n_test"] = len(table.rows)
    record["counts"]["test"]["n"] = table.n_test
    (said,) = (w for w in warnings(record, [fit()], table) if "are compared over" in w)
    assert f"{len(table.rows)} of {table.n_test} test examples" in said
    assert f"without {table.dropped['correct']} correct" in said


def test_a_group_that_is_most_of_the_test_split_is_told():
    assert not any("largest group" in w for w in warnings({}, [fit()], comparison()))
    one = dataclasses.replace(comparison(), largest_group=90)
    (said,) = (w for w in warnings({}, [fit()], one) if "largest group" in w)
    assert f"The largest group holds 90 of the {len(one.rows)} test examples" in said


def test_confounds_are_not_blamed_for_a_probe_that_reads_nothing():
    record = copy.deepcopy(clean())
    put(record, "confounds.residual.auroc", 0.51)
    put(record, "confounds.residual.auroc_95", [0.45, 0.57])
    assert any("regressed out" in w for w in warnings(record, [fit()], comparison()))
    put(record, "selection.p", 0.4)
    assert not any("regressed out" in w for w in warnings(record, [fit()], comparison()))


def test_every_concern_says_what_it_is_about():
    assert all(rule.__doc__ for rule in CONCERNS)
