"""Two runs on their common examples: planted truth, references, counts, refusals, and error rates
in simulation."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from planted import MODEL, axis, planted
from scipy.stats import binomtest, norm

import probebench
from probebench.across.compare import compare
from probebench.across.same_examples import joined_groups, matched
from probebench.cli.main import main
from probebench.errors import LabelError, UnknownNameError, UsageError
from probebench.metrics.auroc import auroc
from probebench.metrics.paired import paired
from probebench.report.terminal.compare import compare_lines

Y = np.random.default_rng(1).integers(0, 2, 800)


def runs(noise=1.0, **changes):
    """Two runs of one task whose `probe` and `length` share most of their noise."""
    rng = np.random.default_rng(2)
    shared = Y + rng.normal(size=len(Y))
    detectors = {"probe": shared, "length": shared + noise * rng.normal(size=len(Y))}
    a = planted("t", {0: axis(0)}, y=Y, detectors=detectors)
    b = planted("t", {0: axis(0)}, y=Y, detectors=detectors, **changes)
    return a, b


def test_a_run_and_itself_differ_by_nothing():
    a, b = runs()
    found = compare(a, b)
    test = int((a.answers.split == "test").sum())
    assert (found.n, found.a.n_test, found.n_different_labels, found.n_different_answers) == (
        test,
        test,
        0,
        0,
    )
    for interval in (found.difference_95, found.difference_95_delong):
        assert (interval.low, interval.high) == (0, 0)
    assert found.difference == 0
    assert np.isnan(found.delong_p), "no variance, no p"
    assert found.differs == {}
    assert found.notes == ()


def test_groups_are_drawn_whole():
    a, b = runs()
    group = [f"g{i // 20}" for i in range(len(Y))]
    for run in (a, b):
        run.tables["answers"] = run.answers.assign(group=group)
    found = compare(a, b, detector_b="length")
    outside = not found.difference_95.low < 0 < found.difference_95.high
    assert (found.p < 0.05) is outside, "of the same groups as the interval"
    assert found.p != found.delong_p
    test = np.flatnonzero(a.answers.split == "test")
    decisions = [
        a.predictions.query("detector == @name and split == 'test'").decision.to_numpy()
        for name in ("probe", "length")
    ]
    whole = paired(
        Y[test],
        Y[test],
        *decisions,
        joined_groups([group[i] for i in test], [group[i] for i in test]),
        0,
    )
    assert found.difference_95 == whole.interval
    assert found.n_groups == len({group[i] for i in test})
    assert (
        found.difference_95
        != paired(Y[test], Y[test], *decisions, [str(i) for i in test], 0).interval
    )


def brute_delong(y, a, b):
    """Difference and its standard error by the structural components of DeLong et al. (1988), pair
    by pair."""
    parts = []
    for s in (a, b):
        above = (s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0])
        parts.append((above.mean(axis=1), above.mean(axis=0)))
    S1, S0 = np.cov([parts[0][0], parts[1][0]]), np.cov([parts[0][1], parts[1][1]])
    S = S1 / (y == 1).sum() + S0 / (y == 0).sum()
    return parts[0][0].mean() - parts[1][0].mean(), np.sqrt(S[0, 0] + S[1, 1] - 2 * S[0, 1])


def test_numbers_are_those_of_the_common_examples_and_of_delong():
    a, b = runs()
    found = compare(a, b, detector_b="length")
    test = (a.answers.split == "test").to_numpy()
    decisions = [
        a.predictions.query("detector == @name and split == 'test'").decision.to_numpy()
        for name in ("probe", "length")
    ]
    y = Y[test]
    assert found.a.auroc == pytest.approx(auroc(y, decisions[0]), abs=1e-12)
    assert found.b.auroc == pytest.approx(auroc(y, decisions[1]), abs=1e-12)
    difference, sd = brute_delong(y, *decisions)
    assert found.difference == pytest.approx(difference, abs=1e-12)
    assert found.difference_95_delong.high - found.difference_95_delong.low == pytest.approx(
        2 * norm.ppf(0.975) * sd, rel=1e-9
    )
    assert found.delong_p == pytest.approx(2 * norm.sf(abs(difference) / sd), rel=1e-9)


def test_pairing_makes_the_interval_narrower():
    a, b = runs(noise=0.3)
    found = compare(a, b, detector_b="length")
    widths = [s.auroc_95.high - s.auroc_95.low for s in (found.a, found.b)]
    assert found.difference_95.high - found.difference_95.low < 0.5 * np.hypot(*widths)


def test_common_examples_are_counted_from_both_sides():
    a, b = runs()
    test = np.flatnonzero(b.answers.split == "test")
    split = b.answers.split.to_numpy(dtype=object).copy()
    split[test[:5]] = "train"  # test in A, train in B
    b.tables["answers"] = b.answers.assign(split=split)
    predictions = b.predictions[~b.predictions.id.isin(b.answers.id[test[:5]])].copy()
    predictions.loc[predictions.id.isin(b.answers.id[test[5:8]]), "decision"] = np.nan
    b.tables["predictions"] = predictions
    keep = ~a.answers.id.isin(a.answers.id[test[8:10]])  # not in A at all
    a.tables["answers"] = a.answers[keep].reset_index(drop=True)
    a.tables["predictions"] = a.predictions[a.predictions.id.isin(a.answers.id)]
    found = compare(a, b)
    n = len(test)
    assert found.n == n - 10
    assert (
        found.a.n_test,
        found.a.n_not_in_other,
        found.a.n_trained_in_other,
        found.a.n_without_decision,
    ) == (n - 2, 0, 5, 0)
    assert (
        found.b.n_test,
        found.b.n_not_in_other,
        found.b.n_trained_in_other,
        found.b.n_without_decision,
    ) == (n - 5, 2, 0, 3)
    assert found.notes == (
        "5 test examples of A stand in train or validation of B and are left out.",
    )
    said = " ".join(" ".join(compare_lines(found)).split())
    assert f"A has {n - 2} test examples: 5 are not in test of B." in said
    assert f"B has {n - 5} test examples: 2 are not in A, 3 have no decision of B." in said


def flipped(run, k):
    """The same run with the labels of its first k test examples turned round."""
    answers = run.answers
    test = np.flatnonzero(answers.split == "test")[:k]
    label = answers.label.to_numpy().copy()
    label[test] = 1 - label[test]
    run.tables["answers"] = answers.assign(label=label)
    return answers.id[test[0]]


def test_different_labels_are_refused_and_the_message_says_why():
    a, b = runs()
    first = flipped(b, 7)
    n = int((a.answers.split == "test").sum())
    with pytest.raises(UsageError, match="have different labels") as caught:
        compare(a, b)
    assert str(caught.value) == (
        f"7 of {n} common test examples have different labels in run-t and run-t (first: "
        f"'{first}'). The runs do not mean the same by right and wrong: compare their tasks, "
        "judges and answers. With different_labels=True each run is scored against its own labels "
        "all the same."
    )
    a, b = runs(model={**MODEL, "name": "other", "revision": "s"})
    flipped(b, 7)
    with pytest.raises(UsageError, match="have different labels") as caught:
        compare(a, b)
    assert (
        "That is in the nature of two models: planted and other each answer by themselves"
        in str(caught.value)
    )


def test_with_different_labels_each_run_is_scored_against_its_own():
    a, b = runs(model={**MODEL, "revision": "s"})
    flipped(b, 40)
    found = compare(a, b, detector_b="length", different_labels=True)
    test = (a.answers.split == "test").to_numpy()
    decisions = [
        a.predictions.query("detector == @name and split == 'test'").decision.to_numpy()
        for name in ("probe", "length")
    ]
    assert found.a.auroc == pytest.approx(
        auroc(a.answers.label.to_numpy()[test], decisions[0]), abs=1e-12
    )
    assert found.b.auroc == pytest.approx(
        auroc(b.answers.label.to_numpy()[test], decisions[1]), abs=1e-12
    )
    assert found.own_labels
    assert np.isnan(found.difference_95_delong.low)
    assert found.difference_95.low < found.difference < found.difference_95.high
    assert "against its own labels (40 differ)" in found.notes[0]
    assert found.differs == {"revision": ("r", "s")}


def test_versions_of_a_task_are_matched_by_question_where_ids_differ():
    a, b = runs()
    ids = {old: f"v2-{old}" for old in b.answers.id}
    b.tables["answers"] = b.answers.assign(
        id=b.answers.id.map(ids), question=b.answers.question.str.upper()
    )
    b.tables["predictions"] = b.predictions.assign(id=b.predictions.id.map(ids))
    b.record["task"] = {**b.record["task"], "version": 2, "hash": "new"}
    found = compare(a, b)
    assert found.n == found.n_by_text == found.a.n_test
    assert found.notes == (
        "Different files of the task, versions 1 and 2: prompts or judges may differ.",
    )


def test_an_id_with_another_question_is_another_example_and_repeated_questions_are_not_guessed():
    a = pd.DataFrame({"id": ["1", "2", "3", "4"], "question": ["x", "y", "z", "z"]})
    b = pd.DataFrame({"id": ["1", "2", "9"], "question": ["x", "other", "Z "]})
    pairs, by_text = matched(a, b)
    assert pairs.tolist() == [[0, 0]]
    assert by_text.tolist() == [False]
    pairs, by_text = matched(a.iloc[:3], b)
    assert pairs.tolist() == [[0, 0], [2, 2]]
    assert by_text.tolist() == [False, True]


def test_groups_of_both_runs_hold():
    joined = joined_groups(["a", "a", "b", "c", "d"], ["x", "y", "y", "z", "w"])
    assert joined[0] == joined[1] == joined[2]
    assert len(set(joined)) == 3


def test_nothing_in_common_and_one_class_are_refused():
    a, b = runs()
    with pytest.raises(
        UsageError,
        match=(
            "run-t and run-u have no common test examples that both detectors can score: 0 examples"
        ),
    ):
        compare(a, planted("u", {0: axis(0)}))
    with pytest.raises(LabelError, match="common test examples hold one class only"):
        for run in (a, b):
            run.tables["answers"] = run.answers.assign(label=1)
        compare(a, b)
    a, _ = runs()
    with pytest.raises(
        UnknownNameError, match="Unknown detector of run-t 'lenght'. Did you mean 'length'?"
    ):
        compare(a, a, detector="lenght")


def test_a_site_stands_for_the_probe_of_its_best_cell():
    a = planted("t", {0: 2 * axis(0)}, y=Y)
    a.states().values["mlp.down", 0] = a.states().values["resid", 0][:, :3].copy()
    a.record["sites"]["mlp.down"] = {
        "best": {
            "site": "mlp.down",
            "layer": "0",
            "position": "-1",
            "C": 0.1,
            "validation_auroc": 0.8,
        }
    }
    found = compare(a, a, detector="resid", detector_b="mlp.down")
    assert found.a.label == "probe, best cell of resid: layer 0, -1"
    test = (a.answers.split == "test").to_numpy()
    assert found.a.auroc == pytest.approx(
        auroc(Y[test], a.states().cell(0, "-1")[test, 0]), abs=0.03
    )
    assert abs(found.difference) < 0.05
    assert 0 < found.difference_95.high - found.difference_95.low < 0.1


def test_positions_and_cells_are_compared_on_common_examples():
    a = planted("t", {0: 2 * axis(0), 1: 0.5 * axis(0)}, y=Y)
    a.record["by_position"] = [SimpleNamespace(position="-1", layer="0", C=0.1)]
    found = compare(a, a, detector="-1", detector_b="resid:1:-1")
    assert found.a.label == "probe, best layer at -1: resid, layer 0"
    assert found.b.label == "probe, resid, layer 1, -1"
    assert found.difference_95.low > 0, "layer 0 has four times the signal"
    a.record["by_position"] += [SimpleNamespace(position="-7", layer=None, masked="no token")]
    with pytest.raises(UsageError, match="No cell at -7 could be fitted: no token"):
        compare(a, a, detector="-7")
    for name in ("resid:9:-1", "resid:0:-7", "resid:x:-1", "other:0:-1", "resid:0"):
        with pytest.raises(UsageError, match=r"did not read resid of layer 9|Unknown detector"):
            compare(a, a, detector=name)


def test_the_command_prints_eighty_columns_json_and_a_file(model_folder, answers_file, tmp_path):
    run = probebench.evaluate(
        str(model_folder()),
        answers=answers_file(150),
        positions=("-1",),
        layers=(2,),
        out=tmp_path / "run",
        device="cpu",
        shuffles=0,
    )
    words = ["compare", str(run.folder), str(run.folder), "--detector-b", "length"]
    before = {p.name for p in run.folder.iterdir()}
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert max(len(line) for line in done.output.splitlines() if str(tmp_path) not in line) <= 80
    assert {p.name for p in run.folder.iterdir()} == before
    as_json = json.loads(
        CliRunner().invoke(main, [*words, "--json", "--out", str(tmp_path / "c.json")]).output
    )
    assert as_json == json.loads((tmp_path / "c.json").read_text())
    found = probebench.compare(run, run, detector_b="length")
    assert as_json["difference_95"] == [found.difference_95.low, found.difference_95.high]
    assert as_json["a"]["auroc_95"][0] == found.a.auroc_95.low
    wrong = CliRunner().invoke(main, ["compare", str(run.folder), str(tmp_path)])
    assert (wrong.exit_code, "is not a finished run" in wrong.output) == (2, True)


SIMULATED, PAIRS = 500, 100


@pytest.fixture(scope="module")
def simulated():
    """Rejections of `compare` with nothing to find, examples in groups of two that share noise; and
    of DeLong without groups."""
    rng = np.random.default_rng(0)
    groups = [f"g{i // 2}" for i in range(2 * PAIRS)]
    by_group, delong = [], []
    for k in range(SIMULATED):
        y = rng.integers(0, 2, 2 * PAIRS)
        common = rng.normal(size=2 * PAIRS) + y
        # of each detector, what the examples of a group share
        twins = np.repeat(rng.normal(size=(2, PAIRS)), 2, axis=1)
        a, b = (
            common + 0.7 * twins[0] + 0.5 * rng.normal(size=2 * PAIRS),
            common + 0.7 * twins[1] + 0.5 * rng.normal(size=2 * PAIRS),
        )
        found = paired(y, y, a, b, groups, k)
        by_group.append(not found.interval.low <= 0 <= found.interval.high)
        a, b = (common + rng.normal(size=2 * PAIRS) for _ in range(2))
        delong.append(paired(y, y, a, b, groups[:1] * 2 * PAIRS, k).delong_p < 0.05)
    return np.array(by_group), np.array(delong)


def test_equal_detectors_differ_in_five_of_a_hundred_data_sets(simulated):
    for rejected in simulated:
        assert binomtest(int(rejected.sum()), SIMULATED, 0.05).pvalue > 0.01, rejected.mean()


def test_detectors_without_a_common_example_have_nothing_to_compare():
    from probebench.metrics.paired import paired

    y, a, b = np.array([1, 0]), np.array([0.5, np.nan]), np.array([np.nan, 0.2])
    found = paired(y, y, a, b, ["x", "y"], 0)
    assert len(found.rows) == 0
    assert np.isnan([*found.values, found.difference, found.interval.low, found.p]).all()
