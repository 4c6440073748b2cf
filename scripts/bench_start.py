"""The time until the first token of work, step by step.

    python scripts/bench_start.py                 # the embedded model
    python scripts/bench_start.py MODEL --rounds 5

Each round is a process of its own; medians over rounds. The hash of the weights is a part of
finding the model and is timed once more by itself; by then the system holds the file in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HASH = "of it: hash of the weights"


def steps(model: str, threads: int) -> list[tuple[str, float, float]]:
    """Each step with seconds by the clock and of the processor."""
    found = [("start of Python", time.process_time(), time.process_time())]

    @contextmanager
    def step(name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        found.append((name, time.perf_counter() - wall, time.process_time() - cpu))

    with step("import torch"):
        import torch
    torch.set_num_threads(threads)
    with step("import transformers' models"):
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: F401
    with step("import the job"):
        from probebench.job import pipeline  # noqa: F401
        from probebench.models.checkpoints.hashes import folder_hash
        from probebench.models.generate import Request, generate
        from probebench.models.loading import ModelSpec, find_model, load_model
    spec = ModelSpec(model, device="cpu")
    with step("find the model: config, tokenizer, identity"):
        handle = find_model(spec, offline=True)
    if Path(spec.source).is_dir():
        with step(HASH):
            folder_hash(Path(spec.source))
    with step("load the weights"):
        loaded = load_model(handle, offline=True)
    with step("first token of one answer"):
        generate(loaded, [Request("0", (5, 6, 7, 8))], 1, frozenset())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="tiny")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(steps(args.model, args.threads)))
        return
    from side_by_side import fresh, head, row

    words = [args.model, "--threads", str(args.threads), "--part"]
    rounds = [fresh(__file__, words) for _ in range(args.rounds)]
    print(f"{args.model}, {os.cpu_count()} cores, median of {args.rounds}\n")
    head("step", "seconds", "processor, s")
    totals = [0.0, 0.0]
    for same in zip(*rounds, strict=True):
        wall, cpu = (statistics.median(s[k] for s in same) for k in (1, 2))
        row(same[0][0], f"{wall:.2f}", f"{cpu:.2f}")
        if same[0][0] != HASH:
            totals = [totals[0] + wall, totals[1] + cpu]
    row("until the first token", *(f"{t:.2f}" for t in totals))


if __name__ == "__main__":
    main()
