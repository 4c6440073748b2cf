"""What a run is expected to take: disk, memory, and the seconds of each stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from probebench.detectors.asked.p_true_prompts import asked_text, p_true_prompts
from probebench.detectors.stored.vectors import vectors_size
from probebench.detectors.suite import in_order, planned
from probebench.job.preview.sizes import (
    ANSWER_SHARE,
    Memory,
    device_memory,
    fit_seconds,
    planned_budget,
    start_seconds,
    states_size,
)
from probebench.job.preview.timing import Timer
from probebench.models.blocks.sites import COMPONENTS, plan_sites
from probebench.models.copier import MAX_NEW_TOKENS, Copier
from probebench.models.decoding.endings import read_tokens
from probebench.models.decoding.replies import shared
from probebench.models.generate import pick_generation
from probebench.models.passes.batches import Budget
from probebench.stages.answers import known_answers, scores_given
from probebench.stages.components.attributed import FEW, LIMIT
from probebench.stages.plan import GIVEN, Plan
from probebench.tasks.exact.rules import MODEL_RULE
from probebench.tasks.prompts import encode_prompt
from probebench.tasks.split import FOLDS
from probebench.types import EMB

SAMPLE = 32
"""Examples whose prompts of a later stage are rendered to know how long those are."""
ESTIMATE_PASSES = 13
"""What estimating costs per answer, in passes: its means, a pass with a gradient for each of two
targets, and each block once more for itself and for each of seven components."""
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
    """Tokens that an answer is taken to have, and may have."""
    further: Mapping[str, int] = field(default_factory=dict)
    """Bytes at most of vectors beside the main job's, by what asks for them."""

    @property
    def total(self) -> tuple[float, float, float]:
        """Seconds: shortest, expected, longest."""
        low, mid, high = (
            self.rest + sum(part[k] for part in self.seconds.values()) for k in range(3)
        )
        return low, mid, high


def costs(plan: Plan, clock: Callable[[], float] = time.perf_counter) -> Costs:
    """Disk, memory and time of a run; takes a few seconds of its own.

    Args:
        plan: the run.
        clock: what seconds are counted by; `time.process_time` gives those of all processors
            together.
    """
    q, handle, reading = plan.questions, plan.handle, plan.reading
    prompts, new = q.lengths, plan.max_new_tokens or 0
    budget = planned_budget(handle, max(prompts) + new) if new else Budget()
    scored = _scored(plan)
    memory = device_memory(handle, prompts, new, budget, scored=scored)
    typical, timer = ANSWER_SHARE * new, Timer(handle, clock)
    seconds: dict[str, tuple[float, float, float]] = {}
    if new:
        run = timer.generation(prompts, new, budget, plan.generation)
        seconds["answers"] = (run(new / 4), run(typical), run(new))
        if plan.beside.drawing is not None:
            seconds["further answers"] = _drawing(plan, prompts, run, timer)
            seconds["their states"] = _sure(_reading_drawn(plan, prompts, typical, timer))
    if plan.exact.name != GIVEN and plan.exact.blind == MODEL_RULE:
        seconds["exact answers"] = _copying(plan, typical, timer)
    projecting = timer.projecting(sum(scored)) if scored else 0.0
    if reading.given is None:  # scores come from the same pass
        whole = [n + round(typical) for n in prompts]
        seconds["hidden states"] = _sure(_reading(plan, whole, timer) + projecting)
    elif scored:
        seconds["scores"] = _sure(timer.passing(prompts) + projecting)
    start = start_seconds(clock)
    seconds["probes"] = _sure(_fitting(plan, start, clock))
    if plan.beside.repeat_splits:
        seconds["other splits"] = _sure(_refitting(plan, clock))
    if handle.causal and "p-true" not in plan.beside.skip:
        seconds["p(True)"] = _sure(_asking(plan, timer))
    seconds |= _methods(plan, [n + round(typical) for n in prompts], timer)
    if plan.beside.attribution:
        seconds["attribution"] = _sure(
            _replacing(plan, [n + round(typical) for n in prompts], timer)
        )
    disk = 0
    if reading.given is None:
        layout, n_positions = reading.layout, len(reading.positions)
        disk = states_size(layout, n_positions, prompts, reading.dtype, scored or None)
    return Costs(disk, memory, seconds, REST * start, (typical, new), _further(plan))


