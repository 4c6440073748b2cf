"""Methods that read several drawn answers, each against a small computation written another way."""

from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import probebench
from probebench.detectors.registry import Missing
from probebench.detectors.sampled import likelihood, meaning, sar, sep
from probebench.detectors.sampled.clusters import (
    by_judge,
    by_similarity,
    clusters,
    discrete_entropy,
    semantic_entropy,
)
from probebench.detectors.sampled.eigen import ALPHA, score
from probebench.metrics.auroc import auroc
from probebench.probes.labels import Labels
from probebench.stages.sampling.samples import Samples
from probebench.tasks.split import split_of
from probebench.types import Answer, Example, LabelledAnswer, Span, TokenizedAnswer


def answer(text, logprobs=(-0.5, -0.1), *, example=None, exact=None, refused=False, stopped=True):
    """A drawn answer with one log-probability per token, the last one of its stop token."""
    example = example or Example("e", "Where is it?", ("Paris",), "g")
    values = np.array(logprobs, dtype=np.float32)
    own = Answer("e", (1,), tuple(range(2, 2 + len(values))), stopped, text, values, values, values)
    span = None if exact is None else Span(text.index(exact), text.index(exact) + len(exact))
    placed = TokenizedAnswer(1, 1 + len(values), None)
    return LabelledAnswer(example, own, 1, refused, span, placed, "train")


def run_of(samples, greedy=None, splits=None, y=None, **more):
    """Run data that holds these drawn answers."""
    n = len(samples)
    groups = tuple(f"g{i}" for i in range(n))
    labels = Labels(
        np.arange(n) % 2 if y is None else np.asarray(y),
        tuple(splits or (split_of(g) for g in groups)),
        groups,
    )
    return SimpleNamespace(
        answers=tuple(greedy or [some[0] for some in samples]),
        samples=Samples(tuple(map(tuple, samples)), 1.0, 1.0),
        labels=labels,
        plan=SimpleNamespace(judge="aliases", exact=SimpleNamespace(name="new_words"), **more),
    )


def of(make, data):
    return {s.name: s.decisions for s in make(data, None)}


# -- clusters --------------------------------------------------------------------------------------


def test_answers_are_grouped_in_the_order_they_were_drawn():
    words = ["a", "b", "a", "c", "b"]
    assert clusters(5, lambda i, j: words[i] == words[j]).tolist() == [0, 1, 0, 2, 1]
    seen = []
    clusters(3, lambda i, j: bool(seen.append((i, j))))
    assert seen == [(0, 1), (0, 2), (1, 2)], "each is held against the first of a cluster"


@pytest.mark.parametrize(
    ("judge", "texts", "expected"),
    [
        ("aliases", ["Paris", "It is Paris.", "London", "paris"], [0, 0, 1, 0]),
        ("exact", ["Paris", "paris!", "It is Paris"], [0, 0, 1]),
        ("number", ["It is 1,000.", "1000", "the answer is 12"], [0, 0, 1]),
        ("choice", ["red", "It is red.", "blue, I think"], [0, 0, 1]),
    ],
)
def test_the_judge_says_which_answers_are_one(judge, texts, expected):
    example = Example("e", "Which?", ("red",), "g", wrong=("blue", "green"))
    exact = [text if judge != "aliases" else None for text in texts]
    if judge == "aliases":
        exact = ["Paris", "Paris", "London", "paris"]
    some = [answer(t, example=example, exact=e) for t, e in zip(texts, exact, strict=True)]
    assert by_judge(judge, example, some).tolist() == expected


def test_refusals_are_one_answer():
    some = [answer("I do not know."), answer("Paris", exact="Paris"), answer("I cannot answer.")]
    assert by_judge("aliases", some[0].example, some).tolist() == [0, 1, 0]


def test_the_judge_s_mark_of_a_refusal_groups_nothing():
    """It stands on wrong answers only, so it would tell which are right."""
    hedged = [answer(f"I am not sure, maybe {city}.", exact=city) for city in ("Lyon", "Rome")]
    marked = [replace(a, refused=True) for a in hedged]
    found = by_judge("aliases", hedged[0].example, hedged).tolist()
    assert found == by_judge("aliases", hedged[0].example, marked).tolist() == [0, 1]


