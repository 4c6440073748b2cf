"""The record is typed, read whole, written again byte by byte, and never changed."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError
from records import content, record

from probebench.errors import BadFileError
from probebench.files import write_json
from probebench.job.record import commit
from probebench.record.parts.measured import FalseAlarms
from probebench.record.parts.part import LONGEST, Part
from probebench.record.run import Run
from probebench.record.schema import Record

HERE = sorted((Path(__file__).parent.parent / "leaderboards").glob("v2/*/*/record.json"))


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.parent.name)
def test_a_submitted_record_is_read_and_written_again_byte_by_byte(path, tmp_path):
    text = path.read_text(encoding="utf-8")
    found = Record.from_plain(json.loads(text), "ranked").plain()
    write_json(tmp_path / "record.json", found, lines=True)
    assert (tmp_path / "record.json").read_text(encoding="utf-8") == text


def test_a_record_is_read_like_its_json_and_by_attributes():
    found = record(warnings=["one"])
    assert found["selection"]["test_auroc"] == found.selection.test_auroc == 0.8
    assert found["warnings"] == ["one"]
    assert found.warnings == ("one",)
    assert "files" not in found
    assert found.files == ()
    assert found.get("files", "none") == "none"
    assert list(found) == list(content())
    assert found == content(warnings=["one"])


def parts_in(value):
    """A part and all that it holds, with the lists and objects between."""
    inner = value.values() if hasattr(value, "values") else value
    if isinstance(value, Mapping | tuple | list):
        yield value
        for one in inner:
            yield from parts_in(one)


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.parent.name)
def test_a_record_and_its_parts_show_themselves_in_a_short_line(path):
    run = Run.load(path.parent)
    r, auroc = run.record, f"test AUROC {run.record.selection.test_auroc:.3f}"
    assert all(words in repr(r) for words in (r.model.name, r.task.name, auroc))
    assert len(repr(r)) < 150 and str(r) == repr(r)
    found = [part for part in parts_in(r) if isinstance(part, Part) and part is not r]
    lines = list(map(repr, found))
    assert len(lines) > 50 and str(r.detectors[0]) == repr(r.detectors[0])
    assert max(map(len, lines)) <= LONGEST and not any("\n" in line for line in lines)
    assert len(repr(r.detectors)) <= (LONGEST + 2) * len(r.detectors)
    told = f"<DetectorFacts: name='probe', auroc={r.detectors[0].auroc:.4g}, n="
    assert repr(r.detectors[0]).startswith(told)


def test_what_a_part_does_not_show_stands_as_dots_or_as_a_name():
    assert repr(FalseAlarms.from_plain({"value": 0.25, "low": None, "high": 0.5})) == (
        "<FalseAlarms: value=0.25, high=0.5>"
    )
    assert repr(record().counts) == "<SplitCounts: all, train, validation, test>"
    long = record().task.changed(name="x" * 500)
    assert len(repr(long)) <= LONGEST and "xxx...," in repr(long)


def test_a_record_is_never_changed():
    found = record()
    with pytest.raises(ValidationError, match="frozen"):
        found.key = "0"
    with pytest.raises(ValidationError, match="frozen"):
        found.selection.layer = "4"
    with pytest.raises(TypeError, match="item assignment"):
        found["key"] = "0"
    other = found.changed(files=["a"])
    assert other.files == ("a",)
    assert "files" not in found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extra": 1}, "extra: given 1, expected no such key"),
        ({"task": {"extra": [1]}}, r"task\.extra: given \[1\], expected no such key"),
        ({"selection": {"test_auroc": "0.9"}}, r"selection\.test_auroc: given '0\.9', expected a"),
        ({"selection": {"n_test": True}}, r"selection\.n_test: given True, expected a"),
        ({"selection": {"p": float("nan")}}, r"selection\.p: given nan, expected a finite number"),
        ({"selection": {"test_auroc": 1.5}}, r"selection\.test_auroc: given 1\.5, expected less"),
        ({"selection": {"test_auroc_95": [0.9, 0.8]}}, "the lower end, then the upper end"),
        ({"detectors": []}, r"detectors: given \[\], expected at least 1 items"),
    ],
)
def test_what_a_record_cannot_hold_is_said_in_one_line(tmp_path, changes, words):
    (tmp_path / "record.json").write_text(json.dumps(content(**changes)))
    with pytest.raises(BadFileError, match=words) as told:
        Run.load(tmp_path)
    assert "\n" not in str(told.value)


def test_the_schema_on_disk_is_the_models():
    root = Path(__file__).parent.parent
    text = (root / "docs" / "record.schema.json").read_text(encoding="utf-8")
    made = json.dumps(Record.model_json_schema(), indent=1, ensure_ascii=False) + "\n"
    assert text == made, "run scripts/write_schema.py"
    assert json.loads(text)["additionalProperties"] is False


def test_a_record_of_protocol_1_is_read_and_is_no_row():
    """What came with protocol 2 is absent in it; it is shown, and never ranked with new ones."""
    plain = json.loads(HERE[0].read_text())
    later = ("added", "coincidences", "subsets", "said", "near_twins", "abstention", "resplits")
    old = {k: v for k, v in plain.items() if k not in later} | {"protocol_version": 1}
    for name in ("barred", "would_win"):
        del old["selection"][name]
    for row in old["detectors"]:
        del row["probe_auroc"]
    record = Record.from_plain(old)
    assert record.protocol_version == 1
    assert record.added is None
    assert record.plain() == old
    with pytest.raises(ValidationError, match="protocol_version"):
        Record.from_plain(old, "ranked")


def test_the_commit_is_the_packages_own_wherever_one_stands(tmp_path, monkeypatch):
    """Neither of the folder where somebody works, nor of the project that it is installed into."""

    def git(*words, at):
        said = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *said, "-C", at, *words], capture_output=True, check=True)
        return done.stdout.decode().strip()

    for name in ("package/probebench/job", "theirs/site-packages/probebench/job"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "record.py").write_text("")
    for name in ("package", "theirs"):
        git("init", at=tmp_path / name)
        git("add", ".", at=tmp_path / name)
        git("commit", "-m", name, at=tmp_path / name)
    monkeypatch.chdir(tmp_path / "theirs")
    own = tmp_path / "package/probebench/job/record.py"
    monkeypatch.setattr("probebench.job.record.__file__", str(own))
    head = git("rev-parse", "HEAD", at=tmp_path / "package")
    assert commit() == {"commit": head, "dirty": False}
    (tmp_path / "package/notes.txt").write_text("of no file of the package")
    assert commit()["dirty"] is False
    for changed in (own, tmp_path / "package/tasks/people.yaml"):
        changed.parent.mkdir(exist_ok=True)
        changed.write_text("name: x")
        assert commit()["dirty"] is True
        git("stash", "--include-untracked", at=tmp_path / "package")
        assert commit()["dirty"] is False
    inside = tmp_path / "theirs/site-packages/probebench/job/record.py"
    monkeypatch.setattr("probebench.job.record.__file__", str(inside))
    assert commit() == {"commit": None, "dirty": None}
