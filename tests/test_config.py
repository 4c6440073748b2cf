"""Options in a file, several models in one call, and the file that a run leaves behind."""

import json

import pytest
import yaml
from click.testing import CliRunner

from probebench.cli.main import main
from probebench.job.options import OPTIONS, Options
from probebench.job.place import run_folder
from probebench.models.specs import ModelSpec
from probebench.options.config import as_config, read_config

SMALL = {
    "limit": 120,
    "positions": ["-1"],
    "layers": [0],
    "shuffles": 0,
    "skip": ["text", "p-true", "ensembles"],
}


def ran(*words):
    return CliRunner().invoke(main, ["eval", *map(str, words)])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"model": "tiny", "task": "people", **SMALL}))
    return path


def test_a_file_asks_what_the_command_line_would(file, tmp_path):
    out = tmp_path / "run"
    done = ran("--config", file, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.output)
    assert record["counts"]["all"]["n"] == 120
    assert (record["positions"], record["layers"]) == (["-1"], ["emb", "0"])
    assert record["settings"]["skip"] == SMALL["skip"]
    again = ran("--config", out / "run.yaml", "--out", out, "--json")
    assert json.loads(again.output) == record, "what it leaves behind asks for the same"
    assert str(out) not in (out / "run.yaml").read_text(), "a folder may be moved"
    fewer = ran("--config", file, "--limit", "90", "--out", tmp_path / "fewer", "--json")
    assert json.loads(fewer.output)["counts"]["all"]["n"] == 90, "the command line wins"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits: 3", "Unknown option of"),
        ("limits: 3", "Did you mean 'limit'?"),
        ("- a\n- b", "holds no options"),
        ("", "holds no options"),
        ("a: [", "is not YAML"),
        ("limit: many", "'many' is not a valid integer"),
        ("limit: 0", "--limit must be 1 or more; got 0."),
        ("solver: fast", "batched"),
        ("limit: many", "It stands in"),
        ("limit: true", "'true' is not a valid integer"),
        ("limit: [1, 2]", "limit takes one value; got 2"),
        ("positions: [{a: 1}]", "positions takes words or numbers"),
        ("quiet: [a]", "quiet is a flag, true or false; got ['a']"),
        ("offline: 3", "offline is a flag, true or false; got '3'"),
        ("limit: 30\nlimit: 40", "line 2: limit stands there twice"),
        ("max_new_tokens: 3\nmax-new-tokens: 4", "gives max-new-tokens twice"),
        ("a:\n  - b\n c: d", "line 3 is not YAML"),
        ("? [a]\n: 1", "line 1: an option's name is a word"),
    ],
)
def test_a_bad_file_says_what_is_wrong_with_it(tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    done = ran("--config", path, "--model", "tiny", "--task", "people", "--dry-run")
    assert done.exit_code != 0 and said in " ".join(done.output.split())


def test_words_are_taken_as_they_stand(tmp_path):
    """A short commit of digits is no octal number, and flags have the names of the command line."""
    path = tmp_path / "a.yaml"
    path.write_text(
        "revision: 0012\nseed: 3\njson: true\nquiet: No\nlimit:\ndata: ~\n"
        "device_map: {model.embed: 0, rest: cpu, odd: '@0', day: 2020-01-01}\n"
    )
    assert read_config(path, OPTIONS, {"json": ("as_json", True), "quiet": ("quiet", True)}) == {
        "revision": "0012",
        "seed": "3",
        "as_json": True,
        "quiet": False,
        "device_map": '{"model.embed": 0, "rest": "cpu", "odd": "@0", "day": "2020-01-01"}',
    }


def test_what_a_run_leaves_behind_names_the_same_folder(tmp_path, monkeypatch):
    """Else the same command would compute all of it again elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.jsonl").write_text("{}")
    asked = Options(ModelSpec("tiny"), "people", data=("q.jsonl",), limit=90)
    (tmp_path / "run.yaml").write_text(as_config(asked.by_argument(), OPTIONS))
    given = read_config(tmp_path / "run.yaml", OPTIONS)
    given |= {"model": given["model"][0], "task": given["task"][0], "limit": int(given["limit"])}
    again = Options.asked(given)
    assert run_folder(again, "people") == run_folder(asked, "people")


def test_what_a_command_has_beside_its_options_may_stand_in_a_file(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("devices: 2\njson: true\n")
    further = {"devices": ("devices", False), "json": ("as_json", True)}
    assert read_config(path, OPTIONS, further) == {"devices": "2", "as_json": True}
    plan = ["plan", "--config", str(path), "--model", "tiny", "--task", "people"]
    assert "is a flag" not in CliRunner().invoke(main, plan).output


def test_a_file_that_is_not_there():
    done = ran("--config", "nowhere.yaml")
    assert done.exit_code != 0 and "nowhere.yaml cannot be read" in done.output


def test_names_may_be_written_with_hyphens_and_as_flags(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("max-new-tokens: 5\ncontrol: random-model\ntask: [a, b]\nlayers: [1, 2]\n")
    assert read_config(path, OPTIONS) == {
        "max_new_tokens": "5",
        "controls": ["random-model"],
        "task": ["a", "b"],
        "layers": "1,2",
    }


def test_only_what_is_no_default_is_written():
    asked = Options(
        ModelSpec("tiny", dtype="float32"), "people", judge_model=ModelSpec("other"), limit=7
    )
    assert yaml.safe_load(as_config(asked.by_argument(), OPTIONS)) == {
        "model": "tiny",
        "dtype": "float32",
        "task": "people",
        "judge_model": "other",
        "limit": 7,
    }


def test_several_models_in_one_call(tmp_path, model_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--task", "people", "--limit", "60", "--positions", "-1", "--layers", "0"]
    words += ["--shuffles", "0", "--skip", "text,p-true,ensembles", "--max-new-tokens", "3"]
    done = ran("--model", "tiny", "--model", model_folder("llama"), *words)
    assert "tiny" in done.output and "llama" in done.output
    both = ran("--model", "tiny", "--model", model_folder("llama"), *words, "--out", "x")
    assert both.exit_code != 0 and "several models or tasks" in both.output
    wrong = ran("--model", "tiny", "--model", "nowhere", *words)
    assert wrong.exit_code != 0 and "nowhere on people" in wrong.output
    assert "none was begun" in wrong.output


def completed(monkeypatch, words):
    """What a shell is offered after some words."""
    monkeypatch.setenv("_PROBEBENCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"probebench {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    done = CliRunner().invoke(main, [], prog_name="probebench")
    return [line.split(",", 1)[1] for line in done.output.splitlines() if "," in line]


def test_a_shell_completes_commands_options_and_choices(monkeypatch):
    assert {"runs", "report"} <= set(completed(monkeypatch, "r"))
    assert completed(monkeypatch, "eval --posit") == ["--positions"]
    assert completed(monkeypatch, "plot --map comp") == ["components"]
    assert completed(monkeypatch, "eval --batching e") == ["exact"]
    assert {"cities", "common_claim"} <= set(completed(monkeypatch, "eval --task c"))
    assert completed(monkeypatch, "eval --log-to w") == ["wandb"]
    assert completed(monkeypatch, "eval --positions last_q,sec") == ["last_q,second_answer"]
    assert completed(monkeypatch, "eval --skip text-e") == ["text-embedding"]
