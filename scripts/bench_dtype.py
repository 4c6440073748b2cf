"""float32 against bfloat16 on one device: matrix products, generation and reading, side by side.

    python scripts/bench_dtype.py                                  # the embedded model
    python scripts/bench_dtype.py MODEL --task triviaqa --data FILE --n 32

Answers have `--new` tokens each, stops switched off, so that both types compute the same tokens.
Reading is the scores of the float32 answers. Rounds take turns; ratios are medians over rounds, and
the instructions that the processor has for bfloat16 are named.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from side_by_side import Rounds, Subject, Taken, head, matrix_speed, model_options, row, timed

from probebench.models.generate import generate, requests
from probebench.models.passes.scored import score_answers

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ROWS = (1, 16, 64, 512, 2048)
"""Tokens of one product: from one answer's step to a batch that is read."""


def instructions() -> str:
    """What /proc/cpuinfo says of bfloat16."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.is_file() else []
    return ", ".join(sorted({f for f in flags if "bf16" in f})) or "none"


def products(width: int, out: int, device: str) -> None:
    """Table of products of (rows, width) states with a (out, width) matrix, in GFLOP/s."""
    head(f"tokens x {width} x {out}", *(f"{name}, GFLOP/s" for name in TYPES), "bfloat16 / float32")
    for n in ROWS:
        speeds = []
        for dtype in TYPES.values():
            x = torch.randn(n, width, device=device, dtype=dtype)
            w = torch.randn(out, width, device=device, dtype=dtype)
            times = max(int(2e9 / (2 * n * width * out)), 1)

            def run(x: Any = x, w: Any = w, times: int = times) -> None:
                for _ in range(times):
                    torch.nn.functional.linear(x, w)

            run()
            taken = [timed(run, device)[1] for _ in range(3)]
            clock = min(t[0 if device.startswith("cuda") else 1] for t in taken)
            speeds.append(times * 2 * n * width * out / max(clock, 1e-9) / 1e9)
        row(n, *(f"{s:.1f}" for s in speeds), f"{speeds[1] / speeds[0]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model_options(parser, "people", 32)
    parser.add_argument("--new", type=int, default=32, help="tokens of each answer")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    subjects = {}
    for name in TYPES:
        args.dtype = name
        subjects[name] = Subject.of(args)
    first = subjects["float32"]
    config: Any = first.loaded.model.config.get_text_config(decoder=True)
    print(f"{first}; instructions for bfloat16: {instructions()}\n")
    products(config.hidden_size, config.intermediate_size, args.device)
    print(f"\nlarge products: {matrix_speed(args.device) / 1e9:.1f} GFLOP/s in float32, ", end="")
    print(f"{matrix_speed(args.device, torch.bfloat16) / 1e9:.1f} in bfloat16\n")
    wanted = requests([e.id for e in first.examples], first.prompts, first.loaded.handle)
    known = [
        (r.prompt_ids, a.answer_ids)
        for r, a in zip(wanted, generate(first.loaded, wanted, args.new, frozenset()), strict=True)
    ]
    for s in subjects.values():  # what comes once
        generate(s.loaded, wanted[:2], 2, frozenset())
        score_answers(s.loaded, known[:2])
    writing = Rounds.of(
        {
            n: lambda s=s: generate(s.loaded, wanted, args.new, frozenset())  # type: ignore[misc]
            for n, s in subjects.items()
        },
        args.rounds,
        args.device,
    )
    reading = Rounds.of(
        {
            n: lambda s=s: score_answers(s.loaded, known)  # type: ignore[misc]
            for n, s in subjects.items()
        },
        args.rounds,
        args.device,
    )
    head("part", *(f"{n}, processor s" for n in TYPES), "bfloat16 / float32, clock", "processor")
    for part, rounds in (("generating", writing), ("reading", reading)):
        medians: list[Taken] = [rounds.median(n) for n in TYPES]
        ratio = rounds.ratio("bfloat16", "float32")
        row(part, *(f"{m.cpu:.2f}" for m in medians), f"{ratio.wall:.2f}", f"{ratio.cpu:.2f}")
    same = [a.answer_ids == b.answer_ids for a, b in zip(*writing.found.values(), strict=True)]
    far = [
        np.abs(a.logprobs - b.logprobs).max() for a, b in zip(*reading.found.values(), strict=True)
    ]
    print(
        f"\nequal answers: {sum(same)} of {len(same)}; log-probabilities of the same tokens differ "
        f"by {np.median(far):.3f} at most in half of the answers, by {max(far):.3f} in all"
    )


if __name__ == "__main__":
    main()