def test_the_nearest_reference_is_one_that_shares_a_word():
    example = Example("e", "What?", ("the red cat", "a green dog"), "g", wrong=("blue",))
    texts = ["I like cheese", "bananas", "a red cat", "the cat, red"]
    some = [answer(t, example=example) for t in texts]
    assert by_judge("closest", example, some).tolist() == [0, 1, 2, 2]


def test_what_was_found_by_the_label_is_not_compared():
    """With --exact-answer gold the place of an exact answer tells that it is right."""
    some = [answer("It is Paris", exact="Paris"), answer("Paris it is", exact="Paris")]
    data = run_of([some])
    assert of(meaning.by_the_judge, data)["semantic_entropy_discrete"][0] == 0
    data.plan.exact.name = "gold"
    assert likelihood.drawn(data).answers[0][0].exact is None


def test_an_encoder_groups_what_is_alike():
    Z = np.array([[1.0, 0.0], [0.96, 0.28], [0.0, 1.0]])
    assert by_similarity(Z @ Z.T, 0.9).tolist() == [0, 0, 1]
    assert by_similarity(Z @ Z.T, 0.99).tolist() == [0, 1, 2]


def test_entropies_over_clusters():
    found = np.array([0, 1, 0, 2])
    p = np.array([0.5, 0.2, 0.1, 0.2])
    shares = {0: 0.6, 1: 0.2, 2: 0.2}
    by_hand = -sum(s * np.log(s) for s in shares.values())
    assert semantic_entropy(found, np.log(p)) == pytest.approx(by_hand)
    assert semantic_entropy(found, np.log(p) - 700) == pytest.approx(by_hand), "no underflow"
    assert discrete_entropy(found) == pytest.approx(-(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25)))
    assert discrete_entropy(np.zeros(5, dtype=int)) == 0
    assert np.isnan(semantic_entropy(found, np.array([0.0, np.nan, 0, 0])))


# -- how likely and how alike ----------------------------------------------------------------------


def test_predictive_entropy_is_a_mean_of_means_without_the_stop_token():
    some = [answer("a b", (-1.0, -3.0, -9.0)), answer("c", (-0.5, -9.0)), answer("", (-0.2,))]
    found = of(likelihood.predictive_entropy, run_of([some]))["predictive_entropy"]
    assert found[0] == pytest.approx((-2.0 - 0.5 - 0.2) / 3), "an empty answer is its stop token"


def longest(a, b):
    """Longest common subsequence, by trying all of the shorter one's."""
    short, long = sorted((a, b), key=len)
    for n in range(len(short), 0, -1):
        for places in combinations(range(len(short)), n):
            it = iter(long)
            if all(short[p] in it for p in places):
                return n
    return 0


def test_rouge_l_is_that_of_all_subsequences():
    rng = np.random.default_rng(0)
    for _ in range(60):
        a, b = (rng.choice(list("abc"), rng.integers(1, 7)).tolist() for _ in range(2))
        by_hand = 2 * longest(a, b) / (len(a) + len(b))
        assert likelihood.rouge_l(a, b) == pytest.approx(by_hand), (a, b)
    assert likelihood.rouge_l([], []) == 1 and likelihood.rouge_l(["a"], []) == 0


def test_lexical_similarity_is_the_mean_over_pairs():
    some = [answer("The red cat"), answer("the RED dog."), answer("a cat")]
    found = of(likelihood.lexical_similarity, run_of([some]))["lexical_similarity"][0]
    assert found == pytest.approx(np.mean([4 / 6, 2 / 5, 0]))


def test_selfcheck_takes_the_rarest_word_of_each_sentence():
    greedy = answer("Paris is big. It shines!")
    some = [answer("Paris is old."), answer("Paris is big.")]
    found = of(likelihood.selfcheck_ngram, run_of([some], [greedy]))["selfcheck_ngram"][0]
    counts = {"paris": 3, "is": 3, "big": 2, "it": 1, "shines": 1, "old": 1}
    total = sum(counts.values())
    assert found == pytest.approx(np.mean([np.log(2 / total), np.log(1 / total)]))
    empty = of(likelihood.selfcheck_ngram, run_of([some], [answer("...")]))["selfcheck_ngram"][0]
    assert np.isnan(empty)


# -- SAR and EigenScore ----------------------------------------------------------------------------


