"""The documents hold together: links lead somewhere, paths exist, the tree and the figure are those
of the code, and every script starts."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import click
import pytest

from probebench.cli.main import Later, main

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "leaderboards").glob("*.md")]
)
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)


def prose(path):
    """A page without its blocks of code."""
    return FENCE.sub("", path.read_text())


def anchors(path):
    """What GitHub calls the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for link in LINK.findall(prose(page)):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name} links to {link}"
        assert target.is_relative_to(ROOT), f"{page.name} leaves the repository with {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def test_links_are_found():
    assert sum(len(LINK.findall(prose(page))) for page in PAGES) > 60


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_paths_that_a_page_names_exist(name):
    words = set(re.findall(r"`([\w.-]+(?:/[\w.-]*)+)`", prose(ROOT / name)))
    named = {w for w in words if "NAME" not in w}
    assert len(named) > 10
    missing = {w for w in named if not any((f / w).exists() for f in (ROOT, ROOT / "probebench"))}
    assert not missing


SHOWN = re.compile(
    r"^(?:\$ | {4,})?(?:[A-Z_]+=\S+ )*(?:\S*bin/)?(probebench .+)$|`(probebench [^`]+)`",
    re.MULTILINE,
)
"""A command in a block of code, or inside a sentence."""
ELSEWHERE = {"CHANGELOG.md", "DECISIONS.md"}
"""What once was; a command in it may have another name today."""


def shown():
    """Every command that a page shows, with the page."""
    for page in PAGES:
        if page.name not in ELSEWHERE:
            text = page.read_text().replace("\\\n", " ")
            for found in SHOWN.finditer(text):
                yield page, found[1] or found[2]


def words_of(command):
    """Its words, up to a comment or another command."""
    words = shlex.split(command, comments=True)[1:]
    ends = [i for i, w in enumerate(words) if w in ("|", "&&", ">", ";", "||", "&")]
    return words[: min(ends, default=None)]


def misread(command):
    """Words of a command that the command line does not know."""
    at, words = main, words_of(command)
    while isinstance(at, click.Group) and words and words[0] not in ("...", "--help"):
        if (found := at.commands.get(words[0])) is None:
            return [words[0]]
        at, words = found.found() if isinstance(found, Later) else found, words[1:]
    known = {o: p for p in at.params for o in (*p.opts, *p.secondary_opts)}
    known |= dict.fromkeys(("-h", "--help", "--version"))
    wrong = []
    for word, after in pairwise([*words, ""]):
        name, _, value = word.partition("=")
        if word.startswith("--") and name not in known:
            wrong.append(word)
        kind = getattr(known.get(name), "type", None)
        if isinstance(kind, click.Choice) and (said := value or after).islower():
            wrong += [] if said in kind.choices else [f"{word} {said}"]
    return wrong


def test_commands_that_pages_show_are_taken_by_the_command_line():
    found = list(shown())
    assert len(found) > 80
    assert misread("probebench eval --modell tiny --dtype float31") == [
        "--modell",
        "--dtype float31",
    ]
    wrong = {(page.name, command): misread(command) for page, command in found}
    assert {k: v for k, v in wrong.items() if v} == {}


