"""Killed, or out of disk, at every place where a run writes, and at random moments: it goes on and
ends with the same bytes.

All attempts at one run directory are forked from one process that has imported everything (`python
test_kill.py ...`), so that an attempt costs little more than its own work. The events are the
points before and after each sync and each rename.
"""

import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TASKS = Path(__file__).parent.parent / "tasks"
N, SHARD, KILLS = 80, 32, 5
STAGES = (
    "budgets",
    "answers",
    "exact",
    "states",
    "probes",
    "resplits",
    "p-true",
    "scores.parquet",
    "heatmap",
    "record.json",
)
FILES = STAGES[-3:]
"""Beginnings of the names of a stage's folder, or of a result file."""


# -- the process that attempts are forked from -----------------------------------------------------


class Events:
    """Counts the writes of a process, and does something at one of them."""

    def __init__(self, at, only, act):
        self.n, self.at, self.only, self.act = 0, at, only, act
        self.sync, self.rename, self.last = os.fsync, os.replace, ""
        os.fsync, os.replace = self.fsync, self.replace

    def happen(self, where):
        # a file has its name with a dot while it is written
        self.n += f"/{self.only}" in where.replace("/.", "/")
        if self.n == self.at:
            self.act(where)

    def fsync(self, descriptor):
        where = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        self.happen(where)
        self.sync(descriptor)
        self.happen(where)

    def replace(self, source, target, **options):
        self.happen(os.fspath(target))
        self.rename(source, target, **options)
        self.happen(os.fspath(target))


