"""What `--dry-run` says against what a run takes: disk, device memory and time of the embedded model, as ratios.

    python scripts/bench_preview.py --repeats 3

Each round asks for the preview and then runs, in fresh processes, so that a busy moment hits both. Device memory is what lives at
once of the tensors of a real run, beside the weights; time is that of the whole command.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from probebench.cells import Cells, plan_run
from probebench.models.loading import ModelSpec, find_model
from probebench.models.memory import LiveBytes
from probebench.preview import costs
from probebench.progress import Progress
from probebench.settings import Settings
from probebench.stages import Stages
from probebench.tasks.schema import load_task


def stages_of(task: str, folder: Path) -> Stages:
    settings = Settings(ModelSpec("tiny", device="cpu"), task, out=str(folder), offline=True)
    return Stages(settings, load_task(task), find_model(settings.model, offline=True), Progress())


def predicted(task: str, folder: Path) -> dict[str, float]:
    stages = stages_of(task, folder)
    cost = costs(stages, plan_run(stages)[1])
    low, mid, high = cost.total
    return {"disk": cost.disk, "memory": cost.memory.largest, "seconds": mid, "low": low, "high": high}


def counted(task: str, folder: Path) -> dict[str, float]:
    """Tensors that live at once while a real run generates and reads."""
    stages = stages_of(task, folder)
    assert stages.loaded is not None  # loaded now: the weights do not count
    with LiveBytes() as live:
        answers = stages.labelled()
        Cells(stages, answers, plan_run(stages)).states()
    return {"memory": live.peak}


def fresh(*words: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="people")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=["predicted", "counted"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        if args.part:
            print(json.dumps({"predicted": predicted, "counted": counted}[args.part](args.task, folder)))
            return
        memory = fresh("--part", "counted", "--task", args.task)["memory"]
        ratios: dict[str, list[float]] = {"disk": [], "memory": [], "seconds": []}
        print("| said, s | range, s | taken, s | disk | memory | time |\n|---|---|---|---|---|---|")
        for k in range(args.repeats):
            said = fresh("--part", "predicted", "--task", args.task)
            out, started = Path(name) / str(k), time.perf_counter()
            words = ["--model", "tiny", "--task", args.task, "--device", "cpu", "--offline", "--quiet", "--out", str(out)]
            subprocess.run([sys.executable, "-m", "probebench", "eval", *words], check=True)
            taken = time.perf_counter() - started
            disk = sum(p.stat().st_size for p in out.glob("stages/states-*/0*.safetensors"))
            row = {"disk": said["disk"] / disk, "memory": said["memory"] / memory, "seconds": said["seconds"] / taken}
            for what, ratio in row.items():
                ratios[what].append(ratio)
            print(f"| {said['seconds']:.0f} | {said['low']:.0f} to {said['high']:.0f} | {taken:.0f} | "
                  + " | ".join(f"{r:.3f}" for r in row.values()) + " |", flush=True)  # fmt: skip
        print("\nmedian of said / taken: " + ", ".join(f"{what} {statistics.median(r):.3f}" for what, r in ratios.items()))


if __name__ == "__main__":
    main()
