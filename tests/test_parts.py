"""`--part I/N`: parts in any order, at once, killed, under another N; the run that follows finds
everything done and is the run of one process."""

import os
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import probebench
from probebench.cli.main import main
from probebench.engines.part import Part
from probebench.errors import LockedError, UnfinishedError, UsageError
from probebench.files import HOST
from probebench.job.several import Outcome, exit_code
from probebench.record.run import Run
from probebench.store.lock import Lock
from probebench.store.shards import ShardStore

OPTIONS = {
    "limit": 90,
    "layers": (0, 3),
    "positions": ("-1", "exact_answer_last"),
    "shuffles": 2,
    "batching": "exact",
    "device": "cpu",
    "skip": ("p-true", "text", "ensembles"),
}


@pytest.fixture(scope="module", autouse=True)
def small_shards():
    """Some shards of each stage, of few examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probebench.states.extract.SHARD", 16)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run of one process."""
    return probebench.evaluate("tiny", "people", out=tmp_path_factory.mktemp("whole"), **OPTIONS)


def part(folder, text):
    """What a part says when it has done its share."""
    with pytest.raises(UnfinishedError) as told:
        probebench.evaluate("tiny", "people", out=folder, part=text, **OPTIONS)
    return told.value


def last(folder, monkeypatch):
    """The run without `part`, which loads no model."""
    monkeypatch.setattr("probebench.stages.engine.load_model", None)
    return probebench.evaluate("tiny", "people", out=folder, **OPTIONS)


def shards(run):
    """Every shard of a run by its place; what was measured of batches is no result."""
    found = run.folder.glob("stages/*/[0-9]*.*")
    return {
        str(path.relative_to(run.folder)): path.read_bytes()
        for path in found
        if "budgets" not in path.parts[-2]
    }


