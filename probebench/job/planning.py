"""From options to a plan: every name, file and model of a run found, and nothing loaded."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from probebench.errors import UsageError
from probebench.files import content_key
from probebench.job.options import Options
from probebench.job.place import run_folder
from probebench.models.asking import Questions, given_questions, task_questions
from probebench.models.blocks.sites import plan_sites, resolve_layers
from probebench.models.decoding.drawing import Drawing
from probebench.models.devices import pick_device
from probebench.models.generate import pick_generation
from probebench.models.handles import ModelHandle
from probebench.models.inference import find_inference
from probebench.models.loading import Find, find_model
from probebench.models.passes.batches import HOST_EXAMPLES, HOST_TOKENS
from probebench.models.passes.embed import find_encoder
from probebench.models.passes.padding import alike_key
from probebench.models.untrained import check_untrained
from probebench.probes.fit import MOVED
from probebench.probes.kinds import get_probe
from probebench.probes.labels import MIN_CLASS
from probebench.probes.logistic.solver import MAX_ITER, TOL
from probebench.probes.many_fits import ROUGH
from probebench.record.schema import PROTOCOL_VERSION
from probebench.record.versions import versions
from probebench.stages.plan import GIVEN, Beside, ExactRule, Fitting, Plan, Reading
from probebench.states.exchange.find import find_states, read_manifest
from probebench.states.exchange.reuse import restrict
from probebench.states.extract import SHARD, site_layouts
from probebench.states.positions import PUBLISHED, STATEMENTS, resolve_positions
from probebench.studies.confounds.features import SOURCES
from probebench.studies.neutral import open_neutral
from probebench.tasks.exact.rules import GOLD, MODEL_RULE
from probebench.tasks.examples import POLARITY
from probebench.tasks.schema import Task
from probebench.tasks.split import split_examples

SHUFFLES = 100
"""Shuffled-label fits per cell, for probes that are fitted in batches."""


def make_plan(o: Options, task: Task | None, handle: ModelHandle, find: Find = find_model) -> Plan:
    """Resolve what was asked for.

    Args:
        o: the options, checked.
        task: theirs; None for answers that carry labels.
        handle: their model.
        find: finds the further models.

    Raises:
        UsageError: the model cannot do what was asked for.
    """
    statements = task is not None and task.kind == "statements"
    if not handle.causal and not statements:
        raise UsageError(
            f"{handle.identity.name!r} ({handle.identity.architecture}) generates nothing, so it "
            "can only run statement tasks."
        )
    if task is not None and task.turns and not handle.causal:
        raise UsageError(
            f"Task {task.name!r} reads turns of a conversation, and {handle.identity.name!r} "
            f"({handle.identity.architecture}) takes no turns. Name a decoder."
        )
    generation = pick_generation(handle, o.generation) if handle.causal else "plain"
    positions = resolve_positions(o.positions, STATEMENTS if statements else PUBLISHED)
    layers = resolve_layers(o.layers, handle.identity.n_layers)
    if "random-model" in o.controls:
        check_untrained(handle)
    questions = read_questions(o, task, handle, o.new_tokens(task))
    exact = exact_rule(o, None if statements else task, questions, find)
    reading, fitting = plan_reading(o, handle, positions, layers), _fitting(o)
    beside = _beside(o, handle, find, statements=statements)
    asked = answer_inputs(o, task, handle, questions, generation)
    name = task.name if task else Path(o.answers or "").stem
    return Plan(
        name=name,
        folder=run_folder(o, name),
        task=task,
        handle=handle,
        questions=questions,
        splits=tuple(split_examples(questions.examples, o.seed)),
        limit=o.limit,
        generation=generation,
        max_new_tokens=o.new_tokens(task),
        exact=exact,
        reading=reading,
        fitting=fitting,
        beside=beside,
        seed=o.seed,
        answer_inputs=asked,
        inputs=run_inputs(o, asked, exact, reading, fitting, beside, questions.facts["columns"]),
    )


def read_questions(
    o: Options, task: Task | None, handle: ModelHandle, new: int | None
) -> Questions:
    """What is asked, or was asked elsewhere; `new` are the tokens that an answer may have."""
    if o.answers is not None:
        found = given_questions(Path(o.answers), task, handle, limit=o.limit)
    else:
        assert task is not None  # checked with the options
        found = task_questions(
            task,
            handle,
            o.data,
            limit=o.limit,
            thinking=o.thinking,
            max_new_tokens=new,
            offline=o.offline,
        )
    columns = found.content_of((POLARITY, *SOURCES))
    return replace(found, facts={**found.facts, "columns": columns})


def exact_rule(
    o: Options, task: Task | None, questions: Questions, find: Find = find_model
) -> ExactRule:
    """Which rule finds the exact answers, and who copies them.

    Args:
        o: the options.
        task: the task whose answers are looked at; None for statements and for answers without one.
        questions: with the answers made elsewhere.
        find: finds the extractor.

    Raises:
        UsageError: there is nothing to find, or the extractor generates nothing.
    """
    extractor, asked, given = None, o.exact_answer, questions.given
    if o.extractor_model is not None:
        extractor = find(o.extractor_model, offline=o.offline)
    if task is None or (given is not None and any(g.exact_given for g in given)):
        if asked or o.extractor_model:
            why = (
                "statements have no exact answers"
                if given is None
                else "the file of --answers says where exact answers are"
            )
            raise UsageError(
                f"--exact-answer and --extractor-model do not apply here: {why}. Leave them out."
            )
        return ExactRule(GIVEN, GIVEN, None)
    if extractor is not None and not extractor.causal:
        raise UsageError(
            f"--extractor-model {extractor.identity.name!r} ({extractor.identity.architecture}) "
            "generates nothing. Name a decoder."
        )
    if extractor is not None:
        blind = MODEL_RULE
    else:
        blind = asked if asked is not None and asked != GOLD else task.exact_answer.rule
    return ExactRule(GOLD if asked == GOLD else blind, blind, extractor)


def plan_reading(
    o: Options, handle: ModelHandle, positions: tuple[str, ...], layers: tuple[int, ...]
) -> Reading:
    """Sites and layers of a run.

    Raises:
        UsageError: the model has none of the sites asked for, or vectors narrower than `--width`.
    """
    identity, width = handle.identity, o.width
    sites = plan_sites(handle.skeleton, identity.n_layers, o.sites, layers)
    layout = site_layouts(sites)
    if not layout:
        reasons = sorted(set(sites.absent.values()))
        raise UsageError(
            f"{identity.name!r} ({identity.architecture}) has none of {', '.join(sites.sites)}: "
            f"{'; '.join(reasons)}."
        )
    narrow = {site: min(at.widths) for site, at in layout.items() if site != "resid"}
    if width is not None and not narrow:
        raise UsageError(
            f"--width {width} projects components, and this run reads resid only. Add --sites all, "
            "or leave it out."
        )
    if width is not None and width > min(narrow.values()):
        site = min(narrow, key=lambda name: narrow[name])
        raise UsageError(
            f"--width {width} is wider than {site}, which has {narrow[site]}. Take {narrow[site]} "
            "or less."
        )
    if o.states is not None:
        sites, layout = restrict(sites, layout, o.states, o.layers)
    return Reading(positions, layers, sites, layout, o.states_dtype, o.batching, o.states)


def _fitting(o: Options) -> Fitting:
    """How cells are fitted; the probe's default number of shuffles is what it can afford."""
    probe, device = get_probe(o.probe, o.solver), pick_device(o.model.device)
    asked = 0 if "shuffles" in o.skip else o.shuffles
    return Fitting(
        probe=probe,
        shuffles=asked if asked is not None else SHUFFLES * probe.batched,
        width=o.width,
        device=str(device) if device.type == "cuda" else None,
        inputs=probe_inputs(o),
    )


