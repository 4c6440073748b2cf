"""Checks of a reviewer: columns that are one token, the headline on other answers, strata of equal
answers, and columns that never compete."""

from types import SimpleNamespace

import numpy as np
import pytest

import probebench
from probebench.metrics.auroc import auroc
from probebench.metrics.permutation import fdr, fdr_once
from probebench.probes.labels import Labels
from probebench.scoring.matrix import distinct
from probebench.studies.checks.coincide import coincidences
from probebench.studies.checks.subsets import subsets
from probebench.types import Cell, CellFit, Detector


def test_columns_that_are_one_token_are_counted():
    names = ("first_answer", "exact_answer_first", "-1")
    table = np.full((10, 3, 2), -1)
    table[:, 0] = 4
    table[:8, 1] = 4  # the exact answer begins with the first token in 8 of 10
    table[8:, 1] = 6
    table[:, 2] = 7
    found = coincidences(table, names)
    assert found["columns"] == 3
    assert found["tokens_per_answer"] == pytest.approx(2.2)
    assert found["same"] == [
        {"position": "exact_answer_first", "same_as": "first_answer", "share": 0.8}
    ]
    table[:, 2] = -1  # absent columns are no token
    assert coincidences(table, names)["tokens_per_answer"] == pytest.approx(1.2)


def fit(position, decisions, layer=0):
    return CellFit(Cell("resid", layer, position), decisions, 1.0, 0.6, True, 3, "")


def test_cells_that_are_the_same_count_once_in_the_false_discovery_rate():
    a, b = np.random.default_rng(0).normal(size=(2, 20))
    a[3] = np.nan
    fits = [fit("-1", a), fit("-2", b), fit("-3", a.copy()), fit("-3", a, layer=1)]
    p = np.array([0.01, 0.04, 0.01, 0.2])
    first = distinct(fits, np.array([0.7, 0.6, 0.7, 0.7]), p)
    assert first.tolist() == [0, 1, 0, 3]
    assert distinct(fits, np.full(4, 0.7), p * np.nan).tolist() == [0, 1, 2, 3]
    q = fdr_once(p, first)
    np.testing.assert_allclose(q[[0, 1, 3]], fdr(p[[0, 1, 3]]))
    assert q[2] == q[0] != fdr(p)[0]


def test_a_run_says_which_answer_is_given_and_what_is_left_without_some(
    model_folder, answers_file, tmp_path
):
    """Numbers of a subset are those of the run's own decisions on fewer answers."""
    run = probebench.evaluate(
        str(model_folder()),
        answers=answers_file(),
        out=tmp_path / "run",
        positions=["last_q", "-1"],
        layers=[0],
        shuffles=0,
        skip=["p-true"],
    )
    said, answers, p = run.record.said, run.answers, run.predictions
    assert said.commonest.correct.of == int((answers.label == 1).sum())
    assert 0 < said.within.n <= run.record.counts.test.n
    assert run.record.coincidences.columns == 2
    cut = answers[answers.split == "test"].set_index("id").stopped.eq(False)
    (subset,) = [s for s in run.record.subsets if "cut off" in s.without] if cut.any() else [None]
    own = p[(p.detector == "probe") & (p.split == "test")].set_index("id")
    if subset is not None:
        keep = own[~cut.reindex(own.index)]
        assert (subset.n, subset.n_left_out) == (len(keep), int(cut.sum()))
    assert sum(run.record.sites["resid"].C.values()) == 4  # the embedding row too


def test_without_refusals_is_over_the_others():
    """Every refusal is wrong: without them the probe's AUROC is that of the others alone."""
    rng = np.random.default_rng(0)
    n = 400
    y, refused = rng.integers(0, 2, n), rng.random(n) < 0.2
    y[refused] = 0
    decisions = np.where(refused, -9.0, rng.normal(size=n) + 0.5 * y)
    labels = Labels(y, ("validation",) * 100 + ("test",) * 300)
    answers = [SimpleNamespace(refused=bool(r), cut_off=False) for r in refused]
    plan = SimpleNamespace(seed=0, statements=False)
    data = SimpleNamespace(answers=answers, labels=labels, plan=plan, statements=False)
    result = SimpleNamespace(detectors=(Detector("probe", "p", decisions, "probe"),))
    (found,) = subsets(SimpleNamespace(data=data, result=result))
    rows = np.flatnonzero(~refused & (np.arange(n) >= 100))
    assert (found["without"], found["n"]) == ("refusals", len(rows))
    assert found["auroc"] == pytest.approx(auroc(y[rows], decisions[rows]))
    assert found["auroc"] < auroc(y[100:], decisions[100:])


def test_one_answer_that_makes_up_a_class_is_a_warning():
    from probebench.studies.checks.subsets import _one_answer

    def concern(share):
        c = SimpleNamespace(share=share, of=100, answer="neutral")
        other = SimpleNamespace(share=0.1, of=100, answer="entailment")
        within = SimpleNamespace(auroc=0.6, auroc_95=(0.5, 0.7), n=40, pairs=300)
        said = SimpleNamespace(commonest=SimpleNamespace(correct=c, wrong=other), within=within)
        return SimpleNamespace(record=SimpleNamespace(said=said))

    (text,) = _one_answer(concern(0.64))
    assert "correct 64% ('neutral')" in text
    assert "0.600 [0.50, 0.70]" in text
    assert not list(_one_answer(concern(0.4)))
    every = concern(1)
    every.record.said.commonest.wrong = every.record.said.commonest.correct
    (text,) = _one_answer(every)
    assert text.startswith(
        "Every answer is 'neutral': which of them are right is a matter of the q"
    )
