"""Options in a file, several models in one call, and the file that a run leaves behind."""

import json
import re
from dataclasses import replace
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from records import record

from probebench.cli.main import main
from probebench.files import write_atomic
from probebench.job.options import OPTIONS, Options
from probebench.job.place import run_folder, write_config
from probebench.job.rules import methods
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
        ("model: {a: b}", "model takes words or numbers, and here stands a mapping: {'a': 'b'}."),
        ("limit: 0", "got 0. It stands in"),
        ("data: nowhere.jsonl", "bad.yaml."),
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


def test_what_a_run_leaves_behind_asks_for_the_same_files_from_elsewhere(tmp_path, monkeypatch):
    """And from where it was called for the same to the letter, which names its folder."""
    (tmp_path / "there").mkdir()
    (tmp_path / "q.jsonl").write_text("{}")
    (tmp_path / "tiny").mkdir()  # no model: the name means the one of the package
    monkeypatch.chdir(tmp_path)
    whole = str(tmp_path / "q.jsonl")
    for typed in ("q.jsonl", "./q.jsonl", "there/../q.jsonl", whole):
        asked = Options(ModelSpec("tiny"), "people", data=(typed,), log_to=("wandb",))
        write_config(tmp_path / "run", asked)
        file = tmp_path / "run" / "run.yaml"
        here = read_config(file, OPTIONS)
        assert here == {"model": ["tiny"], "task": ["people"], "data": [typed]}
        monkeypatch.chdir(tmp_path / "there")
        (elsewhere,) = read_config(file, OPTIONS)["data"]
        assert Path(elsewhere).is_absolute() and Path(elsewhere).samefile(whole)
        monkeypatch.chdir(tmp_path)
    names = Options(ModelSpec("org/model"), "people", encoder="org/e")
    names = replace(names, model=replace(names.model, device_map="{" + "x" * 5000 + "}"))
    write_config(tmp_path / "run", names)
    assert str(tmp_path) not in (tmp_path / "run" / "run.yaml").read_text()


def test_a_folder_of_runs_may_move_with_its_files(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "q.jsonl").write_text("{}")
    monkeypatch.chdir(tmp_path / "a")
    write_config(tmp_path / "a" / "run", Options(ModelSpec("tiny"), "people", answers="q.jsonl"))
    (tmp_path / "a").rename(tmp_path / "b")
    monkeypatch.chdir(tmp_path / "b")
    assert read_config(Path("run/run.yaml"), OPTIONS)["answers"] == "q.jsonl"


def test_two_files_of_options_are_refused(file):
    done = ran("--config", file, "--config", "other.yaml", "--dry-run")
    assert done.exit_code == 2 and "--config is given 2 times" in done.output


def test_an_empty_list_is_nothing(tmp_path):
    (tmp_path / "a.yaml").write_text("model: tiny\nskip: []\ndevice_map: {}\n")
    assert read_config(tmp_path / "a.yaml", OPTIONS) == {"model": ["tiny"]}


def test_a_value_of_the_command_line_is_not_put_down_to_the_file(file):
    done = ran("--config", file, "--limit", "0", "--dry-run")
    assert done.exit_code == 2 and "must be 1 or more" in done.output
    assert "stands in" not in done.output


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
    assert "1 of 2 models cannot run, so none was begun." in wrong.output
    more = ran("--model", "tiny", "--model", "nowhere", *words, "--task", "places")
    assert "2 of 4 models on tasks cannot run" in more.output


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
    assert "last_q" not in completed(monkeypatch, "eval --positions second_answer,last_q,second_a")
    assert completed(monkeypatch, "eval --positions last_q,last_q") == []
    assert completed(monkeypatch, "eval --control ra") == ["random-model"]
    assert completed(monkeypatch, "eval --probe lo") == ["logistic"]
    known = [name for name in methods() if name.startswith("s")]
    assert known and completed(monkeypatch, "eval --detectors s") == known
    left = completed(monkeypatch, f"eval --detectors {known[0]},s")
    assert left == [f"{known[0]},{name}" for name in known[1:]]
    assert "people" in completed(monkeypatch, "tasks show peo")
    assert "people" not in completed(monkeypatch, "eval --task people --task p")


PLACES = re.compile(r"FILE|DIR|PATH|RUN|SUBMISSION|\bM\b|MAP")
"""What the help calls a place, or what may be one."""


def every(command, words=()):
    """Every command of a group, with its words."""
    if isinstance(command, click.Group):
        for name in command.list_commands(None):
            own = command.get_command(None, name)
            yield from every(getattr(own, "found", lambda own=own: own)(), (*words, name))
    else:
        yield words, command


def test_a_shell_completes_files_wherever_one_may_stand():
    n = 0
    for words, command in every(main):
        ctx = click.Context(command)
        for parameter in command.params:
            shown = parameter.metavar or ""
            path = isinstance(parameter.type, click.Path) or getattr(parameter, "path", False)
            if path or (PLACES.search(shown) and "ORG" not in shown):
                found = {item.type for item in parameter.shell_complete(ctx, "./x")}
                assert found & {"file", "dir"}, (words, parameter.name)
                n += 1
    assert n > 60


def test_names_of_models_and_detectors_are_completed(monkeypatch, tmp_path):
    assert "tiny" in completed(monkeypatch, "eval --model t")
    assert "tiny" in completed(monkeypatch, "states import x --model t")
    found = record()
    write_atomic(tmp_path / "record.json", json.dumps(found.plain()).encode())
    names = completed(monkeypatch, f"compare {tmp_path} {tmp_path} --detector p")
    assert names == list(dict.fromkeys(d.name for d in found.detectors if d.name.startswith("p")))
    assert completed(monkeypatch, "compare nowhere nowhere --detector p") == []
