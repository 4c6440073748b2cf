"""What a run would do and cost, said before any weights are loaded: `--dry-run`."""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from probebench.detectors.p_true_prompts import asked_text, p_true_prompts
from probebench.job.cost import (
    ANSWER_SHARE,
    Memory,
    device_memory,
    fit_seconds,
    planned_budget,
    start_seconds,
    states_size,
)
from probebench.job.options import Options
from probebench.job.prepare import prepare
from probebench.job.timing import Timer
from probebench.models.copier import MAX_NEW_TOKENS, Copier
from probebench.models.generate import pick_generation
from probebench.models.passes.batches import Budget
from probebench.probes.kinds import get_probe
from probebench.stages.answers import Stages
from probebench.stages.exact import GIVEN
from probebench.stages.fits import SHUFFLES
from probebench.stages.labels import size_note
from probebench.states.reader import SiteLayout
from probebench.tasks.exact.rules import MODEL_RULE
from probebench.tasks.local.notes import data_notes
from probebench.tasks.prompts import encode_prompt
from probebench.types import EMB, SPLITS, layer_name

SAMPLE = 32
"""Examples whose prompts of a later stage are rendered to know how long those are."""
REST = 7.5
"""All else, in starts of a process (`start_seconds`): imports and the model's files 3.3, labels and
prompts 1.3, scores of all cells and detectors 1.5, tables and figures 1.3. Measured in processor
time on the embedded tasks (docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a run is expected to take."""

    disk: int
    """Bytes of the shards of hidden states, exactly; 0 where they are given."""
    memory: Memory
    seconds: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """Stage -> shortest, expected, longest."""
    rest: float = 0.0
    """Seconds of all else."""
    tokens: tuple[float, int] = (0, 0)
    """Tokens that an answer is taken to have until its batch stops, and may have."""

    @property
    def total(self) -> tuple[float, float, float]:
        """Seconds: shortest, expected, longest."""
        low, mid, high = (
            self.rest + sum(part[k] for part in self.seconds.values()) for k in range(3)
        )
        return low, mid, high


def costs(
    stages: Stages, layout: Mapping[str, SiteLayout], clock: Callable[[], float] = time.perf_counter
) -> Costs:
    """Disk, memory and time of a run; takes a few seconds of its own.

    Args:
        stages: the run, before its model is loaded.
        layout: what would be stored of each site.
        clock: what seconds are counted by; `time.process_time` gives those of all processors
            together.
    """
    s, handle, task = stages.settings, stages.handle, stages.task
    prompts = [len(ids) for ids in stages.prompt_ids]
    given = stages.statements or stages.given is not None
    new = 0
    if stages.given is not None:
        prompts = [len(g.prompt_ids) + len(g.answer_ids) for g in stages.given]
    elif task is not None and not stages.statements:
        new = s.max_new_tokens or task.generation.max_new_tokens
    budget = planned_budget(handle, max(prompts) + new) if new else Budget()
    memory = device_memory(handle, prompts, new, budget)
    typical, timer = ANSWER_SHARE * new, Timer(handle, clock)
    seconds: dict[str, tuple[float, float, float]] = {}
    if new:
        run = timer.generation(prompts, new, budget, stages.generation)
        seconds["answers"] = (run(new / 4), run(typical), run(new))
    elif given and handle.causal:
        seconds["scores"] = _sure(timer.passing(prompts, projected=True))
    if stages.finder.rule != GIVEN and stages.finder.blind == MODEL_RULE:
        said = (
            typical
            if stages.given is None
            else sum(len(g.answer_ids) for g in stages.given) / len(stages.given)
        )
        seconds["exact answers"] = _copying(stages, said, timer)
    whole = [n + round(typical) for n in prompts]
    if s.states is None:
        share = len([k for k in stages.layers if k != EMB]) / handle.identity.n_layers
        seconds["hidden states"] = _sure(
            timer.reading(whole, s.sites, len(stages.positions), share, s.states_dtype)
        )
    probe, splits = get_probe(s.probe, s.solver), stages.splits
    shuffles = (
        s.shuffles
        if s.shuffles is not None
        else SHUFFLES * probe.batched * ("shuffles" not in s.skip)
    )
    n_cells = sum(len(at.layers) for at in layout.values()) * len(stages.positions)
    processes, start = min(_cores(), n_cells), start_seconds(clock)
    together = clock is not time.process_time
    fits = start if together else start * processes
    for width in {w for at in layout.values() for w in at.widths}:
        cells = sum(list(at.widths).count(width) for at in layout.values()) * len(stages.positions)
        one = fit_seconds(
            len(splits),
            min(width, s.width or width),
            splits.count("train"),
            probe,
            shuffles,
            None,
            clock,
        )
        fits += cells * one / (min(processes, cells) if together else 1)
    seconds["probes"] = _sure(fits)
    if handle.causal and "p-true" not in s.skip:
        reply = (
            (lambda e: None) if stages.statements else (lambda e: e.question)
        )  # about as long as an answer
        asked_of = [
            len(encode_prompt(handle.tokenizer, p))
            for e in stages.examples[:SAMPLE]
            for p in p_true_prompts(handle.tokenizer, asked_text(task, e), reply(e))
        ]
        kinds = 1 if stages.statements else 2
        lengths = _spread(asked_of, 2 * kinds * (len(splits) - splits.count("train")))
        seconds["p(True)"] = _sure(timer.passing(lengths, projected=False))
    disk = (
        0
        if s.states is not None
        else states_size(layout, len(stages.positions), prompts, s.states_dtype)
    )
    return Costs(disk, memory, seconds, rest=REST * start, tokens=(typical, new))


