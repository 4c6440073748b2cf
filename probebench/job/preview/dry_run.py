"""The dry run: what a run would do and cost, with its first prompt, after all that a run checks
before it computes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from probebench.job.options import Options
from probebench.job.prepare import prepare
from probebench.job.preview.costs import Costs, costs
from probebench.job.preview.power import Power, power
from probebench.job.preview.sizes import free_at
from probebench.probes.enough import size_note
from probebench.stages.plan import Plan
from probebench.states.reader import SiteLayout
from probebench.tasks.local.notes import data_notes
from probebench.types import SPLITS, layer_name


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do and cost, with its first prompt as the model will see it."""

    plan: Plan
    cost: Costs
    power: Power
    """What its test split could tell apart."""
    finished: bool
    """This very run is there already: the command would compute nothing."""

    @property
    def n_cells(self) -> int:
        """Cells that would have a probe."""
        return len(self.plan.reading.cells)

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the model and of how the examples were read."""
        plan, n = self.plan, len(self.plan.examples)
        few = size_note(n)
        return [*([few] if few else []), *plan.notes, *data_notes(plan.questions.facts, n)]

    @property
    def first_prompt(self) -> str:
        """Special tokens included."""
        return str(self.plan.handle.tokenizer.decode(self.plan.questions.prompt_ids[0]))

    def facts(self) -> dict[str, Any]:
        """All of it for programs: what `--dry-run --json` prints."""
        plan, cost, m = self.plan, self.cost, self.plan.handle.identity
        splits, lengths = plan.splits, [len(ids) for ids in plan.questions.prompt_ids]
        low, mid, high = cost.total
        return {
            "dry_run": True,
            "model": asdict(m),
            "task": plan.name,
            "data": {
                **plan.questions.facts,
                "n": len(plan.examples),
                "groups": len({e.group for e in plan.examples}),
            },
            "splits": {name: splits.count(name) for name in SPLITS},
            "power": self.power.facts(),
            "prompt_tokens": {
                "shortest": min(lengths),
                "longest": max(lengths),
                "all": sum(lengths),
            },
            "sites": {
                site: [layer_name(k) for k in at.layers]
                for site, at in self.plan.reading.layout.items()
            },
            "positions": list(plan.reading.positions),
            "cells": self.n_cells,
            "bytes": {
                "disk": cost.disk,
                "disk_further": dict(cost.further),
                "disk_free": free_at(plan.folder),
                "weights": cost.memory.weights,
                "largest_batch": cost.memory.largest,
                "largest_batch_of": cost.memory.which,
            },
            "seconds": {
                "low": low,
                "expected": mid,
                "high": high,
                "rest": cost.rest,
                "stages": {
                    name: dict(zip(("low", "expected", "high"), part, strict=True))
                    for name, part in cost.seconds.items()
                },
            },
            "notes": self.notes,
            "folder": str(plan.folder),
            "finished": self.finished,
            "first_prompt": self.first_prompt,
            "references": list(plan.examples[0].references),
        }

    def text(self) -> str:
        """The same in lines."""
        plan, m = self.plan, self.plan.handle.identity
        splits, lengths = plan.splits, [len(ids) for ids in plan.questions.prompt_ids]
        groups = len({e.group for e in plan.examples})
        return "\n".join(
            [
                _line(
                    "model",
                    f"{m.name}: {m.architecture}, {m.n_layers} layers, width {m.width}, "
                    f"{m.n_parameters:,} parameters; "
                    f"{m.dtype}, attention {m.attention}, on {m.device}",
                ),
                _line(
                    "task",
                    f"{plan.name}, {len(plan.examples):,} examples from "
                    f"{plan.questions.facts['origin']}",
                ),
                *_left_out(plan),
                _line(
                    "splits",
                    f"{', '.join(f'{s} {splits.count(s):,}' for s in SPLITS)}; {groups:,} groups",
                ),
                _line("power", self.power.words()),
                _line(
                    "prompts", f"{min(lengths)} to {max(lengths)} tokens, {sum(lengths):,} in all"
                ),
                _line("sites", _site_words(self.plan.reading.layout)),
                _line("cells", f"{self.n_cells:,} at {len(plan.reading.positions)} positions"),
                *_cost_lines(self.cost, plan.folder, m.device),
                *(_line("note", note) for note in self.notes),
                f"folder     {plan.folder}"
                + (
                    ", where this run is finished: nothing would be computed"
                    if self.finished
                    else ""
                ),
                _line("references", ", ".join(plan.examples[0].references) or "label given"),
                f"first prompt, special tokens included:\n{self.first_prompt}",
            ]
        )


def preview(options: Options) -> Preview:
    """What a run would do, after all that a run checks before it computes. Loads no weights.

    Raises:
        UsageError, RunError: as `evaluate` before its model is loaded.
    """
    prepared = prepare(options)
    prepared.check_known()
    plan = prepared.plan
    return Preview(plan, costs(plan), power(plan), prepared.finished() is not None)


def _line(name: str, words: str) -> str:
    return textwrap.fill(
        f"{name:<11}{words}",
        79,
        subsequent_indent=" " * 11,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _left_out(plan: Plan) -> list[str]:
    """Rows of the source that the run would not use."""
    dropped, long = plan.questions.facts["n_dropped"], plan.questions.facts["n_too_long"]
    said = []
    if dropped:
        said.append(f"{dropped:,} that stand there twice, under both labels, or in train and test")
    if long:
        said.append(
            f"{long:,} that need more than the {plan.handle.max_length:,} tokens of the model, "
            "answer included"
        )
    return [_line("left out", "; ".join(said))] if said else []


def _cost_lines(cost: Costs, folder: Path, device: str) -> list[str]:
    """Disk, memory and time, and what was assumed."""
    low, mid, high = cost.total
    free = free_at(folder)
    room = "" if free is None else f"; {free / 1e9:,.1f} GB free"
    span = f" ({_duration(low)} to {_duration(high)})" if _duration(low) != _duration(high) else ""
    parts = ", ".join(f"{name} {_duration(part[1])}" for name, part in cost.seconds.items())
    memory = cost.memory
    beside = ", ".join(f"{name} {n / 1e6:,.1f}" for name, n in cost.further.items())
    further = f", and up to so many MB of further ones: {beside}" if beside else ""
    lines = [
        _line(
            "disk",
            f"{cost.disk:,} bytes of hidden states ({cost.disk / 1e6:,.1f} MB{room}){further}",
        ),
        _line(
            "memory",
            f"{memory.total / 1e6:,.1f} MB on {device}: weights {memory.weights / 1e6:,.1f}, and "
            f"{memory.largest / 1e6:,.1f} in the largest batch ({memory.which})",
        ),
        _line("time", f"about {_duration(mid)}{span}: {parts}, all else {_duration(cost.rest)}"),
    ]
    typical, most = cost.tokens
    if most:
        lines.append(
            f"           An estimate, for answers of {typical:.0f} tokens until a batch ends;\n"
            f"           the range is from {most / 4:.0f} to {most}, as many as an answer may have."
        )
    return lines


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _site_words(layout: Mapping[str, SiteLayout]) -> str:
    """Sites with their numbers of layers."""
    by_size: dict[int, list[str]] = {}
    for site, at in layout.items():
        by_size.setdefault(len(at.layers), []).append(site)
    return "; ".join(f"{', '.join(sites)} in {n} layers" for n, sites in by_size.items())