def forked(work):
    """Run `work` in a child; its exit code, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def schedule():
    """At which event of which stage each attempt ends; then at which of all events, so that one
    attempt gets through."""
    for stage in STAGES:
        # so many events has a single one at least
        yield from ((at, stage) for at in ((1, 2) if stage in FILES else (1, 3, 6)))
    yield from ((at, "") for at in (2, 5, 10, 20, 30))
    step = 40
    while True:
        yield step, ""
        step += 20


def prepare(folder):
    """A small random model and a task whose answers are right and wrong by halves, the way it
    happens to answer."""
    import torch
    from conftest import byte_level_tokenizer, small_config
    from transformers import AutoModelForCausalLM

    from probebench.job.options import Options
    from probebench.job.prepare import prepare as planned
    from probebench.models.loading import ModelSpec
    from probebench.progress import Progress
    from probebench.stages.answers import Generated
    from probebench.stages.engine import Models
    from probebench.stages.stage import LocalRunner, in_order

    tokenizer = byte_level_tokenizer(chat=True)
    config = small_config("llama", len(tokenizer))
    config.max_position_embeddings = 1024
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(0, 0.25)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    head, _, rest = (TASKS / "people.yaml").read_text().partition("exact_answer:\n")
    other = head.replace("name: people", "name: asked").replace(
        "max_new_tokens: 32", "max_new_tokens: 12"
    )
    (folder / "asked.yaml").write_text(
        other + "exact_answer:\n  rule: model\nlicence" + rest.partition("\nlicence")[2]
    )
    words, rng = ["Where", "Paris", "river", "poet", "Anna", "letter", "capital"], random.Random(0)
    rows = [
        {
            "question": f"{rng.choice(words)} {rng.choice(words)} {i}?",
            "answers": ["zzz"],
            "group": f"g{i}",
        }
        for i in range(N)
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    settings = Options(
        ModelSpec(str(folder / "model"), device="cpu"),
        str(folder / "asked.yaml"),
        data=str(folder / "data.jsonl"),
        out=str(folder / "first"),
    )
    plan = planned(settings).plan
    found = in_order(LocalRunner(plan.folder, Progress(), Models(Progress())).run(Generated(plan)))
    said = {e.question: a.text for e, a in zip(plan.examples, found, strict=True)}
    for i, row in enumerate(rows):
        word = max(re.findall("[A-Za-z]+", said[row["question"]]) or ["zzz"], key=len)
        row["answers"] = [word if i % 2 else "zzz"]
    (folder / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def drive(folder):
    """An undisturbed run; and runs that were killed or found the disk full, again and again, until
    one attempt got through."""
    import joblib
    import torch

    import probebench
    import probebench.states.extract as extract
    from probebench.errors import RunError

    torch.set_num_threads(1)
    joblib.cpu_count = lambda *a, **k: 1  # no pool of processes, which would outlive a killed child
    extract.SHARD = SHARD  # several shards from few examples
    prepare(folder)

    def run(out):
        probebench.evaluate(
            str(folder / "model"),
            str(folder / "asked.yaml"),
            data=folder / "data.jsonl",
            shuffles=3,
            repeat_splits=1,
            positions=["last_q", "first_answer", "-1"],
            skip=["text", "ensembles"],  # which write nothing
            out=folder / out,
            device="cpu",
        )

    def tell(out, **facts):
        with (folder / f"{out}.jsonl").open("a") as log:
            log.write(json.dumps(facts) + "\n")

    run("calm")  # which also imports everything that the children need

    def kill(where):
        tell("killed", where=where)
        os.kill(os.getpid(), signal.SIGKILL)

    for at, only in schedule():
        code = forked(lambda at=at, only=only: (Events(at, only, kill), run("killed")))
        if code == 0:
            break
        assert code == -signal.SIGKILL, code

    def full(where):
        tell("full", where=where)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def attempt(at, only):
        Events(at, only, full)
        try:
            run("full")
        except RunError as error:
            tell(
                "full", error=str(error), left=[str(p) for p in (folder / "full").rglob(".*.tmp*")]
            )
            os._exit(3)

    for at, only in schedule():
        code = forked(lambda at=at, only=only: attempt(at, only))
        if code == 0:
            break
        assert code == 3, code

    rng = random.Random(0)
    for _ in range(KILLS):
        pid = os.fork()
        if pid == 0:
            run("random")
            os._exit(0)
        time.sleep(rng.uniform(0.05, 0.7))
        os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        tell("random", code=code)
    assert forked(lambda: run("random")) == 0


# -- the tests -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """The folder of all runs, with a log of what happened to each."""
    folder = tmp_path_factory.mktemp("driven")
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(
        [sys.executable, __file__, str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def log(folder, name):
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def contents(run):
    """All files that a run leaves, with the parts that may differ taken out: dates, seconds, and
    the order of manifests."""
    found = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file() and p.name != ".lock"):
        name, content = str(path.relative_to(run)), path.read_bytes()
        if path.name == "record.json":
            record = json.loads(content)
            del record["timing"]
            record["settings"].pop("out")
            record["settings"].pop("task")
            content = json.dumps(record, sort_keys=True)
        elif path.name == "manifest.jsonl":
            lines = content.decode(errors="replace").splitlines()
            content = [
                lines[0],
                *sorted(
                    {line for line in lines[1:] if line.startswith("{") and line.endswith("}")}
                ),
            ]
        found[name] = content
    return found


def stage_of(where, run):
    """Which part of the run wrote there: a stage, or the beginning of a result file's name."""
    parts = Path(where).relative_to(run).parts
    return parts[1].rpartition("-")[0] if parts[0] == "stages" else parts[0].lstrip(".")


def covered(wheres, run):
    return {stage for stage in STAGES for where in wheres if stage_of(where, run).startswith(stage)}


def assert_same(folder, name):
    theirs, ours = contents(folder / name), contents(folder / "calm")
    assert theirs.keys() == ours.keys()
    for file, content in ours.items():
        assert theirs[file] == content, file


def test_killed_at_every_write(driven):
    assert_same(driven, "killed")
    wheres = [entry["where"] for entry in log(driven, "killed")]
    assert covered(wheres, driven / "killed") == set(STAGES), wheres
    assert len(wheres) > 20


def test_killed_at_random_moments(driven):
    assert_same(driven, "random")
    assert sum(entry["code"] == -signal.SIGKILL for entry in log(driven, "random")) >= KILLS // 2


def test_a_full_disk_is_a_clear_error_and_nothing_half_written_is_believed(driven):
    assert_same(driven, "full")
    errors = [entry for entry in log(driven, "full") if "error" in entry]
    wheres = [entry["where"] for entry in log(driven, "full") if "where" in entry]
    assert len(errors) == len(wheres) > 20
    for error, where in zip(errors, wheres, strict=True):
        assert "No space left on device" in error["error"]
        assert str(driven / "full") in error["error"]
        assert "free space and run the same command again" in error["error"]
        assert not error["left"], where
    assert covered(wheres, driven / "full") == set(STAGES), wheres


if __name__ == "__main__":
    drive(Path(sys.argv[1]))
