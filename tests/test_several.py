"""Several tasks of one call, what a refusal says and keeps, and the answers of a run as a person
reads them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import probebench
from probebench.cli.main import main
from probebench.errors import BadFileError, LabelError, TasksError, UnknownNameError, UsageError
from probebench.probes.enough import Circumstances, class_trouble
from probebench.report.terminal.replies import read_replies
from probebench.stages.labelled import judged
from probebench.types import Answer, Example

SMALL = {
    "layers": (0,),
    "positions": ("-1",),
    "shuffles": 0,
    "device": "cpu",
    "skip": ("p-true", "text", "ensembles"),
}
WORDS = [
    "--layers",
    "0",
    "--positions=-1",
    "--shuffles",
    "0",
    "--device",
    "cpu",
    "--skip",
    "p-true,text,ensembles",
    "--offline",
]
TASK = """
name: {name}
version: 1
kind: {kind}
description: Made up.
changelog:
  1: First version.
source:
  files:
    - url: https://example.org/{name}.jsonl
      sha256: {sha256}
{more}licence: none
citation: none
"""
ASKED = (
    'prompt:\n  chat: "{question}"\ngeneration:\n  max_new_tokens: 3\nexact_answer:\n  rule: '
    "whole\n"
)


def run(*words):
    return CliRunner().invoke(main, [str(w) for w in words])


@pytest.fixture
def make_task(tmp_path, monkeypatch):
    """Write a task of one's own with its rows where a download would be: `make_task("name", rows)`;
    its path."""
    monkeypatch.setenv("PROBEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def make(name, rows, kind="statements", more=""):
        content = "".join(json.dumps(r) + "\n" for r in rows).encode()
        sha256 = hashlib.sha256(content).hexdigest()
        place = tmp_path / "cache" / sha256[:16]
        place.mkdir(parents=True)
        (place / f"{name}.jsonl").write_bytes(content)
        (tmp_path / f"{name}.yaml").write_text(
            TASK.format(name=name, kind=kind, sha256=sha256, more=more)
        )
        return f"{name}.yaml"

    return make


def statements(n=120, label=lambda i: i % 2):
    towns = ["Oslo", "Lima", "Rome"]
    return [
        {
            "question": f"The {towns[i % 3]} tram number {i} is {'red' if i % 2 else 'blue'}.",
            "label": label(i),
        }
        for i in range(n)
    ]


def questions(n=60):
    return [
        {"question": f"Which colour has tram {i}?", "answers": ["mauve", "purple"]}
        for i in range(n)
    ]


def test_one_task_that_fails_does_not_stop_the_next(make_task, model_folder, monkeypatch):
    """A refusal and a mistake in the code both end in the table and in the exit code."""
    tasks = [
        make_task("asked", questions(), "qa", ASKED),
        make_task("trams", statements()),
        make_task("more", statements(124)),
    ]
    words = ["eval", "--model", model_folder(), *WORDS]
    for task in tasks:
        words += ["--task", task]
    found = run(*words)
    assert found.exit_code == 1, found.output
    table = found.stdout[found.stdout.index("task ") :].splitlines()
    assert max(map(len, table)) <= 80
    assert table[1].split()[:2] == ["asked", "failed:"]
    assert [line.split()[:4] for line in table if "done" in line] == [
        ["trams", "done", "120", "50.0%"],
        ["more", "done", "124", "50.0%"],
    ]
    assert "0 correct and 60 wrong answers" in found.stderr
    runs = [json.loads(p.read_text()) for p in Path("runs").rglob("record.json")]
    assert {r["task"]["name"] for r in runs} == {"trams", "more"}

    as_json = run(*words, "--json")
    rows = json.loads(as_json.stdout)
    assert as_json.exit_code == 1
    assert "0 correct and 60 wrong" in rows[0]["error"]
    assert [r["task"]["name"] for r in rows[1:]] == ["trams", "more"]

    def broken(*a, **k):
        raise TypeError("a mistake of ours")

    monkeypatch.setattr("probebench.stages.labelled.label", broken)
    monkeypatch.setattr("probebench.job.prepare.Prepared.finished", lambda self: None)
    with pytest.raises(TasksError) as error:
        probebench.evaluate_all(str(model_folder()), [tasks[0], tasks[0]], offline=True, **SMALL)
    assert [o.reason for o in error.value.outcomes] == ["TypeError: a mistake of ours"] * 2


def test_all_tasks_are_checked_before_the_first_begins(make_task, model_folder, monkeypatch):
    monkeypatch.setattr(
        "probebench.stages.engine.load_model", lambda *a, **k: pytest.fail("a model was loaded")
    )
    good, alone = make_task("trams", statements()), make_task("alone", statements(80, lambda i: 1))
    torn = make_task("torn", questions(), "qa", 'prompt:\n  chat: "{question} {passage}"\n')
    found = run(
        "eval",
        "--model",
        model_folder(),
        *WORDS,
        "--task",
        good,
        "--task",
        torn,
        "--task",
        "triviaqq",
        "--task",
        alone,
    )
    assert found.exit_code == 2
    assert "3 of 4 tasks cannot run, so none was begun." in found.stderr
    for words in (
        "torn.yaml: torn.yaml: the prompt uses {passage}",
        "Did you mean 'triviaqa'?",
        "80 true and 0 false statements",
    ):
        assert words in found.stderr
    assert not list(Path().glob("runs/*/*"))
    dry = run("eval", "--model", model_folder(), *WORDS, "--task", alone, "--dry-run")
    assert (dry.exit_code, "80 true and 0 false statements: one class only" in dry.stderr) == (
        1,
        True,
    )
    with pytest.raises(UsageError, match="1 of 2 tasks cannot run"):
        probebench.evaluate_all(str(model_folder()), [good, torn], offline=True, **SMALL)
    with pytest.raises(UnknownNameError, match="Did you mean 'limit'"):
        probebench.evaluate_all(str(model_folder()), [good], limt=4)


def test_evaluate_all_gives_the_runs_that_evaluate_gives(make_task, model_folder):
    tasks = [make_task("trams", statements()), make_task("more", statements(124))]
    outcomes = probebench.evaluate_all(str(model_folder()), tasks, offline=True, **SMALL)
    assert [o.task for o in outcomes] == ["trams", "more"]
    again = probebench.evaluate(str(model_folder()), tasks[1], offline=True, **SMALL)
    assert again.resumed
    assert again.record == outcomes[1].result().record


# -- a refusal -------------------------------------------------------------------------------------


def test_a_refusal_comes_before_exact_answers_and_keeps_what_was_answered(
    make_task, model_folder, monkeypatch
):
    monkeypatch.setattr(
        "probebench.stages.labelled.exact_spans",
        lambda *a: pytest.fail("exact answers were looked for"),
    )
    task = make_task("asked", questions(), "qa", ASKED)
    found = run("eval", "--model", model_folder(), "--task", task, "--out", "out", *WORDS)
    assert found.exit_code == 1
    assert "0 correct and 60 wrong answers (0 of them refusals, " in found.stderr
    assert "one class only" in found.stderr
    assert found.stderr.count("question:") == found.stderr.count("answer:") == 3
    assert "about 400 examples are needed" in found.stderr  # 3 of 60 at most
    assert "probebench answers out" in found.stderr
    kept = pd.read_parquet("out/answers.parquet")
    assert (len(kept), kept.label.sum(), kept.exact_answer.notna().sum()) == (60, 0, 0)
    shown = run("answers", "out", "--wrong", "--limit", "2")
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.output.splitlines())) <= 80
    assert "60 answers: 0 correct, 60 wrong" in shown.output
    assert "expected: mauve | purple" in shown.output
    assert shown.output.count("not looked for: the run was refused") == 2
    assert "none" not in shown.output
    assert "58 more" in shown.output
    assert "No answers of this kind" in run("answers", "out", "--correct").output


def made(labels, splits=None, *, stopped=True, text="Blue."):
    """Judged answers without a model; the class `correct` says "Red."."""
    none = np.zeros(0, dtype=np.float32)
    examples = [
        Example(f"e{i}", f"Which colour is {i}?", ("red",), f"g{i}") for i in range(len(labels))
    ]
    answers = [
        Answer(e.id, (1,), (2, 3), stopped, "Red." if y else text, none, none, none)
        for e, y in zip(examples, labels, strict=True)
    ]
    splits = splits or [("train", "validation", "test")[i % 3] for i in range(len(labels))]
    return judged(
        examples, answers, [a.text for a in answers], [None] * len(labels), splits, "aliases"
    )


@pytest.mark.parametrize(
    ("labels", "options", "wanted"),
    [
        (
            [1] * 12 + [0] * 228,
            {"limit": 240},
            ["12 correct and 228 wrong", "about 400 examples", "--limit 400 or --data FILE"],
        ),
        (
            [0] * 100,
            {},
            [
                "one class only",
                "none is among 100 may still have 3 of 100",
                "about 670 examples",
                "--data FILE",
            ],
        ),
        (
            [1] * 7 + [0] * 93,
            {"stopped": False, "max_new_tokens": 20},
            ["93 wrong", "100 cut off at 20 tokens", "--max-new-tokens"],
        ),
        ([1] * 9 + [0] * 60, {"text": "I don't know."}, ["60 of them refusals", "wrong, refusal"]),
        ([1] * 9 + [0] * 60, {"brought": True}, ["--answers FILE with more rows"]),
        (
            [1] * 9 + [0] * 60,
            {"text": " "},
            ["0 cut off at 9 tokens, 60 empty", "a prompt that this model answers"],
        ),
    ],
)
def test_a_refusal_says_how_many_and_what_was_said(labels, options, wanted):
    kinds = {k: options.pop(k) for k in ("stopped", "text") if k in options}
    trouble = class_trouble(
        made(labels, **kinds),
        Circumstances(**{"statements": False, "limit": None, "max_new_tokens": 9, **options}),
    )
    assert [words for words in wanted if words not in trouble] == []
    shown = trouble.splitlines()[1:]
    assert len(shown) == 9
    assert max(map(len, shown)) <= 80
    assert len({line for line in shown if line.startswith("  ") and line[2] != " "}) >= len(
        set(labels)
    )  # one of each class


def test_a_split_of_one_class_is_a_refusal_too_and_enough_of_both_is_none():
    labels = [1, 0] * 60
    assert class_trouble(made(labels), Circumstances(False, None, 9)) is None
    splits = [
        "test" if y and i < 40 else ("train", "validation")[i // 2 % 2]
        for i, y in enumerate(labels)
    ]
    assert "The test split holds 20 answers with 20 correct: one class only" in class_trouble(
        made(labels, splits), Circumstances(False, None, 9)
    )


def test_a_refused_rerun_leaves_the_finished_run_alone(make_task, model_folder, monkeypatch):
    task = make_task("trams", statements())
    first = probebench.evaluate(str(model_folder()), task, offline=True, out="out", **SMALL)
    before = (first.folder / "answers.parquet").read_bytes()
    monkeypatch.setattr("probebench.probes.enough.MIN_CLASS", 100)  # as if a new judge found fewer
    monkeypatch.setattr("probebench.job.prepare.Prepared.finished", lambda self: None)
    with pytest.raises(LabelError, match="fewer than 100"):
        probebench.evaluate(str(model_folder()), task, offline=True, out="out", **SMALL)
    assert (first.folder / "answers.parquet").read_bytes() == before
    assert probebench.Run.load("out").record == first.record


# -- answers ---------------------------------------------------------------------------------------


def test_answers_of_a_run_say_why(model_folder, tmp_path):
    rows = []
    for i in range(90):
        said = ["It is Oslo,\x1b[31m I think.", "It is\nLima.", "I don't know."][i % 3]
        rows.append(
            {
                "id": f"r{i}",
                "question": f"Where is {i}? " * 9,
                "answer": said,
                "references": ["Oslo", "Oslo, Norway"],
                "exact_answer": "Oslo" if i % 3 == 0 else "",
                "group": f"g{i}",
            }
        )
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    done = probebench.evaluate(
        str(model_folder()), answers=tmp_path / "a.jsonl", out=tmp_path / "out", **SMALL
    )
    found = {r.id: r for r in read_replies(done.folder)}
    assert [found[f"r{i}"].why for i in range(3)] == [
        "accepted: Oslo",
        "expected: Oslo | Oslo, Norway",
        "a refusal counts as wrong",
    ]
    assert (found["r0"].exact_answer, found["r1"].exact_answer, found["r2"].refused) == (
        "Oslo",
        None,
        True,
    )
    text = run("answers", done.folder).output
    assert "90 answers: 30 correct, 60 wrong (30 refusals, 0 cut off)." in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text  # a model's words cannot colour a terminal
    assert "It is⏎Lima." in text
    assert "   exact      none\n" in text
    assert "not looked for" not in text
    as_json = json.loads(run("answers", done.folder, "--correct", "--limit", "4", "--json").output)
    assert [r["label"] for r in as_json] == [1] * 4
    assert {"question", "answer", "label", "exact_answer", "why", "cut_off"} <= set(as_json[0])


def test_answers_that_are_not_there(tmp_path):
    with pytest.raises(BadFileError, match="There is no folder"):
        read_replies(tmp_path / "nowhere")
    (tmp_path / "answers.parquet").write_bytes(b"no parquet")
    assert run("answers", tmp_path).exit_code == 2
    assert "--limit must be 1 or more; got 0" in run("answers", tmp_path, "--limit", "0").output