def test_sar_by_hand():
    logprobs = [np.log([0.5, 0.25]), np.log([0.8])]
    relevance = [np.array([0.3, 0.1]), np.array([0.2])]
    alike = np.array([[1.0, 0.4], [0.4, 1.0]])
    first = -(0.75 * np.log(0.5) + 0.25 * np.log(0.25))
    p = np.exp([-first, np.log(0.8)])
    by_hand = np.mean([-np.log(p[0] + 0.4 * p[1] / 0.001), -np.log(p[1] + 0.4 * p[0] / 0.001)])
    assert sar.shifted(logprobs, relevance, alike) == pytest.approx(by_hand)
    none = [np.zeros(2), np.zeros(1)]
    p = np.exp([np.mean(np.log([0.5, 0.25])), np.log(0.8)])
    plain = np.mean([-np.log(p[0] + 0.4 * p[1] / 0.001), -np.log(p[1] + 0.4 * p[0] / 0.001)])
    assert sar.shifted(logprobs, none, alike) == pytest.approx(plain), "no token is relevant"
    assert np.isnan(sar.shifted([np.zeros(0)], [np.zeros(0)], np.eye(1)))


def test_eigenscore_is_the_log_determinant():
    X = np.random.default_rng(0).normal(size=(5, 40))
    centred = X - X.mean(axis=1, keepdims=True)
    covariance = centred @ centred.T / 39 + ALPHA * np.eye(5)
    assert score(X) == pytest.approx(np.linalg.slogdet(covariance)[1] / 5)
    same = np.repeat(X[:1], 5, axis=0)
    assert score(same) < score(X), "answers that are one lie together"


# -- semantic entropy and its probes ---------------------------------------------------------------


