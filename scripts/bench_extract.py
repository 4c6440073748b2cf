"""What reading hidden states costs beside the forward pass, in time and memory: both sides in one
run, medians and ratios.

    python scripts/bench_extract.py                      # this machine, 8 layers x 512
    python scripts/bench_extract.py --only memory --answers 200 600 --examples 32
    python scripts/bench_extract.py --device cuda --shape 7b --examples 512 --long 64

Baselines: the bare forward pass of the same batches, and one example at a time with
output_hidden_states=True and logits, as the code of arXiv:2410.02707 does. Models are random.
Memory is the peak beyond the weights, each path in a process of its own; the padded paths keep
every hidden state of the same batches, with or without logits. Processor time is that of this
process: on a machine that others use too it says more than the clock. What glibc gives back to the
system and takes again costs up to a sixth of a pass and falls on either side by chance; with
--steady (Linux) it keeps what it has.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from side_by_side import fresh, matrix_speed, peak_of, timed
from transformers import AutoModelForCausalLM, LlamaConfig

from probebench.models.blocks.sites import plan_sites
from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import plan_batches
from probebench.models.passes.scored import pad_right
from probebench.states.extract import Extractor
from probebench.states.positions import PUBLISHED, locate
from probebench.types import EMB, TokenizedAnswer

SHAPES = {"small": (8, 512, 1376, 8, 32_000), "7b": (32, 4096, 14336, 32, 32_000)}
"""Layers, width, MLP width, heads, vocabulary."""
STEADY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}
"""glibc's settings for memory that stays with the process."""


class Bench:
    """A random model, answers of random tokens, and the paths to compare."""

    def __init__(self, args: argparse.Namespace) -> None:
        layers, width, mlp, heads, vocabulary = SHAPES[args.shape]
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=mlp,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=max(heads // 4, 1),
        )
        self.device = torch.device(args.device)
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        with torch.device(self.device):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
        self.loaded, self.layers = LoadedModel(model, None), layers  # type: ignore[arg-type]
        rng = np.random.default_rng(0)
        low, high = args.answers
        lengths = (
            rng.integers(low, high + 1, args.examples)
            if not args.long
            else np.full(args.long, 1024)
        )
        self.sequences = [tuple(rng.integers(5, vocabulary, size=int(n)).tolist()) for n in lengths]
        answers = [
            TokenizedAnswer(len(s) // 2, len(s), (len(s) // 2 + 2, len(s) // 2 + 4))
            for s in self.sequences
        ]
        self.table = locate(answers, PUBLISHED)
        self.tokens = int(lengths.sum())

    def extract(self, sites: str) -> Callable[[], Any]:
        plan = plan_sites(self.loaded.base, self.layers, [sites], [EMB, *range(self.layers)])
        extractor = Extractor(self.loaded, plan, "float16")
        return lambda: extractor(self.sequences, self.table, PUBLISHED)

    def bare(self) -> None:
        """The forward passes of the same batches, and nothing else."""
        for batch in plan_batches([len(s) for s in self.sequences]):
            ids, mask = pad_right([self.sequences[i] for i in batch])
            with torch.inference_mode():
                self.loaded.base(
                    input_ids=ids.to(self.device),
                    attention_mask=mask.to(self.device),
                    use_cache=False,
                )
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def one_by_one(self) -> list[Any]:
        """One example at a time with every hidden state and logits; the wanted positions are copied
        to the host."""
        kept = []
        for sequence, places in zip(self.sequences, self.table[:, :, 0], strict=True):
            with torch.inference_mode():
                out = self.loaded.model(
                    torch.tensor([sequence], device=self.device), output_hidden_states=True
                )
            kept.append(np.stack([h[0, places].half().cpu().numpy() for h in out.hidden_states]))
        return kept

    def padded(self, logits: bool = True) -> list[Any]:
        """The same batches as ours with output_hidden_states=True, one batch at a time."""
        kept = []
        model = self.loaded.model if logits else self.loaded.base
        for batch in plan_batches([len(s) for s in self.sequences]):
            ids, mask = pad_right([self.sequences[i] for i in batch])
            with torch.inference_mode():
                out = model(
                    ids.to(self.device),
                    attention_mask=mask.to(self.device),
                    output_hidden_states=True,
                    use_cache=False,
                )
            rows = torch.arange(len(batch), device=self.device)[:, None]
            places = torch.from_numpy(self.table[batch, :, 0].clip(0)).to(self.device)
            kept.append(
                torch.stack([h[rows, places] for h in out.hidden_states]).half().cpu().numpy()
            )
            del out  # else two batches would be there at once
        return kept


PEAKS = ("bare", "extract", "all", "padded", "padded without logits")


def peak(args: argparse.Namespace, path: str) -> float:
    """Peak bytes beyond the weights of one path, in a process of its own."""
    words = [
        "--peak",
        path,
        "--device",
        args.device,
        "--shape",
        args.shape,
        "--examples",
        str(args.examples),
        "--long",
        str(args.long),
        "--answers",
        *map(str, args.answers),
    ]
    return float(fresh(__file__, words))


def measure_peak(bench: Bench, path: str) -> float:
    run = {
        "bare": bench.bare,
        "extract": bench.extract("resid"),
        "all": bench.extract("all"),
        "padded": bench.padded,
        "padded without logits": lambda: bench.padded(logits=False),
    }[path]
    with torch.inference_mode():
        # what the first pass takes once
        bench.loaded.model(torch.zeros((1, 8), dtype=torch.long, device=bench.device))
    return peak_of(run, str(bench.device))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--long",
        type=int,
        default=0,
        help="instead: so many answers of 1,024 tokens, against the matmul peak",
    )
    parser.add_argument(
        "--answers",
        type=int,
        nargs=2,
        default=(30, 120),
        metavar=("LOW", "HIGH"),
        help="tokens of an answer",
    )
    parser.add_argument("--only", choices=["time", "memory"], help="one of the two tables")
    parser.add_argument(
        "--steady",
        action="store_true",
        help="let the C library keep freed memory while times are measured",
    )
    parser.add_argument("--peak", choices=PEAKS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.steady and not args.peak and STEADY.items() - os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **STEADY})
    bench = Bench(args)
    if args.peak:
        print(json.dumps(measure_peak(bench, args.peak)))
        return
    if args.only != "memory":
        times(bench, args)
    if args.only != "time":
        memory(args)


