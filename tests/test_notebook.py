"""docs/notebook.ipynb runs as it stands, and shows what it says."""

import importlib.util
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
for name in ("nbclient", "ipykernel"):
    pytest.importorskip(name)
ROOT = Path(__file__).parent.parent


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("run_notebook")


def shown(notebook):
    """What each cell of code shows, as text."""
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = [o.get("data", {"text/plain": o.get("text", "")}) for o in cell.outputs]
            found[cell.id] = {kind: text for o in outputs for kind, text in o.items()}
    return found


def test_the_notebook_runs_and_shows_a_map_a_detector_and_a_comparison(
    script, tmp_path, monkeypatch
):
    path = f"{ROOT}:{Path(importlib.util.find_spec('records').origin).parent}"
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    found, kept = (shown(n) for n in (script.executed(tmp_path), nbformat.read(script.NOTEBOOK, 4)))
    code = [c for c in nbformat.read(script.NOTEBOOK, 4).cells if c.cell_type == "code"]
    assert code[2].source == "run" and set(found[code[2].id]) == {"text/html", "text/plain"}
    assert "data:image/png" in found[code[2].id]["text/html"], "the picture, once"
    words = "\n".join(str(o.get("text/plain", "")) for o in found.values())
    assert re.search(
        r"mine 0\.\d{3}, the probe 0\.\d{3}, n = \d+\ndifference [+-]0\.\d{3} \[", words
    )
    assert re.search(r"<probe, selected cell of runs/logistic 0\.\d+ against .*n = \d+>", words)
    assert {k: set(o) for k, o in found.items()} == {k: set(o) for k, o in kept.items()}, (
        "run scripts/run_notebook.py"
    )


def test_what_the_notebook_keeps_names_no_place_on_a_machine_and_is_small(script):
    text = script.NOTEBOOK.read_text()
    assert "/home/" not in text and "/tmp/" not in text and "site-packages" not in text
    assert text.count(script.EMBEDDED) == 2 and len(text) < 150_000
