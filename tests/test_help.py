"""The help of every command, and one line for what is no finished run, task or folder."""

import json

import click
import numpy as np
import pytest
from click.testing import CliRunner
from records import content, record

from probebench.cli.main import Later, main
from probebench.job.options import OPTIONS
from probebench.record.run import Run
from probebench.record.schema import SCHEMA_VERSION


def run(*words):
    return CliRunner().invoke(main, [str(w) for w in words])


def commands(group, path=()):
    for name, listed in group.commands.items():
        command = listed.found() if isinstance(listed, Later) else listed
        yield (*path, name), command
        yield from commands(command, (*path, name)) if isinstance(command, click.Group) else ()


def test_options_of_eval_stand_under_one_heading_each():
    parameters = main.commands["eval"].found().params
    headings = dict.fromkeys(getattr(p, "group", "The run") for p in parameters)
    assert set(headings) == {o.group for o in OPTIONS}
    shown = run("eval", "--help").output
    assert [shown.count(f"\n{heading}:") for heading in headings] == [1] * len(headings)
    assert shown.count("\n  --") == len(parameters)
    assert shown.count("-h, --help") == 1


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*found, id=" ".join(found[0])) for found in commands(main)]
)
def test_every_option_is_explained_and_no_list_of_commands_is_cut(path, command):
    assert [p.opts for p in command.params if isinstance(p, click.Option) and not p.help] == []
    if isinstance(command, click.Group):
        assert "..." not in run(*path, "--help").output.split("Commands:")[1]


def test_the_list_of_all_commands_is_not_cut():
    assert "..." not in run("--help").output.split("Commands:")[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"\x80", "cannot be read"),
        (b"[]", "it has no schema version"),
        (b"{}", "it has no schema version"),
        (
            b'{"schema_version": 99}',
            f"has schema version 99; this version of probebench reads {SCHEMA_VERSION}",
        ),
        (json.dumps(content()).encode(), "is not a whole run: it has no scores.parquet"),
    ],
)
def test_what_is_no_finished_run_is_said_in_one_line(tmp_path, content, words):
    (tmp_path / "record.json").write_bytes(content)
    result = run("plot", tmp_path)
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
    assert words in result.output
    assert "give the run's folder" in run("plot", tmp_path / "record.json").output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["eval", "--model", "tiny", "--task", "people", "--seed", "-1"],
            "--seed must lie between 0 and 4294967295; got -1",
        ),
        (["eval", "--model", "tiny", "--task", "./mine"], "There is no task file './mine'"),
        (["eval", "--model", "tiny", "--task", "qqqq"], " more. `probebench tasks` lists all"),
        (["leaderboard", "build", "--root", "nowhere"], "There is no folder 'nowhere'"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert message in result.output
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_run_shows_itself_in_one_line(tmp_path):
    cell = {"layer": "3", "position": "last_q", "test_auroc": 0.75}
    named = {"model": {"name": "m"}, "task": {"name": "t"}}
    (tmp_path / "record.json").write_text(json.dumps(content(**named, selection=cell)))
    assert (
        repr(Run.load(tmp_path)) == f"<Run m on t: layer 3, last_q, test AUROC 0.750; {tmp_path}>"
    )
    assert "AUROC" not in repr(Run(tmp_path, record(**named, selection={"test_auroc": None})))


def test_no_line_of_a_table_ends_in_blanks():
    lines = run("models").output.splitlines()
    assert np.sum([line.endswith(" ") for line in lines]) == 0
    assert max(map(len, run("tasks").output.splitlines())) <= 80
