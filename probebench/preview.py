"""What a run would do and cost, said before any weights are loaded: `--dry-run`."""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from probebench.cells import SHUFFLES, plan_run
from probebench.estimate import ANSWER_SHARE, Memory, device_memory, fit_seconds, planned_budget, start_seconds, states_size
from probebench.models.batches import Budget
from probebench.models.copier import MAX_NEW_TOKENS, Copier
from probebench.models.loading import find_model
from probebench.probes.kinds import get_probe
from probebench.progress import Progress
from probebench.settings import Settings
from probebench.stages import Stages
from probebench.states.reader import SiteLayout
from probebench.tasks.exact import MODEL_RULE
from probebench.tasks.prompts import encode_prompt
from probebench.tasks.ptrue import asked_text, p_true_prompts
from probebench.tasks.schema import load_task
from probebench.tasks.split import split_examples
from probebench.timing import Timer
from probebench.types import EMB, SPLITS

SAMPLE = 32
"""Examples whose prompts of a later stage are rendered to know how long those are."""
REST = 7.5
"""All else, in starts of a process (`start_seconds`): imports and the model's files 3.3, labels and prompts 1.3, scores of all
cells and detectors 1.5, tables and figures 1.3. Measured in processor time on the embedded tasks (docs/performance.md)."""


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
        low, mid, high = (self.rest + sum(part[k] for part in self.seconds.values()) for k in range(3))
        return low, mid, high


def costs(stages: Stages, layout: Mapping[str, SiteLayout], clock: Callable[[], float] = time.perf_counter) -> Costs:
    """Disk, memory and time of a run; takes a few seconds of its own.

    Args:
        stages: the run, before its model is loaded.
        layout: what would be stored of each site.
        clock: what seconds are counted by; `time.process_time` gives those of all processors together.
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
        if stages.finder.blind == MODEL_RULE:
            few = stages.examples[:SAMPLE]
            copier = Copier(stages.finder.extractor or handle, [e.id for e in few], [e.question for e in few],
                            ["word " * round(typical)] * len(few))  # fmt: skip
            timed = timer if stages.finder.extractor is None else Timer(stages.finder.extractor, clock)
            run = timed.generation(_spread(copier.lengths, len(prompts)), MAX_NEW_TOKENS, budget, stages.generation)
            seconds["exact answers"] = (run(2), run(MAX_NEW_TOKENS / 2), run(MAX_NEW_TOKENS))
    elif given and handle.causal:
        seconds["scores"] = _sure(timer.passing(prompts, projected=True))
    whole = [n + round(typical) for n in prompts]
    if s.states is None:
        share = len([k for k in stages.layers if k != EMB]) / handle.identity.n_layers
        seconds["hidden states"] = _sure(timer.reading(whole, s.sites, len(stages.positions), share, s.states_dtype))
    probe, splits = get_probe(s.probe, s.solver), stages.splits
    shuffles = s.shuffles if s.shuffles is not None else SHUFFLES * probe.batched * ("shuffles" not in s.skip)
    n_cells = sum(len(at.layers) for at in layout.values()) * len(stages.positions)
    processes, start = min(_cores(), n_cells), start_seconds(clock)
    together = clock is not time.process_time
    fits = start if together else start * processes
    for width in {w for at in layout.values() for w in at.widths}:
        cells = sum(list(at.widths).count(width) for at in layout.values()) * len(stages.positions)
        one = fit_seconds(len(splits), min(width, s.width or width), splits.count("train"), probe, shuffles, None, clock)
        fits += cells * one / (min(processes, cells) if together else 1)
    seconds["probes"] = _sure(fits)
    if handle.causal and "p-true" not in s.skip:
        said = (lambda e: None) if stages.statements else (lambda e: e.question)  # about as long as an answer
        asked_of = [len(encode_prompt(handle.tokenizer, p)) for e in stages.examples[:SAMPLE]
                    for p in p_true_prompts(handle.tokenizer, asked_text(task, e), said(e))]  # fmt: skip
        kinds = 1 if stages.statements else 2
        lengths = _spread(asked_of, 2 * kinds * (len(splits) - splits.count("train")))
        seconds["p(True)"] = _sure(timer.passing(lengths, projected=False))
    disk = 0 if s.states is not None else states_size(layout, len(stages.positions), prompts, s.states_dtype)
    return Costs(disk, memory, seconds, rest=REST * start, tokens=(typical, new))


def _sure(seconds: float) -> tuple[float, float, float]:
    return seconds, seconds, seconds


def _spread(some: Sequence[int], n: int) -> list[int]:
    """Lengths of `n` examples like these."""
    return [some[i % len(some)] for i in range(n)]


def _cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def preview(settings: Settings) -> str:
    """What a run would do, with its first prompt as the model will see it. Loads no weights.

    Raises:
        UsageError, RunError: as `evaluate`.
    """
    settings.check()
    task = load_task(settings.task) if settings.task is not None else None
    handle = find_model(settings.model, offline=settings.offline)
    stages = Stages(settings, task, handle, Progress())
    m, splits = handle.identity, split_examples(stages.examples, settings.seed)
    lengths = [len(ids) for ids in stages.prompt_ids]
    layout = plan_run(stages)[1]
    cost = costs(stages, layout)
    n_cells = sum(len(at.layers) for at in layout.values()) * len(stages.positions)
    first = stages.examples[0]
    prompt = handle.tokenizer.decode(stages.prompt_ids[0])
    return "\n".join([
        f"model      {m.name}: {m.architecture}, {m.n_layers} layers, width {m.width}, {m.n_parameters:,} parameters",
        f"           {m.dtype}, attention {m.attention}, on {m.device}",
        f"task       {stages.name}, {len(stages.examples):,} examples from {stages.facts['origin']}",
        f"splits     {', '.join(f'{s} {splits.count(s):,}' for s in SPLITS)}; {len({e.group for e in stages.examples}):,} groups",
        f"prompts    {min(lengths)} to {max(lengths)} tokens, {sum(lengths):,} in all",
        textwrap.fill(f"sites      {_site_words(layout)}", 79, subsequent_indent=" " * 11),
        f"cells      {n_cells:,} at {len(stages.positions)} positions",
        *_cost_lines(cost, stages.folder, m.device),
        *(f"note       {note}" for note in handle.notes),
        f"folder     {stages.folder}",
        f"references {', '.join(first.references) or 'label given'}",
        f"first prompt, special tokens included:\n{prompt}",
    ])  # fmt: skip


def _cost_lines(cost: Costs, folder: Path, device: str) -> list[str]:
    """Disk, memory and time, and what was assumed."""
    low, mid, high = cost.total
    span = f" ({_duration(low)} to {_duration(high)})" if _duration(low) != _duration(high) else ""
    free = next(shutil.disk_usage(place).free for place in (folder, *folder.absolute().parents) if place.is_dir())
    parts = ", ".join(f"{name} {_duration(part[1])}" for name, part in cost.seconds.items())
    lines = [
        f"disk       {cost.disk:,} bytes of hidden states ({cost.disk / 1e6:,.1f} MB; {free / 1e9:,.1f} GB free)",
        f"memory     {cost.memory.total / 1e6:,.1f} MB on {device}: weights {cost.memory.weights / 1e6:,.1f}, and "
        f"{cost.memory.largest / 1e6:,.1f} in the largest batch ({cost.memory.which})",
        textwrap.fill(f"time       about {_duration(mid)}{span}: {parts}, all else "
                      f"{_duration(cost.rest)}", 79, subsequent_indent=" " * 11),
    ]  # fmt: skip
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
