"""Detectors that need forward passes of their own: p(True), a text encoder, an untrained model.
Each is saved as it goes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.detectors.p_true_prompts import asked_text, letter_tokens, p_true_prompts
from probebench.detectors.text import fit_rows, whole_text
from probebench.files import ShardStore, content_key, shard_name
from probebench.job.record import versions
from probebench.metrics.auroc import auroc
from probebench.models.blocks.sites import plan_sites
from probebench.models.loading import load_model
from probebench.models.passes.batches import BATCH_TOKENS, Budget
from probebench.models.passes.choices import choice_scores
from probebench.models.passes.embed import embed, encode_texts
from probebench.models.untrained import untrained
from probebench.probes.fit import Job
from probebench.probes.labels import Labels
from probebench.scoring.select import cell_facts, select
from probebench.stages import parquet
from probebench.stages.answers import Stages
from probebench.stages.fits import Cells
from probebench.states.extract import Extractor, site_layouts
from probebench.states.positions import present, readable_when
from probebench.states.reader import StatesReader, states_bytes
from probebench.tasks.prompts import encode_prompt
from probebench.types import Cell, CellFit, Detector, Floats, LabelledAnswer, When, split_index

Ids = tuple[int, ...]
RANDOM_PROBES = "probes.parquet"


def detectors_beside(cells: Cells, job: Job, fits: Sequence[CellFit]) -> list[Detector]:
    """Text embedding, p(True), and the controls that were asked for, in the order of tables."""
    stages, answers = cells.stages, cells.answers
    found = text_embedding(stages, answers, cells.labels)
    if "p-true" not in stages.settings.skip:
        found += p_true(stages, answers)
    if "random-model" in stages.settings.controls:
        found.append(random_model(cells, job, select(fits).cell))
    return found


# -- p(True) ---------------------------------------------------------------------------------------


def p_true(stages: Stages, answers: Sequence[LabelledAnswer]) -> list[Detector]:
    """What the model says when asked whether its answer is true, and whether its exact answer is;
    nothing for encoders.

    Nothing is fitted, so training examples are not asked about. NaN also where a prompt does not
    fit into the context.
    """
    if not stages.handle.causal:
        return []
    when: When = "before" if stages.statements else "after"
    kinds = {"p_true": "p(True)" if stages.statements else "p(True), answer"}
    if not stages.statements:
        kinds["p_true_exact"] = "p(True), exact answer"
    rows = [i for i, a in enumerate(answers) if a.split != "train"]
    prompts = {
        name: [_pair(stages, answers[i], exact=name == "p_true_exact") for i in rows]
        for name in kinds
    }
    limit = stages.handle.max_length
    fits = {
        name: [p if p and (limit is None or max(map(len, p)) <= limit) else None for p in pairs]
        for name, pairs in prompts.items()
    }
    letters = cache(lambda: letter_tokens(stages.handle.tokenizer))
    inputs = {"answers": stages.answer_inputs(), "prompts": content_key({"pairs": fits})}
    budget = stages.budgets.get("p-true", inputs, lambda: Budget(BATCH_TOKENS // 2))

    def ask(shard: list[int]) -> pd.DataFrame:
        pairs = [fits[name][i] for i in shard for name in kinds]
        unique = list(
            dict.fromkeys(ids for pair in pairs if pair for ids in pair)
        )  # an answer may be its own exact answer
        scores = dict(
            zip(unique, choice_scores(stages.loaded, unique, *letters(), budget()), strict=True)
        )
        return pd.DataFrame([_averages(pair, scores) for pair in pairs])

    lengths = [
        sum(len(ids) for pair in both if pair for ids in pair)
        for both in zip(*fits.values(), strict=True)
    ]
    stage, shards = stages.sharded(
        "p-true",
        inputs,
        lengths,
        "Asking for p(True)",
        ask,
        _packed,
        "parquet",
        lambda: stages.loaded,
    )
    values = np.full((len(answers), len(kinds), 2), np.nan)
    for k, shard in enumerate(shards):
        table = parquet.read_parquet_bytes(stage.read(shard_name(k, "parquet")))
        values[[rows[i] for i in shard]] = (
            table[["share", "mass"]].to_numpy().reshape(len(shard), len(kinds), 2)
        )
    test = [i for i, a in enumerate(answers) if a.split == "test"]
    found = []
    for k, (name, label) in enumerate(kinds.items()):
        too_long = sum(
            p is not None and f is None for p, f in zip(prompts[name], fits[name], strict=True)
        )
        mass = values[test, k, 1][np.isfinite(values[test, k, 1])]
        detail = {
            "letter_mass": float(mass.mean()) if len(mass) else float("nan"),
            "n_too_long": too_long,
        }
        found.append(Detector(name, label, values[:, k, 0], when=when, detail=detail))
    return found


def _pair(stages: Stages, a: LabelledAnswer, *, exact: bool) -> tuple[Ids, Ids] | None:
    """Both prompts about one answer, as token ids; None without an exact answer to ask about."""
    if exact and a.exact is None:
        return None
    said = (
        a.answer.text[a.exact.start : a.exact.end]
        if exact and a.exact
        else stages.reply(a.answer)[1]
    )
    tokenizer = stages.handle.tokenizer
    asked = asked_text(stages.task, a.example)
    first, second = p_true_prompts(tokenizer, asked, None if stages.statements else said)
    return encode_prompt(tokenizer, first), encode_prompt(tokenizer, second)


def _averages(pair: tuple[Ids, Ids] | None, scores: dict[Ids, Floats]) -> dict[str, float]:
    """p(True) over both orders, and how much of all probability the two letters have; NaN where
    nothing was asked."""
    if pair is None:
        return {"share": np.nan, "mass": np.nan}
    (a, mass), (other_a, other_mass) = (scores[ids] for ids in pair)
    return {
        "share": (a + (1 - other_a)) / 2,
        "mass": (mass + other_mass) / 2,
    }  # the second order has True at B


def _packed(table: pd.DataFrame, rows: list[int]) -> bytes:
    return parquet.parquet_bytes(table)


# -- text embedding --------------------------------------------------------------------------------


def text_embedding(
    stages: Stages, answers: Sequence[LabelledAnswer], labels: Labels
) -> list[Detector]:
    """Logistic regression on an encoder's vectors of question and answer; nothing where no encoder
    was given."""
    handle = stages.encoder
    if handle is None:
        return []
    ids, n_cut = encode_texts(handle, [whole_text(a) for a in answers])
    inputs = {
        "encoder": handle.identity.key(),
        "ids": content_key({"ids": ids}),
        "versions": versions(),
    }
    budget = stages.budgets.get("embedding", inputs, Budget)
    loaded = cache(lambda: load_model(handle, offline=stages.settings.offline))

    def read(shard: list[int]) -> pd.DataFrame:
        return pd.DataFrame({"vector": list(embed(loaded(), [ids[i] for i in shard], budget()))})

    stage, shards = stages.sharded(
        "embedding",
        inputs,
        [len(i) for i in ids],
        "Embedding texts",
        read,
        _packed,
        "parquet",
        loaded,
    )
    X = np.zeros((len(ids), handle.identity.width), dtype=np.float64)
    for k, shard in enumerate(shards):
        X[shard] = np.stack(
            parquet.read_parquet_bytes(stage.read(shard_name(k, "parquet"))).vector.to_list()
        )
    decisions, C = fit_rows(X, labels)
    label = "text embedding" if stages.statements else "text embedding, question + answer"
    when: When = "before" if stages.statements else "after"
    detail = {
        "C": C,
        "encoder": handle.identity.name,
        "revision": handle.identity.revision,
        "n_cut": n_cut,
    }
    return [Detector("text_embedding", label, decisions, when=when, detail=detail)]


# -- untrained model -------------------------------------------------------------------------------


def random_model(cells: Cells, job: Job, cell: Cell) -> Detector:
    """The probe of the selected cell on an untrained model that reads the same tokens, C chosen as
    for the trained one.

    In its detail also the untrained model's own best layer at that position, by validation.
    """
    stages, s = cells.stages, cells.settings
    ids, column = [a.answer.ids for a in cells.answers], cells.positions.index(cell.position)
    table = cells.table[:, [column]]
    inputs = {
        "answers": stages.answer_inputs(),
        "site": cell.site,
        "layers": stages.layers,
        "position": cell.position,
        "dtype": s.states_dtype,
        "batching": s.batching,
        "seed": s.seed,
        "content": content_key({"ids": ids, "table": table.tolist()}),
    }
    fitted = {
        "states": content_key(inputs),
        "y": cells.labels.y.tolist(),
        "splits": cells.labels.splits,
        "probe": s.probe_inputs(),
        "versions": versions(),
    }
    stage = ShardStore(stages.folder, "random-model-probes", fitted)
    if not stage.has(RANDOM_PROBES):
        reader, kept = _random_states(cells, cell, inputs, ids, table)
        own = replace(job, reader=reader, shuffles=0)
        wanted = [Cell(cell.site, layer, cell.position) for layer in reader.site(cell.site).layers]
        with stages.progress.stage("Fitting random model", len(wanted), "cells") as counter:
            fits = []
            for one in wanted:
                fits.append(own.fit(one))
                counter.advance()
        stage.write(RANDOM_PROBES, parquet.fits_bytes(fits))
        shutil.rmtree(kept.folder)  # vectors that say nothing are of no further use
    fits = parquet.read_fits_bytes(stage.read(RANDOM_PROBES))
    chosen = next(f for f in fits if f.cell == cell)
    best = select(fits)
    test = split_index(cells.labels.splits)["test"]
    there = test[np.isfinite(best.decisions[test])]
    own_best = {
        **cell_facts(best),
        "test_auroc": auroc(cells.labels.y[there], best.decisions[there]),
        "n_test": len(there),
    }
    detail = {**cell_facts(chosen), "seed": s.seed, "best_layer": own_best}
    when = readable_when(cell.position, given=stages.statements)
    return Detector(
        "probe_random_model", "probe, random model", chosen.decisions, "control", when, detail
    )


def _random_states(
    cells: Cells, cell: Cell, inputs: dict[str, Any], ids: Sequence[Ids], table: NDArray[np.int64]
) -> tuple[StatesReader, ShardStore]:
    """States of the untrained model at one position, in every layer that was read of the trained
    one."""
    stages, s = cells.stages, cells.settings
    n_layers = stages.handle.identity.n_layers

    @cache
    def extractor() -> Extractor:
        stages.free()  # so that two models are never in memory together
        loaded = untrained(stages.handle, s.seed)
        plan = plan_sites(loaded.base, n_layers, (cell.site,), stages.layers)
        return Extractor(loaded, plan, s.states_dtype, s.batching, zeros=True)

    def read(rows: list[int]) -> dict[str, NDArray[Any]]:
        return extractor()([ids[i] for i in rows], table[rows], [cell.position])

    stage, shards = stages.sharded(
        "random-model-states",
        inputs,
        [len(i) for i in ids],
        "Reading random model",
        read,
        states_bytes,
        "safetensors",
        lambda: extractor().loaded,
    )
    files = tuple(
        str((stage.folder / shard_name(i, "safetensors")).resolve()) for i in range(len(shards))
    )
    layout = site_layouts(plan_sites(stages.handle.skeleton, n_layers, (cell.site,), stages.layers))
    return StatesReader(
        files, tuple(map(tuple, shards)), layout, (cell.position,), present(table)
    ), stage
