"""Confounds: a probe that reads length has nothing left, one that reads truth keeps all."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from probebench.metrics.auroc import auroc
from probebench.probes.labels import Labels, split_index
from probebench.studies.confounds.features import Features, features
from probebench.studies.confounds.prompt import answer_in_prompt
from probebench.studies.confounds.regress import expanded, residual
from probebench.studies.confounds.strata import strata, within
from probebench.studies.confounds.study import linear, model_of
from probebench.tasks.split import split_of
from probebench.types import Answer, Example, LabelledAnswer, TokenizedAnswer

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


def beside(found, labels, decisions):
    return linear(found, labels, decisions, 0, model_of(found, labels))


@pytest.fixture(scope="module")
def found():
    return features([answer(i, length=int(LENGTH[i]), exact=i % 10 > 0) for i in range(N)], LABELS)


def test_a_probe_of_length_has_nothing_left(found):
    decisions = -2.0 + 0.7 * LENGTH
    facts = beside(found, LABELS, decisions)
    assert facts["residual"]["probe_auroc"] > 0.7
    assert facts["residual"]["auroc"] == 0.5, "rounding errors are no ranking"
    assert facts["residual"]["r2"] == 1.0
    assert facts["linear"]["auroc"] == pytest.approx(facts["residual"]["probe_auroc"], abs=0.02)
    noise = np.random.default_rng(1).normal(size=N)
    noisy = beside(found, LABELS, decisions + noise)["residual"]
    assert noisy["auroc_95"][0] < 0.5 < noisy["auroc_95"][1]
    assert noisy["probe_minus_this_95"][0] > 0.1


def test_a_probe_of_the_truth_keeps_all(found):
    apart = np.random.default_rng(2).normal(size=N)
    # labels that length says nothing of
    fair = Labels(np.random.default_rng(3).integers(0, 2, N), LABELS.splits, GROUPS)
    facts = beside(found, fair, 1.5 * fair.y + apart)
    assert facts["residual"]["auroc"] == pytest.approx(facts["residual"]["probe_auroc"], abs=0.01)
    assert facts["linear"]["auroc_95"][0] < 0.5 < facts["linear"]["auroc_95"][1]
    assert facts["linear"]["probe_minus_this_95"][0] > 0.2


def test_train_decisions_take_more_away_than_validation_ones(found):
    """A probe that knows its train labels by heart follows length there through them."""
    train = np.asarray(LABELS.splits) == "train"
    decisions = Y + np.random.default_rng(4).normal(size=N)
    decisions[train] = 8.0 * Y[train]
    facts = beside(found, LABELS, decisions)
    assert facts["residual"]["auroc"] < facts["residual_validation"]["auroc"]


def test_residuals_are_those_of_least_squares(found):
    decisions = Y + 0.1 * LENGTH + np.random.default_rng(5).normal(size=N)
    line = LENGTH[:, None] / LENGTH.std()
    model = LinearRegression().fit(line[ROWS["train"]], decisions[ROWS["train"]])
    left, r2 = residual(line, decisions, ROWS["train"])
    np.testing.assert_allclose(left, decisions - model.predict(line), atol=5e-3)
    assert r2 == pytest.approx(model.score(line[ROWS["train"]], decisions[ROWS["train"]]), abs=1e-5)


def test_more_columns_than_examples_take_nothing_from_a_probe_of_something_else():
    """Least squares would explain anything then; the penalty leaves it alone."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 40)), rng.integers(0, 2, 400)
    d = 2.0 * y + rng.normal(size=400)
    left, r2 = residual(X, d, np.arange(30))
    assert auroc(y[30:], left[30:]) > auroc(y[30:], d[30:]) - 0.03
    assert r2 < 0.5
    few, _ = residual(X, d, np.arange(9))
    assert np.isnan(few).all()


CURVES = {
    "far from the middle": np.abs,
    "a step": lambda z: (z > 0.3).astype(float),
    "a wave": lambda z: np.sin(3 * z),
}


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("signal", [False, True])
def test_any_function_of_length_is_taken_away_and_nothing_else(curve, signal):
    """A probe that encodes a non-linear function of length kept its AUROC when a line was regressed
    out; one that knows more keeps what it knows."""
    rng = np.random.default_rng(7)
    z = rng.normal(size=N)
    lengths = np.maximum(1, np.round(np.exp(2.5 + 0.6 * z))).astype(int)
    of_length = CURVES[curve]((np.log(lengths) - 2.5) / 0.6)
    of_length = (of_length - of_length.mean()) / of_length.std()
    y = (rng.integers(0, 2, N) if signal else 2 * of_length + rng.logistic(size=N) > 0).astype(int)
    labels = Labels(y, LABELS.splits, GROUPS)
    decisions = of_length + 0.3 * rng.normal(size=N) + signal * 2 * y
    answers = [answer(i, length=int(lengths[i])) for i in range(N)]
    found = features(answers, labels)
    facts = beside(found, labels, decisions)
    deciles = [
        within(s, labels, decisions, 0)
        for s in strata(answers, labels, model_of(found, labels).decisions)
    ]
    for name in ("residual", "residual_validation"):
        left = facts[name]
        if signal:
            assert left["auroc"] > left["probe_auroc"] - 0.01
        else:
            assert left["probe_auroc"] > 0.8
            assert left["auroc"] < 0.59
    for part in deciles:
        if signal:
            assert part["auroc"] > part["probe_auroc"] - 0.03
            assert part["auroc_95"][0] > 0.8
        else:
            assert part["auroc"] < 0.7, "a tenth of the lengths is wide at the ends"
    rows = ROWS["train"]
    line, _ = residual(lengths[:, None] / lengths.std(), decisions, rows)
    if not signal:
        test = ROWS["test"]
        assert auroc(y[test], line[test]) > 0.7, "a line leaves it"


