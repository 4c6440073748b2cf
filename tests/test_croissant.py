"""Descriptions of our own data sets: what they say is what is there."""

import importlib.util
import json
from pathlib import Path

import pytest

mlcroissant = pytest.importorskip("mlcroissant")
ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("croissant", ROOT / "scripts/write_croissant.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


@pytest.mark.parametrize("name", script.NAMES)
def test_a_description_is_up_to_date(name):
    path = script.FOLDER / f"{name}.croissant.json"
    assert path.read_text() == script.text_of(name), "run scripts/write_croissant.py"


@pytest.mark.parametrize("name", script.NAMES)
def test_every_row_is_read_through_its_description(name):
    data = mlcroissant.Dataset(jsonld=str(script.FOLDER / f"{name}.croissant.json"))
    assert not data.metadata.issues.errors and not data.metadata.issues.warnings
    found = [
        {key.removeprefix("questions/"): plain(value) for key, value in row.items()}
        for row in data.records("questions")
    ]
    lines = (script.FOLDER / f"{name}.jsonl").read_text().splitlines()
    assert found == [json.loads(line) for line in lines]


def plain(value):
    """Texts come as bytes."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.decode() if isinstance(value, bytes) else value
