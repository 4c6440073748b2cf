"""The tutorials are run: their files are written, their commands and scripts do what they show."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from probebench.cli.main import main

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```\w+\n(.*?)^```|^    (\S[^\n]*)$", re.DOTALL | re.MULTILINE)
LESS = "--limit 160 --shuffles 0 --skip p-true,text,ensembles --layers 6-7 --positions last_q,-1"
"""Less of each run than the page asks for: the last word on an option counts."""


def steps(page):
    """Files and commands of a page, in their order."""
    for block, command in BLOCK.findall(page):
        named = re.match(r"# ([\w.]+\.(?:py|yaml))\n", block)
        if named or command:
            yield (named[1], block) if named else (None, command)


def done(words):
    """What a command printed; scripts are run here, so that torch is imported once."""
    if words[0] == "python":
        runpy.run_path(words[1], run_name="__main__")
        return ""
    less = LESS.split() if words[1] == "eval" and "--dry-run" not in words else []
    result = CliRunner().invoke(main, [*words[1:], *less])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(("name", "commands"), [("task", 5), ("detector", 4)])
def test_a_tutorial_does_what_it_shows(name, commands, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    page = (ROOT / f"docs/tutorials/{name}.md").read_text()
    printed = []
    for file, text in steps(page):
        if file:
            Path(file).write_text(text)
        else:
            words = [w for w in shlex.split(text, comments=True) if "=" not in w]
            printed.append(done(words))
    assert len(printed) == commands
    said = "".join(printed) + capsys.readouterr().out
    assert {"task": "judge examples: 2 to accept", "detector": "mine - probe ["}[name] in said


def test_the_detector_that_is_shown_is_one_of_the_suite():
    page = (ROOT / "docs/tutorials/detector.md").read_text()
    shown = re.search(r"```python\n(@detector.*?)```", page, re.DOTALL)[1]
    assert shown in (ROOT / "probebench/detectors/signals.py").read_text()
