import numpy as np
import pandas as pd
import pytest

from probebench.errors import LabelError
from probebench.files import clean_json
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.probes.choose import with_bars
from probebench.probes.labels import Labels, split_index
from probebench.scoring.comparison import SHUFFLED, detector_facts, evaluate_detectors
from probebench.scoring.matrix import score_matrix
from probebench.scoring.select import select
from probebench.tasks.split import split_of
from probebench.types import EMB, Cell, CellFit, Detector

N = 600
GROUPS = [f"g{i // 2}" for i in range(N)]
LABELS = Labels(np.random.default_rng(0).integers(0, 2, N), tuple(split_of(g) for g in GROUPS))
TEST = split_index(LABELS.splits)["test"]


def compare(detectors, labels, groups, seed):
    return evaluate_detectors(detectors, labels.y, labels.splits, groups, seed)


def noisy(strength, seed=1):
    return strength * LABELS.y + np.random.default_rng(seed).normal(size=N)


def fit(layer, position, decisions, validation=0.6, masked=""):
    return CellFit(Cell("resid", layer, position), decisions, 1.0, validation, True, 3, masked)


def test_selection_reads_validation_only_and_leaves_the_embedding_row():
    fits = [
        fit(EMB, "-1", noisy(3), 0.99),
        fit(0, "-1", noisy(0), 0.7),
        fit(1, "-1", noisy(3), 0.6),
        fit(1, "-2", noisy(0), 0.7),
    ]
    assert select(fits).cell == Cell("resid", 0, "-1")
    assert select(fits, embedding=True).cell.layer == EMB
    with pytest.raises(LabelError, match="No cell could be selected: too few"):
        select([fit(0, "-1", noisy(0), float("nan"), "too few")])


def unlike_map(seed):
    """Columns with an AUROC near .70 that every answer has, and one of noise that a tenth has."""
    rng = np.random.default_rng(seed)
    n = 1000
    y = rng.integers(0, 2, n)
    labels = Labels(y, tuple(split_of(f"{seed}-{i}") for i in range(n)))
    held = split_index(labels.splits)["validation"]
    rare = rng.random(n) < 0.1
    fits = []
    for position in ("last_q", "exact_answer_last", "-1"):
        for layer in range(30):
            s = rng.normal(size=n) + (0 if position == "exact_answer_last" else 0.74 * y)
            s = np.where(rare, s, np.nan) if position == "exact_answer_last" else s
            there = held[np.isfinite(s[held])]
            fits.append(fit(layer, position, s, auroc(y[there], s[there])))
    return fits, labels


def test_a_column_of_few_answers_without_signal_never_wins_the_map():
    """By the highest validation AUROC of all cells alone it wins often."""
    won = {"before": 0, "now": 0}
    for seed in range(20):
        fits, labels = unlike_map(seed)
        won["before"] += select(fits).cell.position == "exact_answer_last"
        barred = with_bars(fits, labels)
        won["now"] += select(barred).cell.position == "exact_answer_last"
        assert {f.cell.position for f in barred if f.barred} == {"exact_answer_last"}
    assert won["before"] >= 5
    assert won["now"] == 0
    why = next(f.barred for f in barred if f.barred)
    assert "validation examples have this token; 90% are needed" in why