def _scored(plan: Plan) -> list[int]:
    """Tokens of each answer that is given to the model and scored; none where it answers itself."""
    if not scores_given(plan):
        return []
    return [len(a.answer_ids) for a in known_answers(plan) or ()]


def _reading(plan: Plan, lengths: Sequence[int], timer: Timer) -> float:
    """Seconds of reading hidden states."""
    r = plan.reading
    share = len([k for k in r.layers if k != EMB]) / plan.handle.identity.n_layers
    return timer.reading(lengths, r.sites.sites, len(r.positions), share, r.dtype)


def _fitting(plan: Plan, start: float, clock: Callable[[], float]) -> float:
    """Seconds of all probes, in as many processes as there are cores."""
    processes = min(_cores(), len(plan.reading.cells))
    seconds = start if _by_the_clock(clock) else start * processes
    widths = [w for at in plan.reading.layout.values() for w in at.widths]
    return seconds + _fits(plan, widths, plan.fitting.shuffles, clock)


def _refitting(plan: Plan, clock: Callable[[], float]) -> float:
    """Seconds of the probes of other splits: those of one site's blocks, without shuffled
    labels."""
    layout, splits = plan.reading.layout, plan.beside.repeat_splits
    at = layout.get("resid", next(iter(layout.values())))
    widths = [w for layer, w in zip(at.layers, at.widths, strict=True) if layer != EMB]
    folds = 0 if any(e.split is not None for e in plan.examples) else FOLDS
    return (splits + folds) * _fits(plan, widths, 0, clock)


def _fits(plan: Plan, widths: Sequence[int], shuffles: int, clock: Callable[[], float]) -> float:
    """Seconds of the probes of rows of the map that have these widths; the processes are there."""
    f, splits, seconds = plan.fitting, plan.splits, 0.0
    for width, rows in Counter(widths).items():
        cells, own = rows * len(plan.reading.positions), min(width, f.width or width)
        one = fit_seconds(len(splits), own, splits.count("train"), f.probe, shuffles, None, clock)
        seconds += cells * one / (min(_cores(), cells) if _by_the_clock(clock) else 1)
    return seconds


def _by_the_clock(clock: Callable[[], float]) -> bool:
    """Are processes side by side counted once? Processor time counts each."""
    return clock is not time.process_time


def _drawing(
    plan: Plan, prompts: Sequence[int], one: Callable[[float], float], timer: Timer
) -> tuple[float, float, float]:
    """Seconds of further answers: each prompt is read once, as for one answer, and all of them are
    decoded."""
    assert plan.beside.drawing is not None  # else there are none
    new = plan.max_new_tokens or 0
    every = _spread(prompts, len(prompts) * plan.beside.drawing.n)
    budget = planned_budget(plan.handle, max(prompts) + new)
    run = timer.generation(every, new, budget, "plain")
    low, mid, high = (
        one(1) + run(max(part * new, 1)) - run(1) for part in (1 / 4, ANSWER_SHARE, 1)
    )
    return low, mid, high


def _reading_drawn(plan: Plan, prompts: Sequence[int], typical: float, timer: Timer) -> float:
    """Seconds of the passes over further answers to test questions, as if all of them differed."""
    assert plan.beside.drawing is not None  # else there are none
    pairs = zip(prompts, plan.splits, strict=True)
    test = [n + round(typical) for n, split in pairs if split == "test"]
    return timer.passing(_spread(test, len(test) * plan.beside.drawing.n)) if test else 0.0


