"""What `leaderboard submit` writes and refuses, names that stay in their place, rows in one form,
reruns."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import assume, given
from hypothesis import strategies as st
from made import hashed, make_run, make_submission
from scipy.stats import rankdata

import probebench
from probebench.cli.main import main
from probebench.errors import BadFileError, UsageError
from probebench.files import with_digits
from probebench.leaderboard.board.entries import published_entries, read_entries
from probebench.leaderboard.board.gather import gather
from probebench.leaderboard.check.recompute import check_detectors
from probebench.leaderboard.check.rerun import rerun
from probebench.leaderboard.check.rules.every import check_protocol
from probebench.leaderboard.submission.names import (
    RESERVED,
    folder_problem,
    model_folder,
    model_problem,
    task_folder,
)
from probebench.leaderboard.submission.read import read_decisions, read_submission
from probebench.leaderboard.submission.submit import only_adds, refusals, write_submission
from probebench.leaderboard.submission.tables import cells_csv, compact, decisions_bytes
from probebench.record.run import Run


def run_directory(folder, model="org/model", seed=0):
    """A finished run that never was."""
    predictions, record, scores = make_run(model, "people", seed, 1.0)
    folder.mkdir(parents=True, exist_ok=True)
    predictions.to_parquet(folder / "predictions.parquet")
    scores.to_parquet(folder / "scores.parquet")
    record["files"] = ["predictions.parquet", "scores.parquet"]
    record["settings"] |= {"answers": None, "out": "/home/somebody/secret", "states": None}
    record["states"], record["timing"] = "stages/states-1", {"total_seconds": seed}
    del record["submission"]
    (folder / "record.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def run(tmp_path):
    return run_directory(tmp_path / "run")


def edit(run, change):
    record = json.loads((run / "record.json").read_text())
    change(record)
    (run / "record.json").write_text(json.dumps(record))
    return Run.load(run)


def test_submit_writes_checks_and_says_what_is_next(run, tmp_path):
    done = CliRunner().invoke(
        main, ["leaderboard", "submit", str(run), "--root", str(tmp_path / "leaderboards")]
    )
    assert done.exit_code == 0, done.output
    folder = tmp_path / "leaderboards/v2/org__model/people"
    assert sorted(p.name for p in folder.iterdir()) == [
        "cells.csv",
        "decisions.parquet",
        "record.json",
    ]
    for word in (
        "git switch -c submit-org__model-people",
        "git commit",
        "git push",
        "pull request",
        "[ ]",
    ):
        assert word in done.output
    assert "secret" not in (folder / "record.json").read_text()
    again = CliRunner().invoke(
        main, ["leaderboard", "submit", str(run), "--root", str(tmp_path / "leaderboards")]
    )
    assert again.exit_code == 0


def test_what_is_written_is_what_the_run_said(run, tmp_path):
    s = read_submission(write_submission(Run.load(run), tmp_path))
    before = pd.read_parquet(run / "predictions.parquet")
    for name in ("probe", "text", "majority"):
        own = before[before.detector == name].set_index("id")
        np.testing.assert_allclose(
            s.decisions.values[name], own.decision.reindex(s.decisions.id), rtol=1e-6
        )
    own = before[before.detector == "shuffled_labels_2"].set_index("id").reindex(s.decisions.id)
    test = s.decisions.split == "test"
    assert np.array_equal(s.decisions.shuffled[2][test], rankdata(own.decision[test], "dense"))
    groups = before[before.detector == "probe"].set_index("id").group.reindex(s.decisions.id)
    order = sorted(set(groups))
    assert [order.index(g) for g in groups] == s.decisions.group.tolist()
    text = (tmp_path / "v2/org__model/people/record.json").read_text()
    assert not set(order) & set(text.split('"'))
    said, kept = Run.load(run).record, json.loads(text)
    assert kept["selection"]["test_auroc"] == float(f"{said.selection.test_auroc:.10g}")
    assert with_digits([{"a": 1 / 3}, 10**12 + 1, -2e-15 / 3, None, "0.33333"], 3) == [
        {"a": 0.333},
        10**12 + 1,
        -6.67e-16,
        None,
        "0.33333",
    ]


REFUSED = {
    "dirty": (lambda r: r["package"].update(dirty=True), "dirty"),
    "limit": (lambda r: r["settings"].update(overrides={"limit": 100}), "--limit 100"),
    "data": (
        lambda r: r["settings"].update(overrides={"data": "mine.jsonl"}),
        "custom data: --data mine.jsonl",
    ),
    "answers": (lambda r: r["settings"].update(answers="theirs.jsonl"), "--answers theirs.jsonl"),
    "states": (lambda r: r["settings"].update(states="elsewhere"), "--states elsewhere"),
    "positions": (lambda r: r["settings"].update(overrides={"positions": ["-1"]}), "--positions"),
    "seed": (lambda r: r["settings"].update(overrides={"seed": 3}), "--seed 3"),
    "coarser": (
        lambda r: r["settings"].update(overrides={"states_dtype": "bfloat16"}),
        "--states-dtype bfloat16",
    ),
    "gold": (
        lambda r: r["settings"].update(overrides={"exact_answer": "gold"}),
        "--exact-answer gold",
    ),
    "no thinking": (lambda r: r["settings"].update(overrides={"thinking": False}), "--no-thinking"),
    "another reader": (
        lambda r: r["settings"].update(overrides={"extractor_model": {"name": "tiny", "peft": ""}}),
        "--extractor-model tiny. Run",
    ),
    "probe": (lambda r: r["probe"].update(name="mlp"), "'mlp'"),
    "task of one's own": (lambda r: r["task"].update(name="mine"), "'mine'"),
    "changed task": (lambda r: r["task"].update(hash="0" * 64), "was changed"),
    "code of the model": (
        lambda r: r["model"].update(remote_code="sha256:0"),
        "--trust-remote-code",
    ),
    "partial": (lambda r: r["counts"]["all"].update(n=99999), "partial"),
    "files gone": (lambda r: r["files"].append("probe.json"), "probe.json missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_runs_that_are_refused(run, tmp_path, name):
    change, word = REFUSED[name]
    changed = edit(run, change)
    assert len(refusals(changed)) == 1
    with pytest.raises(UsageError, match="cannot be submitted") as error:
        write_submission(changed, tmp_path / "leaderboards")
    assert word in refusals(changed)[0]
    assert "--" not in str(error.value)
    assert not (tmp_path / "leaderboards").exists()


def test_every_reason_is_said_at_once(run):
    changed = edit(
        run,
        lambda r: (
            r["package"].update(dirty=True),
            r["settings"].update(overrides={"limit": 9, "seed": 2}),
        ),
    )
    assert len(refusals(changed)) == 3


@pytest.mark.parametrize("name", ["controls", "encoder", "attribution"])
def test_settings_that_only_add_are_taken(run, name):
    assert not refusals(edit(run, lambda r: r["settings"].update(overrides={name: "x"})))


def test_more_digits_of_the_same_vectors_are_taken(run, tmp_path):
    def finer(r):
        r["settings"].update(overrides={"states_dtype": "float32"})

    changed = edit(run, finer)
    assert not refusals(changed)
    found = read_submission(write_submission(changed, tmp_path))
    assert not [f for f in check_protocol(found) if "states_dtype" in f.field]


def test_thresholds_for_abstaining_stay_with_the_run_and_are_checked_where_they_are_given(
    run, tmp_path
):
    n = {"delta": 0.1, "n": 1, "n_wrong": 1, "base_risk": 1.0, "n_validation": 1}
    own = {**n, "effective_validation": 1.0, "detectors": [], "curves": []}
    changed = edit(run, lambda r: r.update(abstention=own))
    assert changed.record.abstention.n == 1
    folder = write_submission(changed, tmp_path)
    record = json.loads((folder / "record.json").read_text())
    assert "abstention" not in record and not [*check_detectors(read_submission(folder))]
    (folder / "record.json").write_text(json.dumps({**record, "abstention": own}))
    found = [f.field for f in check_detectors(read_submission(folder))]
    assert {"abstention.n", "abstention.n_validation"} <= set(found)


def test_a_row_is_not_replaced_by_another_draw(run, tmp_path):
    write_submission(Run.load(run), tmp_path)
    other = run_directory(tmp_path / "other", seed=1)
    with pytest.raises(BadFileError, match="holds another run"):
        write_submission(Run.load(other), tmp_path)


def test_a_row_is_taken_again_where_the_run_only_adds_to_it(run):
    old = Run.load(run).record

    def made(change):
        plain = old.plain()
        plain["key"] = "0" * 64
        change(plain)
        return type(old).from_plain(plain)

    def worse(plain):
        own = next(d for d in plain["detectors"] if d["kind"] == "baseline")
        own["auroc"] -= 0.01

    assert only_adds(old, old) and only_adds(made(lambda plain: None), old)
    assert only_adds(made(lambda p: p["detectors"].append({**p["detectors"][0], "name": "x"})), old)
    row = type(old).from_plain(with_digits(old.plain(), 3))
    assert row != old and only_adds(made(lambda plain: None), row), "a row has fewer digits"
    assert not only_adds(made(lambda p: p["counts"]["test"].update(correct=7)), row)
    assert not only_adds(made(lambda p: p["detectors"].pop()), old), "one is gone"
    assert not only_adds(made(worse), old), "a baseline is lower"
    assert not only_adds(made(lambda p: p["selection"].update(test_auroc=0.99)), old)
    assert not only_adds(made(lambda p: p["selection"].update(layer="emb")), old)
    assert not only_adds(made(lambda p: p["data"].update(sha256="1" * 64)), old)


def test_decisions_of_ten_thousand_examples_stay_below_two_megabytes():
    """A run of 10,000 examples has 4,000 on validation and test; 40 detectors and 20 repeats of the
    control."""
    rng = np.random.default_rng(0)
    base = pd.DataFrame(
        {
            "id": [hashed(i)[:16] for i in range(4000)],
            "group": [f"question {i}" for i in range(4000)],
            "split": ["validation"] * 2000 + ["test"] * 2000,
            "label": rng.integers(0, 2, 4000),
            "scored": True,
        }
    )
    names = [f"detector_{k}" for k in range(40)] + [f"shuffled_labels_{k}" for k in range(20)]
    predictions = pd.concat(
        [base.assign(detector=n, decision=rng.normal(size=4000)) for n in names], ignore_index=True
    )
    assert len(decisions_bytes(predictions)) < 0.85e6
    assert len(decisions_bytes(predictions, exact=True)) < 1.5e6


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30), st.data()
)
def test_compact_decisions_keep_every_order_and_tie(values, data):
    drawn = data.draw(st.lists(st.sampled_from(values)))
    with np.errstate(over="ignore"):
        close = [np.nextafter(v, np.inf) for v in drawn]
    values = np.array([v for v in [*values, *close] if np.isfinite(v)] + [np.nan])
    small = compact(values).astype(np.float64)
    assert np.array_equal(rankdata(small[:-1], "dense"), rankdata(values[:-1], "dense"))
    assert np.isnan(small[-1])


def test_decisions_that_fall_together_take_the_next_number():
    close = np.array([0.5, np.nan, 0.5 + 1e-9, -0.25, -0.25 - 1e-9, 0.0, -0.0])
    small = compact(close)
    assert small.dtype == np.float32
    assert np.nanmax(abs(small - close)) <= 2 * np.spacing(np.float32(0.5))
    assert small[0] < small[2] and small[4] < small[3] and small[5] == small[6]


def test_shuffled_labels_keep_ranks_on_test():
    base = pd.DataFrame(
        {
            "id": list("abcd"),
            "group": list("abcd"),
            "split": ["validation", "test", "test", "test"],
            "label": [0, 1, 0, 1],
            "scored": True,
        }
    )
    decisions = {"probe": [0.1, 0.2, 0.3, 0.4], "shuffled_labels_0": [9.0, -3.5, 8.25, -3.5]}
    table = pd.concat([base.assign(detector=d, decision=v) for d, v in decisions.items()])
    for exact in (False, True):
        kept = pd.read_parquet(io.BytesIO(decisions_bytes(table, exact=exact)))
        assert np.array_equal(kept["s:0"], [np.nan, 1, 2, 1], equal_nan=True)


def test_probabilities_near_one_keep_every_digit():
    near = 1 - np.arange(1, 9) * 1e-12
    assert compact(near).dtype == np.float64
    assert compact(np.array([0.5, np.nan, 0.25])).dtype == np.float32


def test_the_map_is_written_with_absent_numbers_empty():
    nothing = dict.fromkeys(["value", "low", "high", "selectivity", "p", "q"], np.nan)
    row = {
        "site": "resid",
        "layer": "0",
        "position": "-1",
        "detector": "cell",
        "metric": "auroc",
        "n": 3,
        **nothing,
        "masked": "too few, of one class",
    }
    text = cells_csv(
        pd.DataFrame([{**row, "split": "test"}, {**row, "split": "validation", "n": 4}])
    )
    assert text.splitlines()[1] == 'resid,0,-1,3,,,,4,,,,,"too few, of one class",'


BAD = [
    "",
    ".",
    "..",
    "../x",
    "a/b/c",
    "/etc",
    "a\\b",
    "a b",
    "a\nb",
    "-rf",
    ".git",
    "con",
    "NUL.txt",
    "com1",
    "a..b",
    "a.",
    "é",
    "ａ",
    "a\u202eb",
    "a" * 129,
    "a:b",
    "a*b",
    "<b>",
    "a\0",
    "a__b/c",
]


@pytest.mark.parametrize("name", BAD)
def test_names_that_could_leave_their_folder(name):
    assert model_problem(name)
    assert folder_problem(name)
    with pytest.raises(BadFileError, match="cannot be the name"):
        model_folder({"name": name})


PLAIN = st.from_regex(r"[A-Za-z0-9]{1,12}([._-][A-Za-z0-9]{1,12}){0,3}", fullmatch=True)


def is_one_folder(folder, root):
    assert folder.isascii() and not set("/\\\0") & set(folder) and 0 < len(folder) <= 128
    assert (root / folder).resolve().parent == root.resolve()
    return True


@given(st.lists(PLAIN, min_size=1, max_size=2).map("/".join))
def test_a_plain_name_is_one_folder(tmp_path_factory, name):
    assume(not {part.split(".")[0].casefold() for part in name.split("/")} & RESERVED)
    assert model_problem(name) == ""
    assert is_one_folder(model_folder({"name": name}), tmp_path_factory.getbasetemp())


@given(st.one_of(st.text(max_size=40), st.text("ab./\\-_ ", max_size=9)))
def test_any_name_is_refused_or_is_one_folder(tmp_path_factory, name):
    try:
        folder = model_folder({"name": name})
    except BadFileError as error:
        assert (problem := model_problem(name)) and problem in str(error)
    else:
        assert model_problem(name) == ""
        assert is_one_folder(folder, tmp_path_factory.getbasetemp())


def test_names_of_folders():
    assert model_folder({"name": "mistralai/Mistral-7B-v0.3"}) == "mistralai__Mistral-7B-v0.3"
    assert model_folder({"name": "tiny", "quantization": "bitsandbytes-8bit"}) == "tiny--int8"
    assert model_folder({"name": "tiny", "peft": "sha256:" + "ab" * 32}) == "tiny--peft-abababab"
    assert [task_folder("people", v) for v in (1, 2)] == ["people", "people@2"]


def test_rows_in_one_form(tmp_path):
    make_submission(tmp_path)
    rows = list(read_entries(tmp_path))
    own = rows[0]
    assert (own.tier, own.model, own.task) == ("recomputed", "org/model", "people")
    assert own.current and own.detectors[0].name == "probe"
    (chosen,) = (
        c
        for c in own.cells
        if (c.site, c.layer, c.position) == ("resid", own.selection.layer, own.selection.position)
    )
    assert chosen.auroc
    assert own.decisions().label.sum() > 0
    papers = rows[1:]
    assert len(papers) == 40 and {len(p.detectors) for p in papers} == {19}
    assert {p.tier for p in papers} == {"published"}
    assert {p.source[:20] for p in papers} == {"arXiv:2410.02707v4 T"}
    assert len({p.model for p in papers}) == 4 and len({p.task for p in papers}) == 10


def test_papers_say_what_their_tables_say():
    row = next(
        e
        for e in published_entries()
        if e.model == "mistralai/Mistral-7B-v0.3" and e.task == "math"
    )
    found = row.detector("logits_mean")
    assert (found.auroc, found.spread, found.source, found.low, found.n) == (
        0.41,
        0.015,
        "arXiv:2410.02707v4 Table 4",
        None,
        None,
    )


def test_rows_of_an_older_task_stay_and_are_not_ranked(tmp_path):
    folder = make_submission(tmp_path)
    record = json.loads((folder / "record.json").read_text())
    record["task"]["hash"] = "0" * 64
    (folder / "record.json").write_text(json.dumps(record))
    row = next(read_entries(tmp_path))
    assert not row.current
    assert {r.rank for r in gather([row, row]).rows} == {None}


def test_nothing_is_written_that_would_not_validate(run, tmp_path):
    root = tmp_path / "leaderboards"
    edit(run, lambda r: r["selection"].update(test_auroc=0.123))
    done = CliRunner().invoke(main, ["leaderboard", "submit", str(run), "--root", str(root)])
    assert done.exit_code == 2 and "would not validate, and was not written" in done.output
    assert not root.exists()


def test_a_row_that_was_run_again_is_not_changed(run, tmp_path):
    root = tmp_path / "leaderboards"
    folder = write_submission(Run.load(run), root)
    second = shutil.copytree(run, tmp_path / "second")
    edit(second, lambda r: r.update(timing={"total_seconds": 7}))
    rerun(folder, Run.load(second))
    submit = ["leaderboard", "submit", "--root", str(root)]
    assert CliRunner().invoke(main, [*submit, str(run)]).exit_code == 0  # the same files
    before = {p: p.read_bytes() for p in folder.iterdir()}
    done = CliRunner().invoke(main, [*submit, str(second)])
    assert done.exit_code == 2 and "was run again by the maintainers" in done.output
    assert {p: p.read_bytes() for p in folder.iterdir()} == before


def test_a_submission_is_run_again_by_a_path_of_few_parts(run, tmp_path, monkeypatch):
    folder = write_submission(Run.load(run), tmp_path / "leaderboards")
    second = shutil.copytree(run, tmp_path / "second")
    edit(second, lambda r: r.update(timing={"total_seconds": 7}))
    monkeypatch.chdir(folder.parent)
    done = CliRunner().invoke(main, ["leaderboard", "rerun", folder.name, str(second)])
    assert done.exit_code == 0, done.output


def test_a_broken_row_says_which(tmp_path):
    folder = make_submission(tmp_path)
    (folder / "record.json").write_text('{"model": 3}')
    with pytest.raises(BadFileError, match="org__model"):
        list(read_entries(tmp_path))


def test_a_second_run_that_agrees(run, tmp_path):
    folder = write_submission(Run.load(run), tmp_path / "leaderboards")
    second = tmp_path / "second"
    shutil.copytree(run, second)
    with pytest.raises(UsageError, match="is the run that was submitted"):
        rerun(folder, Run.load(second))
    edit(second, lambda r: r.update(timing={"total_seconds": 7}))
    facts = rerun(folder, Run.load(second))
    assert facts["agrees"] and facts["same_cell"]
    assert next(read_entries(tmp_path / "leaderboards")).tier == "rerun"
    record = json.loads((folder / "record.json").read_text())
    # not the submission that agreed any more
    (folder / "record.json").write_text(json.dumps(record | {"warnings": []}))
    assert next(read_entries(tmp_path / "leaderboards")).tier == "recomputed"


def test_a_second_run_that_does_not_agree(run, tmp_path):
    folder = write_submission(Run.load(run), tmp_path / "leaderboards")
    second = tmp_path / "second"
    shutil.copytree(run, second)
    edit(
        second,
        lambda r: (r.update(timing={}), r["detectors"][0].update(auroc=0.6, auroc_95=[0.55, 0.65])),
    )
    done = CliRunner().invoke(main, ["leaderboard", "rerun", str(folder), str(second)])
    assert done.exit_code == 1 and "OUTSIDE" in done.output
    assert next(read_entries(tmp_path / "leaderboards")).tier == "recomputed"


def test_a_run_of_another_model_is_no_rerun(run, tmp_path):
    folder = write_submission(Run.load(run), tmp_path / "leaderboards")
    other = run_directory(tmp_path / "other", model="org/other", seed=1)
    with pytest.raises(UsageError, match=r"its model\.revision is"):
        rerun(folder, Run.load(other))


def test_decisions_are_read_without_torch(tmp_path):
    import subprocess
    import sys

    folder = make_submission(tmp_path)
    program = (
        "import sys; from pathlib import Path; from probebench.leaderboard.submission.read import "
        "read_decisions\n"
    )
    program += f"read_decisions(Path({str(folder)!r})); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
    assert len(read_decisions(folder).id) == 1032


@pytest.mark.parametrize("damage", ["no parquet", "other decisions"])
def test_a_row_whose_decisions_say_something_else_is_not_built(run, tmp_path, damage):
    """What stands on the board as recomputed has decisions that give its number."""
    root = tmp_path / "leaderboards"
    folder = write_submission(Run.load(run), root)
    if damage == "no parquet":
        (folder / "decisions.parquet").write_text("hello")
    else:
        table = pd.read_parquet(folder / "decisions.parquet")
        table["d:probe"] = -table["d:probe"]
        table.to_parquet(folder / "decisions.parquet")
    done = CliRunner().invoke(
        main, ["leaderboard", "build", "--root", str(root), "--out", str(tmp_path / "site")]
    )
    assert done.exit_code == 2 and "org__model/people" in done.output
    assert not (root / "README.md").exists()


def test_names_of_tasks_are_a_list_and_a_run_is_a_folder():
    """One name is a text, and its letters are no tasks."""
    with pytest.raises(UsageError, match=r"`tasks` is a list; one of them alone is \['people'\]"):
        probebench.evaluate_all("tiny", "people")
    for folder in (None, 5):
        with pytest.raises(UsageError, match=f"opened by its folder; got {folder}"):
            Run.load(folder)
