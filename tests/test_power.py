"""The difference of two AUROCs that a run can detect: the formula against simulated decisions, and
what the dry run says of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import norm

from probebench.cli.main import main
from probebench.job.options import Options
from probebench.job.prepare import prepare
from probebench.job.preview.costs import Costs
from probebench.job.preview.power import ACCURACIES, ALIKE, AREA, SHARED, power
from probebench.job.preview.sizes import Memory
from probebench.metrics.auroc import auroc_many
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.delong import delong_difference
from probebench.metrics.intervals import difference_interval
from probebench.metrics.power import auroc_covariance, detectable_difference, group_effect
from probebench.models.loading import ModelSpec

SETS = 400


def drawn(rng, y, groups, areas, shared, alike=0.0):
    """(2, example) decisions of two detectors with these AUROCs, correlated within a class, and
    alike within a group."""
    index = np.unique(groups, return_inverse=True)[1]

    def normal():
        of_group = rng.normal(size=index.max() + 1)[index]
        return np.sqrt(alike) * of_group + np.sqrt(1 - alike) * rng.normal(size=len(y))

    common, own = normal(), [normal(), normal()]
    shifts = norm.ppf(areas) * np.sqrt(2)
    noise = [np.sqrt(shared) * common + np.sqrt(1 - shared) * e for e in own]
    return np.array([s * y + e for s, e in zip(shifts, noise, strict=True)])


@pytest.mark.parametrize(("n1", "n0", "area", "shared"), [(60, 40, 0.8, 0.5), (90, 15, 0.7, 0.2)])
def test_variance_and_covariance_are_those_of_simulated_decisions(n1, n0, area, shared):
    rng, y = np.random.default_rng(0), np.repeat([1, 0], [n1, n0])
    alone = np.arange(len(y))
    found = np.array(
        [auroc_many(y, drawn(rng, y, alone, (area, area), shared)) for _ in range(4000)]
    )
    covariance = np.cov(found.T)
    assert covariance[0, 0] == pytest.approx(auroc_covariance(area, 1, n1, n0), rel=0.08)
    assert covariance[0, 1] == pytest.approx(auroc_covariance(area, shared, n1, n0), rel=0.15)


@pytest.mark.parametrize(("n", "share"), [(100, 0.5), (100, 0.8), (400, 0.8)])
def test_the_detectable_difference_is_found_in_four_of_five_repetitions(n, share):
    n1 = round(n * share)
    y, alone = np.repeat([1, 0], [n1, n - n1]), np.arange(n)
    d = detectable_difference(AREA, SHARED, n1, n - n1)
    rng, found = np.random.default_rng(n), 0
    for _ in range(SETS):
        a, b = drawn(rng, y, alone, (AREA + d / 2, AREA - d / 2), SHARED)
        interval = delong_difference(y, a, b)
        found += interval.low > 0 or interval.high < 0
    assert found / SETS == pytest.approx(0.8, abs=0.06), d


@pytest.mark.parametrize("known", [True, False])
def test_groups_raise_it_by_what_they_have_in_common(known):
    """Labels of a group share a normal part, as in scripts/simulate_coverage.py; an intraclass
    correlation of a half becomes one of a third where that part is cut in two."""
    rng = np.random.default_rng(1)
    sizes = rng.integers(2, 9, size=60)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    found, n = 0, SETS // 2
    for k in range(n):
        parts = rng.normal(size=len(sizes))[groups] + rng.normal(size=len(groups))
        y = (parts > 0).astype(np.int64)
        effect = group_effect(groups, 0.5, y if known else None, 1 / 3)
        d = detectable_difference(AREA, SHARED, int(y.sum()), int((1 - y).sum()), effect)
        a, b = drawn(rng, y, groups, (AREA + d / 2, AREA - d / 2), SHARED, alike=0.5)
        interval = difference_interval(Resamples.draw(groups, k, 200), y, a, b)
        found += interval.low > 0 or interval.high < 0
    assert found / n == pytest.approx(0.8, abs=0.09)


def test_groups_whose_labels_do_not_agree_or_that_hold_one_example_change_nothing():
    assert group_effect([str(i) for i in range(50)], 0.5, labels_alike=0.5) == 1
    twins = np.arange(50) // 2
    assert group_effect(twins, 0.5, np.tile([0, 1], 25)) == 1
    assert group_effect(twins, 0.5, np.repeat([0, 1], 25)) > 1.4
    assert np.isnan(detectable_difference(0.8, 0.5, 0, 40))


@pytest.fixture
def measured_at_once(monkeypatch):
    """What a run would take is not what is asked here."""
    nothing = Costs(1, Memory(2, 3, "reading hidden states"))
    monkeypatch.setattr("probebench.job.preview.dry_run.costs", lambda plan: nothing)


def dry(tmp_path, *words):
    line = ["eval", "--model", "tiny", "--dry-run", "--device", "cpu", *words]
    return CliRunner().invoke(main, [*line, "--out", str(tmp_path / "run")])


def test_the_dry_run_says_it_at_two_accuracies_before_anything_is_generated(
    tmp_path, measured_at_once
):
    plan = prepare(Options(ModelSpec("tiny"), "people", limit=300, out=str(tmp_path))).plan
    found = power(plan)
    assert found.n == plan.splits.count("test")
    assert [d.accuracy for d in found.detectable] == list(ACCURACIES)
    even, lopsided = found.detectable
    assert even.assumed
    assert lopsided.difference > even.difference > 0.05
    said = dry(tmp_path, "--task", "people", "--limit", "300")
    words = " ".join(said.output.split())
    assert (
        f"differ by {even.difference:.3f} if 50% correct or {lopsided.difference:.3f} if" in words
    )
    assert "assumed: AUROC 0.8, decisions of the two correlated 0.5, of a group 0.5" in words


def test_statements_are_counted_by_their_own_labels(tmp_path, measured_at_once):
    labels = [int(i % 10 < 7) for i in range(400)]
    rows = [f"Lake {i} lies in land {i}.,{label},Lake {i}" for i, label in enumerate(labels)]
    own = Path(tmp_path / "own.csv")
    own.write_text("\n".join(["statement,label,city", *rows]))
    said = dry(tmp_path, "--task", "cities", "--data", str(own), "--json")
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)["power"]
    (only,) = found["detectable"]
    assert not only["assumed"]
    assert only["n_correct"] + only["n_wrong"] == found["n_test"]
    assert only["accuracy"] == only["n_correct"] / found["n_test"] == pytest.approx(0.7, abs=0.15)
    assert only["difference"] == pytest.approx(
        detectable_difference(AREA, SHARED, only["n_correct"], only["n_wrong"])
    )
    assert found["assumed"] == {"auroc": AREA, "correlation": SHARED, "group_correlation": ALIKE}