def _copying(stages: Stages, said: float, timer: Timer) -> tuple[float, float, float]:
    """Seconds of asking a language model for the exact answers of replies of `said` tokens; `timer`
    is that of the run's own."""
    other, few = stages.finder.extractor, stages.examples[:SAMPLE]
    handle = other or stages.handle
    copier = Copier(
        handle, [e.id for e in few], [e.question for e in few], ["word " * round(said)] * len(few)
    )
    lengths = _spread(copier.lengths, len(stages.examples))
    timed = timer if other is None else Timer(handle, timer.clock)
    budget = planned_budget(handle, max(lengths) + MAX_NEW_TOKENS)
    run = timed.generation(lengths, MAX_NEW_TOKENS, budget, pick_generation(handle, None))
    return run(2), run(MAX_NEW_TOKENS / 2), run(MAX_NEW_TOKENS)


def _sure(seconds: float) -> tuple[float, float, float]:
    return seconds, seconds, seconds


def _spread(some: Sequence[int], n: int) -> list[int]:
    """Lengths of `n` examples like these."""
    return [some[i % len(some)] for i in range(n)]


def _cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do and cost, with its first prompt as the model will see it."""

    stages: Stages
    layout: Mapping[str, SiteLayout]
    """What would be stored of each site."""
    cost: Costs
    finished: bool
    """This very run is there already: the command would compute nothing."""

    @property
    def n_cells(self) -> int:
        """Cells that would have a probe."""
        return sum(len(at.layers) for at in self.layout.values()) * len(self.stages.positions)

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the model and of how the examples were read."""
        stages, n = self.stages, len(self.stages.examples)
        few = size_note(n)
        return [*([few] if few else []), *stages.notes, *data_notes(stages.facts, n)]

    @property
    def first_prompt(self) -> str:
        """Special tokens included."""
        return str(self.stages.handle.tokenizer.decode(self.stages.prompt_ids[0]))

    def facts(self) -> dict[str, Any]:
        """All of it for programs: what `--dry-run --json` prints."""
        stages, cost, m = self.stages, self.cost, self.stages.handle.identity
        splits, lengths = stages.splits, [len(ids) for ids in stages.prompt_ids]
        low, mid, high = cost.total
        return {
            "dry_run": True,
            "model": asdict(m),
            "task": stages.name,
            "data": {
                **stages.facts,
                "n": len(stages.examples),
                "groups": len({e.group for e in stages.examples}),
            },
            "splits": {name: splits.count(name) for name in SPLITS},
            "prompt_tokens": {
                "shortest": min(lengths),
                "longest": max(lengths),
                "all": sum(lengths),
            },
            "sites": {site: [layer_name(k) for k in at.layers] for site, at in self.layout.items()},
            "positions": list(stages.positions),
            "cells": self.n_cells,
            "bytes": {
                "disk": cost.disk,
                "disk_free": _free(stages.folder),
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
            "folder": str(stages.folder),
            "finished": self.finished,
            "first_prompt": self.first_prompt,
            "references": list(stages.examples[0].references),
        }

    def text(self) -> str:
        """The same in lines."""
        stages, m = self.stages, self.stages.handle.identity
        splits, lengths = stages.splits, [len(ids) for ids in stages.prompt_ids]
        groups = len({e.group for e in stages.examples})
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
                    f"{stages.name}, {len(stages.examples):,} examples from "
                    f"{stages.facts['origin']}",
                ),
                *_left_out(stages),
                _line(
                    "splits",
                    f"{', '.join(f'{s} {splits.count(s):,}' for s in SPLITS)}; {groups:,} groups",
                ),
                _line(
                    "prompts", f"{min(lengths)} to {max(lengths)} tokens, {sum(lengths):,} in all"
                ),
                _line("sites", _site_words(self.layout)),
                _line("cells", f"{self.n_cells:,} at {len(stages.positions)} positions"),
                *_cost_lines(self.cost, stages.folder, m.device),
                *(_line("note", note) for note in self.notes),
                f"folder     {stages.folder}"
                + (
                    ", where this run is finished: nothing would be computed"
                    if self.finished
                    else ""
                ),
                _line("references", ", ".join(stages.examples[0].references) or "label given"),
                f"first prompt, special tokens included:\n{self.first_prompt}",
            ]
        )


