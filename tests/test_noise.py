"""Label noise: planted errors lower the AUROC as the formula says, and the formula turned round
gives the truth back."""

import numpy as np
import pytest
from planted import CELL, OneCell
from sklearn.metrics import cohen_kappa_score

import probebench
from probebench.errors import UnknownNameError, UsageError
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import bootstrap_interval
from probebench.probes.fit import Job, fit_cell
from probebench.probes.kinds import get_probe
from probebench.probes.labels import Labels, split_index
from probebench.studies.noise import attenuation, label_noise
from probebench.tasks.split import split_of

N = 6000


def draws(n):
    return Resamples.draw([f"g{i}" for i in range(n)], 0, 200)


@pytest.mark.parametrize(("of_correct", "of_wrong"), [(10, 0), (9, 2), (6, 3)])
def test_the_formula_is_exact_where_noise_does_not_hang_on_the_decision(of_correct, of_wrong):
    """Every example ten times: so many copies of each correct one, and of each wrong one, are
    labelled correct."""
    truth = np.repeat([1, 0], 100)
    score = truth + np.random.default_rng(0).normal(size=200)
    first = (
        (np.arange(10) < np.where(truth == 1, of_correct, of_wrong)[:, None]).astype(int).ravel()
    )
    found = attenuation(first, np.repeat(truth, 10), np.repeat(score, 10), draws(2000))
    assert found["predicted"] == pytest.approx(auroc(truth, score), abs=1e-9)
    assert found["observed"] - 0.5 == pytest.approx(
        found["factor"] * (auroc(truth, score) - 0.5), abs=1e-9
    )


def test_planted_flips_are_taken_back():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, N)
    decisions = 1.2 * truth + rng.normal(size=N)
    first = np.where(rng.random(N) < np.where(truth == 1, 0.25, 0.1), 1 - truth, truth)
    found = attenuation(first, truth, decisions, draws(N))
    true = auroc(truth, decisions)
    assert found["observed"] < true - 0.05
    assert found["predicted"] == pytest.approx(true, abs=0.015)
    assert found["predicted_95"][0] < true < found["predicted_95"][1]
    assert found["factor"] == pytest.approx(
        1 - found["wrong_among_labelled_correct"] - found["correct_among_labelled_wrong"]
    )
    assert found["bias"] == pytest.approx(found["observed"] - found["predicted"])


def test_errors_on_hard_examples_are_not_taken_for_independent_ones():
    """Labels wrong only near the middle of the decisions cost less than the formula says: it
    predicts too much."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, N)
    decisions = 1.5 * truth + rng.normal(size=N)
    hard = np.abs(decisions - 0.75) < 0.5
    first = np.where(hard & (rng.random(N) < 0.5), 1 - truth, truth)
    assert (
        attenuation(first, truth, decisions, draws(N))["predicted"] > auroc(truth, decisions) + 0.02
    )


def test_agreement_leaves_everything_as_it_is_and_labels_at_odds_give_nothing():
    y = np.random.default_rng(3).integers(0, 2, 400)
    d = y + np.random.default_rng(4).normal(size=400)
    same = attenuation(y, y, d, draws(400))
    assert (same["factor"], same["bias"]) == (1.0, 0.0)
    opposite = attenuation(y, 1 - y, d, draws(400))
    assert opposite["factor"] == -1
    assert np.isnan(opposite["predicted"])


@pytest.fixture(scope="module")
def judged():
    """The run's labels are a noisy reading of the truth, which the states hold; the second judge
    sees it."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, N)
    first = np.where(rng.random(N) < 0.2, 1 - truth, truth)
    groups = tuple(f"g{i // 2}" for i in range(N))
    labels = Labels(first, tuple(split_of(g) for g in groups), groups)
    X = (rng.normal(size=(N, 10)) + np.outer(truth - 0.5, np.full(10, 0.5))).astype(np.float32)
    job = Job(OneCell(X, np.ones(N, dtype=bool)), labels, get_probe("logistic"))
    return job, fit_cell(X, job.reader.mask, labels, job.probe, CELL), truth


def test_both_fits_under_both_labels(judged):
    job, fit, truth = judged
    found = label_noise(job, fit, [bool(v) for v in truth], "other")
    test = split_index(job.labels.splits)["test"]
    cell = found["scores"]["fitted_to_first"]
    assert cell["scored_under_first"]["auroc"] == pytest.approx(
        auroc(job.labels.y[test], fit.decisions[test])
    )
    assert cell["scored_under_second"]["auroc"] == pytest.approx(
        auroc(truth[test], fit.decisions[test])
    )
    assert found["change"] > 0.1
    assert found["change_95"][0] > 0
    again = found["scores"]["fitted_to_second"]
    assert again["scored_under_second"]["auroc"] >= cell["scored_under_second"]["auroc"] - 0.01
    assert again["scored_under_first"]["auroc"] < again["scored_under_second"]["auroc"] - 0.1
    assert found["attenuation"]["predicted"] == pytest.approx(
        cell["scored_under_second"]["auroc"], abs=0.03
    )
    assert found["kappa"] == pytest.approx(cohen_kappa_score(job.labels.y, truth))
    assert {name: part["n"] for name, part in found["by_split"].items()} == {
        k: len(v) for k, v in split_index(job.labels.splits).items()
    }


