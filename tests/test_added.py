"""What a probe adds to all baselines together, and the claim against all of them."""

import numpy as np
import pytest
from scipy import stats

from probebench.probes.labels import split_index
from probebench.scoring.added import added, partial_correlations
from probebench.scoring.comparison import evaluate_detectors
from probebench.tasks.split import split_of
from probebench.types import Detector

N = 3000
GROUPS = [f"g{i // 2}" for i in range(N)]
SPLITS = tuple(split_of(g) for g in GROUPS)
Y = np.random.default_rng(0).integers(0, 2, N)


def noise(seed):
    return np.random.default_rng(seed).normal(size=N)


def found(probe, *baselines, when="after"):
    rows = [Detector("probe", "p", probe, "probe", when)]
    rows += [Detector(f"b{k}", f"b{k}", b) for k, b in enumerate(baselines)]
    scores = evaluate_detectors(rows, Y, SPLITS, GROUPS, 0).scores
    return added(rows, scores, Y, SPLITS, GROUPS, 0)


def test_a_signal_of_its_own_adds_and_a_copy_of_a_baseline_does_not():
    baseline, other = Y + noise(1), Y + noise(2)
    own = found(0.8 * Y + noise(3), baseline, other)
    assert own["difference_95"][0] > 0.01
    assert own["with_probe"]["auroc"] - own["without"]["auroc"] == pytest.approx(own["difference"])
    assert own["partial"]["correlation_95"][0] > 0
    copy = found(baseline + 0.3 * noise(4), baseline, other)
    assert copy["difference_95"][0] <= 0 <= copy["difference_95"][1]
    assert abs(copy["difference"]) < 0.005
    assert copy["partial"]["given"] == "b0"
    assert copy["partial"]["correlation_95"][0] <= 0 <= copy["partial"]["correlation_95"][1]


def test_test_labels_change_no_fit():
    probe, baseline = Y + noise(1), 0.5 * Y + noise(2)
    before = found(probe, baseline)
    test = split_index(SPLITS)["test"]
    moved = probe.copy()
    moved[test] = 0.0
    after = found(moved, baseline)
    assert before["with_probe"]["C"] == after["with_probe"]["C"]
    assert before["without"] == after["without"]


def test_the_claim_against_all_needs_every_lower_end():
    strong, weak, equal = 2 * Y + noise(1), 0.5 * Y + noise(2), 2 * Y + noise(3)
    alone = found(strong, weak)["against_all"]
    assert alone["better"]
    assert alone["nearest"]["name"] == "b0"
    both = found(strong, weak, equal)["against_all"]
    assert not both["better"]
    assert both["undecided"] == ["b1"]
    lost = found(weak, strong)["against_all"]
    assert lost["worse"] == ["b0"]


def test_a_missing_score_is_a_feature_of_its_own_and_costs_no_example():
    sparse = np.where(np.random.default_rng(5).random(N) < 0.2, np.nan, Y + noise(2))
    facts = found(Y + noise(1), 0.3 * Y + noise(3), sparse)
    assert facts["n"] == len(split_index(SPLITS)["test"])
    assert facts["baselines"] == ["b0", "b1"]


def test_of_a_probe_before_the_answer_only_such_baselines_count():
    assert found(Y + noise(1), Y + noise(2), when="before") is None
    assert found(Y + noise(1), np.ones(N)) is None, "one that says the same of all is none"


def test_partial_correlation_is_that_of_residuals():
    a, b = noise(1) + Y, noise(2) + Y
    columns = np.column_stack([Y, a, b])
    residuals = []
    for column in (Y, a):
        slope, intercept, *_ = stats.linregress(b, column)
        residuals.append(column - slope * b - intercept)
    expected = np.corrcoef(*residuals)[0, 1]
    weights = np.concatenate([np.ones((1, N)), np.random.default_rng(0).integers(0, 3, (1, N))])
    values = partial_correlations(columns, weights)
    assert values[0] == pytest.approx(expected)
    repeated = np.repeat(columns, weights[1].astype(int), axis=0)
    assert values[1] == pytest.approx(
        partial_correlations(repeated, np.ones((1, len(repeated))))[0]
    )


def test_without_anything_to_add_the_claim_is_rare():
    """Probe and baseline read one signal; 40 data sets, 5 % nominal to either side."""
    rejected = 0
    for k in range(40):
        shared = Y + np.random.default_rng(100 + k).normal(size=N)
        facts = found(shared + 0.5 * noise(200 + k), shared)
        rejected += facts["difference_95"][0] > 0
    assert rejected <= 4


def test_a_probe_that_says_the_same_of_all_adds_nothing():
    signal, other = Y + noise(1), noise(2)
    own = found(np.zeros(N), signal, other)
    assert own["difference"] == 0.0 and own["difference_95"] == [0.0, 0.0]
    assert own["without"]["auroc"] == pytest.approx(0.76, abs=0.03), "the first baseline stays"
    assert found(np.zeros(N), signal)["difference"] == 0.0


def test_a_baseline_that_is_silent_on_validation_takes_no_part():
    validation, silent = split_index(SPLITS)["validation"], Y + noise(1)
    silent[validation] = 0.0
    own = found(0.8 * Y + noise(3), silent, 0.5 * Y + noise(2))
    assert own["baselines"] == ["b1"] and own["against_all"]["n"] == 1