def test_a_bar_asks_for_each_class_and_counts_only_what_some_cell_has():
    held = split_index(LABELS.splits)["validation"]
    wrong = held[LABELS.y[held] == 0]
    few = noisy(1)
    few[wrong[: len(wrong) // 3]] = np.nan
    nearly = noisy(1)
    nearly[wrong[: len(wrong) // 8]] = np.nan
    found = with_bars([fit(0, "-1", noisy(1)), fit(0, "-2", few), fit(0, "-3", nearly)], LABELS)
    assert [bool(f.barred) for f in found] == [False, True, False]
    # where nothing else was read, its own examples are all that there are
    assert not with_bars([fit(0, "-2", few)], LABELS)[0].barred


def test_a_few_wrong_examples_with_a_token_are_not_enough():
    y = np.array([1] * 95 + [0] * 5)
    labels = Labels(y, ("validation",) * 100)
    own = np.random.default_rng(0).normal(size=100)
    there = np.isin(np.arange(100), (95, 96), invert=True)
    whole, part = with_bars([fit(0, "-1", own), fit(0, "-2", np.where(there, own, np.nan))], labels)
    assert not whole.barred
    assert part.barred.startswith("3 of 5 wrong validation examples")


def test_matrix_has_each_cell_on_its_own_examples():
    decisions = noisy(1)
    decisions[TEST[:20]] = np.nan
    there = np.isfinite(decisions)
    fits = [
        fit(EMB, "-1", np.where(there, noisy(0), np.nan)),
        fit(0, "-1", decisions),
        fit(1, "-1", np.full(N, np.nan), masked="few"),
    ]
    fits.append(
        CellFit(
            Cell("resid", 2, "-1"),
            np.full(N, np.nan),
            1.0,
            np.nan,
            True,
            0,
            "not there",
            absent=True,
        )
    )
    m = score_matrix(
        fits, LABELS, Resamples.draw([GROUPS[i] for i in TEST], 0), "test", ["-1"], there[:, None]
    )
    assert m.layers == (EMB, 0, 1, 2)
    n = len(TEST) - 20
    assert m.n[:, 0].tolist() == [n, n, n, 0], (
        "a masked cell says how many have its token, a layer without the site none"
    )
    assert m.values[1, 0] == auroc(LABELS.y[TEST[20:]], decisions[TEST[20:]])
    assert m.low[1, 0] < m.values[1, 0] < m.high[1, 0]
    assert np.isnan(m.values[2, 0])


def test_detectors_stand_on_the_examples_of_the_probe_and_differences_pair():
    probe, other = noisy(2), noisy(0.5, 2)
    probe[TEST[:10]] = np.nan
    c = compare(
        [
            Detector("probe", "p", probe),
            Detector("other", "o", other),
            Detector("none", "n", np.full(N, np.nan)),
        ],
        LABELS,
        GROUPS,
        0,
    )
    assert {s.n for s in c.scores} == {len(TEST) - 10}
    assert sum(c.dropped.values()) == 10
    assert list(c.absent) == ["none"]
    a, b = c.scores
    assert np.isnan(a.difference)
    assert b.difference == pytest.approx(a.auroc - b.auroc)
    assert b.difference_interval.low < b.difference < b.difference_interval.high


@pytest.mark.parametrize("lacking", [0.01, 0.05, 0.4])
def test_a_detector_of_some_examples_stands_on_these_and_takes_none_from_the_others(lacking):
    """Even one that lacks few of all may lack most of a class."""
    probe, other, exact = noisy(2), noisy(0.5, 2), noisy(1.5, 3)
    wrong = TEST[LABELS.y[TEST] == 0]
    exact[wrong[: max(int(len(TEST) * lacking), 1)]] = np.nan
    detectors = [Detector(n, n, d) for n, d in (("p", probe), ("o", other), ("e", exact))]
    c = compare(detectors, LABELS, GROUPS, 0)
    assert not sum(c.dropped.values())
    first, second, third = c.scores
    assert first.n == second.n == len(TEST)
    assert third.n == int(np.isfinite(exact[TEST]).sum()) < len(TEST)
    own = np.where(np.isfinite(exact), probe, np.nan)
    alone = compare([Detector("p", "p", own), detectors[2]], LABELS, GROUPS, 0)
    facts = [clean_json(detector_facts(s)) for s in (third, alone.scores[1])]
    assert facts[0] == facts[1]
    assert third.probe_auroc == alone.scores[0].auroc != first.auroc
    assert third.difference == pytest.approx(third.probe_auroc - third.auroc)


def test_a_detector_against_itself_differs_by_exactly_nothing():
    s = noisy(1)
    c = compare([Detector("a", "a", s), Detector("b", "b", 3 * s + 1)], LABELS, GROUPS, 0)
    assert (
        c.scores[1].difference,
        c.scores[1].difference_interval.low,
        c.scores[1].difference_interval.high,
    ) == (0, 0, 0)


def test_signs_are_never_flipped():
    c = compare([Detector("a", "a", -noisy(2))], LABELS, GROUPS, 0)
    assert c.scores[0].auroc < 0.3


def test_constant_scores_are_exactly_one_half():
    c = compare([Detector("a", "a", np.ones(N))], LABELS, GROUPS, 0)
    assert c.scores[0].auroc == 0.5


def test_one_class_left_is_an_error():
    probe = noisy(1)
    probe[LABELS.y == 0] = np.nan
    with pytest.raises(LabelError, match="one class only"):
        compare([Detector("p", "p", probe), Detector("a", "a", noisy(1))], LABELS, GROUPS, 0)


def test_a_detector_of_one_class_is_left_out_with_the_reason():
    s = noisy(1)
    s[LABELS.y == 0] = np.nan
    c = compare([Detector("a", "a", noisy(1)), Detector("b", "b", s)], LABELS, GROUPS, 0)
    assert c.absent == {"b": "it can score test examples of one class only"}
    assert c.scores[0].n == len(TEST)


def test_a_detector_of_few_examples_does_not_shrink_the_table():
    """Six scores must not decide on which six examples all the others are judged; the selected
    probe is the measure."""
    rare = np.full(len(LABELS.y), np.nan)
    six = [*np.flatnonzero(LABELS.y[TEST] == 1)[:3], *np.flatnonzero(LABELS.y[TEST] == 0)[:3]]
    rare[TEST[six]] = 1.0
    c = compare([Detector("a", "a", noisy(1)), Detector("rare", "rare", rare)], LABELS, GROUPS, 0)
    assert c.absent == {
        "rare": f"it can score 6 of {len(TEST)} test examples of the probe, fewer than half"
    }
    assert c.scores[0].n == len(TEST)
    own = np.where(np.isfinite(rare), noisy(1), np.nan)
    same = compare([Detector("a", "a", own), Detector("rare", "rare", rare)], LABELS, GROUPS, 0)
    assert not same.absent
    assert same.scores[0].n == 6


METRICS = ("auprc", "accuracy", "brier", "ece", "prr", "recall_at_fpr_01", "recall_at_fpr_05")


def some_detectors():
    """A probe, a baseline that lacks some test and validation examples, and one that says the same
    of all."""
    partial = noisy(0.5, 2)
    partial[TEST[:10]] = np.nan
    partial[split_index(LABELS.splits)["validation"][:5]] = np.nan
    return [
        Detector("probe", "p", noisy(2), "probe"),
        Detector("partial", "o", partial),
        Detector("majority", "m", np.ones(N)),
    ]


def test_every_metric_has_value_interval_n_and_positive_class():
    c = compare(some_detectors(), LABELS, GROUPS, 0)
    for s in c.scores:
        assert tuple(s.metrics) == METRICS
        for name, m in s.metrics.items():
            assert (m.n, m.positive) == (s.n, "wrong" if name.startswith("recall") else "correct")
            assert np.isnan(m.value) or m.interval.low <= m.value <= m.interval.high
    assert [(len(TEST) - s.n, s.n_missing) for s in c.scores] == [(0, 0), (10, 10), (0, 0)]
    probe, _, same = (s.metrics for s in c.scores)
    assert probe["auprc"].value > same["auprc"].value
    assert probe["brier"].value < same["brier"].value
    assert probe["prr"].value > 0.5
    assert same["prr"].value == pytest.approx(0, abs=1e-12)
    y = LABELS.y[c.rows]
    assert same["auprc"].value == pytest.approx(y.mean())
    assert same["accuracy"].value in (pytest.approx(y.mean()), pytest.approx(1 - y.mean()))
    assert same["recall_at_fpr_05"].value == 0, "whoever says the same of all raises no alarm"


@pytest.mark.parametrize("wrong", [2, 7, 40])
def test_a_perfect_ranking_has_a_rejection_ratio_of_one_and_no_interval_of_it(wrong):
    """Resamples say nothing of what lies beyond 1, whichever way the ratio is rounded; half an
    interval would be none."""
    y = np.r_[np.ones(50, dtype=int), np.zeros(wrong, dtype=int)]
    n = len(y)
    found = evaluate_detectors(
        [Detector("probe", "probe", np.tile(y + 0.0, 2))],
        np.tile(y, 2),
        ["validation"] * n + ["test"] * n,
        [str(i) for i in range(2 * n)],
        0,
    )
    prr = found.scores[0].metrics["prr"]
    assert prr.value == pytest.approx(1, abs=1e-12)
    assert np.isnan([prr.interval.low, prr.interval.high]).all()


def test_a_quantile_that_validation_cannot_place_is_not_defined():
    c = compare(some_detectors(), LABELS, GROUPS, 0)
    validation = split_index(LABELS.splits)["validation"]
    assert 19 <= LABELS.y[validation].sum() < 99
    first = c.scores[0].metrics
    assert np.isnan(first["recall_at_fpr_01"].value)
    assert np.isnan(first["recall_at_fpr_01"].interval.low)
    assert np.isfinite(first["recall_at_fpr_05"].value)
    assert first["recall_at_fpr_05"].detail["n_threshold"] == LABELS.y[validation].sum()
    wrong, flagged = (
        LABELS.y[c.rows] == 0,
        noisy(2)[c.rows] <= first["recall_at_fpr_05"].detail["threshold"],
    )
    assert first["recall_at_fpr_05"].value == pytest.approx(flagged[wrong].mean())
    assert first["recall_at_fpr_05"].detail["false_alarms"]["value"] == pytest.approx(
        flagged[~wrong].mean()
    )


def test_thresholds_are_placed_on_validation_and_not_on_test():
    detectors = some_detectors()
    before = compare(detectors, LABELS, GROUPS, 0).scores[0].metrics
    moved = detectors[0].decisions.copy()
    moved[TEST] -= 100  # every test answer now looks wrong
    after = compare([Detector("probe", "p", moved), *detectors[1:]], LABELS, GROUPS, 0).scores[0]
    assert after.auroc == pytest.approx(compare(detectors, LABELS, GROUPS, 0).scores[0].auroc)
    assert after.metrics["accuracy"].detail["threshold"] == before["accuracy"].detail["threshold"]
    assert after.metrics["accuracy"].value == pytest.approx(1 - LABELS.y[TEST].mean())
    assert (
        after.metrics["recall_at_fpr_05"].value
        == after.metrics["recall_at_fpr_05"].detail["false_alarms"]["value"]
        == 1
    )


def test_metrics_of_validation_are_not_defined_without_it():
    decisions = noisy(2)
    decisions[split_index(LABELS.splits)["validation"]] = np.nan
    c = compare(
        [Detector("probe", "p", noisy(1)), Detector("d", "d", decisions)], LABELS, GROUPS, 0
    )
    own = c.scores[1].metrics
    assert [name for name, m in own.items() if np.isfinite(m.value)] == ["auprc", "prr"]
    assert np.isfinite(
        [m.value for name, m in c.scores[0].metrics.items() if name != "recall_at_fpr_01"]
    ).all()


def test_order_of_examples_changes_no_number():
    detectors, order = some_detectors(), np.random.default_rng(0).permutation(N)
    shuffled = [Detector(d.name, d.label, d.decisions[order]) for d in detectors]
    a = compare(detectors, LABELS, GROUPS, 0)
    b = evaluate_detectors(
        shuffled, LABELS.y[order], [LABELS.splits[i] for i in order], [GROUPS[i] for i in order], 0
    )
    for s, t in zip(a.scores, b.scores, strict=True):
        for name, m in s.metrics.items():
            np.testing.assert_allclose(
                [
                    t.metrics[name].value,
                    t.metrics[name].interval.low,
                    t.metrics[name].interval.high,
                ],
                [m.value, m.interval.low, m.interval.high],
                rtol=1e-9,
                atol=1e-12,
            )


def predictions_table(detectors):
    """As `predictions.parquet` holds them: no train rows, one row per example and detector, and
    repeats of the control."""
    rows = np.array([split != "train" for split in LABELS.splits])
    base = pd.DataFrame(
        {
            "id": [f"e{i}" for i in range(N)],
            "group": GROUPS,
            "split": LABELS.splits,
            "label": LABELS.y,
        }
    )
    control = Detector("shuffled_labels_0", "", noisy(0))
    return pd.concat(
        [base.assign(detector=d.name, decision=d.decisions)[rows] for d in (*detectors, control)],
        ignore_index=True,
    )


def evaluated_again(predictions, seed):
    """The table of detectors from `predictions.parquet` alone, as a reader of a run would compute
    it."""
    own = predictions[~predictions.detector.str.startswith(SHUFFLED)]
    by_name = {name: part.set_index("id") for name, part in own.groupby("detector", sort=False)}
    base = next(iter(by_name.values()))
    detectors = [
        Detector(name, name, part.decision.reindex(base.index).to_numpy())
        for name, part in by_name.items()
    ]
    return evaluate_detectors(
        detectors, base.label.to_numpy(), list(base.split), list(base.group), seed
    )


def test_predictions_alone_give_the_same_numbers_to_the_last_digit(tmp_path):
    ran = compare(some_detectors(), LABELS, GROUPS, 3)
    predictions_table(some_detectors()).to_parquet(tmp_path / "predictions.parquet")
    again = evaluated_again(pd.read_parquet(tmp_path / "predictions.parquet"), 3)
    named = {"label": "", "kind": "", "detail": None}
    assert [clean_json({**detector_facts(s), **named}) for s in again.scores] == [
        clean_json({**detector_facts(s), **named}) for s in ran.scores
    ]
    assert clean_json(again.calibration) == clean_json(ran.calibration)


def test_calibration_of_the_first_detector_is_binned():
    c = compare(some_detectors(), LABELS, GROUPS, 0)
    facts = c.calibration
    assert facts["detector"] == "probe"
    assert facts["slope"] > 0
    assert sum(b["n"] for b in facts["bins"]) == facts["n"] == len(c.rows)
    assert all(b["low"] <= b["fraction_correct"] <= b["high"] for b in facts["bins"])
    assert [b["mean_predicted"] for b in facts["bins"]] == sorted(
        b["mean_predicted"] for b in facts["bins"]
    )