def test_pairs_are_compared_within_strata_only():
    answers = [answer(i, length=1 + i % 2) for i in range(N)]
    decisions = Y + 10.0 * (np.arange(N) % 2)
    part = next(strata(answers, LABELS, np.zeros(N)))
    found = within(part, LABELS, decisions, 0)
    assert part.by == "answer_tokens"
    assert found["n_strata"] == 2
    assert found["auroc"] == 1.0
    assert found["probe_auroc"] < 0.8
    test = ROWS["test"]
    y, odd = Y[test], test % 2
    pairs = sum(int((y[odd == k] == 1).sum()) * int((y[odd == k] == 0).sum()) for k in (0, 1))
    assert found["n_pairs"] == pairs


def test_a_number_of_two_values_is_one_column_and_an_absent_one_adds_nothing():
    flag = (np.arange(100) % 3 == 0).astype(float)
    assert expanded(flag, np.arange(60)).shape == (100, 1)
    number = np.arange(100.0)
    number[::7] = np.nan
    columns = expanded(number, np.arange(60))
    assert columns.shape[1] > 10
    assert (columns[::7] == 0).all()


def test_linear_model_looks_at_no_test_label_and_n_is_the_probe_s(found):
    decisions = Y + np.random.default_rng(6).normal(size=N)
    decisions[ROWS["test"][:30]] = np.nan
    facts = beside(found, LABELS, decisions)
    assert {facts[k]["n"] for k in ("linear", "residual", "residual_validation")} == {
        len(ROWS["test"]) - 30
    }
    y = Y.copy()
    y[ROWS["test"]] = 1 - y[ROWS["test"]]
    turned = beside(found, Labels(y, LABELS.splits, GROUPS), decisions)
    for part in ("linear", "residual"):
        assert turned[part]["auroc"] == pytest.approx(1 - facts[part]["auroc"])
    assert turned["linear"]["C"] == facts["linear"]["C"]


def test_features_say_what_is_not_there(found):
    assert found.names == (
        "answer_tokens",
        "exact_answer_index",
        "exact_answer_tokens",
        "exact_answer_found",
    )
    assert "the same for all" in found.left_out["refused"]
    assert "the same for all" in found.left_out["cut_off"]
    assert "the same for all" in found.left_out["question_tokens"]
    assert found.left_out["options"] == "no example has it"
    assert found.left_out["source"] == "no column of the task says it"
    train = found.values[ROWS["train"]]
    np.testing.assert_allclose(train[:, 0].mean(), 0, atol=1e-9)
    missing = np.arange(N) % 10 == 0
    assert (found.values[missing] == 0).mean() > (found.values[~missing] == 0).mean(), (
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


def test_the_chosen_option_is_a_feature_by_its_words_or_by_its_place():
    def choosing(i, options, at):
        made = answer(i, references=options[:1], wrong=options[1:])
        e = replace(made.example, question=f"{options[0]} or {options[1]}?")
        return replace(made, example=e, answer=replace(made.answer, text=options[at]))

    fixed = [choosing(i, ("yes", "no"), i % 2) for i in range(N)]
    assert "chosen = yes" in features(fixed, LABELS).names
    assert next(strata(fixed, LABELS, np.zeros(N))).by == "answer_tokens x chosen"
    own = [choosing(i, (f"Anna{i}x", f"Berta{i}x"), i % 2) for i in range(N)]
    assert "chosen stands first" in features(own, LABELS).names
    placed = [
        ("the pilot{}", "the nurse{}", "pilot{}"),  # an article left out
        ("São Paulo {}", "Rio {}", "sao paulo {}"),
        ("he{}", "the{}", "he{}"),  # which stands inside the other
    ]
    for first, second, said in placed:
        own = []
        for i in range(N):
            options = (first.format(i), second.format(i))
            made = choosing(i, options, 0)
            text = said.format(i) if i % 2 else options[1]
            asked = f"{said.format(i)} or {options[1]}?"
            if i % 3 == 0:
                asked = f"{options[1]} or {said.format(i)}?"
            e = replace(made.example, question=asked)
            own.append(replace(made, example=e, answer=replace(made.answer, text=text)))
        found = features(own, LABELS)
        assert found.names[-1] == "chosen stands first"
        column = found.values[:, -1]
        wanted = [(i % 2 == 1) != (i % 3 == 0) for i in range(N)]
        assert (column > 0).tolist() == wanted, first  # standardised
    free = features([answer(i) for i in range(N)], LABELS)
    assert free.left_out["chosen"] == "no answer chooses one of given options"


def test_no_features_no_numbers():
    facts = beside(Features((), np.zeros((N, 0)), {}), LABELS, Y + 0.0)
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
