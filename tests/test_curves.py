"""The learning curve: it rises on planted data, subsets are nested, and no size is made up."""

from dataclasses import replace

import numpy as np
import pytest
from planted import CELL, OneCell

from probebench.errors import UsageError
from probebench.metrics.auroc import auroc
from probebench.probes.fit import Job, fit_cell
from probebench.probes.kinds import get_probe
from probebench.probes.labels import Labels, split_index
from probebench.studies.curves import check_sizes, learning_curve, nested
from probebench.tasks.split import split_of

N, WIDTH = 2400, 40


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(0)
    groups = tuple(f"g{i // 2}" for i in range(N))
    labels = Labels(rng.integers(0, 2, N), tuple(split_of(g) for g in groups), groups)
    X = rng.normal(size=(N, WIDTH)) + np.outer(labels.y - 0.5, np.full(WIDTH, 0.25))
    there = np.ones(N, dtype=bool)
    there[::50] = False
    X[~there] = np.nan  # what stands where a token is absent must never be looked at
    job = Job(OneCell(X.astype(np.float32), there), labels, get_probe("logistic"))
    return job, fit_cell(job.reader.X, there, labels, job.probe, CELL)


def test_it_rises_with_the_number_of_examples(planted):
    curve = learning_curve(*planted, (20, 80, 400))
    values = [p["auroc"] for p in curve["points"]] + [curve["all"]["auroc"]]
    assert [p["n"] for p in curve["points"]] == [20, 80, 400]
    assert values == sorted(values)
    assert values[-1] - values[0] > 0.1
    for p in curve["points"]:
        assert p["auroc"] == pytest.approx(np.mean(p["aurocs"]))
        assert p["auroc_95"][0] < p["auroc"] < p["auroc_95"][1]
        assert p["repeats"] == len(p["C"]) == 10


def test_the_last_point_is_the_selected_probe(planted):
    job, fit = planted
    test = split_index(job.labels.splits)["test"]
    test = test[np.isfinite(fit.decisions[test])]
    all_of_it = learning_curve(job, fit, (20,), repeats=2)["all"]
    assert all_of_it["auroc"] == pytest.approx(
        auroc(job.labels.y[test], fit.decisions[test]), abs=1e-12
    )
    assert all_of_it["C"] == fit.C
    assert all_of_it["n"] == sum(
        s == "train" and t for s, t in zip(job.labels.splits, job.reader.mask, strict=True)
    )


def test_it_is_the_same_every_time_and_other_for_another_seed(planted):
    from dataclasses import replace

    job, fit = planted
    one = learning_curve(job, fit, (50,), repeats=3)
    assert one == learning_curve(job, fit, (50, 50), repeats=3)
    assert one["points"] != learning_curve(replace(job, seed=1), fit, (50,), repeats=3)["points"]


def test_groups_join_together_and_larger_subsets_hold_smaller_ones():
    groups = np.array([f"g{i % 7}" for i in range(50)])
    order = nested(groups, 0, 0)
    assert sorted(order.tolist()) == list(range(50))
    joined = groups[order]
    assert sum(joined[1:] != joined[:-1]) == 6, "each group in one piece"
    assert order.tolist() != nested(groups, 0, 1).tolist()


def test_a_size_beyond_the_train_split_is_an_error_that_says_how_many_there_are():
    check_sizes((50, 120), 120)
    check_sizes(None, 120)
    with pytest.raises(UsageError, match="--train-sizes 121 is more than the 120 examples"):
        check_sizes((50, 121), 120)


def test_what_the_cell_cannot_give_is_said_and_not_made_up(planted):
    job, fit = planted
    n = learning_curve(job, fit, (20,), repeats=2)["all"]["n"]
    curve = learning_curve(job, fit, (20, n + 1), repeats=2)
    assert [p["n"] for p in curve["points"]] == [20]
    assert curve["too_large"] == [n + 1]


def test_a_subset_of_one_class_has_no_auroc(planted):
    job, fit = planted
    from dataclasses import replace

    y = np.zeros(N, dtype=np.int64)
    y[::40] = 1
    rare = replace(job, labels=Labels(y, job.labels.splits, job.labels.groups))
    point = learning_curve(rare, fit, (2,))["points"][0]
    assert point["repeats"] < 10
    assert np.isnan(point["aurocs"]).sum() == 10 - point["repeats"]


def test_an_estimator_that_needs_more_examples_has_no_auroc_there(planted):
    job = replace(planted[0], probe=get_probe("sklearn.neighbors:KNeighborsClassifier"))
    curve = learning_curve(job, planted[1], (4, 400))
    few, many = curve["points"]
    assert few["repeats"] == 0 and np.isnan(few["auroc"])
    assert many["repeats"] == 10 and many["auroc"] > 0.5
