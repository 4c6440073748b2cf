"""Confounds: a probe that reads length has nothing left, one that reads truth keeps all."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from probebench.metrics.auroc import auroc
from probebench.probes.labels import Labels
from probebench.studies.confounds import Features, answer_in_prompt, features, linear, residual
from probebench.tasks.split import split_of
from probebench.types import Answer, Example, LabelledAnswer, TokenizedAnswer, split_index

N = 3000
RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, N)
GROUPS = tuple(f"g{i // 2}" for i in range(N))
LABELS = Labels(Y, tuple(split_of(g) for g in GROUPS), GROUPS)
ROWS = split_index(LABELS.splits)
LENGTH = np.maximum(1, np.round(10 + 3 * Y + RNG.normal(scale=3, size=N))).astype(int)
NOTHING = np.zeros(0, dtype=np.float32)


def answer(i, *, length=5, n_prompt=8, exact=True, label=None, references=("Paris",), **example):
    e = Example(f"e{i}", "Where?", references, GROUPS[i], label=label, **example)
    a = Answer(
        e.id, tuple(range(n_prompt)), tuple(range(length)), False, "text", NOTHING, NOTHING, NOTHING
    )
    tokens = TokenizedAnswer(
        n_prompt, n_prompt + length, (n_prompt + i % 3, n_prompt + 3) if exact else None
    )
    return LabelledAnswer(e, a, int(Y[i]), False, None, tokens, LABELS.splits[i])


@pytest.fixture(scope="module")
def found():
    return features([answer(i, length=int(LENGTH[i]), exact=i % 10 > 0) for i in range(N)], LABELS)


def test_a_probe_of_length_has_nothing_left(found):
    decisions = -2.0 + 0.7 * LENGTH
    facts = linear(found, LABELS, decisions, 0)
    assert facts["residual"]["probe_auroc"] > 0.7
    assert facts["residual"]["auroc"] == 0.5, "rounding errors are no ranking"
    assert facts["residual"]["r2"] == 1.0
    assert facts["linear"]["auroc"] == pytest.approx(facts["residual"]["probe_auroc"], abs=0.02)
    noisy = linear(found, LABELS, decisions + np.random.default_rng(1).normal(size=N), 0)[
        "residual"
    ]
    assert noisy["auroc_95"][0] < 0.5 < noisy["auroc_95"][1]
    assert noisy["probe_minus_this_95"][0] > 0.1


def test_a_probe_of_the_truth_keeps_all(found):
    apart = np.random.default_rng(2).normal(size=N)
    # labels that length says nothing of
    fair = Labels(np.random.default_rng(3).integers(0, 2, N), LABELS.splits, GROUPS)
    facts = linear(found, fair, 1.5 * fair.y + apart, 0)
    assert facts["residual"]["auroc"] == pytest.approx(facts["residual"]["probe_auroc"], abs=0.01)
    assert facts["linear"]["auroc_95"][0] < 0.5 < facts["linear"]["auroc_95"][1]
    assert facts["linear"]["probe_minus_this_95"][0] > 0.2


def test_train_decisions_take_more_away_than_validation_ones(found):
    """A probe that knows its train labels by heart follows length there through them."""
    train = np.asarray(LABELS.splits) == "train"
    decisions = Y + np.random.default_rng(4).normal(size=N)
    decisions[train] = 8.0 * Y[train]
    facts = linear(found, LABELS, decisions, 0)
    assert facts["residual"]["auroc"] < facts["residual_validation"]["auroc"]


def test_residuals_are_those_of_least_squares(found):
    decisions = Y + 0.1 * LENGTH + np.random.default_rng(5).normal(size=N)
    model = LinearRegression().fit(found.values[ROWS["train"]], decisions[ROWS["train"]])
    left, r2 = residual(found.values, decisions, ROWS["train"])
    np.testing.assert_allclose(left, decisions - model.predict(found.values), atol=1e-8)
    assert r2 == pytest.approx(model.score(found.values[ROWS["train"]], decisions[ROWS["train"]]))


def test_as_many_features_as_examples_leave_nothing_to_say():
    """Least squares then explains anything: zeros would look like a probe that the features explain
    wholly."""
    rng = np.random.default_rng(0)
    X, d = rng.normal(size=(400, 40)), rng.normal(size=400)
    left, r2 = residual(X, d, np.arange(30))
    assert np.isnan(left).all()
    assert np.isnan(r2)
    assert np.isfinite(residual(X, d, np.arange(60))[0]).all()
    doubled = np.repeat(X[:, :5], 9, axis=1)  # 45 columns of five features
    assert np.isfinite(residual(doubled, d, np.arange(30))[0]).all()


def test_linear_model_looks_at_no_test_label_and_n_is_the_probe_s(found):
    decisions = Y + np.random.default_rng(6).normal(size=N)
    decisions[ROWS["test"][:30]] = np.nan
    facts = linear(found, LABELS, decisions, 0)
    assert {facts[k]["n"] for k in ("linear", "residual", "residual_validation")} == {
        len(ROWS["test"]) - 30
    }
    y = Y.copy()
    y[ROWS["test"]] = 1 - y[ROWS["test"]]
    turned = linear(found, Labels(y, LABELS.splits, GROUPS), decisions, 0)
    for part in ("linear", "residual"):
        assert turned[part]["auroc"] == pytest.approx(1 - facts[part]["auroc"])
    assert turned["linear"]["C"] == facts["linear"]["C"]


def test_features_say_what_is_not_there(found):
    assert found.names == ("answer_tokens", "exact_answer_index", "exact_answer_found")
    assert "the same for all" in found.left_out["question_tokens"]
    assert found.left_out["options"] == "no example has it"
    assert found.left_out["source"] == "no column of the task says it"
    train = found.values[ROWS["train"]]
    np.testing.assert_allclose(train[:, 0].mean(), 0, atol=1e-9)
    missing = np.arange(N) % 10 == 0
    assert (found.values[missing, 1] == 0).all(), (
        "an absent place adds nothing; another feature says that it is absent"
    )


def test_statements_have_one_length():
    found = features([answer(i, length=3 + i % 4, label=int(Y[i])) for i in range(N)], LABELS)
    assert found.names == ("statement_tokens",)
    assert set(found.left_out) >= {"answer_tokens", "question_tokens", "exact_answer_index"}


def test_options_and_sources_become_columns():
    kinds = ["news", "web", "books"]
    answers = [
        answer(
            i, wrong=("a",) * (1 + i % 3), fields={"id": i, "source": kinds[i % 3], "category": i}
        )
        for i in range(N)
    ]
    found = features(answers, LABELS)
    assert {"options", "source: source = news", "source: source = web"} <= set(found.names)
    assert "source: source = books" not in found.names, "the last one follows from the others"
    many = features([answer(i, fields={"category": f"c{i}"}) for i in range(N)], LABELS)
    assert many.left_out["source"].startswith("category: one value, or more than 50")


def test_no_features_no_numbers():
    facts = linear(Features((), np.zeros((N, 0)), {}), LABELS, Y + 0.0, 0)
    assert facts == {"linear": None, "residual": None, "residual_validation": None}


def test_an_answer_in_the_prompt_is_seen_on_whole_words():
    answers = [answer(0), answer(1), answer(2), answer(3, references=())]
    prompts = ["Is it PARIS, or Rome?", "Comparison of towns.", "Nothing.", "Paris"]
    found = answer_in_prompt(answers, prompts, declared=False)
    assert (found["all"]["n"], found["all"]["of"], found["flag"]) == (1, 3, False)
    assert found["correct"]["of"] + found["wrong"]["of"] == 3
    assert answer_in_prompt(answers, prompts, declared=True)["flag"] is True
    assert answer_in_prompt(answers[:1], prompts[:1], declared=False)["flag"] is True
    unknown = answer_in_prompt(answers[3:], prompts[3:], declared=None)
    assert unknown["flag"] is None
    assert np.isnan(unknown["all"]["rate"])


def test_planted_length_is_what_the_tests_say():
    assert 0.7 < auroc(Y, LENGTH) < 0.85
