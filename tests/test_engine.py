"""Runs on a cluster: the same bytes from any number of workers, whatever goes down meanwhile."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from squares import Squared

import probebench
from probebench.engines.spec import EngineSpec
from probebench.errors import EngineError, StatesError, UsageError
from probebench.job.options import Options
from probebench.job.pipeline import evaluate
from probebench.models.loading import ModelSpec
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.stage import LocalRunner, in_order

ray = pytest.importorskip("ray")
import ray._private.worker as inside  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from ray.core.generated.common_pb2 import ActorDiedErrorContext  # noqa: E402

from probebench.engines.ray.cluster import Share, connected, first_line, shared, stored  # noqa: E402
from probebench.engines.ray.engine import RayEngine  # noqa: E402
from probebench.engines.ray.lanes import Lane, Lanes  # noqa: E402

TESTS = Path(__file__).parent
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


class Pairs(Squared):
    """Two to a shard."""

    a_shard: ClassVar[int] = 2


@dataclass(frozen=True, eq=False)
class Troubled(Pairs):
    """Something happens to the worker that computes the third shard."""

    place: Path
    trouble: str

    def compute(self, rows, work):
        if rows[0] == 4:
            first = not (self.place / "tried").exists()
            (self.place / "tried").touch()
            if self.trouble == "always" or (self.trouble == "once" and first):
                os._exit(3)
            if self.trouble == "said":
                raise StatesError("layer 2 is not finite")
            if self.trouble == "memory":
                work.budget().halve([0, 1], [9, 9], "squaring")
        return super().compute(rows, work)


@dataclass(frozen=True, eq=False)
class Waiting(Pairs):
    """Says where it is computed, and waits there until it may go on."""

    place: Path

    def compute(self, rows, work):
        (self.place / f"at-{os.getpid()}").touch()
        until(lambda: (self.place / "go").exists())
        return super().compute(rows, work)


@dataclass(frozen=True, eq=False)
class Large(Pairs):
    """Larger than what a node holds in memory for others."""

    ballast: bytes


NUMBERS = tuple(range(3, 15))


def until(there, seconds=150):
    """Wait for something that other processes do."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each, on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(TESTS.parent), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_local_fs_capacity_threshold", "1")  # whatever is free here
        found = Cluster(initialize_head=True, head_node_args=NODE)
        found.add_node(**NODE)
        with connected(found.address):
            yield found
        found.shutdown()


@pytest.fixture(scope="module")
def engine(cluster):
    found = RayEngine(EngineSpec("ray", address="auto", workers=2), "auto")
    yield found
    found.close()