def times(bench: Bench, args: argparse.Namespace) -> None:
    """Table of seconds and ratios, and what follows from them."""
    paths = {
        "bare forward": bench.bare,
        "resid, 15 positions": bench.extract("resid"),
        "all sites": bench.extract("all"),
    }
    if not args.long:
        paths["one at a time, output_hidden_states"] = bench.one_by_one
    for run in paths.values():
        run()  # warm up
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in paths}
    for _ in range(args.repeats):  # interleaved, so that a busy moment hits all
        for name, run in paths.items():
            taken[name].append(timed(run, str(bench.device))[1])

    def ratio(name: str, to: str, clock: int) -> float:
        return statistics.median(
            v[clock] / b[clock] for v, b in zip(taken[name], taken[to], strict=True)
        )

    n, threads = len(bench.sequences), torch.get_num_threads()
    print(
        f"{args.shape}, {n} answers, {bench.tokens:,} tokens, {bench.device}, {threads} threads, "
        f"median of {args.repeats}\n"
    )
    print(
        "| path | seconds | ratio to the bare forward pass (median of rounds) | processor, s | "
        "ratio |\n|---|---|---|---|---|"
    )
    for name, values in taken.items():
        wall, used = (statistics.median(v[k] for v in values) for k in (0, 1))
        print(
            f"| {name} | {wall:.3f} | {ratio(name, 'bare forward', 0):.2f} | {used:.3f} | "
            f"{ratio(name, 'bare forward', 1):.2f} |"
        )
    if args.long:
        if bench.device.type == "cuda":
            matrices = [
                p
                for name, p in bench.loaded.base.named_parameters()
                if p.ndim == 2 and "embed" not in name
            ]
            flops = 2 * bench.tokens * sum(p.numel() for p in matrices)
            rate = flops / statistics.median(v[0] for v in taken["resid, 15 positions"])
            print(
                f"\nshare of the matrix-product peak on long answers: "
                f"{rate / matrix_speed(str(bench.device), torch.bfloat16, 8192):.2f}"
            )
        return
    wall, used = (
        ratio("one at a time, output_hidden_states", "resid, 15 positions", k) for k in (0, 1)
    )
    print(
        f"\nfaster than one at a time: {wall:.2f} times by the clock, {used:.2f} in processor time"
    )


def memory(args: argparse.Namespace) -> None:
    """Table of peaks."""
    found = {path: peak(args, path) for path in PEAKS}
    print("\n| path | peak beyond the weights, MB | share of padded |\n|---|---|---|")
    for path, size in found.items():
        print(f"| {path} | {size / 1e6:,.0f} | {size / found['padded']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
