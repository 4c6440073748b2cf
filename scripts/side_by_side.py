"""What the benchmarks share: two clocks, rounds that take turns, peaks of memory, the speed of a
matrix product, counted tokens, and a model with its questions."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

from probebench.job.options import Options
from probebench.models.handles import LoadedModel, ModelHandle
from probebench.models.loading import ModelSpec, find_model, load_model
from probebench.tasks.prompts import render_prompt
from probebench.tasks.schema import Task, load_task
from probebench.tasks.sources import load_dataset
from probebench.types import Example

# -- time ------------------------------------------------------------------------------------------


class Taken(NamedTuple):
    """Seconds of one call."""

    wall: float
    cpu: float
    """Of this process and of those that it started, user and system."""


def used() -> float:
    """Processor seconds of this process and its children, those that have ended included."""
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:  # it ended meanwhile
            continue
        total += times.user + times.system
    return total


def timed(run: Callable[[], Any], device: str = "cpu") -> tuple[Any, Taken]:
    """What a call gives, and what it takes; a GPU has finished by then."""
    wall, cpu = time.perf_counter(), used()
    found = run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return found, Taken(time.perf_counter() - wall, used() - cpu)


@dataclass(frozen=True)
class Rounds:
    """Paths that took turns, so that a busy moment hits all of them."""

    taken: Mapping[str, Sequence[Taken]]
    """Path -> (round,)."""
    found: Mapping[str, Any]
    """What each path gave in the last round."""

    @classmethod
    def of(cls, paths: Mapping[str, Callable[[], Any]], n: int, device: str = "cpu") -> Rounds:
        """Run every path `n` times in turns."""
        taken: dict[str, list[Taken]] = {name: [] for name in paths}
        found = {}
        for _ in range(n):
            for name, run in paths.items():
                found[name], seconds = timed(run, device)
                taken[name].append(seconds)
        return cls(taken, found)

    def median(self, name: str) -> Taken:
        """Of one path, by each clock."""
        return Taken(*(statistics.median(t[k] for t in self.taken[name]) for k in (0, 1)))

    def ratio(self, name: str, to: str) -> Taken:
        """How many times as long one path takes as another: the median over rounds, by each
        clock."""
        pairs = list(zip(self.taken[name], self.taken[to], strict=True))
        return Taken(*(statistics.median(a[k] / b[k] for a, b in pairs) for k in (0, 1)))


def row(*cells: Any) -> None:
    """Print one line of a table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head(*cells: str) -> None:
    """Print the head of a table."""
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)


# -- memory ----------------------------------------------------------------------------------------


def status(name: str) -> float:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def forget_peak() -> None:
    """Let the resident peak of this process begin again."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_of(run: Callable[[], Any], device: str = "cpu") -> float:
    """Peak bytes of a call beyond what there was before: of the GPU's tensors, or resident."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return float(torch.cuda.max_memory_allocated() - before)
    forget_peak()
    before = status("VmRSS")
    run()
    return status("VmHWM") - before


def fresh(script: str, words: Sequence[str]) -> Any:
    """The JSON that a script prints last, in a process of its own."""
    done = subprocess.run(
        [sys.executable, script, *words], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


# -- arithmetic ------------------------------------------------------------------------------------


def matrix_speed(
    device: str = "cpu", dtype: torch.dtype = torch.float32, size: int = 1024
) -> float:
    """Floating-point operations per second of a square matrix product, the best of several; on a
    CPU per second of processor time."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, clock = 0.0, 0 if device.startswith("cuda") else 1
    for _ in range(8):
        _, taken = timed(lambda: [a @ b for _ in range(4)], device)
        best = max(best, 4 * 2 * size**3 / max(taken[clock], 1e-9))
    return best


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point operations of a decoder, by what is asked of it."""

    base: float
    """Of one token through all blocks, its products with earlier tokens left out."""
    pair: float
    """Of one token looking at one other, in all blocks."""
    head: float
    """Of the projection of one token to the vocabulary."""

    @classmethod
    def of(cls, handle: ModelHandle) -> Arithmetic:
        """Counted from the shapes of the model's matrices."""
        config: Any = handle.skeleton.config.get_text_config(decoder=True)
        weights = {name: p for name, p in handle.skeleton.named_parameters() if p.ndim == 2}
        blocks = sum(p.numel() for n, p in weights.items() if "embed" not in n and "head" not in n)
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        pair = 4 * config.num_hidden_layers * config.num_attention_heads * size
        return cls(2.0 * blocks, float(pair), 2.0 * config.hidden_size * config.vocab_size)

    def reading(self, lengths: Sequence[int], projected: int = 0) -> float:
        """Of whole sequences, each token once, and of so many tokens the vocabulary."""
        pairs = sum(n * (n + 1) / 2 for n in lengths)
        return self.base * sum(lengths) + self.pair * pairs + self.head * projected


@contextmanager
def counted(loaded: LoadedModel) -> Iterator[list[int]]:
    """Tokens of each pass through a model meanwhile, padding included."""
    passes: list[int] = []
    table = loaded.model.get_input_embeddings()
    hook = table.register_forward_hook(lambda _, given, __: passes.append(given[0].numel()))
    try:
        yield passes
    finally:
        hook.remove()


# -- models and questions --------------------------------------------------------------------------


def model_options(parser: argparse.ArgumentParser, task: str, n: int) -> None:
    """The arguments that say which model answers what, and how."""
    parser.add_argument("model", nargs="?", default="tiny", help="a folder, a hub id, or tiny")
    parser.add_argument("--task", default=task)
    parser.add_argument("--data", help="examples from a file instead of the task's source")
    parser.add_argument("--n", type=int, default=n, help="examples")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=1)


def words_of(args: argparse.Namespace) -> list[str]:
    """The same arguments for a process of its own."""
    data = ["--data", args.data] if args.data else []
    named = ("task", "n", "device", "dtype", "threads")
    given = [word for name in named for word in (f"--{name}", str(getattr(args, name)))]
    return [args.model, *data, *given]


def options_of(args: argparse.Namespace, out: Path) -> Options:
    """The same as options of a run into a folder."""
    return Options(
        ModelSpec(args.model, device=args.device, dtype=args.dtype),
        args.task,
        data=[args.data] if args.data else None,
        limit=args.n or None,
        out=str(out),
        offline=True,
    )


@dataclass(frozen=True, eq=False)
class Subject:
    """A loaded model and the examples of a task."""

    loaded: LoadedModel
    task: Task
    examples: Sequence[Example]

    @classmethod
    def of(cls, args: argparse.Namespace) -> Subject:
        """What the arguments name."""
        torch.set_num_threads(args.threads)
        spec = ModelSpec(args.model, device=args.device, dtype=args.dtype)
        loaded = load_model(find_model(spec, offline=True), offline=True)
        task = load_task(args.task)
        examples = load_dataset(task, args.data, args.n or None, offline=True).examples
        return cls(loaded, task, examples)

    @property
    def prompts(self) -> list[str]:
        """(example,) as the model sees them."""
        return [render_prompt(self.task, e, self.loaded.tokenizer) for e in self.examples]

    def __str__(self) -> str:
        i = self.loaded.handle.identity
        return (
            f"{i.name}, {i.dtype}, {i.device}, {torch.get_num_threads()} threads, "
            f"{len(self.examples)} examples of {self.task.name}"
        )