def computed(engine, folder, stage, progress=None):
    folder.mkdir(exist_ok=True)
    with engine.runner(folder, progress or Progress(), offline=True) as runner:
        done = runner.run(stage)
        return in_order(done), {path.name: path.read_bytes() for path in done.files}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What this process computes."""
    runner = LocalRunner(tmp_path_factory.mktemp("here"), Progress(), Models(Progress()))
    done = runner.run(Pairs(NUMBERS))
    return in_order(done), {path.name: path.read_bytes() for path in done.files}


def test_workers_write_the_bytes_that_this_process_would(engine, expected, tmp_path):
    progress = Progress()
    assert computed(engine, tmp_path, Pairs(NUMBERS), progress) == expected
    assert progress.done["Squaring"] == len(NUMBERS)
    assert progress.tokens["Squaring"] == sum(NUMBERS)
    [stage] = (tmp_path / "stages").glob("squares-*")
    assert len(list(stage.glob("manifest-*.jsonl"))) == 2, "each worker has a manifest of its own"
    [budget] = (tmp_path / "stages").glob("budgets-*/*.json")
    assert json.loads(budget.read_text())["tokens"] == 77


def test_a_shard_that_is_there_is_not_computed_again(engine, expected, tmp_path):
    computed(engine, tmp_path, Pairs(NUMBERS))
    [shard] = (tmp_path / "stages").glob("squares-*/00002.json")
    shard.write_bytes(b"[0, 0]")
    progress = Progress()
    assert computed(engine, tmp_path, Pairs(NUMBERS), progress) == expected
    assert progress.done["Squaring"] == 2


def test_a_worker_that_dies_costs_its_shards_and_no_more(engine, expected, tmp_path):
    assert computed(engine, tmp_path, Troubled(NUMBERS, tmp_path, "once")) == expected


def test_a_shard_that_always_crashes_is_named_and_the_others_are_kept(engine, expected, tmp_path):
    with pytest.raises(EngineError) as told:
        computed(engine, tmp_path, Troubled(NUMBERS, tmp_path, "always"))
    said = str(told.value)
    assert "1 shard took a worker down 3 times" in said and "1 of 6 shards are missing" in said
    assert "shard 2 (answers 4, 5):" in said
    progress = Progress()
    assert computed(engine, tmp_path, Pairs(NUMBERS), progress) == expected
    assert progress.done["Squaring"] == 2, "only what crashed is computed again"


def test_what_a_shard_says_to_a_user_ends_the_run_as_it_does_here(engine, tmp_path):
    with pytest.raises(StatesError, match=r"^layer 2 is not finite$"):
        computed(engine, tmp_path, Troubled(NUMBERS, tmp_path, "said"))


def test_what_fitted_into_one_worker_is_the_budget_of_all(engine, expected, tmp_path):
    assert computed(engine, tmp_path, Troubled(NUMBERS, tmp_path, "memory")) == expected
    kept = sorted((tmp_path / "stages").glob("budgets-*/*.json"))
    assert json.loads(kept[-1].read_text()) == {"tokens": 9, "examples": 128, "halvings": 1}


def test_a_folder_that_workers_do_not_see_is_refused(engine, tmp_path):
    with (
        pytest.raises(EngineError, match="does not see the run directory"),
        engine.runner(tmp_path, Progress(), offline=True) as runner,
    ):
        engine.close_workers()
        for mark in tmp_path.glob(".engine-*"):
            mark.unlink()
        runner.run(Pairs(NUMBERS))


def test_a_node_goes_and_another_joins_while_shards_are_computed(
    cluster, engine, expected, tmp_path
):
    def places(n):
        return lambda: len(list(tmp_path.glob("at-*"))) == n

    with ThreadPoolExecutor(1) as other:  # nodes come and go in this thread
        found = other.submit(computed, engine, tmp_path, Waiting(NUMBERS, tmp_path))
        until(places(2))
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
        cluster.add_node(**NODE)
        until(places(3))
        (tmp_path / "go").touch()
        assert found.result() == expected


ASKED = {
    "limit": 120,
    "layers": (3, 6),
    "batching": "exact",
    "states_dtype": "float32",
    "skip": ("p-true", "shuffles"),
}
"""A short run, whose numbers do not depend on what stands beside an example."""


def held(folder):
    """What a run directory holds, without when and where it was computed, and without pictures,
    which the tests of one process draw in a shorter way."""
    record = json.loads((folder / "record.json").read_text())
    for name in ("out", "where"):
        record["settings"].pop(name)
    record.pop("timing")
    record.pop("files")
    files = {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(("manifest", "record", "run.", "heatmap"))
    }
    return record, files


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The run as this process computes it."""
    folder, threads = tmp_path_factory.mktemp("own") / "run", torch.get_num_threads()
    torch.set_num_threads(1)  # as each worker has one core: sums of two differ in the last bit
    try:
        probebench.evaluate("tiny", "people", out=folder, **ASKED)
    finally:
        torch.set_num_threads(threads)
    return held(folder)


class Restless(Progress):
    """In every stage a node goes away, and another one joins, after the first shard."""

    def __init__(self, cluster):
        super().__init__()
        self.cluster = cluster

    @contextmanager
    def stage(self, name, total, unit, done=0):
        with super().stage(name, total, unit, done) as counter:
            advance, seen = counter.advance, []

            def advanced(n=1):
                advance(n)
                if total > 1 and not seen:
                    seen.append(name)
                    self.cluster.remove_node(
                        self.cluster.list_all_nodes()[-1], allow_graceful=False
                    )
                    self.cluster.add_node(**NODE)

            counter.advance = advanced
            yield counter


def test_a_run_whose_nodes_come_and_go_gives_the_same_bytes(cluster, engine, own, tmp_path):
    engine.close_workers()
    options = Options.asked(
        {
            "model": "tiny",
            "task": "people",
            "out": tmp_path / "run",
            "engine": "ray",
            "address": "auto",
            "workers": 2,
            **ASKED,
        }
    )
    evaluate(options, Restless(cluster))
    assert held(tmp_path / "run") == own


def test_a_killed_driver_leaves_what_was_written_and_says_nothing_of_ray(
    cluster, engine, own, tmp_path
):
    engine.close_workers()
    words = [sys.executable, "-m", "probebench", "eval", "--model", "tiny", "--task", "people"]
    words += ["--limit", "120", "--layers", "3,6", "--batching", "exact", "--json"]
    words += ["--states-dtype", "float32", "--skip", "p-true,shuffles", "--out", "run"]
    words += ["--engine", "ray", "--address", cluster.address, "--workers", "2"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL) as first:
        states = "run/stages/states-*/*.safetensors"
        try:
            until(lambda: list(tmp_path.glob(states)) or first.poll() is not None)
            assert first.poll() is None, "it ended by itself"
        finally:
            first.kill()
    answers = {p: p.stat().st_mtime_ns for p in tmp_path.glob("run/stages/answers-*/0*")}
    again = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["settings"]["where"]["engine"] == "ray"
    assert again.stderr == ""
    assert held(tmp_path / "run") == own
    assert answers and all(p.stat().st_mtime_ns == at for p, at in answers.items())


