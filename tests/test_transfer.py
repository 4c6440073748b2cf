"""Probes applied to other tasks and held-out topics of the same model: planted signals, twins,
baselines, angles."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from dumped import answers_in
from planted import MODEL, axis, planted

import probebench
from probebench.across.label_free import best_label_free
from probebench.across.topics import topics_of
from probebench.across.transfer import OTHERS, transfer
from probebench.across.transfer_map import draw_transfer, predicted_by_angle, transfer_matrix
from probebench.across.union import common_cell, union_probe
from probebench.cli.main import main
from probebench.errors import BadFileError, UsageError
from probebench.metrics.angles import cosine, mahalanobis_cosine
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import difference_interval
from probebench.probes.fit import fit_cells
from probebench.progress import Progress
from probebench.record.reopened import Reopened
from probebench.report.terminal.transfer import _topics as topic_lines
from probebench.report.terminal.transfer import transfer_lines
from probebench.types import Cell

DATA = Path(
    os.environ.get("PROBEBENCH_DATA", Path(__file__).parent.parent.parent / "shared" / "data")
)
STATEMENTS = DATA / "kit" / "statements_azaria_mitchell.jsonl"


def indexed(table):
    return table.set_index(["at", "train_task", "test_task"])


def below(ax):
    """The caption of a map."""
    return ax.get_figure().get_supxlabel()


# -- pairs -----------------------------------------------------------------------------------------


def test_planted_directions_transfer_as_they_must():
    u, v = 6 * axis(0), 6 * axis(1)
    table = transfer(
        [
            planted("a", {0: u}),
            planted("same", {0: u}),
            planted("opposite", {0: -u}),
            planted("orthogonal", {0: v}),
        ]
    )
    rows = indexed(table)
    for at in ("source", "target"):
        assert rows.loc[(at, "a", "same"), "auroc"] > 0.98
        assert rows.loc[(at, "a", "opposite"), "auroc"] < 0.02, "never flipped"
        assert rows.loc[(at, "a", "opposite"), "direction_free"] > 0.98
        assert rows.loc[(at, "a", "orthogonal"), "auroc"] == pytest.approx(0.5, abs=0.15)
        assert rows.loc[(at, "a", "same"), "cosine"] > 0.8
        assert rows.loc[(at, "a", "opposite"), "mahalanobis_cosine"] < -0.9
        assert abs(rows.loc[(at, "a", "orthogonal"), "mahalanobis_cosine"]) < 0.3
    assert table[table.kind == "pair"].eval("low <= auroc <= high").all()
    assert predicted_by_angle(table)["mahalanobis_cosine"]["r"] > 0.9


def test_a_caption_names_the_one_task_s_file_nowhere_and_grey_where_there_is_grey():
    runs = [planted("a", {0: 6 * axis(0)}), planted("b", {0: 6 * axis(0)})]
    table = transfer(runs)
    records = [run.record for run in runs]
    whole = below(draw_transfer(table, records))
    assert "Examples" not in whole and "Grey" not in whole and "Protocol" in whole
    table.loc[(table.train_task == "a") & (table.test_task == "b"), "auroc"] = np.nan
    assert "Grey: not defined." in below(draw_transfer(table, records))


def test_a_caption_names_limits_and_what_is_below_chance():
    runs = [planted("a", {0: 6 * axis(0)}), planted("b", {0: -6 * axis(0)})]
    table, records = transfer(runs), [run.record for run in runs]
    assert "Violet: below chance." in below(draw_transfer(table, records))
    records[0]["settings"]["limit"] = 300
    said = below(draw_transfer(table.assign(auroc=0.7), records))
    assert "Violet" not in said
    assert "Examples of a: 300 examples at most (--limit)." in said
    records[1]["settings"]["limit"] = 300
    said = below(draw_transfer(table, records))
    assert "Examples of each task: 300 examples at most (--limit)." in said


def test_at_the_target_s_cell_the_probe_is_fitted_there_on_the_source():
    """In layer 1 the source's direction is the target's turned round; its own cell, layer 0, holds
    nothing of the target."""
    u = 6 * axis(0)
    source = planted("source", {0: u, 1: -u}, layer=0)
    target = planted("target", {0: 0 * u, 1: u}, layer=1)
    rows = indexed(transfer([source, target]))
    assert rows.loc[("source", "source", "target"), "layer"] == "0"
    assert rows.loc[("source", "source", "target"), "auroc"] == pytest.approx(0.5, abs=0.15)
    assert rows.loc[("target", "source", "target"), "layer"] == "1"
    assert rows.loc[("target", "source", "target"), "auroc"] < 0.02
    assert rows.loc[("target", "target", "target"), "auroc"] > 0.98


def test_labels_of_the_target_s_train_and_validation_examples_change_no_auroc():
    u = 3 * axis(0)
    a, b = planted("a", {0: u}), planted("b", {0: u})
    before = indexed(transfer([a, b]))
    held = b.answers.split != "test"
    b.tables["answers"] = b.answers.assign(
        label=np.where(held, 1 - b.answers.label, b.answers.label)
    )
    after = indexed(transfer([a, b]))
    for at in ("source", "target"):
        assert after.loc[(at, "a", "b"), "auroc"] == before.loc[(at, "a", "b"), "auroc"]
    assert (
        after.loc[("source", "b", "a"), "auroc"] < 0.5 < before.loc[("source", "b", "a"), "auroc"]
    ), "its own probe is another"


@pytest.mark.parametrize("shared", ["group", "question"])
def test_test_examples_with_a_twin_in_the_source_s_training_are_left_out_and_counted(shared):
    u = 4 * axis(0)
    source = planted("s", {0: u})
    train = source.answers[source.answers.split == "train"].iloc[:30]
    own = planted("t", {0: u})
    test = np.flatnonzero(own.answers.split == "test")[:30]
    column = own.answers[shared].copy()
    column.iloc[test] = [
        f" {text.upper()}" if shared == "question" else text for text in train[shared]
    ]
    own.tables["answers"] = own.answers.assign(**{shared: column})
    rows = indexed(transfer([source, own]))
    whole = int((own.answers.split == "test").sum())
    assert rows.loc[("source", "s", "t"), ["n", "twins_left_out"]].tolist() == [whole - 30, 30]
    assert rows.loc[("source", "t", "t"), ["n", "twins_left_out"]].tolist() == [whole, 0]
    text = "\n".join(transfer_lines(transfer([source, own]), source.record))
    assert "note: 30 test examples of t left out under s" in text


def test_the_best_label_free_baseline_is_chosen_on_validation_and_paired_on_common_examples():
    y = np.random.default_rng(5).integers(0, 2, 600)
    rng = np.random.default_rng(6)
    target = planted("t", {0: 2 * axis(0)}, y=y)
    test = (target.answers.split == "test").to_numpy()
    good, bad = y + rng.normal(size=600), rng.normal(size=600)
    better_on_validation = np.where(test, bad, good)
    better_on_validation[np.flatnonzero(test)[:7]] = np.nan
    detectors = {
        "logprob_mean": better_on_validation,
        "perplexity": np.where(test, good, bad),
        "text": y + 0.0,
        "probe_emb": y + 0.0,
    }
    target = planted("t", {0: 2 * axis(0)}, y=y, detectors=detectors)
    source = planted("s", {0: 2 * axis(0)})
    row = indexed(transfer([source, target])).loc[("source", "s", "t")]
    assert row.baseline == "logprob_mean", (
        "not the best on test, and none that was fitted to labels"
    )
    opened = Reopened(source)
    common = np.flatnonzero(test & np.isfinite(better_on_validation))
    decisions = opened.probe_at(opened.cell, opened.vectors(opened.cell)).decisions(
        target.states().cell(0, "-1")[common]
    )
    assert row.n_compared == len(common) == row.n - 7
    assert row.difference == pytest.approx(
        auroc(y[common], decisions) - auroc(y[common], better_on_validation[common]), abs=1e-12
    )
    assert row.compared_auroc == pytest.approx(auroc(y[common], decisions), abs=1e-12)
    assert row.difference == pytest.approx(row.compared_auroc - row.baseline_auroc, abs=1e-12)
    said = " ".join(" ".join(transfer_lines(transfer([source, target]), source.record)).split())
    assert f"n: t {row.n}, s " in said
    over = f"s on t: - baseline over the {row.n - 7} of {row.n} that it scores, "
    assert f"{over}where the probe has " in said
    draws = Resamples.draw([str(g) for g in target.answers.group[common]], 0)
    expected = difference_interval(draws, y[common], decisions, better_on_validation[common])
    assert (row.difference_low, row.difference_high) == (expected.low, expected.high)
    none = indexed(transfer([source, planted("t", {0: 2 * axis(0)})])).loc[("source", "s", "t")]
    assert none.baseline is None
    assert np.isnan(none.difference)


def test_a_baseline_that_scores_a_handful_does_not_choose_for_the_others():
    y, rng = np.random.default_rng(5).integers(0, 2, 600), np.random.default_rng(7)
    target = planted("t", {0: 2 * axis(0)}, y=y)
    early = np.flatnonzero(target.answers.split == "validation")[:6]
    few = np.full(600, np.nan)
    few[early] = y[early]
    good = y + 0.5 * rng.normal(size=600)
    good[early] = -y[early]  # the worst of all on these six
    run = planted(
        "t",
        {0: 2 * axis(0)},
        y=y,
        detectors={"logprob_mean": good, "length": rng.normal(size=600), "p_true_exact": few},
    )
    assert best_label_free(Reopened(run)) == "logprob_mean"


def test_one_class_is_said_and_not_a_number():
    u = 4 * axis(0)
    target = planted("t", {0: u})
    answers = target.answers
    target.tables["answers"] = answers.assign(
        label=np.where(answers.split == "test", 1, answers.label)
    )
    row = indexed(transfer([planted("s", {0: u}), target])).loc[("source", "s", "t")]
    assert np.isnan(
        row[["auroc", "low", "high", "direction_free", "difference"]].astype(float)
    ).all()
    assert (
        row.why
        == f"{row.n} test examples with -1, {row.n} of them correct: both classes are needed"
    )


# -- the angle -------------------------------------------------------------------------------------


def test_mahalanobis_cosine_is_the_cosine_under_the_covariance():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 5
    a, b = rng.normal(size=(2, 6))
    S = np.cov(X, rowvar=False)
    expected = a @ S @ b / np.sqrt(a @ S @ a * (b @ S @ b))
    assert mahalanobis_cosine(a, b, X) == pytest.approx(expected, abs=1e-12)
    assert mahalanobis_cosine(a, b, X) == pytest.approx(np.corrcoef(X @ a, X @ b)[0, 1], abs=1e-12)
    assert cosine(a, b) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    # the same vectors in another basis: decisions stay, and so does their correlation
    M = rng.normal(size=(6, 6))
    c, d = np.linalg.solve(M.T, a), np.linalg.solve(M.T, b)  # (X M') c = X a
    assert mahalanobis_cosine(c, d, X @ M.T) == pytest.approx(expected, abs=1e-9)
    assert abs(cosine(c, d) - cosine(a, b)) > 0.01
    assert mahalanobis_cosine(3 * a, -2 * a, X) == pytest.approx(-1)


def test_probes_without_a_direction_have_no_angle():
    X = np.ones((5, 3))
    assert np.isnan(cosine(None, np.ones(3)))
    assert np.isnan(mahalanobis_cosine(np.ones(3), None, X))
    assert np.isnan(mahalanobis_cosine(np.ones(3), np.ones(3), X)), "no variance"
    assert np.isnan(cosine(np.zeros(3), np.ones(3)))
    runs = [planted(name, {0: 4 * axis(0)}, n=300) for name in ("a", "b")]
    for run in runs:
        run.record["probe"] = {"name": "mlp", "solver": "batched"}
    row = indexed(transfer(runs)).loc[("source", "a", "b")]
    assert row.auroc > 0.9
    assert np.isnan(row.cosine)
    assert np.isnan(row.mahalanobis_cosine)


# -- all but one -----------------------------------------------------------------------------------


def test_a_probe_of_all_others_reads_what_they_share_and_not_their_offsets():
    """Two sources lie far apart along axis 3 and differ in how many answers are right: pooled as
    they are, axis 3 would be read."""
    rng = np.random.default_rng(0)
    sources = [
        planted("mostly right", {0: 3 * axis(0)}, y=rng.random(600) < 0.85, offset=2 * axis(3)),
        planted(
            "mostly wrong",
            {0: 3 * axis(0)},
            y=rng.random(600) < 0.15,
            offset=-2 * axis(3),
            scale=4.0,
        ),
    ]
    target = planted("t", {0: 3 * axis(0)})
    probe = union_probe([Reopened(s) for s in sources], Cell("resid", 0, "-1"))
    assert abs(probe.weight[3]) < 0.15 * abs(probe.weight[0])
    rows = indexed(transfer([*sources, target]))
    assert rows.loc[("source", OTHERS, "t"), "auroc"] > 0.95
    assert rows.loc[("source", OTHERS, "t"), "mahalanobis_cosine"] > 0.8
    assert list(transfer_matrix(rows.reset_index()).index) == [
        "mostly right",
        "mostly wrong",
        "t",
        OTHERS,
    ]
    assert OTHERS not in set(transfer([sources[0], target]).train_task), (
        "of two runs, all but one is the other one"
    )


def test_the_common_cell_is_the_sources_and_not_the_target_s():
    u = 3 * axis(0)
    layers = {0: u, 1: u, 2: u}
    a = planted("a", layers, validation={0: 0.9, 1: 0.8, 2: 0.5})
    b = planted("b", layers, validation={0: 0.5, 1: 0.8, 2: 0.9})
    target = planted("t", layers, layer=2, validation={0: 0.5, 1: 0.5, 2: 1.0})
    assert common_cell([Reopened(a), Reopened(b)], Reopened(target)) == Cell("resid", 1, "-1")
    rows = indexed(transfer([a, b, target]))
    assert rows.loc[("source", OTHERS, "t"), "layer"] == "1"
    assert rows.loc[("target", OTHERS, "t"), "layer"] == "2"


def test_cells_whose_token_is_rare_do_not_become_the_common_one():
    u = 3 * axis(0)
    found = {0: 0.9, 1: 0.8}
    a, b, target = (planted(name, {0: u, 1: u}, validation=found) for name in "abt")
    sources = [Reopened(a), Reopened(b)]
    assert common_cell(sources, Reopened(target)) == Cell("resid", 0, "-1")
    a.scores.loc[a.scores.layer == "0", "barred"] = "24 of 82 validation examples have this token"
    assert common_cell(sources, Reopened(target)) == Cell("resid", 1, "-1")
    few = np.arange(600) < 60
    target.tables["reader"] = replace(target.states(), present=few[:, None])
    assert common_cell(sources, Reopened(target)) is None


# -- topics ----------------------------------------------------------------------------------------


def topical(directions, seed=0, **columns):
    """A run of three topics, each with its own direction."""
    n = 900
    topics = np.array(["red", "green", "blue"])[np.arange(n) // 2 % 3]
    run = planted(
        "colours",
        {0: 0 * axis(0), 1: 0 * axis(0)},
        n=n,
        seed=seed,
        layer=1,
        topic=topics,
        **columns,
    )
    y = run.answers.label.to_numpy()
    for topic, direction in directions.items():
        run.states().values["resid", 1][topics == topic] += np.outer(
            y[topics == topic] - 0.5, direction
        )
    return run


def test_a_direction_that_topics_share_is_found_without_the_topic_and_one_of_its_own_is_not():
    shared = indexed(transfer([topical(dict.fromkeys(("red", "green", "blue"), 5 * axis(0)))]))
    apart = indexed(
        transfer([topical({"red": 5 * axis(0), "green": 5 * axis(1), "blue": 5 * axis(2)})])
    )
    for topic in ("red", "green", "blue"):
        at = ("source", f"colours without {topic}", f"colours: {topic}")
        assert shared.loc[at, "auroc"] > 0.95
        assert shared.loc[at, "layer"] == "1"
        assert abs(apart.loc[at, "auroc"] - 0.5) < 0.25
        assert shared.loc[at, "n"] < 120, "test examples of the topic only"


def test_nothing_of_the_held_out_topic_but_its_test_examples_counts():
    run = topical(dict.fromkeys(("red", "green", "blue"), 2 * axis(0)))
    before = transfer([run])
    held = ((run.answers.topic == "red") & (run.answers.split != "test")).to_numpy()
    run.tables["answers"] = run.answers.assign(
        label=np.where(held, 1 - run.answers.label, run.answers.label)
    )
    for layer in (0, 1):
        run.states().values["resid", layer][held] *= -50
    after = transfer([run])
    columns = ["layer", "C", "validation_auroc", "auroc", "low", "high", "n"]
    of = [t[t.test_task == "colours: red"][columns].reset_index(drop=True) for t in (before, after)]
    pd.testing.assert_frame_equal(of[0], of[1])


def test_a_topic_of_few_examples_is_absent_with_its_n_and_costs_no_fit(monkeypatch):
    run = topical(dict.fromkeys(("red", "green", "blue"), 5 * axis(0)))
    topics = run.answers.topic.to_numpy().copy()
    blue = np.flatnonzero((topics == "blue") & (run.answers.split == "test"))
    topics[blue[2:]] = "red"
    run.tables["answers"] = run.answers.assign(topic=topics)
    progress, fitted = Progress(), []
    monkeypatch.setattr(
        "probebench.across.topics.fit_cells",
        lambda job, cells: fitted.append(len(cells)) or fit_cells(job, cells),
    )
    table = transfer([run], progress=progress)
    small = indexed(table).loc["source", "colours without blue", "colours: blue"]
    assert (
        small[
            ["auroc", "low", "high", "direction_free", "own_auroc", "baseline_auroc", "difference"]
        ]
        .isna()
        .all()
    )
    assert small.n == 2
    assert re.search(
        r"2 test examples with \S+, [012] of them correct: at least 10 of each class are needed",
        small.why,
    )
    assert np.isfinite(indexed(table).loc["source", "colours without red", "colours: red"].auroc)
    assert len(fitted) == 2
    assert progress.done == {"Holding topics out": sum(fitted)}, "so that it is seen to move"
    lines = transfer_lines(table, run.record)
    shown = next(line for line in lines if line.startswith("blue"))
    assert shown.split() == [
        "blue",
        "absent:",
        str(small.correct),
        "right,",
        str(2 - small.correct),
        "wrong",
        "2",
    ]
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "not defined" in line]


def test_topics_come_from_a_column_or_from_files(tmp_path):
    run = planted("a", {0: axis(0)}, n=40)
    (tmp_path / "animals_true_false.csv").write_text(
        "statement,label\n" + "".join(f"Is a {i}?,1\n" for i in range(10))
    )
    (tmp_path / "rest.jsonl").write_text(
        "".join(
            json.dumps({"question": f"is A {i}?", "topic": "rest"}) + "\n" for i in range(8, 40)
        )
    )
    [(found, topics)] = topics_of(
        [Reopened(run)], [tmp_path / "animals_true_false.csv", tmp_path / "rest.jsonl"]
    )
    assert found.name == "a"
    assert topics.tolist() == ["animals"] * 8 + [None, None] + ["rest"] * 30, (
        "a statement of two topics has none"
    )
    assert topics_of([Reopened(run)]) == []
    with pytest.raises(
        UsageError,
        match="--topics rest.jsonl: 32 of the examples have a topic, "
        "and no run has two topics or more",
    ):
        topics_of([Reopened(run)], [tmp_path / "rest.jsonl"])
    (tmp_path / "bad.jsonl").write_text('{"topic": "x"}\n')
    with pytest.raises(
        BadFileError,
        match=r"bad.jsonl, line 1: a row of topics needs 'id', 'statement' or 'question'",
    ):
        topics_of([Reopened(run)], [tmp_path / "bad.jsonl"])


@pytest.mark.skipif(
    not STATEMENTS.is_file(), reason="needs the published statements (PROBEBENCH_DATA)"
)
def test_topics_of_published_statements_are_held_out_in_turn(tmp_path):
    run = probebench.evaluate(
        "tiny",
        "azaria_mitchell",
        data=STATEMENTS,
        limit=400,
        layers=(7,),
        positions=("statement_last",),
        out=tmp_path / "run",
        shuffles=0,
        skip=("p-true", "ensembles"),
    )
    table = transfer([run.folder], topics=[STATEMENTS])
    topics = table[table.kind == "topic"]
    assert topics.test_task.tolist() == [
        f"azaria_mitchell: {t}"
        for t in (
            "animals",
            "capitals",
            "cities",
            "companies",
            "elements",
            "facts",
            "generated",
            "inventions",
        )
    ]
    assert topics.n.sum() == run.record["counts"]["test"]["n"]
    few = np.minimum(topics.correct, topics.n - topics.correct) < 10
    assert topics.auroc.isna().equals(few)


# -- refusals, files, the command ------------------------------------------------------------------


def test_what_cannot_be_compared_is_refused():
    a = planted("a", {0: axis(0)}, n=100)
    other = planted("b", {0: axis(0)}, n=100, model={**MODEL, "revision": "other"})
    with pytest.raises(
        UsageError, match="run-a and run-b are not runs of one model: they differ in revision"
    ):
        transfer([a, other])
    with pytest.raises(UsageError, match="Two runs of the task a: give one run per task"):
        transfer([a, a])
    with pytest.raises(UsageError, match="run-a is one run without topics"):
        transfer([a])
    b = planted("b", {0: axis(0)}, n=100)
    b.record["probe"] = {"name": "lda"}
    with pytest.raises(UsageError, match="run-a and run-b have different probes, logistic and lda"):
        transfer([a, b])
    b = planted("b", {0: axis(0)}, n=100)
    b.record["settings"] = {"seed": 1, "width": None}
    with pytest.raises(UsageError, match="split with different seeds"):
        transfer([a, b])
    with pytest.raises(UsageError, match="run-b did not read resid of layer 0, the cell of run-a"):
        transfer([a, planted("b", {1: axis(0)}, n=100, layer=1)])


@pytest.fixture(scope="module")
def runs(model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    made = []
    for name, n in (("one", 240), ("two", 300), ("three", 270)):
        (folder / name).mkdir()
        path = answers_in(folder / name, n).rename(folder / name / f"{name}.jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text(
            "".join(json.dumps({**r, "question": f"{name}: {r['question']}"}) + "\n" for r in rows)
        )
        made.append(
            probebench.evaluate(
                str(model_folder("llama")),
                answers=path,
                positions=("exact_answer_last", "-1"),
                out=folder / f"run-{name}",
                device="cpu",
                shuffles=0,
                skip=("p-true", "ensembles"),
            )
        )
    return made


def test_own_task_gives_the_run_s_own_number_and_others_are_computed_from_stored_states(runs):
    table = transfer(runs)
    scores = table[(table.kind == "pair") & (table["at"] == "source")].set_index(
        ["train_task", "test_task"]
    )
    for run in runs:
        name = run.record["task"]["name"]
        assert scores.loc[(name, name), "auroc"] == pytest.approx(
            run.record["selection"]["test_auroc"], abs=2e-3
        )
    a, b = runs[:2]
    cell = a.record["selection"]
    X = b.states().cell(int(cell["layer"]), cell["position"])
    test = (b.answers.split == "test").to_numpy() & b.states().there(cell["position"])
    expected = auroc(
        b.answers.label.to_numpy()[test],
        np.asarray(a.probe().decision_function(X[test]), dtype=float),
    )
    row = scores.loc[("one", "two")]
    assert row.auroc == pytest.approx(expected, abs=1e-12)
    assert row.direction_free == max(expected, 1 - expected)
    assert row.low <= row.auroc <= row.high


def test_a_refit_of_the_selected_cell_is_the_saved_probe(runs):
    stored = Reopened(runs[0])
    X = stored.vectors(stored.cell)
    saved = stored.probe_at(stored.cell, X)
    again = stored.refit(stored.cell, X, saved.C, saved.validation_auroc)
    np.testing.assert_allclose(again.decisions(X), saved.decisions(X), atol=1e-6)
    assert cosine(again.weight, saved.weight) == pytest.approx(1)
    np.testing.assert_allclose(
        np.corrcoef(X @ saved.weight, saved.decisions(X))[0, 1], 1, atol=1e-6
    )


def test_a_probe_of_several_tasks_is_linear_or_none():
    """Each task is centred by itself, and the target is not: any other probe would be given vectors
    unlike all that it was fitted to."""
    sources = [planted(f"t{k}", {0: axis(0)}, seed=k, offset=100.0, scale=20.0) for k in range(3)]
    for run in sources:
        run.record["probe"] = {"name": "mlp", "solver": None}
    opened = [Reopened(run) for run in sources]
    found = union_probe(opened[:2], Cell("resid", 0, "-1"))
    assert found.estimator is None
    assert found.why == "a probe of several tasks has to be linear, and 'mlp' is not"


def test_the_command_writes_tables_and_maps_in_eighty_columns(runs, tmp_path):
    folders = [str(r.folder) for r in runs]
    done = CliRunner().invoke(main, ["transfer", *folders, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    said = done.output.split("\n\n" + str(tmp_path))[0]
    assert max(map(len, said.splitlines())) <= 80
    files = {p.name for p in (tmp_path / "out").iterdir()}
    assert {
        "transfer.csv",
        "transfer_source_auroc.csv",
        "transfer_target_mahalanobis_cosine.csv",
        "transfer.png",
        "transfer.svg",
        "transfer_target.png",
    } <= files
    long = pd.read_csv(tmp_path / "out" / "transfer.csv")
    assert long.groupby("kind").size().to_dict() == {"pair": 18, "all_but_one": 6}
    matrix = pd.read_csv(tmp_path / "out" / "transfer_source_auroc.csv", index_col=0)
    pd.testing.assert_frame_equal(
        matrix, transfer_matrix(transfer(folders)), check_names=False, atol=1e-6, rtol=0
    )
    as_json = json.loads(
        CliRunner()
        .invoke(main, ["transfer", *folders, "--out", str(tmp_path / "out"), "--json"])
        .output
    )
    assert len(as_json["rows"]) == 24
    assert as_json["rows"][0]["auroc"] == pytest.approx(long.auroc[0], abs=1e-6)
    wrong = CliRunner().invoke(main, ["transfer", *folders, "--formats", "pgn"])
    assert "Unknown format 'pgn'. Did you mean 'png'?" in wrong.output


def test_the_map_of_plot_shows_the_same_numbers(runs, tmp_path):
    words = ["plot", *(str(r.folder) for r in runs), "--map", "transfer", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert {p.name for p in tmp_path.iterdir()} == {
        "transfer.png",
        "transfer.svg",
        "transfer.pdf",
        "transfer.csv",
    }
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "transfer.csv")[["auroc", "cosine"]],
        transfer(runs)[["auroc", "cosine"]],
        atol=1e-6,
        rtol=0,
    )


def test_transfer_needs_no_torch(runs):
    folders = [str(r.folder) for r in runs[:2]]
    code = (
        f"import sys, probebench; print(len(probebench.transfer({folders!r})), [m for m in "
        "sys.modules if m[:5] == 'torch'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "8 []", done.stderr[-2000:]


def test_ids_of_two_files_that_count_alike_are_no_topics_of_others(tmp_path):
    """Texts say which statement it is; an id does where a row has nothing else, and not twice."""
    run = topical(dict.fromkeys(("red", "green", "blue"), 5 * axis(0)))
    run.tables["answers"] = run.answers.drop(columns="topic").assign(id=range(900))
    texts = list(Reopened(run).texts)
    for name, at in (("cities", range(100)), ("animals", range(100, 200))):
        rows = [{"id": i, "statement": texts[k]} for i, k in enumerate(at)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    files = [tmp_path / "cities.jsonl", tmp_path / "animals.jsonl"]
    [(_, topics)] = topics_of([Reopened(run)], files)
    assert topics.tolist() == ["cities"] * 100 + ["animals"] * 100 + [None] * 700
    rows = [{"id": i, "topic": int(i > 1)} for i in range(4)] + [{"id": 3, "topic": "x"}]
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    [(_, topics)] = topics_of([Reopened(run)], [tmp_path / "ids.jsonl"])
    assert topics.tolist()[:5] == ["0", "0", "1", None, None]


def test_topics_that_are_numbers_are_held_out_as_others():
    run = topical(dict.fromkeys(("red", "green", "blue"), 5 * axis(0)))
    number = {"red": 0, "green": 1, "blue": 2}
    run.tables["answers"] = run.answers.assign(topic=run.answers.topic.map(number))
    [(_, topics)] = topics_of([Reopened(run)])
    assert set(topics) == {"0", "1", "2"}


def test_topics_of_two_runs_are_told_apart_where_they_are_printed():
    table = transfer([topical(dict.fromkeys(("red", "green", "blue"), 5 * axis(0)))])
    table = table[table.kind == "topic"]
    other = table.assign(
        test_task=table.test_task.str.replace("colours", "shades"), baseline="length"
    )
    alone = "\n".join(topic_lines(table, 100))
    assert "colours: red" not in alone and "red" in alone
    both = "\n".join(topic_lines(pd.concat([table, other]), 100))
    assert "colours: red" in both and "shades: red" in both and "shades: length" in both


def test_examples_without_a_topic_take_no_part():
    """As a table of answers has them: not a number, which is a topic to nobody."""
    run = topical(dict.fromkeys(("red", "green", "blue"), 5 * axis(0)))
    some = pd.Series(run.answers.topic).mask(np.arange(900) % 4 == 0)
    for blank in (some, some.astype(object).where(some.notna(), None), some.astype("string")):
        run.tables["answers"] = run.answers.assign(topic=blank)
        [(_, topics)] = topics_of([Reopened(run)])
        assert set(topics) == {"red", "green", "blue", None}
    run.tables["answers"] = run.answers.assign(topic=some.where(some == "red"))
    assert topics_of([Reopened(run)]) == []
