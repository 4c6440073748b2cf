"""Before and after the answer: cells and baselines chosen on validation, compared on the examples
that both score."""

from types import SimpleNamespace

import numpy as np
import pytest

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import difference_interval
from probebench.probes.labels import Labels, split_index
from probebench.scoring.matrix import score_matrix
from probebench.scoring.select import select
from probebench.states.positions import POSITIONS, PUBLISHED
from probebench.studies.readable import (
    PAPER,
    Chosen,
    against,
    best_baseline,
    by_position,
    readable,
    split_auroc,
)
from probebench.tasks.split import split_of
from probebench.types import EMB, Cell, CellFit, Detector

N = 2000
GROUPS = tuple(f"g{i // 2}" for i in range(N))
LABELS = Labels(
    np.random.default_rng(0).integers(0, 2, N), tuple(split_of(g) for g in GROUPS), GROUPS
)
ROWS = split_index(LABELS.splits)
PLACES = ("last_q", "exact_answer_last", "-1")


def noisy(strength, seed):
    return strength * LABELS.y + np.random.default_rng(seed).normal(size=N)


def cell(layer, position, decisions, masked=""):
    rows = ROWS["validation"][np.isfinite(decisions[ROWS["validation"]])]
    return CellFit(
        Cell("resid", layer, position),
        decisions,
        1.0,
        auroc(LABELS.y[rows], decisions[rows]),
        True,
        3,
        masked,
    )


FITS = [
    cell(EMB, "last_q", noisy(9, 1)),
    cell(EMB, "exact_answer_last", noisy(9, 2)),
    cell(EMB, "-1", noisy(9, 3)),
    cell(0, "last_q", noisy(0.5, 4)),
    cell(0, "exact_answer_last", noisy(2.0, 5)),
    CellFit(Cell("resid", 0, "-1"), np.full(N, np.nan), np.nan, np.nan, True, 0, "few"),
    cell(1, "last_q", noisy(1.0, 6)),
    cell(1, "exact_answer_last", noisy(1.0, 7)),
    CellFit(Cell("resid", 1, "-1"), np.full(N, np.nan), np.nan, np.nan, True, 0, "few"),
]
DETECTORS = (
    Detector("probe", "probe", FITS[4].decisions, "probe"),
    Detector("weak", "weak", noisy(0.2, 8), when="before"),
    Detector("strong", "strong", noisy(1.5, 9)),
    Detector("early", "early", noisy(0.7, 10), when="before"),
    Detector("ensemble_mean", "mean", noisy(5, 11), "ensemble"),
    Detector("probe_random_model", "random", noisy(5, 12), "control"),
)


@pytest.fixture(scope="module")
def result():
    draws = Resamples.draw([GROUPS[i] for i in ROWS["test"]], 0)
    present = np.ones((N, 3), dtype=bool)
    test = score_matrix(FITS, LABELS, draws, "test", PLACES, present)
    return SimpleNamespace(
        matrices={("resid", "test"): test}, selected=select(FITS), detectors=DETECTORS
    )


def test_each_position_has_its_best_layer_by_validation(result):
    rows = by_position(result, FITS, PLACES)
    assert [(r["position"], r["layer"], r["when"]) for r in rows] == [
        ("last_q", "1", "before"),
        ("exact_answer_last", "0", "after"),
        ("-1", None, "after"),
    ]
    assert rows[2]["masked"] == "few"
    y = LABELS.y[ROWS["test"]]
    assert rows[0]["test_auroc"] == pytest.approx(auroc(y, FITS[6].decisions[ROWS["test"]]))
    assert rows[0]["test_auroc_95"][0] < rows[0]["test_auroc"] < rows[0]["test_auroc_95"][1]
    assert all(r["paper"] for r in rows)


def test_the_paper_s_positions_are_columns_of_the_map():
    assert [p for p in PUBLISHED if p in PAPER] == list(PAPER)


def test_baselines_are_those_that_can_be_read_by_then(result):
    found = readable(result, FITS, LABELS, 0)
    assert found["before"]["best_baseline"]["name"] == "early"
    assert found["after"]["best_baseline"]["name"] == "strong"
    assert (found["before"]["cell"]["position"], found["before"]["cell"]["layer"]) == (
        "last_q",
        "1",
    )
    assert (found["after"]["cell"]["position"], found["after"]["cell"]["layer"]) == (
        "exact_answer_last",
        "0",
    )
    assert POSITIONS["last_q"].when == "before"


def test_after_the_answer_what_could_be_read_before_counts_too():
    few = [d for d in DETECTORS if d.name != "strong"]
    assert best_baseline(few, LABELS, "after").detector.name == "early"
    assert best_baseline(DETECTORS[:1], LABELS, "after") is None