def preview(settings: Options) -> Preview:
    """What a run would do, after all that a run checks before it computes. Loads no weights.

    Raises:
        UsageError, RunError: as `evaluate` before its model is loaded.
    """
    prepared = prepare(settings)
    prepared.check_known()
    layout = prepared.plan[1]
    return Preview(
        prepared.stages, layout, costs(prepared.stages, layout), prepared.finished() is not None
    )


def _line(name: str, words: str) -> str:
    return textwrap.fill(
        f"{name:<11}{words}",
        79,
        subsequent_indent=" " * 11,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _left_out(stages: Stages) -> list[str]:
    """Rows of the source that the run would not use."""
    dropped, long = stages.facts["n_dropped"], stages.facts["n_too_long"]
    said = []
    if dropped:
        said.append(f"{dropped:,} that stand there twice, under both labels, or in train and test")
    if long:
        said.append(
            f"{long:,} that need more than the {stages.handle.max_length:,} tokens of the model, "
            "answer included"
        )
    return [_line("left out", "; ".join(said))] if said else []


def _free(folder: Path) -> int:
    """Bytes that are free where a folder is, or would be."""
    return next(
        shutil.disk_usage(place).free
        for place in (folder, *folder.absolute().parents)
        if place.is_dir()
    )


def _cost_lines(cost: Costs, folder: Path, device: str) -> list[str]:
    """Disk, memory and time, and what was assumed."""
    low, mid, high = cost.total
    span = f" ({_duration(low)} to {_duration(high)})" if _duration(low) != _duration(high) else ""
    parts = ", ".join(f"{name} {_duration(part[1])}" for name, part in cost.seconds.items())
    memory = cost.memory
    lines = [
        _line(
            "disk",
            f"{cost.disk:,} bytes of hidden states ({cost.disk / 1e6:,.1f} MB; "
            f"{_free(folder) / 1e9:,.1f} GB free)",
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
