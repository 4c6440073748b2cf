"""What lies under a folder of runs, what can be freed there, and a run as a notebook shows it."""

import hashlib
import json
import os
import re
import shutil
from itertools import pairwise

import pytest
from click.testing import CliRunner
from records import record

import probebench
from probebench.across.listing import Freeable, free, freeable, run_around, runs_under, size_of
from probebench.cli.main import main
from probebench.errors import BadFileError, StatesError, UnknownNameError, UsageError
from probebench.files import write_atomic
from probebench.record.run import Run
from probebench.store.lock import Lock
from probebench.text import size

SMALL = {
    "limit": 120,
    "positions": ["-1"],
    "layers": [0],
    "shuffles": 0,
    "skip": ["text", "p-true", "ensembles"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "people"
    return probebench.evaluate("tiny", "people", out=folder, **SMALL)


@pytest.fixture
def shelf(made, tmp_path):
    """A finished run, an interrupted one, one that cannot be read, and a folder that is none."""
    shutil.copytree(made.folder, tmp_path / "tiny/people")
    shutil.copytree(made.folder / "stages", tmp_path / "tiny/places/stages")
    (tmp_path / "other/north").mkdir(parents=True)
    (tmp_path / "other/north/record.json").write_text("{}")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("mine")
    return tmp_path


def ran(*words, answer=None, env=None):
    return CliRunner().invoke(main, [*map(str, words)], input=answer, env=env)


def test_every_run_is_found_with_its_state_and_size(shelf):
    found = {str(own.folder.relative_to(shelf)): own for own in runs_under(shelf)}
    assert {name: own.state for name, own in found.items()} == {
        "tiny/people": "finished",
        "tiny/places": "unfinished",
        "other/north": "unreadable",
    }
    assert "schema version" in found["other/north"].why
    own = found["tiny/people"]
    assert own.n_bytes == size_of(own.folder) > 10_000
    assert [o.folder for o in runs_under(own.folder)] == [own.folder], "a run itself"
    with pytest.raises(BadFileError, match="no folder"):
        runs_under(shelf / "nothing")


def test_a_run_that_lacks_a_file_is_not_finished(shelf):
    """What it is mended from stays, and the list says what to do."""
    (shelf / "tiny/people/predictions.parquet").unlink()
    [own] = runs_under(shelf / "tiny/people")
    assert own.state == "incomplete" and own.run is not None
    said = " ".join(ran("runs", shelf, env={"COLUMNS": "200"}).output.split())
    assert "incomplete" in said and "tiny/people: predictions.parquet missing; the same" in said
    assert "other/north: " in said and "schema version" in said
    assert freeable([own], states=True) == [] and freeable([own], unfinished=True)


def test_names_of_others_are_shown_as_they_are(tmp_path):
    """No markup, nothing that a terminal obeys, and no line's end."""
    for name in ("a[red]b", "[yellow]", "x\x1b[31m", "y\x1b]0;t\x07", "two\nlines", "z\udcff"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text("{}")
    done = CliRunner().invoke(main, ["runs", str(tmp_path)], env={"COLUMNS": "120"}, color=True)
    assert done.exit_code == 0 and "a[red]b" in done.output and "[yellow]" in done.output
    assert not {"\x07", "\udcff"} & set(done.output) and "\x1b]" not in done.output
    assert "x\x1b" not in done.output and "two\N{REPLACEMENT CHARACTER}lines" in done.output


def test_a_record_that_is_no_file_is_not_waited_for(tmp_path):
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run/record.json")
    [own] = runs_under(tmp_path)
    assert own.state == "unreadable" and "is no file" in own.why


def test_the_command_says_model_task_state_size_and_auroc(shelf, made):
    said = ran("runs", shelf)
    assert said.exit_code == 0
    line = next(x for x in said.output.splitlines() if x.startswith("tiny/people"))
    auroc = made.record.selection.test_auroc
    assert all(word in line for word in ("tiny", "people", "finished", f"{auroc:.3f}", "KB"))
    assert "3 runs" in said.output and "unreadable" in said.output
    facts = {f["folder"]: f for f in json.loads(ran("runs", shelf, "--json").output)}
    own = facts[str(shelf / "tiny/people")]
    assert (own["test_auroc"], own["states"]) == (auroc, True)
    assert facts[str(shelf / "tiny/places")]["test_auroc"] is None
    (shelf / "empty").mkdir()
    assert "No runs" in ran("runs", shelf / "empty").output
    assert ran("runs", shelf / "tiny/people").output.splitlines()[-1].startswith("1 run, ")
    missing = ran("runs", shelf / "nothing")
    assert missing.exit_code != 0 and "no folder" in missing.output


@pytest.fixture
def named(tmp_path):
    """A run with long names, the words of its row, and its numbers."""
    model, task = "SmolLM2-135M-Instruct-Q4_1.gguf", "azaria_mitchell"
    selection = {"test_auroc": 0.678, "test_auroc_95": [0.65, 0.71], "n_test": 1309}
    made = record(model={"name": model}, task={"name": task}, selection=selection)
    folder = tmp_path / "SmolLM2-135M-Instruct-Q4_1" / task
    write_atomic(folder / "record.json", json.dumps(made.plain()).encode())
    words = [f"{folder.parent.name}/{task}", model, task, "finished, no states"]
    return tmp_path, words, ["0.678", "[0.65, 0.71]", "1,309", size(size_of(folder))]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_list_of_runs_folds_words_and_cuts_nothing(named, width):
    top, words, numbers = named
    head, *lines, _ = ran("runs", top, env={"COLUMNS": str(width)}).output.splitlines()
    assert max(map(len, lines)) <= width and (len(lines) == 1) == (width == 200)
    starts = [head.index(name) for name in ("run", "model", "task", "state", "AUROC")]
    columns = [" ".join(line[a:b] for line in lines) for a, b in pairwise(starts)]
    assert [column.replace(" ", "") for column in columns] == [w.replace(" ", "") for w in words]
    assert re.sub(" +", " ", lines[0][starts[-1] :]) == " ".join(numbers)


def test_a_list_of_runs_in_a_pipe_has_a_line_for_each(named):
    top, words, numbers = named
    _, *lines, _ = ran("runs", top, env={"COLUMNS": None}).output.splitlines()
    assert [re.split(" {2,}", line) for line in lines] == [[*words, *numbers]]


def test_cleaning_keeps_results_and_states_and_asks_first(shelf):
    place = shelf / "tiny/people"
    before = sorted(p.name for p in place.iterdir())
    assert "Nothing was deleted" in ran("clean", shelf, answer="n\n").output
    assert len(list((place / "stages").iterdir())) > 1
    said = ran("clean", shelf, answer="y\n").output
    assert "answers-" in said and "freed" in said
    run = Run.load(place)
    assert [p.name for p in (place / "stages").iterdir()] == [run.record.states.split("/")[1]]
    assert sorted(p.name for p in place.iterdir()) == before
    assert run.hidden_states().values.shape[0] == run.record.counts.all.n
    assert list((shelf / "tiny/places/stages").iterdir()), "an interrupted run keeps its shards"
    assert "Nothing to free" in ran("clean", shelf, "--yes").output
    assert probebench.evaluate("tiny", "people", out=place, **SMALL).resumed, "still finished"


def test_what_cannot_be_deleted_keeps_nothing_else(tmp_path, monkeypatch):
    for name in "abc":
        write_atomic(tmp_path / "stages" / "x-1" / name, b"x")
    unlink = os.unlink

    def held(path, **at):
        if str(path).endswith(("a", "b")):
            raise PermissionError(13, "Permission denied")
        unlink(path, **at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", held)
        freed = free([Freeable(tmp_path / "stages" / "x-1", 3, tmp_path)])
    assert freed.n_bytes == 1
    assert freed.failed == {tmp_path / "stages" / "x-1": "x-1: Permission denied"}
    assert sorted(p.name for p in (tmp_path / "stages" / "x-1").iterdir()) == ["a", "b"]


def test_states_and_unfinished_runs_go_only_when_named(shelf):
    place = shelf / "tiny/people"
    assert ran("clean", shelf, "--states", "--unfinished", "--yes").exit_code == 0
    assert not Run.load(place).has_states
    assert not list((shelf / "tiny/places/stages").iterdir())
    assert (shelf / "notes/a.txt").read_text() == "mine"
    assert (shelf / "other/north/record.json").exists()


def test_freed_states_leave_a_run_finished(shelf, tmp_path):
    """It was computed again as a whole, without a word."""
    place = shelf / "tiny/people"
    ran("clean", place, "--states", "--yes")
    again = probebench.evaluate("tiny", "people", out=place, **SMALL)
    assert again.resumed and again.states_freed
    with pytest.raises(StatesError, match=r"were freed\. To have them again, delete .*record.json"):
        again.states()
    file = tmp_path / "a.yaml"
    file.write_text(json.dumps({"model": "tiny", "task": "people", **SMALL}))
    asked = ["eval", "--config", file, "--out", place]
    said = " ".join(ran(*asked).output.split())
    assert f"{place} was finished before and keeps its hidden states no longer" in said
    assert "no longer" not in ran(*asked, "--discard-states").output
    assert "no longer" not in ran(*asked, "--quiet").output
    # a folder that is there and not whole is no work of `clean`
    (place / Run.load(place).record.states).mkdir(parents=True)
    assert not probebench.evaluate("tiny", "people", out=place, **SMALL).resumed
    assert probebench.evaluate("tiny", "people", out=place, **SMALL).has_states


def test_a_folder_that_only_looks_like_a_run_is_left_alone(shelf):
    """Such as source code with a folder of that name."""
    (shelf / "package/stages/tokens").mkdir(parents=True)
    (shelf / "package/stages/tokens/read.py").write_text("mine")
    assert "package" not in {str(o.folder.relative_to(shelf)) for o in runs_under(shelf)}
    (shelf / "tiny/people/stages/notes").mkdir()
    ran("clean", shelf, "--states", "--unfinished", "--yes")
    assert (shelf / "package/stages/tokens/read.py").exists()
    assert (shelf / "tiny/people/stages/notes").is_dir()


def test_a_run_at_work_keeps_everything(shelf):
    found = freeable(runs_under(shelf))
    with Lock(shelf / "tiny/people"):
        assert free(found).busy == [shelf / "tiny/people"]
        said = ran("clean", shelf, "--yes").output
    assert "left alone" in said and "0 B freed" in said
    assert all(own.place.is_dir() for own in found)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder with a file as the suite puts it there, and others that somebody else put."""
    place = tmp_path / "cache"
    content = b"x" * 2000
    kept = place / hashlib.sha256(content).hexdigest()[:16] / "file.csv"
    write_atomic(kept, content)
    write_atomic(place / "notes.txt", b"mine")
    write_atomic(place / "ab" / "file.csv", b"mine")
    write_atomic(place / ("0" * 16) / "other.csv", b"mine")
    monkeypatch.setenv("PROBEBENCH_CACHE", str(place))
    return place


def test_the_cache_goes_only_when_named(shelf, cache):
    ran("clean", shelf, "--yes")
    foreign = [cache / "notes.txt", cache / "ab/file.csv", cache / ("0" * 16) / "other.csv"]
    assert len([p for p in cache.rglob("*") if p.is_file()]) == 4
    said = ran("clean", shelf, "--cache", "--yes")
    assert said.exit_code == 0 and "2.0 KB freed" in said.output
    assert sorted(p for p in cache.rglob("*") if p.is_file()) == sorted(foreign)
    assert {p.parent for p in foreign} == {p for p in cache.rglob("*") if p.is_dir()} | {cache}
    assert "Nothing to free" in ran("clean", shelf, "--cache", "--yes").output


def test_a_cache_behind_a_link_is_emptied(shelf, cache, tmp_path, monkeypatch):
    ran("clean", shelf, "--yes")
    (tmp_path / "link").symlink_to(cache)
    monkeypatch.setenv("PROBEBENCH_CACHE", str(tmp_path / "link"))
    assert "2.0 KB freed" in ran("clean", shelf, "--cache", "--yes").output
    assert (tmp_path / "link").is_symlink() and len(list(cache.rglob("file.csv"))) == 1


def test_the_cache_belongs_to_no_folder_of_runs(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ran("clean", "--yes").exit_code == 2 and ran("clean", "x", "--cache").exit_code == 2
    said = ran("clean", "--cache", "--yes")
    assert said.exit_code == 0 and "2.0 KB freed" in said.output


def test_what_stays_is_named_and_not_counted(shelf, cache, monkeypatch):
    ran("clean", shelf, "--yes")
    unlink = os.unlink

    def held(path, *words, **at):
        if str(path).endswith("file.csv"):
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, *words, **at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", held)
        said = ran("clean", shelf, "--cache", "--yes")
    assert said.exit_code == 1 and "0 B freed" in said.output
    assert "could not be removed: file.csv: Permission denied." in said.output


def test_a_stage_that_is_a_link_belongs_to_somebody_else(shelf, tmp_path):
    """Another run may need what it shows: it stays, and the command says so."""
    [stage] = (shelf / "tiny/people/stages").glob("states-*")
    target = tmp_path / "disk" / stage.name
    shutil.move(stage, target)
    stage.symlink_to(target)
    ran("clean", shelf, "--yes")
    said = ran("clean", shelf / "tiny/people", "--states", "--yes")
    assert (
        said.exit_code == 1 and "0 B freed" in said.output and f"a link to {target}" in said.output
    )
    assert list(target.iterdir())


def test_runs_inside_runs_are_listed_and_counted_once(shelf, made):
    shutil.copytree(made.folder, shelf, dirs_exist_ok=True)
    found = {own.folder: own for own in runs_under(shelf)}
    assert set(found) == {
        shelf,
        *(shelf / n for n in ("tiny/people", "tiny/places", "other/north")),
    }
    total = sum(own.n_bytes for own in found.values())
    assert total == size_of(shelf)
    assert found[shelf].n_bytes == found[shelf / "tiny/people"].n_bytes + len(b"mine")


def test_no_run_is_put_inside_another_or_above_others(shelf, made):
    for out, why in (
        (shelf / "tiny/people/again", "which is a finished run"),
        (shelf / "tiny/people/x/y", "which is a finished run"),
        (shelf / "tiny", "above other runs, such as"),
        (shelf, "above other runs, such as"),
    ):
        with pytest.raises(UsageError, match=why):
            probebench.evaluate("tiny", "people", out=out, **SMALL)
    with pytest.raises(UsageError, match="which is a finished run"):
        probebench.evaluate_spans("tiny", "lives", out=shelf / "tiny/people/again")
    assert not (shelf / "tiny/people/again").exists()
    # one that lies so from before is found again, and a file of that name alone is no run
    shutil.copytree(made.folder, shelf, dirs_exist_ok=True)
    assert probebench.evaluate("tiny", "people", out=shelf, **SMALL).resumed
    assert probebench.evaluate("tiny", "people", out=shelf / "tiny/people", **SMALL).resumed
    assert run_around(shelf / "other/north/x") == shelf
    assert run_around(shelf.parent / "x") is None


def test_sizes_have_one_digit_after_the_point():
    assert [size(n) for n in (0, 999, 1000, 2_500_000, 3e9)] == [
        "0 B",
        "999 B",
        "1.0 KB",
        "2.5 MB",
        "3.0 GB",
    ]


def test_a_metric_that_a_run_does_not_have_is_no_table_of_nothing(made):
    for metric in ("p", "q", "shuffled", "selectivity"):
        with pytest.raises(
            UnknownNameError, match=f"of the test split: '{metric}'.*--shuffles 100"
        ):
            made.matrix(metric)
        with pytest.raises(UnknownNameError, match=f"of the validation split: '{metric}'"):
            made.matrix(metric, split="validation")
    assert made.matrix("n").notna().all().all()


def test_a_notebook_shows_figures_and_map(made):
    assert made._repr_png_().startswith(b"\x89PNG")
    said = made._repr_html_()
    r = made.record
    assert f"<b>{r.selection.test_auroc:.3f}</b>" in said
    assert "best simpler signal" in said and "data:image/png;base64," in said
    assert repr(made).count("\n") == 0 and len(repr(made)) < 300
    bad = Run(made.folder, r.changed(model={**r.model.plain(), "name": "<script>x</script>"}))
    assert "<script>" not in bad._repr_html_()
