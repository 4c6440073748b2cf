"""The public names: what a user, and a script of a user, may import."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import probebench
from probebench.api import evaluate, evaluate_all

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
PUBLIC = {
    "probebench": "Run compare evaluate evaluate_all evaluate_spans transfer",
    "probebench.errors": "ProbebenchError UsageError RunError BadFileError UnknownNameError",
    "probebench.types": "Example",
    "probebench.tasks.judge": "get_judge",
    "probebench.tasks.schema": "load_task",
    "probebench.tasks.sources": "load_dataset",
    "probebench.tasks.prompts": "chat encode_prompt render_prompt",
    "probebench.tasks.given": "read_answers",
    "probebench.models.loading": "ModelSpec find_model load_model",
    "probebench.models.generate": "Request generate",
}
"""Names that stay where they are: scripts outside this repository import them."""
METHODS = (
    "answers attribution components hidden_states load matrix plot predictions probe record scores "
    "states sublayers"
)
"""Of a `Run`."""


def test_all_names_are_these_and_there():
    assert sorted(probebench.__all__) == sorted([*PUBLIC["probebench"].split(), "__version__"])
    assert dir(probebench) == probebench.__all__
    assert all(getattr(probebench, name) is not None for name in probebench.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'evalute'"):
        getattr(probebench, "evalute")  # noqa: B009


@pytest.mark.parametrize("module", PUBLIC)
def test_scripts_outside_find_what_they_import(module):
    found = importlib.import_module(module)
    assert [
        name for name in PUBLIC[module].split() if not callable(getattr(found, name, None))
    ] == []


def test_a_run_has_its_methods():
    found = {name for name in dir(probebench.Run) if not name.startswith("_")}
    assert set(METHODS.split()) - found - set(probebench.Run.__dataclass_fields__) == set()


def test_the_functions_are_called_as_ever():
    """The first two arguments by place, all others by name."""
    for function, first in ((evaluate, ["model", "task"]), (evaluate_all, ["model", "tasks"])):
        parameters = inspect.signature(function).parameters.values()
        places = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert places == first


def blocks():
    """(page, code) of every block of Python in the documents."""
    for page in PAGES:
        for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            yield page, code


def test_what_the_pages_import_is_there():
    seen = set()
    for page, code in blocks():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("probebench"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{page.name}: {node.module}.{alias.name}"
                    seen.add(node.module)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "probebench":
                assert node.attr in probebench.__all__, f"{page.name}: probebench.{node.attr}"
                seen.add("probebench")
    assert len(seen) > 2


def test_modules_that_the_pages_name_exist():
    """`probebench.states.reader` in a page is a module, or a name in one."""
    named = {
        (page.name, word)
        for page in PAGES
        if page.name not in ("CHANGELOG.md", "DECISIONS.md")  # which tell of older days
        for word in re.findall(r"\bprobebench(?:\.[a-z_]+)+\b", page.read_text())
    }
    assert named
    for page, word in sorted(named):
        module, _, name = word.rpartition(".")
        try:
            importlib.import_module(word)
        except ImportError:
            assert hasattr(importlib.import_module(module), name), f"{page} names {word}"