def test_baselines_are_chosen_on_the_same_examples():
    """One that scores easy examples only looks better than the one that beats it there."""
    easy = np.arange(N) % 2 == 0
    y, rng = LABELS.y, np.random.default_rng(20)
    strong = Detector("strong", "strong", y * np.where(easy, 3, 0.3) + rng.normal(size=N))
    partial = Detector("partial", "partial", np.where(easy, 1.8 * y + rng.normal(size=N), np.nan))
    assert split_auroc(partial.decisions, LABELS, "validation") > split_auroc(
        strong.decisions, LABELS, "validation"
    )
    assert best_baseline([partial, strong], LABELS, "after").detector.name == "strong"
    handful = np.where(np.cumsum(np.asarray(LABELS.splits) == "validation") <= 8, y + 0.0, np.nan)
    rare = Detector("rare", "rare", np.where(np.asarray(LABELS.splits) == "test", y + 0.0, handful))
    assert best_baseline([rare, partial, strong], LABELS, "after").detector.name == "strong", (
        "a handful of examples decides nothing"
    )
    found = against(FITS[4], Chosen(partial, 0), LABELS, 0)["best_baseline"]
    assert found["validation_auroc"] == split_auroc(partial.decisions, LABELS, "validation")


def test_a_baseline_of_some_answers_does_not_decide_on_which_all_are_judged():
    """Every right answer names an option and half of the wrong ones do: on those that do, a signal
    that tells them from the others says nothing, and one at chance was chosen before it."""
    y, rng = LABELS.y, np.random.default_rng(22)
    named = (y == 1) | (np.arange(N) % 2 == 0)
    all_over = Detector("all over", "all over", 2.0 * named + rng.normal(size=N))
    weak = Detector("weak", "weak", 0.2 * y + rng.normal(size=N))
    some = Detector("some", "some", np.where(named, 0.2 * y + rng.normal(size=N), np.nan))
    rows = ROWS["validation"]
    assert (np.isfinite(some.decisions[rows])).mean() > 0.5
    assert auroc(y[rows][named[rows]], weak.decisions[rows][named[rows]]) > auroc(
        y[rows][named[rows]], all_over.decisions[rows][named[rows]]
    )
    chosen = best_baseline([some, weak, all_over], LABELS, "after")
    assert chosen.detector.name == "all over" and chosen.n == len(rows)
    assert best_baseline([some], LABELS, "after") is None


def test_only_examples_of_the_cell_choose_its_baseline():
    y, rng, half = LABELS.y, np.random.default_rng(21), np.arange(N) % 2 == 0
    here = Detector("here", "here", y * np.where(half, 2.0, -2.0) + rng.normal(size=N))
    all_over = Detector("all over", "all over", 0.8 * y + rng.normal(size=N))
    own = np.where(half, FITS[4].decisions, np.nan)
    assert best_baseline([here, all_over], LABELS, "after").detector.name == "all over"
    assert (
        best_baseline([here, all_over], LABELS, "after", np.isfinite(own)).detector.name == "here"
    )


def test_test_labels_choose_nothing(result):
    y = LABELS.y.copy()
    y[ROWS["test"]] = 1 - y[ROWS["test"]]
    turned = readable(result, FITS, Labels(y, LABELS.splits, GROUPS), 0)
    for when, facts in readable(result, FITS, LABELS, 0).items():
        assert turned[when]["best_baseline"]["name"] == facts["best_baseline"]["name"]
        assert turned[when]["difference"] == pytest.approx(-facts["difference"])


def test_difference_is_paired_on_what_both_score():
    lacking = DETECTORS[2].decisions.copy()
    lacking[ROWS["test"][:40]] = np.nan
    found = against(FITS[4], Chosen(Detector("b", "b", lacking), 7), LABELS, 3)
    rows = ROWS["test"][40:]
    assert (found["n"], found["best_baseline"]["n_validation"]) == (len(rows), 7)
    assert (found["difference_p"] < 0.05) == (
        not found["difference_95"][0] <= 0 <= found["difference_95"][1]
    )
    draws = Resamples.draw([GROUPS[i] for i in rows], 3)
    own, other = (draws.auroc(LABELS.y[rows], d[rows]) for d in (FITS[4].decisions, lacking))
    interval = difference_interval(draws, LABELS.y[rows], FITS[4].decisions[rows], lacking[rows])
    assert found["difference_95"] == [interval.low, interval.high]
    groups = len({GROUPS[i] for i in rows})
    assert found["difference_se"] == pytest.approx((own - other).std(ddof=1), rel=1 / groups)
    assert found["detectable_difference"] == pytest.approx(
        2.8016 * found["difference_se"], rel=1e-4
    )


def test_the_detectable_difference_is_found_four_times_out_of_five():
    """A difference of that size, seen with that error, is significant in 80 % of repetitions."""
    found = against(FITS[4], Chosen(DETECTORS[2], 0), LABELS, 0)
    seen = np.random.default_rng(0).normal(
        found["detectable_difference"], found["difference_se"], 20000
    )
    assert (np.abs(seen) > 1.96 * found["difference_se"]).mean() == pytest.approx(0.8, abs=0.01)


def test_no_cell_before_means_null(result):
    only = [f for f in FITS if f.cell.position != "last_q"]
    assert readable(result, only, LABELS, 0)["before"] is None


def test_of_a_given_statement_everything_is_readable_before(result):
    found = readable(result, FITS, LABELS, 0, given=True)
    assert found["after"] is None
    assert found["before"]["cell"]["position"] == "exact_answer_last"
    assert {r["when"] for r in by_position(result, FITS, PLACES, given=True)} == {"before"}
