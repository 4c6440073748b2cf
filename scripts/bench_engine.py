"""What a cluster's engine costs and gives: the same run in this process on one core, on one worker,
and on two workers with a core each.

    python scripts/bench_engine.py --model models/smollm2 --task people --limit 600

Prints the seconds of each stage, the efficiency of two workers (seconds of one, over twice those of
two) and what one worker costs beyond this process. Every run begins from nothing, and all three
have to give the same bytes of answers and hidden states.
"""

import argparse
import hashlib
import os
import shutil
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--task", default="people")
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--layers")
    args = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}
    with tempfile.TemporaryDirectory() as place:
        here, held = run(args, Path(place), 0)
        one, same = run(args, Path(place), 1)
        two, again = run(args, Path(place), 2)
    print(f"{'':<24}{'here':>9}{'1 worker':>10}{'2 workers':>11}{'efficiency':>12}{'overhead':>10}")
    for name in [n for n in here if n in one and n in two and here[n] >= 1]:
        efficiency, overhead = one[name] / (2 * two[name]), one[name] / here[name] - 1
        print(
            f"{name:<24}{here[name]:>8.1f}s{one[name]:>9.1f}s{two[name]:>10.1f}s"
            f"{efficiency:>12.2f}{overhead:>+10.1%}"
        )
    print(f"start-up: {one['Starting workers']:.1f} s and {two['Starting workers']:.1f} s")
    print("the same bytes" if held == same == again else "NOT THE SAME BYTES")


def run(args: argparse.Namespace, place: Path, workers: int) -> tuple[dict[str, float], str]:
    """Seconds of each stage, and a digest of answers and hidden states.

    Args:
        args: of the command line.
        place: where it is written.
        workers: with a core each; 0: this process.
    """
    import torch

    import probebench

    torch.set_num_threads(1)
    asked = {"engine": "ray", "workers": workers} if workers else {}
    if args.layers:
        asked["layers"] = tuple(map(int, args.layers.split(",")))
    if workers:
        import ray

        ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
    folder = place / f"run-{workers}"
    try:
        found = probebench.evaluate(
            args.model, args.task, limit=args.limit, out=folder, device="cpu", **asked
        )
    finally:
        if workers:
            ray.shutdown()
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("stages/answers-*/0*"), *folder.glob("stages/states-*/0*")]):
        digest.update(path.read_bytes())
    shutil.rmtree(folder)
    stages = found.record.timing.stages
    return {name: stage.seconds for name, stage in stages.items()}, digest.hexdigest()


if __name__ == "__main__":
    main()
