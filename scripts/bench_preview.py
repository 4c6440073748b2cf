"""What `--dry-run` says against what a run takes: disk, device memory and time of the embedded
model, as ratios.

    python scripts/bench_preview.py --repeats 3

Each round asks for the preview and then runs, in fresh processes, so that a busy moment hits both.
Device memory is what lives at once of the tensors of a real run, beside the weights; time is that
of the whole command, by the clock and of the processor, that of its processes included: on a
machine that others use too only the second says something. Set OMP_NUM_THREADS=1 for it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import fresh

from probebench.job.options import Options
from probebench.job.prepare import prepare
from probebench.job.preview.costs import costs
from probebench.models.loading import ModelSpec
from probebench.models.passes.live_bytes import LiveBytes
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.labelled import labelled_answers
from probebench.stages.plan import Plan
from probebench.stages.stage import LocalRunner
from probebench.stages.states import hidden_states


def plan_of(task: str, folder: Path) -> Plan:
    return prepare(
        Options(ModelSpec("tiny", device="cpu"), task, out=str(folder), offline=True)
    ).plan


def predicted(task: str, folder: Path) -> dict[str, float]:
    plan = plan_of(task, folder)
    cost, used = costs(plan), costs(plan, time.process_time)
    low, mid, high = cost.total
    print(
        {name: round(part[1], 1) for name, part in used.seconds.items()}
        | {"rest": round(used.rest, 1)},
        file=sys.stderr,
    )
    return {
        "disk": cost.disk,
        "memory": cost.memory.largest,
        "seconds": mid,
        "low": low,
        "high": high,
        "cpu": used.total[1],
    }


def counted(task: str, folder: Path) -> dict[str, float]:
    """Tensors that live at once while a real run generates and reads."""
    plan, models = plan_of(task, folder), Models(Progress(), offline=True)
    models.get(plan.handle)  # loaded now: the weights do not count
    runner = LocalRunner(folder, Progress(), models)
    with LiveBytes() as live:
        hidden_states(plan, runner, labelled_answers(plan, runner))
    return {"memory": live.peak}


def children() -> float:
    """Processor seconds of the processes that have ended."""
    used = os.times()
    return used.children_user + used.children_system


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="people")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--no-memory", action="store_true", help="leave out the run whose memory is counted"
    )
    parser.add_argument("--part", choices=["predicted", "counted"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        if args.part:
            print(
                json.dumps(
                    {"predicted": predicted, "counted": counted}[args.part](args.task, folder)
                )
            )
            return
        memory = (
            float("nan")
            if args.no_memory
            else fresh(__file__, ["--part", "counted", "--task", args.task])["memory"]
        )
        ratios: dict[str, list[float]] = {"disk": [], "memory": [], "seconds": [], "cpu": []}
        print(
            "| said, s | range, s | taken, s | processor said, s | taken, s | disk | memory | time "
            "| processor |\n"
            "|---|---|---|---|---|---|---|---|---|"
        )
        for k in range(args.repeats):
            said = fresh(__file__, ["--part", "predicted", "--task", args.task])
            out, started, used = Path(name) / str(k), time.perf_counter(), children()
            words = [
                "--model",
                "tiny",
                "--task",
                args.task,
                "--device",
                "cpu",
                "--offline",
                "--quiet",
                "--out",
                str(out),
            ]
            subprocess.run([sys.executable, "-m", "probebench", "eval", *words], check=True)
            taken, used = time.perf_counter() - started, children() - used
            disk = sum(p.stat().st_size for p in out.glob("stages/states-*/0*.safetensors"))
            row = {
                "disk": said["disk"] / disk,
                "memory": said["memory"] / memory,
                "seconds": said["seconds"] / taken,
                "cpu": said["cpu"] / used,
            }
            for what, ratio in row.items():
                ratios[what].append(ratio)
            print(
                f"| {said['seconds']:.0f} | {said['low']:.0f} to {said['high']:.0f} | {taken:.0f} "
                f"| {said['cpu']:.0f} | {used:.0f} | "
                + " | ".join(f"{r:.3f}" for r in row.values())
                + " |",
                flush=True,
            )
        print(
            "\nmedian of said / taken: "
            + ", ".join(f"{what} {statistics.median(r):.3f}" for what, r in ratios.items())
        )


if __name__ == "__main__":
    main()