def test_readme_is_short_and_begins_with_what_it_is():
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 120
    order = (
        "How linearly readable",
        "make real",
        "best cell",
        "cities.png",
        "tiny`",
        "pip install",
    )
    places = [text.index(words) for words in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("page", "row"),
    [("README.md", "SmolLM2-135M*/cities"), ("docs/start.md", "tiny/people")],
    ids=["README", "start"],
)
def test_the_summary_of_a_page_is_what_a_run_prints(page, row):
    """The headline of the run that stands on the leaderboard."""
    from io import StringIO

    from rich.console import Console

    from probebench.record.run import Run
    from probebench.report.terminal.headline import headline_lines

    shown = re.search(r"```text\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[1]
    found = Run.load(next(ROOT.glob(f"leaderboards/v2/{row}"))).record
    record = found.changed(resplits=None)  # the commands of these pages ask for none
    console = Console(width=80, highlight=False, file=StringIO())
    for line in headline_lines(record):
        console.print(line)
    printed = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert len(printed) > 8
    assert [line for line in printed if line not in shown] == [], f"copy the summary into {page}"


def test_decisions_carry_their_dates():
    heads = re.findall(r"^## (.+)$", prose(ROOT / "DECISIONS.md"), re.MULTILINE)
    assert len(heads) > 60
    assert [h for h in heads if not re.search(r" \(20\d\d-\d\d-\d\d\)$", h)] == []


def loaded(path):
    """A script as a module; its `main` is not called."""
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_every_script_imports_what_is_there(path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")  # as `python scripts/x.py` has it
    assert loaded(path).__doc__


def test_the_tree_and_the_figure_are_those_of_the_code():
    page = (ROOT / "docs/architecture.md").read_text()
    assert loaded(ROOT / "scripts/write_tree.py").written(page) == page, "run scripts/write_tree.py"
    page = (ROOT / "docs/detectors.md").read_text()
    write = loaded(ROOT / "scripts/write_detectors.py")
    assert write.written(page) == page, "run scripts/write_detectors.py"
    drawn = (ROOT / "docs/architecture.svg").read_text()
    assert loaded(ROOT / "scripts/draw_architecture.py").picture() == drawn


def test_the_commands_of_a_fresh_machine():
    """`make demo`, `make real` and `make test`, as make would run them."""
    said = {
        target: subprocess.run(
            ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for target in ("demo", "real", "test", "check", "docs")
    }
    assert "probebench eval --model tiny --task people" in said["demo"]
    assert "SmolLM2-135M-Instruct-Q4_1.gguf --task cities" in said["real"]
    assert "scripts/test" in said["test"] and "scripts/check" in said["check"]
    assert "-W" in said["docs"].split()  # a link that leads nowhere ends it


def sentences():
    """Every text of the package, with … for what is filled in."""
    for path in (ROOT / "probebench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_what_the_page_of_symptoms_quotes_is_what_is_said():
    """Its pieces between … stand in one text of the package, in their order."""
    quoted = re.findall(r"^> (.+)$", prose(ROOT / "docs/symptoms.md"), re.MULTILINE)
    said = [re.sub(r"\s+", " ", text) for text in sentences() if " " in text]
    assert len(quoted) > 40
    patterns = {q: re.compile(".*".join(map(re.escape, q.split("…")))) for q in quoted}
    assert [q for q, p in patterns.items() if not any(p.search(text) for text in said)] == []


def test_every_symptom_has_a_command():
    """Set in, as in the other documents: what shows the cause, or mends it."""
    parts = re.split(r"^### ", (ROOT / "docs/symptoms.md").read_text(), flags=re.MULTILINE)[1:]
    commands = re.compile(r"^ {4}(?:[A-Z_]+=\S+ )*(?:probebench|pip|git|hf) \S", re.MULTILINE)
    assert len(parts) > 40
    assert [part.splitlines()[0] for part in parts if not commands.search(part)] == []


ASKED = re.compile(
    r"""(f?"[^"]+")(?= (?:not )?in os\.environ)|"""
    r"""os\.(?:environ(?:\.\w+\(|\[)|getenv\()(f?"[^"]+"|\w+)"""
)
"""An environment variable that code asks for or sets: its name, as the code has it."""


def test_every_environment_variable_stands_in_the_table():
    from probebench.engines.ray.cluster import QUIET
    from probebench.record.exports.trackers import TRACKERS

    made = {
        'f"{tracker.upper()}_PROJECT"': [f"{name.upper()}_PROJECT" for name in TRACKERS],
        "name": list(QUIET),
    }
    code = "\n".join(path.read_text() for path in (ROOT / "probebench").rglob("*.py"))
    found = ["".join(names) for names in ASKED.findall(code)]
    assert len(found) == len(re.findall(r"os\.(?:environ|getenv)\b", code))
    rows = re.findall(r"^\| (`[A-Z].*?) \|", prose(ROOT / "docs/usage.md"), re.MULTILINE)
    table = set(re.findall(r"`(\w+)`", " ".join(rows)))
    names = {name for word in found for name in made.get(word, [word.strip('"')])}
    assert len(names) > 6 and names - table == set()
