"""Stages and their runner: found or computed shard by shard, resumed, the same from any engine."""

import json
import pickle
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from squares import Squared

from probebench.errors import RunError
from probebench.progress import Progress
from probebench.stages import engine
from probebench.stages.engine import Models
from probebench.stages.stage import Finished, LocalRunner, in_order
from probebench.store.shards import ShardStore

NUMBERS = (5, 1, 4, 2, 3, 9, 8)
SQUARES = [n**2 for n in NUMBERS]


class Failing(Squared):
    """Computes two shards, then fails."""

    def compute(self, rows, work):
        if rows[0] >= 6:
            raise RunError("the machine went away")
        return super().compute(rows, work)


def local(folder):
    return LocalRunner(folder, Progress(), Models(Progress()))


def test_what_is_found_stands_in_the_order_of_the_examples(tmp_path):
    done = local(tmp_path).run(Squared(NUMBERS))
    assert in_order(done) == SQUARES
    assert [path.name for path in done.files] == ["00000.json", "00001.json", "00002.json"]


def test_a_shard_is_computed_once_and_a_failure_costs_one(tmp_path, monkeypatch):
    with pytest.raises(RunError, match="went away"):
        local(tmp_path).run(Failing(NUMBERS))
    assert local(tmp_path).find(Squared(NUMBERS)) is None
    asked = []
    compute = Squared.compute
    monkeypatch.setattr(
        Squared, "compute", lambda self, rows, work: asked.append(rows) or compute(self, rows, work)
    )
    assert in_order(local(tmp_path).run(Squared(NUMBERS))) == SQUARES
    assert asked == [[6]]
    assert in_order(local(tmp_path).run(Squared(NUMBERS))) == SQUARES
    assert asked == [[6]]
    assert in_order(local(tmp_path).find(Squared(NUMBERS))) == SQUARES


def test_other_inputs_are_another_stage(tmp_path):
    local(tmp_path).run(Squared(NUMBERS))
    assert local(tmp_path).find(Squared((*NUMBERS, 1))) is None
    assert Squared(NUMBERS).key == Squared(NUMBERS).key != Squared((1,)).key


def test_a_damaged_shard_is_computed_again(tmp_path):
    done = local(tmp_path).run(Squared(NUMBERS))
    done.files[1].write_bytes(b"[0, 0, 0]")
    assert in_order(local(tmp_path).run(Squared(NUMBERS))) == SQUARES


def test_progress_counts_what_was_kept_and_done(tmp_path):
    with pytest.raises(RunError, match="went away"):
        local(tmp_path).run(Failing(NUMBERS))
    runner = local(tmp_path)
    runner.run(Squared(NUMBERS))
    assert runner.progress.done == {"Squaring": 1}
    assert runner.progress.tokens == {"Squaring": 8}


def test_a_budget_is_found_once_and_kept(tmp_path):
    class Spending(Squared):
        def compute(self, rows, work):
            assert work.budget().tokens == 77
            return super().compute(rows, work)

    local(tmp_path).run(Spending(NUMBERS))
    runner = local(tmp_path)
    runner.run(Spending(NUMBERS))
    assert runner.budgets.facts()["squares"]["tokens"] == 77


def test_no_more_than_two_shards_are_in_memory(tmp_path):
    class Part(list):
        """A list that can be asked whether it is still there."""

    alive = []

    class Heavy(Squared):
        def compute(self, rows, work):
            assert sum(ref() is not None for ref in alive) <= 1
            part = Part(super().compute(rows, work))
            alive.append(weakref.ref(part))
            return part

    local(tmp_path).run(Heavy(tuple(range(30))))
    assert len(alive) == 10


def test_stages_finish_with_what_stands_beside_their_shards(tmp_path):
    class Indexed(Squared):
        def finish(self, done, work):
            if not done.store.has("index.json"):
                done.store.write("index.json", json.dumps([len(s) for s in done.shards]).encode())

    done = local(tmp_path).run(Indexed(NUMBERS))
    assert json.loads(done.store.read("index.json")) == [3, 3, 1]
    done.drop()
    assert not done.store.folder.exists()


CHILD = """
import pickle, sys
from probebench.progress import Progress
from probebench.stages.engine import Models, Work
from probebench.models.passes.batches import Budget
stage, rows = pickle.loads(sys.stdin.buffer.read())
work = Work(Models(Progress()), Budget, lambda n: None)
sys.stdout.buffer.write(stage.pack(stage.compute(rows, work), rows))
"""


class ElsewhereRunner(LocalRunner):
    """An engine of its own: every shard is computed in a process that gets the stage and nothing
    else, the last one first."""

    def _compute(self, done, missing, work):
        for i in reversed(missing):
            rows = list(done.shards[i])
            there = subprocess.run(
                [sys.executable, "-c", CHILD],
                input=pickle.dumps((done.stage, rows)),
                capture_output=True,
                check=True,
                cwd=Path(__file__).parent,
            )
            done.store.write(f"{i:05d}.{done.stage.suffix}", there.stdout)


def test_another_engine_is_another_runner_and_gives_the_same_bytes(tmp_path):
    here = local(tmp_path / "here").run(Squared(NUMBERS))
    runner = ElsewhereRunner(tmp_path / "there", Progress(), Models(Progress()))
    there = runner.run(Squared(NUMBERS))
    assert isinstance(there, Finished)
    assert [p.read_bytes() for p in there.files] == [p.read_bytes() for p in here.files]


def test_a_real_stage_is_computed_elsewhere_to_the_same_bytes(tmp_path):
    """Answers of `tiny`, generated in a process that was sent the stage: nothing that it needs is
    left behind in the one that planned the run."""
    from probebench.job.options import Options
    from probebench.job.prepare import prepare
    from probebench.models.loading import ModelSpec
    from probebench.stages.answers import Generated

    plan = prepare(
        Options(ModelSpec("tiny", device="cpu"), "people", limit=40, out=str(tmp_path))
    ).plan
    here = local(tmp_path / "here").run(Generated(plan))
    runner = ElsewhereRunner(tmp_path / "there", Progress(), Models(Progress()))
    there = runner.run(Generated(plan))
    assert [a.answer_ids for a in in_order(there)] == [a.answer_ids for a in in_order(here)]
    assert [p.read_bytes() for p in there.files] == [p.read_bytes() for p in here.files]


def test_the_list_of_a_budget_is_opened_once(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(engine, "ShardStore", lambda *at: opened.append(at) or ShardStore(*at))
    budgets = engine.Budgets(tmp_path)
    for _ in range(2):
        budgets.get("answers", {"limit": 1}, lambda: None)
    assert len(opened) == 1
