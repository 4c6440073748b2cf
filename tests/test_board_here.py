"""The leaderboard of this repository: every submission is valid, and its tables are those that
`build` writes."""

import json
import shutil
from pathlib import Path

import pytest

from probebench.leaderboard.board.build import build
from probebench.leaderboard.check.validate import validate
from probebench.record.schema import Record
from probebench.studies.checks.twins import _near_twins as near_twins_concern
from probebench.studies.registry import Concern

HERE = Path(__file__).parent.parent / "leaderboards"


def test_submissions_are_valid():
    reports = list(validate(HERE, workers=0))
    assert len(reports) >= 3
    assert not [report for report in reports if not report.ok]


@pytest.mark.parametrize(
    "path", sorted(HERE.glob("v*/*/*/record.json")), ids=lambda p: p.parent.name
)
def test_warnings_of_a_row_say_what_its_record_says(path):
    """No rule of the validator reads sentences."""
    record = Record.from_plain(json.loads(path.read_text()))
    (*said,) = near_twins_concern(Concern(record, [], None))
    assert said == [w for w in record.warnings if "near twin" in w]


def test_tables_are_up_to_date(tmp_path):
    copy = tmp_path / "leaderboards"
    shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("*.md", "tables", "leaderboard.*"))
    build(copy, tmp_path / "site")
    for name in (
        "README.md",
        "leaderboard.csv",
        "leaderboard.tex",
        *(f"tables/{p.name}" for p in (HERE / "tables").iterdir()),
    ):
        expected, found = (HERE / name).read_text(), (copy / name).read_text()
        assert found == expected, (
            f"leaderboards/{name} is not what `probebench leaderboard build` writes"
        )