def _beside(o: Options, handle: ModelHandle, find: Find, *, statements: bool) -> Beside:
    """What is reported beside the map, its models found but not loaded."""
    encoder = nli = judge = None
    if o.encoder is not None:
        encoder = find_encoder(o.encoder, device=o.model.device, offline=o.offline, find=find)
    if o.nli is not None:
        nli = find_inference(o.nli, device=o.model.device, offline=o.offline, find=find)
    if o.judge_model is not None and not statements:  # which come with their labels
        judge = find(o.judge_model, offline=o.offline)
    return Beside(
        skip=o.skip,
        controls=o.controls,
        detectors=o.detectors,
        drawing=Drawing.asked(o.samples, o.temperature, o.top_p, o.seed),
        encoder=encoder,
        nli=nli,
        judge=judge,
        label_noise=o.label_noise,
        train_sizes=o.train_sizes,
        repeat_splits=o.repeat_splits,
        attribution=o.attribution or o.ablation,
        ablation=o.ablation,
        neutral=open_neutral(o.neutral, asdict(handle.identity)) if o.neutral else None,
        keep_tokens=o.keep_tokens,
    )


def probe_inputs(o: Options) -> list[Any]:
    """Everything that decides the fits of a cell."""
    probe = get_probe(o.probe, o.solver)
    numbers = [*probe.grid, TOL, ROUGH, MAX_ITER, MIN_CLASS, MOVED]
    return [o.probe, probe.source, o.solver, o.shuffles, o.width, o.seed, numbers]


