"""The workload of many runs, models x tasks: examples, tokens, device hours, bytes and memory, and
whether a disk holds them.

Hours follow from the throughput of a device: a model twice as large takes twice as long for a
token.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from probebench.errors import RunError, UsageError
from probebench.job.preview.sizes import Memory
from probebench.record.parts.described import Timing
from probebench.record.run import Run
from probebench.text import size

BILLION = 1e9


@dataclass(frozen=True, slots=True)
class Throughput:
    """How fast one device is with a model of a billion parameters."""

    reading: float
    """Tokens per second in passes over whole sequences."""
    writing: float
    """Tokens per second of answers, the passes over their prompts among them."""
    origin: str
    """Where the two are from."""

    @classmethod
    def measured(cls, run: Run) -> Throughput:
        """What a finished run took for its answers and its hidden states.

        Raises:
            UsageError: it found either of them finished, or had none.
        """
        record, timing = run.record, run.record.timing or Timing()
        answering = timing.stages.get("Generating answers")
        reading = timing.stages.get("Reading hidden states")
        tokens = timing.tokens
        if not (tokens and answering and reading and answering.tokens and reading.tokens):
            raise UsageError(
                f"{run.folder} cannot say how fast a device is: it did not both write answers and "
                "read hidden states in one go. Name a run that did, or give --read-rate and "
                "--write-rate."
            )
        billions = record.model.n_parameters / BILLION
        written = answering.tokens * tokens.answers / (tokens.prompts + tokens.answers)
        return cls(
            billions * reading.tokens / reading.seconds,
            billions * written / answering.seconds,
            f"measured by {record.model.name} on {record.task.name}, {timing.device}",
        )

    def seconds(self, parameters: int, read: float, written: float) -> float:
        """Of one device."""
        return parameters / BILLION * (read / self.reading + written / self.writing)


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model of the workload."""

    name: str
    parameters: int
    memory: Memory
    """Of weights and of the largest batch that is read, on all its devices together."""
    devices: int
    """That it is spread over."""

    @property
    def memory_each(self) -> int:
        """Bytes on each of its devices."""
        return math.ceil(self.memory.total / self.devices)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One model on one task."""

    model: PlannedModel
    task: str
    examples: int
    read: float
    """Tokens in passes over whole sequences: hidden states, p(True), and drawn answers."""
    written: float
    """Tokens of answers, drawn ones too."""
    hours: tuple[float, float, float]
    """Device hours: shortest, expected, longest; NaN where no throughput is known."""
    states: int
    """Bytes of hidden states."""
    beside: int
    """Bytes of all else that its directory will hold, about."""


@dataclass(frozen=True, eq=False)
class Workload:
    """Many runs, and what they take together."""

    runs: tuple[PlannedRun, ...]
    throughput: Throughput | None
    free: int | None
    """Bytes that are free where the runs go; None where nobody knows."""
    discard: bool
    """Are hidden states deleted when their run is finished?"""

    @cached_property
    def models(self) -> tuple[PlannedModel, ...]:
        """Each once."""
        return tuple(dict.fromkeys(run.model for run in self.runs))

    @cached_property
    def hours(self) -> tuple[float, float, float]:
        """Device hours of all runs."""
        low, mid, high = (math.fsum(run.hours[k] for run in self.runs) for k in range(3))
        return low, mid, high

    @property
    def states(self) -> int:
        """Bytes of hidden states that are there at once, one run after the other."""
        found = [run.states for run in self.runs]
        return max(found) if self.discard else sum(found)

    @property
    def needed(self) -> int:
        """Bytes that the disk has to have."""
        return self.states + sum(run.beside for run in self.runs)

    def check_disk(self) -> None:
        """Refuse what does not fit.

        Raises:
            RunError: the disk is too small, with the way out.
        """
        if self.free is None or self.needed <= self.free:
            return
        largest = max(run.states for run in self.runs) + sum(run.beside for run in self.runs)
        without = (
            ""
            if self.discard
            else f" With --discard-states they need {size(largest)} while one runs after the other."
        )
        raise RunError(
            f"The disk is too small: these runs need {size(self.needed)}, and {size(self.free)} "
            f"are free.{without} Or read fewer --positions, --layers or --sites, or name a larger "
            "disk."
        )

    def facts(self) -> dict[str, Any]:
        """All of it for programs."""
        return {
            "throughput": self.throughput and asdict(self.throughput),
            "models": [
                {
                    "name": m.name,
                    "parameters": m.parameters,
                    "weights": m.memory.weights,
                    "largest_batch": m.memory.largest,
                    "devices": m.devices,
                    "memory_each": m.memory_each,
                }
                for m in self.models
            ],
            "runs": [asdict(run) | {"model": run.model.name} for run in self.runs],
            "examples": sum(run.examples for run in self.runs),
            "tokens": {
                "read": math.fsum(run.read for run in self.runs),
                "written": math.fsum(run.written for run in self.runs),
            },
            "device_hours": dict(zip(("low", "expected", "high"), self.hours, strict=True)),
            "bytes": {"states": self.states, "needed": self.needed, "free": self.free},
        }
