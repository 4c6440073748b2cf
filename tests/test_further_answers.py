"""Further answers to each question: error types, answer selection, soft targets, and a run with
them."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import probebench
from probebench.errors import UsageError
from probebench.job.options import Options
from probebench.job.pipeline import compute
from probebench.job.prepare import check_samples, prepare
from probebench.metrics.bootstrap import Resamples
from probebench.probes.labels import Labels
from probebench.report.content import build_report
from probebench.report.terminal.headline import headline_lines
from probebench.report.write.markdown import to_markdown
from probebench.stages.engine import Models
from probebench.stages.sampling.at_cell import SampleVectors, sample_vectors
from probebench.stages.sampling.samples import Samples, samples_table
from probebench.stages.stage import LocalRunner
from probebench.studies.sampled.choice import _majority, chosen, selection
from probebench.studies.sampled.clusters import clusters, said
from probebench.studies.sampled.shares import difference_facts
from probebench.studies.sampled.soft import correlations, fit_share, rank_correlation
from probebench.studies.sampled.types import Scatter, scatter, types_of
from probebench.types import Answer, Example, LabelledAnswer, Span, TokenizedAnswer

PLAN = SimpleNamespace(seed=0, exact=SimpleNamespace(name="new_words"))


def made(text, label, *, logprobs=(-1.0,), refused=False, located=True, name="q"):
    """An answer whose whole text is its exact answer."""
    values = np.array([*logprobs, -9.0], dtype=np.float32)  # with a stop token that counts nowhere
    ids = tuple(range(5, 5 + len(values)))
    answer = Answer(name, (1, 2), ids, True, text, values, values, values)
    exact = Span(0, len(text)) if located and not refused else None
    example = Example(name, "?", ("x",), name)
    tokens = TokenizedAnswer(2, 2 + len(ids), None)
    return LabelledAnswer(example, answer, label, refused, exact, tokens, "test")


# -- error types -----------------------------------------------------------------------------------


def test_answers_are_the_same_where_one_is_part_of_the_other():
    found = clusters(["paris", None, "paris, france", "rome", "PARIS".casefold(), "ro"])
    assert [(c.key, c.members) for c in found] == [("paris", (0, 2, 4)), ("rome", (3, 5))]
    assert said(made("The  Seine", 0), refused=False) == "the seine"
    assert said(made("x", 0, located=False), refused=False) is None
    # a refusal is no part of anything
    keys = [said(made("I refused", 0), refused=False), said(made("no", 0), refused=True)]
    assert len(clusters(keys)) == 2


def test_a_majority_does_not_know_what_the_judge_marks():
    """A judge marks the wrong ones of answers that hedge as refusals, and would tell which."""
    right = [made(f"not sure, {i}: Paris", 1) for i in range(4)]
    right = [
        replace(a, exact=Span(a.answer.text.index("Paris"), len(a.answer.text))) for a in right
    ]
    wrong = []
    for city in ("Lyon", "Rome") * 3:
        a = made(f"not sure, {city}", 0)
        wrong.append(replace(a, refused=True, exact=Span(len("not sure, "), len(a.answer.text))))
    assert _majority([*wrong[:2], *right, *wrong[2:]], gold=False) == 2


def published(n, correct, wrong, refused=0):
    """The rules of the published code, by counts of the answers (technion-cs-nlp/LLMsKnow,
    `resamples_utils.py`), in words of our own."""
    biggest, kinds = max(wrong, default=0), len(wrong)
    out = set()
    if refused and refused >= biggest and refused > correct:
        out.add("A")
    if n // 2 <= correct and kinds:
        out.add("B2")
    if correct == n:
        out.add("B1")
    if n // 2 <= biggest and "A" not in out:
        out.add("C2" if correct else "C1")
    if correct > n // 6 and biggest > n // 6 and -(n // 6) <= correct - biggest <= n // 6:
        out.add("D")
    if correct and kinds >= n // 3 - 1:
        out.add("E2")
    if not correct and kinds >= n // 3:
        out.add("E1")
    return out


def test_types_are_those_of_the_published_code():
    rng, seen = np.random.default_rng(0), set()
    for _ in range(3000):
        n = int(rng.choice([9, 10, 30]))
        correct = int(rng.integers(0, n + 1)) if rng.random() < 0.7 else 0
        left, wrong = n - correct, []
        while left > 0:
            wrong.append(int(rng.integers(1, left + 1)) if rng.random() < 0.4 else 1)
            left -= wrong[-1]
        refused = wrong[0] if wrong and rng.random() < 0.3 else 0
        found = types_of(Scatter(n, correct, tuple(wrong), refused))
        detailed = {t for t in found if len(t) == 2 or t in "AD"}
        assert detailed == published(n, correct, wrong, refused), (n, correct, wrong, refused)
        assert {t[0] for t in detailed} == {t for t in found if len(t) == 1}
        assert ("none" in found) == (not detailed)
        seen |= found
    assert seen == {"A", "B", "B1", "B2", "C", "C1", "C2", "D", "E", "E1", "E2", "none"}


def test_few_answers_are_never_many():
    assert types_of(Scatter(1, 0, (1,), 0)) == {"C", "C1"}, "one answer: half of it is none"
    assert types_of(Scatter(1, 0, (), 0)) == {"none"}
    assert types_of(Scatter(1, 1, (), 0)) == {"B", "B1"}
    assert types_of(Scatter(8, 4, (1, 1, 1, 1), 0)) == {"B", "B2"}


def test_scatter_counts_correct_answers_whatever_their_words():
    some = [made("a", 1), made("b", 1), made("c", 0), made("C", 0), made("d", 0, located=False)]
    assert scatter([*some, made("-", 0, refused=True)]) == Scatter(6, 2, (2, 1), 1)


# -- answer selection ------------------------------------------------------------------------------


SOME = (
    (
        made("a", 0, logprobs=(-1.0, -1.0)),
        made("b", 1, logprobs=(-1.5,)),
        made("b", 1, logprobs=(-3.0,)),
    ),
    (made("c", 1, logprobs=(-2.0,)), made("d", 0, logprobs=(-0.5,)), made("d.", 0)),
)
SAMPLES = Samples(SOME, 1.0, 1.0)
DATA = SimpleNamespace(labels=Labels(np.array([0, 1]), ("test", "test")), plan=PLAN)


def test_each_way_chooses_its_own_answer():
    decisions = np.array([[0.5, np.nan, -1.0], [np.nan, np.nan, np.nan]])
    found = chosen(DATA, SAMPLES, np.array([0, 1]), decisions)
    assert {way: values.tolist() for way, values in found.items()} == {
        "greedy": [0, 1],
        "random": [2 / 3, 1 / 3],
        "majority": [1, 0],
        "logprob": [1, 0],  # -1.5 beats -2 in sum, the stop token left out
        "probe": [0, 1],  # and the first where it says nothing
        "any": [1, 1],
    }


def test_no_answer_is_not_the_likeliest_one():
    """An answer that stops at once, or a thought that is cut off, has no token to be unlikely."""
    empty = made("", 0, logprobs=())
    some = ((empty, made("b", 1, logprobs=(-1.5,)), empty), (empty, empty, empty))
    found = chosen(DATA, Samples(some, 1.0, 1.0), np.array([0, 1]), np.full((2, 3), np.nan))
    assert found["logprob"].tolist() == [1, 0]


def test_differences_are_paired_and_by_type():
    rows = np.array([0, 1])
    vectors = SampleVectors(
        rows, np.array([[0, 1, 1], [2, 3, 3]]), np.eye(4), np.array([True, True, True, False])
    )
    probe = SimpleNamespace(decision_function=lambda X: X @ np.array([0.0, 2.0, 1.0, 9.0]))
    np.testing.assert_array_equal(vectors.decisions(probe), [[0, 2, 2], [1, np.nan, np.nan]])
    shares = SimpleNamespace(predict_proba=lambda X: np.stack([X[:, 0], X[:, 1]], axis=1))
    np.testing.assert_array_equal(vectors.decisions(shares), [[0, 1, 1], [0, np.nan, np.nan]])
    facts = selection(DATA, SAMPLES, vectors, probe, {"B": np.array([True, False])})
    ways = {w["way"]: w for w in facts["ways"]}
    assert ways["probe"]["accuracy"] == 1 and ways["probe"]["probe_minus"] is None
    assert ways["probe"]["minus_greedy"]["difference"] == 0.5
    assert ways["majority"]["probe_minus"]["difference"] == 0.5
    own = {w["way"]: w["accuracy"] for w in facts["by_type"][0]["ways"]}
    assert facts["by_type"][0]["type"] == "B" and own["probe"] == 1 and own["greedy"] == 0
    assert facts["n_undecided"] == 0


def test_a_paired_interval_holds_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    for seed in range(200):
        a, b = rng.random(150) < 0.6, rng.random(150) < 0.5
        draws = Resamples.draw([str(i) for i in range(150)], seed, n=200)
        low, high = difference_facts(a.astype(float), b.astype(float), draws)["difference_95"]
        hits += low <= 0.1 <= high
    assert hits / 200 == pytest.approx(0.95, abs=0.05)
    same = difference_facts(np.ones(50), np.ones(50), Resamples.draw(list(map(str, range(50))), 0))
    assert same["difference"] == 0
    # a share of which none of 50 showed (Clopper and Pearson 1934)
    assert same["difference_95"] == pytest.approx([-(1 - 0.025 ** (1 / 50)), 1 - 0.025 ** (1 / 50)])


# -- soft targets ----------------------------------------------------------------------------------


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=60), rng.integers(0, 5, 60) / 4
    assert rank_correlation(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)
    assert math.isnan(rank_correlation(a, np.ones(60)))
    draws = Resamples.draw([str(i // 2) for i in range(60)], 0, n=20)
    again = np.repeat(np.arange(60), draws.counts[4].astype(int))
    expected = scipy.stats.spearmanr(a[again], b[again]).statistic
    assert correlations(a, b, draws)[5] == pytest.approx(expected)


def test_a_planted_share_is_found_and_nothing_where_there_is_none():
    rng, n = np.random.default_rng(3), 600
    X = rng.normal(size=(n, 20))
    target = np.clip(np.round(5 + 2 * X[:, 3]) / 10, 0, 1)
    train, validation, test = np.split(np.arange(n), [300, 400])
    found, alpha = fit_share(X, target, train, validation)
    assert rank_correlation(found[test], target[test]) > 0.9 and alpha > 0
    other, _ = fit_share(rng.normal(size=(n, 20)), target, train, validation)
    assert abs(rank_correlation(other[test], target[test])) < 0.25
    assert fit_share(X, np.ones(n), train, validation) is None


# -- a run -----------------------------------------------------------------------------------------


ASKED = {
    "limit": 150,
    "layers": [5, 7],
    "positions": ["exact_answer_last", "-1"],
    "skip": ["p-true", "shuffles", "text", "ensembles"],
    "samples": 9,
    "temperature": 0.9,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return probebench.evaluate("tiny", "people", out=folder / "run", **ASKED)


def test_a_run_keeps_its_further_answers_and_says_what_they_show(run):
    table = pd.read_parquet(run.folder / "samples.parquet")
    assert len(table) == 150 * 9 and "samples.parquet" in run.record.files
    facts = run.record.sampled
    assert facts.n_samples == 9 and facts.temperature == 0.9
    assert facts.share_correct == pytest.approx(table.label.mean())
    n_test = run.record.counts["test"]["n"]
    by_question = table[table.split == "test"].groupby("id").label
    ways = {w.way: w for w in facts.selection.ways}
    assert facts.selection.n == n_test == len(by_question)
    assert ways["random"].accuracy == pytest.approx(by_question.mean().mean())
    assert ways["any"].accuracy == pytest.approx(by_question.max().mean())
    greedy = pd.read_parquet(run.folder / "answers.parquet")
    assert ways["greedy"].accuracy == pytest.approx(greedy.label[greedy.split == "test"].mean())
    always = next(t for t in facts.types if t.type == "B1")
    assert always.n == int((table.groupby("id").label.mean() == 1).sum())
    page = to_markdown(build_report([run]))
    assert "Further answers to each question" in page and "two competing answers" in page
    assert any("9 further answers each" in line for line in headline_lines(run.record))


def test_the_probe_says_the_same_of_a_drawn_answer_that_is_the_greedy_one(run):
    prepared = prepare(
        Options.asked({"model": "tiny", "task": "people", "out": run.folder, **ASKED})
    )
    runner = LocalRunner(run.folder, prepared.progress, Models(prepared.progress))
    found = compute(prepared.plan, runner, prepared.progress)
    data, vectors = found.data, sample_vectors(found.data, runner)
    said_of, own = vectors.decisions(found.fitted), found.result.selected.decisions
    n = 0
    for row, i in enumerate(vectors.rows.tolist()):
        for k, a in enumerate(data.samples.answers[i]):
            if a.answer.answer_ids == data.answers[i].answer.answer_ids:
                assert said_of[row, k] == pytest.approx(own[i], abs=0.05)
                assert a.label == data.answers[i].label and a.exact == data.answers[i].exact
                n += 1
    assert 20 < n < said_of.size
    assert np.ptp(said_of, axis=1).max() > 1


def test_shards_that_are_lost_are_drawn_again_the_same(run, tmp_path):
    manifest = next((run.folder / "stages").glob("samples-*/manifest.jsonl"))
    shards = [json.loads(line)["file"] for line in manifest.read_text().splitlines()[1:]]
    before = pd.read_parquet(run.folder / "samples.parquet")
    (manifest.parent / shards[0]).unlink()
    (run.folder / "record.json").unlink()
    again = probebench.evaluate("tiny", "people", out=run.folder, **ASKED)
    after = pd.read_parquet(again.folder / "samples.parquet")
    assert before.text.tolist() == after.text.tolist()
    assert again.record.sampled.plain() == run.record.sampled.plain()


def test_samples_table_names_each_sample():
    table = samples_table(SAMPLES)
    assert table["sample"].tolist() == [0, 1, 2, 0, 1, 2]
    assert table.label.tolist() == [0, 1, 1, 1, 0, 0]


def test_statements_have_no_further_answers():
    plan = SimpleNamespace(beside=SimpleNamespace(drawing=SimpleNamespace(n=3)), statements=True)
    with pytest.raises(UsageError, match="--samples 3 draws further answers, and statements have"):
        check_samples(plan)