def answer_inputs(
    o: Options, task: Task | None, handle: ModelHandle, questions: Questions, generation: str
) -> dict[str, Any]:
    """Everything that decides the answers."""
    return {
        "model": handle.identity.key(),
        "task": task.hash if task else None,
        "data": questions.facts["sha256"],
        "prompts": content_key({"ids": questions.prompt_ids}),
        "batching": [HOST_TOKENS, HOST_EXAMPLES, SHARD],
        "generation": generation,
        **alike_key(handle.skeleton.config),
        "given": questions.given is not None,
        "max_new_tokens": o.max_new_tokens,
        "versions": versions(),
    }


def run_inputs(
    o: Options,
    asked: dict[str, Any],
    exact: ExactRule,
    reading: Reading,
    fitting: Fitting,
    beside: Beside,
    columns: str | None,
) -> dict[str, Any]:
    """Everything that decides what a run's record says."""
    return {
        "generation": asked,
        "probe": fitting.inputs,
        "attribution": o.attribution,
        "ablation": o.ablation,
        "positions": reading.positions,
        "layers": reading.layers,
        "sites": o.sites,
        "states": None if o.states is None else read_manifest(find_states(o.states))[0]["key"],
        "states_dtype": o.states_dtype,
        "batching": o.batching,
        "exact_answer": exact.name,
        "extractor": exact.extractor.identity.key() if exact.extractor else None,
        "judge_model": beside.judge.identity.key() if beside.judge else None,
        "controls": sorted(set(o.controls)),
        **({} if beside.drawing is None else {"drawing": beside.drawing.inputs}),
        "skip": sorted(set(o.skip)),
        "encoder": beside.encoder.identity.key() if beside.encoder else None,
        **({} if beside.nli is None else {"nli": beside.nli.identity.key()}),
        "train_sizes": o.train_sizes,
        "repeat_splits": o.repeat_splits,
        "label_noise": o.label_noise,
        "neutral": beside.neutral.record["key"] if beside.neutral else None,
        **({} if columns is None else {"columns": columns}),
        "protocol": PROTOCOL_VERSION,
        "versions": versions(),
        **({"detectors": sorted(set(o.detectors))} if o.detectors else {}),
    }
