"""What a user types and sees: exit codes, messages, and nothing heavy before it is needed."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
from click.testing import CliRunner

from probebench.api import evaluate
from probebench.cli.eval import eval_command
from probebench.cli.main import main
from probebench.engines.spec import EngineSpec
from probebench.job.options import Options
from probebench.models.generate import GENERATIONS
from probebench.models.specs import ModelSpec
from probebench.states.extract import BATCHINGS
from probebench.states.shards import STATE_DTYPES


def run(*words):
    return CliRunner().invoke(main, [str(w) for w in words])


@pytest.mark.parametrize(
    "statement",
    [
        "import probebench",
        "import probebench.cli.main",
        "import probebench.record.run, probebench.maps.heatmap",
    ],
)
def test_nothing_heavy_is_imported_early(statement):
    code = (
        f"import sys; {statement}; print([m for m in ('torch', 'transformers', 'sklearn', "
        "'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_imports_no_command():
    """The list of commands needs click, and of this package what is named here."""
    code = (
        "import sys\nfrom probebench.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print(*sorted(m for m in sys.modules if m.startswith('probebench')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == [
        "probebench",
        "probebench._version",
        "probebench.cli",
        "probebench.cli.main",
        "probebench.errors",
    ]


def test_help_lists_the_commands():
    result = run("--help")
    assert result.exit_code == 0
    for command in ("eval", "tasks", "plot"):
        assert command in result.output


def test_command_and_function_take_what_options_hold():
    held = (
        {f.name for f in fields(Options)} - {"model", "where"}
        | {f.name for f in fields(EngineSpec)}
        | {f.name for f in fields(ModelSpec)} - {"name"}
        | {"model"}
    )
    called = {"attn_implementation": "attention"}
    assert {called.get(name, name) for name in signature(evaluate).parameters} - {"quiet"} == held
    given = {o.name: o for o in eval_command.params}
    own = {"quiet", "dry_run", "as_json", "config"}
    assert {called.get(name, name) for name in given} - own == held
    for name, known in {
        "states_dtype": STATE_DTYPES,
        "batching": BATCHINGS,
        "generation": GENERATIONS,
    }.items():
        assert set(given[name].type.choices) == set(known), (
            f"--{name} offers other values than the package knows"
        )
    plain = Options(ModelSpec("tiny"))
    for name in {f.name for f in fields(Options)} - {"model", "where", "task", "judge_model"}:
        assert signature(evaluate).parameters[name].default == getattr(plain, name), name


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["eval", "--model", "tiny", "--task", "peple"],
            2,
            "Unknown task 'peple'. Did you mean 'people'?",
        ),
        (
            ["eval", "--model", "tyni", "--task", "people"],
            2,
            "Unknown model 'tyni'. Did you mean 'tiny'?",
        ),
        (["eval", "--model", "./nowhere", "--task", "people"], 2, "no model folder './nowhere'"),
        (
            ["eval", "--model", "tiny", "--task", "people", "--positions", "frst_answer"],
            2,
            "Did you mean 'first_answer'?",
        ),
        (
            ["eval", "--model", "tiny", "--task", "people", "--layers", "3,99"],
            2,
            "Unknown layer '99'",
        ),
        (["eval", "--model", "tiny", "--task", "people", "--layers", "x"], 2, "'x' is not a layer"),
        (
            ["eval", "--model", "tiny", "--task", "people", "--layers", "0-9999999999"],
            2,
            "are more layers than any model has",
        ),
        (
            ["eval", "--model", "tiny", "--task", "people", "--sites", "rezid"],
            2,
            "Did you mean 'resid'?",
        ),
        (
            ["eval", "--model", "tiny", "--task", "people", "--probe", "logistik"],
            2,
            "Did you mean 'logistic'?",
        ),
        (
            ["eval", "--model", "tiny", "--task", "people", "--limit", "0"],
            2,
            "--limit must be 1 or more; got 0",
        ),
        (
            ["eval", "--model", "tiny", "--task", "people", "--revision", "main"],
            2,
            "is for models of the hub",
        ),
        (
            ["eval", "--model", "tiny", "--task", "people", "--data", "."],
            2,
            "The folder '.' holds no data files",
        ),
        (
            ["eval", "--model", "tiny", "--task", "people", "--data", "no.jsonl"],
            2,
            "There is no file 'no.jsonl'",
        ),
        (
            ["eval", "--model", "tiny", "--task", "people", "--device", "tpu0"],
            2,
            "Unknown device 'tpu0'",
        ),
        (
            ["eval", "--model", "tiny"],
            2,
            "--task NAME, or answers made elsewhere with --answers FILE",
        ),
        (
            ["eval", "--model", "tiny", "--task", "a", "--task", "b", "--out", "x"],
            2,
            "--out names one run directory",
        ),
        (
            ["eval", "--model", "tiny", "--task", "people", "--dtype", "int8"],
            2,
            "'int8' is not one of",
        ),
        (
            ["eval", "--model", "tiny", "--task", "triviaqa", "--offline"],
            1,
            "needs the hub data set 'mandarjoshi/trivia_qa'",
        ),
        (
            ["eval", "--model", "some-org/some-model", "--task", "people", "--offline"],
            1,
            "'some-org/some-model' cannot be loaded from the hub here",
        ),
        (["plot", "nowhere"], 2, "nowhere is not a finished run"),
        (["tasks", "show", "peple"], 2, "Did you mean 'people'?"),
    ],
)
def test_errors_name_value_rule_and_fix(tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = run(*words)
    assert message in result.output.replace("\n", " ")
    assert result.exit_code == code
    assert "Traceback" not in result.output


def test_no_gpu_is_said(tmp_path, monkeypatch):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.chdir(tmp_path)
    result = run("eval", "--model", "tiny", "--task", "people", "--device", "cuda")
    assert (result.exit_code, "no CUDA GPU" in result.output) == (2, True)


def test_dry_run_renders_a_prompt_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("eval", "--model", "tiny", "--task", "people", "--limit", "50", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "<|bos|><|user|>" in result.output
    assert "<|assistant|>" in result.output
    assert "50 examples" in result.output
    assert list(tmp_path.iterdir()) == []


def test_tasks_list_and_show():
    assert "triviaqa" in run("tasks").output
    shown = run("tasks", "show", "triviaqa").output
    assert "@inproceedings{joshi-etal-2017-triviaqa" in shown
    assert "mandarjoshi/trivia_qa" in shown


def test_json_is_the_record(tmp_path, monkeypatch, model_folder, answers_file):
    monkeypatch.chdir(tmp_path)
    words = ["eval", "--model", model_folder(), "--answers", answers_file(), "--out", "r"]
    words += ["--shuffles", "0", "--skip", "p-true,ensembles"]
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record == json.loads((tmp_path / "r" / "record.json").read_text())
    quiet = run(*words, "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
    dry = run(*words, "--quiet", "--dry-run")
    assert (dry.exit_code, dry.output) == (0, "")
    told = run(*words, "--discard-states")
    assert "keeps its hidden states. `probebench clean r --states` frees them" in told.output
    again = run(*words)
    assert "nothing was computed again" in again.output
    part = "answers of answers.jsonl (--answers)"
    assert f"examples: {part}" in again.output
    assert part in " ".join(
        re.findall(r">([^<>]+)</text>", (tmp_path / "r" / "heatmap.svg").read_text())
    )
    assert run("report", "r", "--out", "page.html", "--formats", "html,md").exit_code == 0
    assert [part in (tmp_path / f"page.{ending}").read_text() for ending in ("html", "md")] == [
        True,
        True,
    ]
    assert max(map(len, again.output.splitlines())) <= 80
    plotted = run("plot", "r", "--title", "T", "--out", "pictures")
    assert plotted.exit_code == 0
    assert (tmp_path / "pictures" / "heatmap.svg").stat().st_size > 1000


def test_the_form_for_answers_is_one_that_can_be_read(tmp_path, loaded):
    from probebench.tasks.given import read_answers
    from probebench.tasks.local.columns import COLUMNS

    printed = run("answers", "--template")
    assert printed.exit_code == 0
    (tmp_path / "form.jsonl").write_text(printed.stdout)
    handle = loaded().handle
    rows = read_answers(tmp_path / "form.jsonl", handle.tokenizer, handle.stop_ids)
    assert len({g.example.id for g in rows}) == len(rows) > 1
    assert {key for line in printed.stdout.splitlines() for key in json.loads(line)} <= set(COLUMNS)
    none, both = run("answers"), run("answers", "x", "--template")
    assert none.exit_code == both.exit_code == 2
    assert ["not both" in found.output for found in (none, both)] == [False, True]
    for words in (["--limit", "3"], ["--json"], ["--wrong"]):
        refused = run("answers", "--template", *words)
        assert refused.exit_code == 2 and f"{words[0]} is of a run's answers" in refused.output


def test_every_column_of_answers_stands_in_the_docs():
    from probebench.tasks.local.columns import COLUMNS

    page = (Path(__file__).parent.parent / "docs" / "answers.md").read_text()
    assert [
        f"| `{name}` | {what} |"
        for name, what in COLUMNS.items()
        if f"| `{name}` | {what} |" not in page
    ] == []
