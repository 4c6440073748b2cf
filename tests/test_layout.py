"""The tree is the architecture: packages import one way, rooms are small, and docs/architecture.md
says what is on the disk."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "probebench"
ORDER = (
    "options",
    "metrics",
    "tasks",
    "models",
    "states",
    "probes",
    "scoring",
    "maps",
    "record",
    "stages",
    "engines",
    "detectors",
    "studies",
    "across",
    "job",
    "report",
    "leaderboard",
    "cli",
)
"""The packages, lowest first: each imports from those before it."""
LOW = ("_version", "errors", "types", "text", "files", "store", "hub", "progress")
"""Modules at the top of the package, and one package, that every package may import."""
HIGH = ("api", "__init__", "cli", "__main__")
"""Those that may import every package, lowest first; `cli` stands among them."""
FUNCTION, FILE, FOLDER, TOP = 60, 300, 12, 10
"""Lines of a function and of a file, files of a folder, modules at the top: at most."""
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    """Dotted, without `probebench`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in FILES}


def imports(path):
    """Modules of the package that one imports, at its top or later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            root, _, whole = node.module.partition(".")
            if root == "probebench":
                found |= {whole, *(f"{whole}.{a.name}".removeprefix(".") for a in node.names)}
        elif isinstance(node, ast.Import):
            found |= {
                a.name.partition(".")[2] for a in node.names if a.name.startswith("probebench")
            }
    return found & set(MODULES)


def room(name):
    """The package of a module; modules at the top are rooms of their own."""
    return name.partition(".")[0]


def level(place):
    """How high a room stands."""
    if place in LOW:
        return LOW.index(place) - len(LOW)
    return len(ORDER) + HIGH.index(place) if place in HIGH else ORDER.index(place)


def test_every_room_has_its_place():
    assert {room(name) for name in MODULES} == {*LOW, *ORDER, *HIGH}


@pytest.mark.parametrize("name", [n for n in MODULES if not n.endswith("__init__")])
def test_imports_go_down(name):
    upward = {m for m in imports(MODULES[name]) if room(m) != room(name)}
    upward = {m for m in upward if level(room(m)) > level(room(name))}
    assert not upward, f"{name} imports {', '.join(sorted(upward))}, which stand above it"


def test_no_module_imports_itself_by_others():
    graph = {name: imports(path) - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_readable(path):
    text = path.read_text()
    assert text.count("\n") <= FILE, f"{path.name} has too many lines: a file has one subject"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            n = node.end_lineno - node.lineno + 1
            assert n <= FUNCTION, f"{path.name}: {node.name} has {n} lines"


def test_rooms_stay_small():
    for folder in {path.parent for path in FILES}:
        n, most = len(list(folder.glob("*.py"))), TOP if folder == PACKAGE else FOLDER
        assert n <= most, f"{folder} has {n} modules: what are its two subjects?"


def test_the_formatter_is_never_switched_off():
    for path in [*FILES, *(ROOT / "tests").glob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        off = "fmt: " + "off" in (text := path.read_text()) or "fmt: " + "skip" in text
        assert not off, path


def test_packages_hold_no_code():
    for package in PACKAGE.rglob("*/__init__.py"):
        tree = ast.parse(package.read_text())
        if package.parent != PACKAGE:
            alone = ast.get_docstring(tree) and len(tree.body) == 1
            assert alone, f"{package} is for the docstring only"


def test_readme_tree_is_the_disk():
    page = (ROOT / "docs" / "architecture.md").read_text()
    tree = re.search(r"```text\n(probebench/\n.*?)```", page, re.DOTALL)
    assert tree, "docs/architecture.md has no tree"
    said, path = set(), []
    for line in tree.group(1).splitlines()[1:]:
        indent, name = re.match(r"( +)(\S+)", line).groups()
        path = [*path[: len(indent) // 2 - 1], name.rstrip("/")]
        said.add("/".join(path) + "/" * name.endswith("/"))
    here = {str(p.relative_to(PACKAGE)) for p in FILES if p.name != "__init__.py"} | {"__init__.py"}
    folders = {p.parent for p in FILES} | {PACKAGE / "tiny", PACKAGE / "published"}
    here |= {f"{p.relative_to(PACKAGE)}/" for p in folders if p != PACKAGE}
    assert said == here


def test_every_module_says_what_it_is_for():
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_no_test_takes_from_another():
    """What two of them want stands in a module of its own beside them."""
    for path in (ROOT / "tests").glob("*.py"):
        taken = re.findall(r"^\s*(?:from|import) (test_\w+)", path.read_text(), re.M)
        assert not taken, f"{path.name} imports from {taken}"


def test_the_page_names_the_same_order():
    page = (ROOT / "docs" / "architecture.md").read_text()
    said = re.search(r"Packages import downwards only: (.*?), on top of (.*?)\.\n", page, re.S)
    named = [re.findall(r"`(\w+)`", part) for part in said.groups()]
    assert [n for n in named[0] if n != "api"] == list(ORDER)
    assert set(named[1]) == set(LOW) - {"_version"}


def test_lines_of_the_tree_end_no_bracket_and_no_name_in_the_middle():
    page = (ROOT / "docs" / "architecture.md").read_text()
    for line in page.partition("```text\n")[2].partition("```")[0].splitlines():
        assert line.count("(") == line.count(")") and not line.endswith("et al"), line


def prose(docstring):
    """Paragraphs of plain sentences: no list, no section, no table, no example."""
    for part in docstring.split("\n\n"):
        lines = part.splitlines()
        if not re.match(r"\s*(-|\d+\.|\*|>>>|\||\x08|\w+:$|    )", part):
            yield lines


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_sentences_of_a_docstring_are_one_block(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            for lines in prose(ast.get_docstring(node) or ""):
                indents = [len(line) - len(line.lstrip()) for line in lines]
                mixed = any(a > 0 and b == 0 for a, b in pairwise(indents))
                listed = any(re.match(r"\s*(-|\d+\.|\||python |probebench )", x) for x in lines)
                assert listed or not mixed, lines