def test_a_cluster_is_shared_out_so_that_nothing_idles():
    small, large, head = {"CPU": 8.0}, {"CPU": 64.0, "GPU": 8.0}, {"CPU": 4.0}
    assert shared([small, small], None, None) == Share(8, 0)
    assert shared([small, small], 4, None) == Share(4, 0)
    assert shared([small, small], 3, None) == Share(4, 0), "two of four fit on each"
    assert shared([small], 99, None) == Share(1, 0)
    assert shared([head, large], None, None) == Share(8, 1)
    assert shared([head, large], None, 4) == Share(32, 4)
    assert shared([head, large], None, None, "cpu") == Share(4, 0)
    assert Share(8, 1).room(large) == 8 and Share(8, 1).room(head) == 0
    with pytest.raises(UsageError, match=r"--gpus-per-worker 9: the best node .* has 8 GPUs"):
        shared([head, large], None, 9)


def test_a_cluster_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refuse(**asked):
        raise ConnectionError("nobody answers at 192.0.2.9:6379")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(EngineError, match=r"at 192\.0\.2\.9:6379: nobody answers"):
        connected("192.0.2.9:6379").__enter__()


def test_without_an_address_no_cluster_of_others_is_taken(monkeypatch):
    asked = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **given: asked.append(given["address"]))
    monkeypatch.setattr(ray, "shutdown", lambda: asked.append("left"))
    said = inside.print_to_stdstream
    with connected(None):
        assert asked == ["local"] and inside.print_to_stdstream is not said
    assert asked == ["local", "left"] and inside.print_to_stdstream is said


def test_who_cannot_take_part_stops_the_beginning_and_is_left_out_later(monkeypatch):
    def refused(reference):
        raise EngineError("other versions")

    monkeypatch.setattr("probebench.engines.ray.lanes.fetched", refused)
    lanes = Lanes(Share(1, 0), 2, offline=True)
    lanes.lanes = [Lane("first", None), Lane("second", "joining")]
    with pytest.raises(EngineError, match="other versions"):
        lanes.joined("joining")
    lanes._late = True
    lanes.joined("joining")
    assert [lane.actor for lane in lanes.lanes] == ["first"]
    monkeypatch.setattr(lanes, "_begun", lambda: pytest.fail("another was asked for"))
    lanes.grow()


def test_workers_that_nodes_took_along_are_asked_for_again(monkeypatch):
    """A node that is cut off is given workers until the cluster knows of it; three in a row were
    enough to end a run."""

    def died(reference):
        raise ray.exceptions.ActorDiedError

    monkeypatch.setattr("probebench.engines.ray.lanes.fetched", died)
    monkeypatch.setattr("probebench.engines.ray.lanes.node_ids", lambda: frozenset("ab"))
    lanes = Lanes(Share(1, 0), 2, offline=True)
    for _ in range(9):
        lanes.lanes = [Lane("first", None), Lane("second", "joining", among=frozenset("abc"))]
        lanes.joined("joining")
        assert [lane.actor for lane in lanes.lanes] == ["first"]
    for left in range(5, -1, -1):
        lanes.lanes = [Lane("first", None), Lane("second", "joining", among=frozenset("ab"))]
        with pytest.raises(EngineError, match="cannot begin") if not left else nullcontext():
            lanes.joined("joining")


def test_a_worker_that_died_is_told_with_the_reason():
    context = ActorDiedErrorContext(
        class_name="Worker", actor_id=bytes(16), pid=7, error_message="Its node has died."
    )
    assert first_line(ray.exceptions.ActorDiedError(context)) == "Its node has died."
    assert first_line(ray.exceptions.ActorDiedError()).startswith("The actor died")
    assert first_line(ValueError("one\ntwo")) == "one."


def test_workers_without_gpus_do_not_take_the_one_of_this_machine(monkeypatch):
    asked = []
    monkeypatch.setattr("probebench.engines.ray.engine.pick_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(
        "probebench.engines.ray.engine.find_model", lambda spec, **_: asked.append(spec.device)
    )
    engine = RayEngine(EngineSpec("ray", gpus_per_worker=0), "auto")
    engine._share = Share(1, 0)
    for device in ("auto", "cpu"):
        engine.find(ModelSpec("tiny", device=device), offline=True)
    assert asked == ["cpu", "cpu"]


def test_an_object_store_that_is_full_is_said(monkeypatch):
    def full():
        raise ray.exceptions.ObjectStoreFullError("16 GiB wanted")

    said = r"no room for the stage 'Squaring': .*16 GiB"
    with pytest.raises(EngineError, match=said), stored("the stage 'Squaring'"):
        full()


def test_a_stage_larger_than_the_object_store_gets_through(engine, expected, tmp_path):
    assert computed(engine, tmp_path, Large(NUMBERS, bytes(120 * 2**20))) == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"workers": 2}, "--workers 2 is of a cluster; add --engine ray"),
        ({"address": "auto"}, "--address auto is of a cluster"),
        ({"engine": "ray", "device": "cuda:1"}, "--device on a cluster is .*'cuda:1'"),
        ({"engine": "ray", "part": "1/2"}, "--part 1/2 shares a run out by itself"),
    ],
)
def test_what_only_a_cluster_has_is_asked_of_one(asked, said):
    with pytest.raises(UsageError, match=said):
        Options.asked({"model": "tiny", "task": "people", **asked}).check()