def assert_same(run, whole):
    """To the last bit, but for times and places."""
    a, b = run.record.plain(), whole.record.plain()
    for record in (a, b):
        del record["timing"], record["settings"]["out"]
    assert a == b
    assert shards(run) == shards(whole)
    for name in ("predictions.parquet", "scores.parquet"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(run.folder / name), pd.read_parquet(whole.folder / name)
        )
    for name in run.record.files:
        if name.endswith(".csv"):
            assert (run.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert run.answers["id"].is_unique
    assert list(run.answers["id"]) == list(whole.answers["id"])


def test_parts_in_any_order_and_under_another_n_are_the_run(whole, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    first = part(folder, "3/3")
    assert first.exit_code == 75
    assert "Of its 6 shards 4 are still missing, by part: 1/3 (2), 2/3 (2)" in str(first)
    said = [part(folder, text) for text in ("3/3", "1/3", "2/3", "2/3", "1/2", "2/2", "1/2", "2/2")]
    assert str(said[0]) == str(first)  # it waits for nothing, and has nothing to do
    while said[-1].exit_code:
        said += [part(folder, "2/2"), part(folder, "1/2")]
    assert "Every shard is there" in str(said[-1])
    assert len(said) < 20
    assert not (folder / "record.json").exists()
    run = last(folder, monkeypatch)
    assert_same(run, whole)
    with_part = probebench.evaluate("tiny", "people", out=folder, part="1/2", **OPTIONS)
    assert with_part.resumed  # there is nothing to share out any more


def test_the_last_run_deletes_what_the_parts_have_kept(tmp_path, monkeypatch):
    small = {**OPTIONS, "shuffles": 0, "controls": ["random-model"]}
    monkeypatch.setitem(globals(), "OPTIONS", small)
    for _ in range(2):  # the second finds the probes, and still leaves the vectors
        assert "Every shard is there" in str(part(tmp_path, "1/1"))
        assert list(tmp_path.glob("stages/random-model-states-*"))
    last(tmp_path, monkeypatch)
    assert not list(tmp_path.glob("stages/random-model-states-*"))
    assert list(tmp_path.glob("stages/random-model-probes-*"))


def child(folder, text, kill=0):
    """A part in a process of its own; `kill`: at which of its writes it is killed, half-way."""
    pid = os.fork()
    if pid:
        return pid
    written = []
    store = ShardStore.write

    def write(self, name, content):
        written.append(name)
        if len(written) == kill:
            self.folder.mkdir(parents=True, exist_ok=True)
            half = (
                self.folder / f".{name}.{HOST}-{os.getpid()}.tmp"
            )  # renamed only when it is whole
            half.write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        store(self, name, content)

    ShardStore.write = write
    code = 1
    try:
        probebench.evaluate("tiny", "people", out=folder, part=text, **OPTIONS)
    except UnfinishedError as error:
        code = error.exit_code
    finally:
        os._exit(code)


def ended(pid):
    """Exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_parts_at_once_and_killed_are_the_run(whole, tmp_path, monkeypatch):
    """Two at a time, one of which dies in the middle of a file again and again."""
    folder, codes = tmp_path / "run", []
    for kill in (2, 5, 1, *[0] * 9):
        pids = [child(folder, "1/2", kill), child(folder, "2/2")]
        codes.append([ended(pid) for pid in pids])
        if codes[-1] == [0, 0]:
            break
    assert -signal.SIGKILL in {code for pair in codes for code in pair}
    assert {code for pair in codes for code in pair} == {-signal.SIGKILL, 75, 0}
    assert_same(last(folder, monkeypatch), whole)


def test_one_process_is_one_part(tmp_path):
    with Lock(tmp_path, Part(1, 2).writer):
        for text in ("1/2", None):
            with pytest.raises(LockedError, match="part-1-of-2"):
                probebench.evaluate("tiny", "people", out=tmp_path, part=text, **OPTIONS)
        part(tmp_path, "2/2")


def test_a_part_that_stops_leaves_folders_into_which_others_are_about_to_write(tmp_path):
    stage = tmp_path / "stages" / "answers-1"
    with pytest.raises(KeyboardInterrupt), Lock(tmp_path, Part(1, 2).writer):
        stage.mkdir(parents=True)
        raise KeyboardInterrupt
    assert stage.is_dir()


def test_on_the_command_line_a_part_says_what_is_missing(tmp_path):
    words = "eval --model tiny --task people --limit 120 --layers 0 --device cpu --quiet --part"
    found = CliRunner().invoke(main, [*words.split(), "2/2", "--out", str(tmp_path)])
    assert found.exit_code == 75
    assert "Part 2/2 has done its share of 'Generating answers'" in found.output
    assert not Run.there(tmp_path)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2"])
def test_what_is_no_part(text):
    with pytest.raises(UsageError, match="from 1/8 to 8/8"):
        Part.read(text)


def test_a_failure_counts_more_than_a_part_that_is_unfinished():
    later, all_there = UnfinishedError("x"), UnfinishedError("x", missing=False)
    outcomes = [Outcome("m", "t", None, e) for e in (later, UsageError("x"), all_there)]
    assert exit_code(outcomes) == 2
    assert exit_code(outcomes[::2]) == 75
    assert exit_code(outcomes[2:]) == exit_code([]) == 0


SCRIPTS = Path(__file__).parent.parent / "scripts" / "slurm"


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_for_slurm_are_the_ones_that_are_shown(script):
    """SLURM itself is no part of the tests; how the scripts were tried stands in DECISIONS.md."""
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    page = (SCRIPTS.parent.parent / "docs" / "cluster.md").read_text(encoding="utf-8")
    shown = f"```bash\n{script.read_text(encoding='utf-8')}```" in page
    assert shown or f"`scripts/slurm/{script.name}`" in page


STAND_INS = {
    "probebench": 'echo "$@" >> said; exit $(head -c 2 code)',
    "scontrol": 'echo "$@" >> said',
    "sleep": "exit 0",
    "sbatch": 'echo "$@" >> said; echo 17',
}


@pytest.mark.parametrize(
    ("code", "turn", "again"), [(75, 0, True), (75, 100, False), (1, 0, False)]
)
def test_a_task_goes_back_into_the_queue_only_where_others_are_behind(tmp_path, code, turn, again):
    for name, does in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "code").write_text(str(code))
    slurm = {
        "SLURM_ARRAY_JOB_ID": 7,
        "SLURM_ARRAY_TASK_ID": 2,
        "SLURM_ARRAY_TASK_COUNT": 2,
        "PARTS": 8,
    }
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_RESTART_COUNT": str(turn)}
    env |= {name: str(value) for name, value in slurm.items()}
    words = ["bash", str(SCRIPTS / "part.sh"), "--model", "m"]
    assert subprocess.run(words, env=env, cwd=tmp_path, check=False).returncode == code
    said = (tmp_path / "said").read_text().splitlines()
    assert said[0] == "eval --model m --part 2/8 --offline --quiet"
    assert said[1:] == (["requeue 7_2"] if again else [])


def test_the_last_run_waits_for_the_array(tmp_path):
    for name, does in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    words = ["bash", str(SCRIPTS / "submit.sh"), "4", "--task", "my task.yaml"]
    subprocess.run(words, env=env, cwd=tmp_path, check=True)
    array, last = (tmp_path / "said").read_text().splitlines()
    assert array.startswith("--parsable --array=1-4 --export=ALL,PARTS=4 ")
    assert "--dependency=afterok:17" in last
    assert "probebench eval --task my\\ task.yaml" in last