def _asking(plan: Plan, timer: Timer) -> float:
    """Seconds of p(True), of replies about as long as the questions; what prompts share is read
    once."""
    tokenizer, asked = plan.handle.tokenizer, []
    for e in plan.examples[:SAMPLE]:
        replies = [None] if plan.statements else [f"It is this: {e.question}", e.question]
        for reply in replies:
            prompts = p_true_prompts(tokenizer, asked_text(plan.task, e), reply)
            asked += [encode_prompt(tokenizer, p) for p in prompts]
    kinds, held = 1 if plan.statements else 2, len(plan.splits) - plan.splits.count("train")
    # lengths as if each prompt were read by itself, but only the part of it that is new
    new = read_tokens(asked) / sum(map(len, asked))
    lengths = _spread([max(round(len(ids) * new), 1) for ids in asked], 2 * kinds * held)
    return timer.passing(lengths) + timer.projecting(len(lengths))


def _methods(
    plan: Plan, lengths: Sequence[int], timer: Timer
) -> dict[str, tuple[float, float, float]]:
    """Seconds of the methods that are asked for, by the names that they are asked for by."""
    wanted, counted = planned(plan), set()
    found: dict[str, float] = {}
    for group in in_order():
        price = group.price
        if price is None or price in counted or not any(row in wanted for row in group.rows):
            continue
        counted.add(price)
        name = group.rows[0].asked or ""
        found[name] = found.get(name, 0.0) + price(plan, lengths, timer)
    return {name: _sure(taken) for name, taken in found.items()}


def _further(plan: Plan) -> dict[str, int]:
    """Bytes at most of vectors beside the main job's, by what asks for them."""
    wanted, found = planned(plan), {}
    for group in in_order():
        if group.disk is not None and any(row in wanted for row in group.rows):
            found[group.rows[0].asked or ""] = group.disk(plan)
    if plan.beside.drawing is not None:
        n = plan.splits.count("test") * plan.beside.drawing.n
        found["further answers"] = vectors_size(plan, n, 1)
    return found


def _replacing(plan: Plan, lengths: Sequence[int], timer: Timer) -> float:
    """Seconds of what replacing components changes: of means and estimates, and of a pass for each
    component and each answer for which it is replaced."""
    handle, n_layers = plan.handle, plan.handle.identity.n_layers
    test = [n for n, split in zip(lengths, plan.splits, strict=True) if split == "test"][:LIMIT]
    taps = plan_sites(handle.skeleton, n_layers, COMPONENTS, range(n_layers)).taps
    each = timer.passing(test)
    share = 1.0 if plan.beside.ablation else min(FEW / max(len(test), 1), 1.0)
    return each * (ESTIMATE_PASSES + share * len(taps))


def _copying(plan: Plan, typical: float, timer: Timer) -> tuple[float, float, float]:
    """Seconds of asking a language model for the exact answers of replies of `typical` tokens,
    drawn ones too; `timer` is that of the run's own."""
    given, other, few = plan.questions.given, plan.exact.extractor, plan.examples[:SAMPLE]
    said = typical
    if given is not None:
        said = sum(len(g.answer_ids) for g in given) / len(given)
    handle = other or plan.handle
    copier = Copier(
        handle, [e.id for e in few], [e.question for e in few], ["word " * round(said)] * len(few)
    )
    known = len(shared([r.prompt_ids for r in copier.requests])) if len(few) > 1 else 0
    each = 1 + (plan.beside.drawing.n if plan.beside.drawing is not None else 0)
    lengths = _spread([n - known for n in copier.lengths], each * len(plan.examples))
    timed = timer if other is None else Timer(handle, timer.clock)
    budget = planned_budget(handle, known + max(lengths) + MAX_NEW_TOKENS)
    run = timed.generation(lengths, MAX_NEW_TOKENS, budget, pick_generation(handle, None))
    return run(2), run(MAX_NEW_TOKENS / 4), run(MAX_NEW_TOKENS)


def _sure(seconds: float) -> tuple[float, float, float]:
    return seconds, seconds, seconds


def _spread(some: Sequence[int], n: int) -> list[int]:
    """Lengths of `n` examples like these."""
    return [some[i % len(some)] for i in range(n)]


def _cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())