def planted(n=600, k=6, seed=0):
    """Questions whose drawn answers are one where the greedy answer is right, and many where it is
    wrong, for four in five of them."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    told = np.where(rng.random(n) < 0.8, y, 1 - y)
    samples = []
    for sure in told:
        words = ["Paris"] * k if sure else rng.choice(["Paris", "Rome", "Oslo", "Kyiv"], k)
        samples.append([answer(w, (-0.5 - rng.random(), -0.1), exact=w) for w in words])
    return y, told, samples


def test_semantic_entropy_tells_what_was_planted():
    y, told, samples = planted()
    found = of(meaning.by_the_judge, run_of(samples, y=y))
    for name in ("semantic_entropy", "semantic_entropy_discrete"):
        assert auroc(told, found[name]) > 0.99
        assert 0.72 < auroc(y, found[name]) < 0.88
    assert found["semantic_entropy"].max() == 0


def test_the_cut_has_the_least_squares_inside():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 0.1, 40), rng.normal(2, 0.1, 20)])
    cut = sep.best_cut(values)
    assert values[:40].max() < cut < values[40:].min()
    assert sep.best_cut(np.ones(5)) == np.inf


class Reader:
    """Stored vectors in which one layer holds what was planted."""

    positions = ("last_q", "-1", "-2")
    sites = ("resid",)

    def __init__(self, told, seed=0):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(3, len(told), 8)).astype(np.float32)
        noise[1, :, 2] += 3 * told
        self.values = noise

    def there(self, name):
        return np.ones(self.values.shape[1], dtype=bool)

    def site(self, name):
        return SimpleNamespace(layers=(0, 1, 2))

    def cell(self, layer, position, site="resid"):
        return self.values[layer]


def test_semantic_entropy_probes_find_the_layer_without_a_label():
    y, told, samples = planted()
    data = run_of(samples, y=y)
    data.states, data.statements = SimpleNamespace(reader=Reader(told)), False
    found = {s.name: s for s in sep.semantic_entropy_probes(data, None)}
    for name, when in (("sep_before", "before"), ("sep_after", "after")):
        s = found[name]
        assert (s.detail["layer"], s.when) == (1, when)
        assert auroc(told, s.decisions) > 0.95 and auroc(y, s.decisions) > 0.7
    others = run_of(samples, y=1 - y)
    others.states, others.statements = data.states, False
    again = {s.name: s for s in sep.semantic_entropy_probes(others, None)}
    assert np.array_equal(again["sep_after"].decisions, found["sep_after"].decisions), "label-free"


def test_a_place_that_was_not_read_leaves_the_other_probe():
    y, told, samples = planted(200)
    data = run_of(samples, y=y)
    reader = Reader(told)
    reader.positions = ("-1", "-2")
    data.states, data.statements = SimpleNamespace(reader=reader), False
    before, after = sep.semantic_entropy_probes(data, None)
    assert isinstance(before, Missing) and "last_q" in before.reason
    assert after.name == "sep_after"


def test_answers_that_say_nothing_take_no_part():
    """As of a model that was cut off while it thought."""
    none = replace(answer("").answer, answer_ids=(), stopped=False)
    none = replace(none, **dict.fromkeys(("logprobs", "logits", "entropies"), np.zeros(0)))
    silent = replace(answer(""), answer=none)
    both = [answer("Paris", exact="Paris"), answer("Rome", exact="Rome")]
    data = run_of([[*both, silent], [silent] * 3])
    found = of(meaning.by_the_judge, data)
    assert found["semantic_entropy_discrete"][0] == pytest.approx(-np.log(2))
    assert np.isfinite(found["semantic_entropy"][0]) and np.isnan(found["semantic_entropy"][1])


def test_probes_leave_out_questions_of_which_nothing_is_said():
    y, told, samples = planted(300)
    none = replace(answer("").answer, answer_ids=(), stopped=False)
    none = replace(none, **dict.fromkeys(("logprobs", "logits", "entropies"), np.zeros(0)))
    samples[::3] = [[replace(answer(""), answer=none)] * 6] * 100
    data = run_of(samples, y=y)
    data.states, data.statements = SimpleNamespace(reader=Reader(told)), False
    for s in sep.semantic_entropy_probes(data, None):
        assert np.isnan(s.decisions[::3]).all() and np.isfinite(s.decisions[1::3]).all()


def test_no_probe_where_all_answers_are_as_sure():
    samples = [[answer("Paris", exact="Paris")] * 3 for _ in range(200)]
    data = run_of(samples)
    data.states = SimpleNamespace(reader=Reader(np.arange(200) % 2))
    data.statements = False
    assert all("same semantic entropy" in m.reason for m in sep.semantic_entropy_probes(data, None))


# -- a whole run -----------------------------------------------------------------------------------

NAMES = [
    "predictive_entropy",
    "lexical_similarity",
    "selfcheck_ngram",
    "semantic_entropy",
    "semantic_entropy_discrete",
    "semantic_entropy_encoder",
    "semantic_entropy_encoder_discrete",
    "sar",
    "eigenscore",
    "sep_before",
    "sep_after",
]
ASKED = "predictive-entropy,lexical-similarity,selfcheck-ngram,semantic-entropy,sar,eigenscore,sep"


@pytest.fixture(scope="module")
def run(tmp_path_factory, encoder_folder):
    """A run of the embedded model with drawn answers and an encoder."""
    return probebench.evaluate(
        "tiny",
        "people",
        limit=150,
        samples=4,
        detectors=ASKED.split(","),
        encoder=encoder_folder,
        shuffles=0,
        skip=["text", "p-true", "ensembles"],
        out=tmp_path_factory.mktemp("sampled") / "run",
    )


def test_every_row_stands_in_a_run_or_says_why_not(run):
    rows = {d.name: d for d in run.record.detectors if d.kind == "method"}
    absent = run.record.comparison.absent
    assert set(rows) | (set(absent) & set(NAMES)) == set(NAMES)
    assert not [name for name in NAMES if "failed" in absent.get(name, "")]
    for name, d in rows.items():
        assert np.isfinite(d.auroc) and d.n > 10, name


def test_decisions_of_a_run_are_those_of_its_table_of_samples(run):
    """Predictive entropy and lexical similarity again, from the files."""
    drawn = pd.read_parquet(run.folder / "samples.parquet")
    told = run.predictions.pivot(index="id", columns="detector", values="decision")
    some = drawn.groupby("id")
    for name, own in list(some)[:40]:
        if name not in told.index:
            continue
        means = [
            np.mean(
                r.logprobs[: len(r.logprobs) - r.stopped]
                if len(r.logprobs) > r.stopped
                else r.logprobs
            )
            for r in own.itertuples()
        ]
        assert told.predictive_entropy[name] == pytest.approx(np.mean(means), abs=1e-5)