def test_answers_without_a_second_label_are_left_out(judged):
    job, fit, truth = judged
    silent = [None if i % 3 == 0 else bool(v) for i, v in enumerate(truth)]
    found = label_noise(job, fit, silent, "other")
    test = split_index(job.labels.splits)["test"]
    assert found["n_test"] == sum(i % 3 != 0 for i in test)
    assert found["with_opinion"] == sum(s is not None for s in silent)
    assert all(
        part["n"] == found["n_test"] for rows in found["scores"].values() for part in rows.values()
    )
    heard = np.array([s is not None for s in silent])
    alone = fit_cell(
        job.reader.X, heard, Labels(truth, job.labels.splits, job.labels.groups), job.probe, CELL
    )
    rows = test[heard[test]]
    assert found["scores"]["fitted_to_second"]["scored_under_second"]["auroc"] == pytest.approx(
        auroc(truth[rows], alone.decisions[rows]), abs=1e-12
    )


def test_the_interval_of_the_change_knows_the_judge_with_fewer_of_a_class(judged):
    job, fit, _ = judged
    test = split_index(job.labels.splits)["test"]
    strict = np.zeros(N, dtype=bool)
    strict[test[np.argsort(-fit.decisions[test])[[0, 3, 9]]]] = (
        True  # three correct ones, each in a group of its own
    )
    found = label_noise(job, fit, strict.tolist(), "strict")
    draws = Resamples.draw([job.labels.groups[i] for i in test], job.seed)
    first, second = job.labels.y[test], strict[test].astype(int)
    apart = draws.auroc(second, fit.decisions[test]) - draws.auroc(first, fit.decisions[test])
    few = min(draws.independent(first), draws.independent(second))
    assert few < draws.independent(first)
    expected = bootstrap_interval(found["change"], apart, few, "difference")
    assert found["change_95"] == [expected.low, expected.high]


def test_a_judge_of_one_class_cannot_be_fitted_to(judged):
    job, fit, _ = judged
    found = label_noise(job, fit, [False] * N, "strict")
    assert "0 correct answers have this token" in found["refit"]["reason"]
    assert list(found["scores"]) == ["fitted_to_first"]
    assert np.isnan(found["change"])


def test_a_second_judge_that_cannot_be_is_named_before_anything_runs(
    model_folder, answers_file, tmp_path
):
    path = answers_file()

    def ask(**options):
        return probebench.evaluate(
            str(model_folder()), answers=path, out=tmp_path / "never", **options
        )

    with pytest.raises(UnknownNameError, match="Did you mean 'aliases'"):
        ask(label_noise="aliase")
    with pytest.raises(UsageError, match="name one with judge_model=M"):
        ask(label_noise="model")
    with pytest.raises(UsageError, match="these examples have none"):
        ask(label_noise="aliases")
    with pytest.raises(UsageError, match="train_sizes must be numbers of 2 or more; got 1, 50"):
        ask(train_sizes=(1, 50))
    with pytest.raises(
        UsageError, match=r"train_sizes=\[9999\] is more than the \d+ examples of the train split"
    ):
        ask(train_sizes=(9999,))
    with pytest.raises(UsageError, match="is the judge that the task 'people' is labelled by"):
        probebench.evaluate("tiny", "people", label_noise="aliases", out=tmp_path / "never")
    with pytest.raises(UsageError, match="statements come with their labels"):
        statements = tmp_path / "facts.csv"
        statements.write_text(
            "statement,label\n" + "".join(f"Rivers {i} flow.,{i % 2}\n" for i in range(90))
        )
        probebench.evaluate(
            str(model_folder()),
            "cities",
            data=statements,
            label_noise="exact",
            out=tmp_path / "never",
        )
    assert not (tmp_path / "never" / "record.json").exists()


def test_a_model_s_opinions_serve_as_second_labels(
    model_folder, answers_file, tmp_path, monkeypatch
):
    """A random model says neither yes nor no; what it would say is put into its mouth."""
    from probebench.stages import second_judge

    monkeypatch.setattr(
        second_judge, "read_opinion", lambda text: None if not text else len(text) % 2 == 0
    )
    options = {
        "answers": answers_file(),
        "judge_model": str(model_folder("mistral")),
        "shuffles": 0,
        "layers": (1,),
        "positions": ("last_q", "-1"),
    }
    plain = probebench.evaluate(str(model_folder()), out=tmp_path / "a", **options)
    noisy = probebench.evaluate(
        str(model_folder()), out=tmp_path / "a", label_noise="model", **options
    )
    assert plain.record["label_noise"] is None
    found = noisy.record["label_noise"]
    assert found["judge"] == "model"
    for key in ("n", "with_opinion", "agreement", "kappa"):
        assert found[key] == noisy.record["second_opinion"][key]
    assert noisy.record["detectors"] == plain.record["detectors"], "it changes no other number"


@pytest.mark.parametrize("heard", ["nothing", "nothing of test"])
def test_a_judge_that_says_nothing_leaves_the_run_without_figures(judged, heard):
    job, fit, truth = judged
    test = set(split_index(job.labels.splits)["test"].tolist())
    said = [bool(v) if heard != "nothing" and i not in test else None for i, v in enumerate(truth)]
    found = label_noise(job, fit, said, "silent")
    assert found["n_test"] == 0 and np.isnan(found["change"])
    assert found["refit"]["reason"]
    assert all(
        np.isnan(part["auroc"]) for rows in found["scores"].values() for part in rows.values()
    )
