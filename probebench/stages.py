"""The stages of a run that cost time: answers, exact answers, hidden states, probes. Each is saved shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from probebench import tables
from probebench.errors import UsageError
from probebench.exact import MODEL_MAX_NEW_TOKENS, MODEL_RULE, RULES, extraction_prompt, find_reply, gold_span
from probebench.extract import SHARD, Extractor, plan_shards
from probebench.fit import Labels, fit_cells
from probebench.gather import gather
from probebench.generate import BATCH_TOKENS, MAX_BATCH, Request, generate, requests, score_answers, stop_texts, stop_tokens
from probebench.judge import get_judge
from probebench.models import LoadedModel, ModelHandle, find_model, load_model
from probebench.opinion import MAX_NEW_TOKENS as OPINION_TOKENS
from probebench.opinion import agreement, opinion_prompt, read_opinion
from probebench.positions import PUBLISHED, STATEMENTS, locate, present, resolve_positions
from probebench.progress import Progress
from probebench.prompts import chat, encode_statement
from probebench.record import versions
from probebench.settings import Settings
from probebench.sites import resolve_layers
from probebench.spans import token_spans, tokens_of
from probebench.split import split_examples
from probebench.states import INDEX, StatesReader, states_bytes
from probebench.store import Stage, content_key
from probebench.tasks import Generation, Task
from probebench.types import Answer, Cell, CellFit, LabelledAnswer, Span, SplitName, TokenizedAnswer


class Stages:
    """The stages of one run up to its probes, each found again by its content key or computed."""

    def __init__(self, settings: Settings, task: Task | None, handle: ModelHandle, progress: Progress) -> None:
        self.settings, self.task, self.handle, self.progress = settings, task, handle, progress
        self.name = task.name if task else Path(settings.answers or "").stem
        self.folder = settings.folder(self.name)
        self.statements = task is not None and task.kind == "statements"
        if not handle.causal and not self.statements:
            raise UsageError(
                f"{handle.identity.name!r} ({handle.identity.architecture}) generates nothing, so it can only run statement tasks."
            )
        self.positions = resolve_positions(settings.positions, STATEMENTS if self.statements else PUBLISHED)
        self.layers = resolve_layers(settings.layers, handle.identity.n_layers)
        self._loaded: LoadedModel | None = None
        self.exact_rule = "given"
        asked = gather(settings, task, handle)
        self.examples, self.prompt_ids, self.given, self.facts = asked.examples, asked.prompt_ids, asked.given, asked.facts

    @property
    def splits(self) -> list[SplitName]:
        """The split of each example."""
        return split_examples(self.examples, self.settings.seed)

    @cached_property
    def stops(self) -> frozenset[int]:
        """Tokens that end an answer; looked up once, since base prompts need a pass over the whole vocabulary."""
        assert self.task is not None  # asked for only where the model answers a task
        return stop_tokens(self.handle, self.task.generation)

    @property
    def loaded(self) -> LoadedModel:
        """The model, loaded when first needed."""
        if self._loaded is None:
            with self.progress.stage("Loading model", 1, "model") as counter:
                self._loaded = load_model(self.handle, offline=self.settings.offline)
                counter.advance()
        return self._loaded

    # -- content keys ---------------------------------------------------------------------------------------------------

    def inputs(self) -> dict[str, Any]:
        """Everything that decides the numbers of this run."""
        s = self.settings
        return {
            "generation": self.answer_inputs(),
            "probe": s.probe,
            "seed": s.seed,
            "positions": self.positions,
            "layers": self.layers,
            "sites": s.sites,
            "states_dtype": s.states_dtype,
            "exact_answer": s.exact_answer,
            "judge_model": asdict(s.judge_model) if s.judge_model else None,
            "versions": versions(),
        }

    def answer_inputs(self) -> dict[str, Any]:
        return {
            "model": self.handle.identity.key(),
            "task": self.task.hash if self.task else None,
            "data": self.facts["sha256"],
            "prompts": content_key({"ids": self.prompt_ids}),
            "batching": [BATCH_TOKENS, MAX_BATCH, SHARD],
            "given": self.given is not None,
            "versions": versions(),
        }

    # -- answers --------------------------------------------------------------------------------------------------------

    def _sharded(self, name: str, inputs: Mapping[str, Any], lengths: Sequence[int], unit: str, title: str,
                 compute: Callable[[list[int]], bytes], suffix: str) -> tuple[Stage, list[list[int]]]:  # fmt: skip
        """Compute the shards of a stage that are not there yet."""
        stage, shards = Stage(self.folder, name, inputs), plan_shards(lengths)
        missing = [i for i in range(len(shards)) if not stage.has(shard_name(i, suffix))]
        if missing:
            if name != "opinion":
                _ = self.loaded  # so that its progress line comes before this stage's
            done = len(lengths) - sum(len(shards[i]) for i in missing)
            with self.progress.stage(title, len(lengths), unit, done) as counter:
                for i in missing:
                    stage.write(shard_name(i, suffix), compute(shards[i]))
                    counter.advance(len(shards[i]))
        return stage, shards

    def answers(self) -> list[Answer]:
        """The model's answers, generated or given; for statements the given text."""
        if self.statements:
            return self._statements()
        if self.given is not None:
            given = self.given
            sequences = [(g.prompt_ids, g.answer_ids) for g in given]

            def score(rows: list[int]) -> bytes:
                scores = score_answers(self.loaded, [sequences[i] for i in rows])
                return tables.answers_bytes([Answer(given[i].example.id, given[i].prompt_ids, given[i].answer_ids, given[i].stopped,
                                                     given[i].text, *x) for i, x in zip(rows, scores, strict=True)])  # fmt: skip

            return self._collect("score", [len(p) + len(a) for p, a in sequences], "Scoring answers", score)
        task = self.task
        assert task is not None  # no given answers, so a task
        wanted = [Request(e.id, ids) for e, ids in zip(self.examples, self.prompt_ids, strict=True)]

        def answer(rows: list[int]) -> bytes:
            stops, texts = self.stops, stop_texts(self.handle, task.generation)
            return tables.answers_bytes(
                generate(self.loaded, [wanted[i] for i in rows], task.generation.max_new_tokens, stops, texts)
            )

        return self._collect("answers", [len(w.prompt_ids) for w in wanted], "Generating answers", answer)

    def _statements(self) -> list[Answer]:
        """Statements as sequences whose first token is the prompt; with log-probabilities where the model has them."""
        ids = self.prompt_ids
        sequences = [(i[:1], i[1:]) for i in ids]
        none = np.zeros(0, dtype=np.float32)

        def score(rows: list[int]) -> bytes:
            wanted = [sequences[i] for i in rows]
            scores = score_answers(self.loaded, wanted) if self.handle.causal else [(none, none, none)] * len(rows)
            read = [Answer(self.examples[i].id, *sequences[i], False, self.examples[i].question, *x)
                    for i, x in zip(rows, scores, strict=True)]  # fmt: skip
            return tables.answers_bytes(read)

        return self._collect("statements", [len(i) for i in ids], "Reading statements", score)

    def _collect(
        self,
        name: str,
        lengths: Sequence[int],
        title: str,
        compute: Callable[[list[int]], bytes],
        inputs: Mapping[str, Any] | None = None,
    ) -> list[Answer]:
        stage, shards = self._sharded(name, inputs or self.answer_inputs(), lengths, "answers", title, compute, "parquet")
        found: dict[int, Answer] = {}
        for i, rows in enumerate(shards):
            found.update(zip(rows, tables.read_answers_bytes(stage.read(shard_name(i, "parquet"))), strict=True))
        return [found[i] for i in range(len(lengths))]

    def exact_spans(self, answers: Sequence[Answer]) -> list[Span | None]:
        """Where the exact answers stand."""
        if self.statements:
            return [None] * len(answers)
        if self.given is not None and (self.task is None or any(g.exact_given for g in self.given)):
            return [g.exact for g in self.given]
        assert self.task is not None  # no given answers, so a task
        exact = self.task.exact_answer
        self.exact_rule = self.settings.exact_answer or exact.rule
        if exact.rule == MODEL_RULE:
            spans = self._asked_spans(answers)
        else:
            spans = [RULES[exact.rule](exact, e, a.text) for e, a in zip(self.examples, answers, strict=True)]
        if self.settings.exact_answer == "gold":
            gold = [gold_span(e, a.text) for e, a in zip(self.examples, answers, strict=True)]
            spans = [g or s for g, s in zip(gold, spans, strict=True)]
        return spans

    def _asked_spans(self, answers: Sequence[Answer]) -> list[Span | None]:
        """What the model itself says its exact answers are."""
        tokenizer = self.handle.tokenizer
        prompts = [extraction_prompt(e.question, a.text) for e, a in zip(self.examples, answers, strict=True)]
        if tokenizer.chat_template:
            prompts = [chat(tokenizer, p) for p in prompts]
        wanted: list[Request] = requests([a.id for a in answers], prompts, self.handle)

        def ask(rows: list[int]) -> bytes:
            return tables.answers_bytes(generate(self.loaded, [wanted[i] for i in rows], MODEL_MAX_NEW_TOKENS, self.stops))

        replies = self._collect("exact", [len(w.prompt_ids) for w in wanted], "Finding exact answers", ask)
        return [find_reply(a.text, r.text) for a, r in zip(answers, replies, strict=True)]

    def labelled(self) -> list[LabelledAnswer]:
        """Answers with label, exact answer and split."""
        answers = self.answers()
        spans = self.exact_spans(answers)
        splits = self.splits
        judge = get_judge(self.task.judge if self.task else "aliases")
        tokenizer, result = self.handle.tokenizer, []
        for i, (example, answer, span) in enumerate(zip(self.examples, answers, spans, strict=True)):
            given = self.given[i].label if self.given is not None else example.label
            verdict = judge(example, answer.text) if given is None else None
            label = int(verdict.correct) if verdict else int(given or 0)
            exact = tokens_of(span, token_spans(tokenizer, answer.answer_ids)) if span else None
            n = len(answer.prompt_ids)
            last = encode_statement(tokenizer, example.question)[1] if self.statements else None
            tokens = TokenizedAnswer(n, len(answer.ids), (exact[0] + n, exact[1] + n) if exact else None, last)
            result.append(
                LabelledAnswer(
                    example,
                    answer,
                    label,
                    bool(verdict and verdict.refused),
                    span if exact else None,
                    tokens,
                    splits[i],
                )
            )
        return result

    def second_opinion(self, answers: Sequence[LabelledAnswer]) -> dict[str, Any] | None:
        """Agreement of the labels with another model's opinion, when one was asked for."""
        spec = self.settings.judge_model
        if spec is None or self.statements:
            return None
        handle = find_model(spec, offline=self.settings.offline)
        prompts = [opinion_prompt(a.example, a.answer.text) for a in answers]
        if handle.tokenizer.chat_template:
            prompts = [chat(handle.tokenizer, p) for p in prompts]
        wanted = requests([a.example.id for a in answers], prompts, handle)
        stops = stop_tokens(handle, Generation())
        loaded: list[LoadedModel] = []

        def ask(rows: list[int]) -> bytes:
            if not loaded:
                loaded.append(load_model(handle, offline=self.settings.offline))
            return tables.answers_bytes(generate(loaded[0], [wanted[i] for i in rows], OPINION_TOKENS, stops))

        prompt_key = content_key({"ids": [w.prompt_ids for w in wanted]})
        inputs = {"judge": handle.identity.key(), "prompts": prompt_key, "versions": versions()}
        replies = self._collect("opinion", [len(w.prompt_ids) for w in wanted], "Asking the judge model", ask, inputs)
        opinions = [read_opinion(r.text) for r in replies]
        return {"model": spec.name, "revision": handle.identity.revision, **agreement([a.label for a in answers], opinions)}

    # -- states and probes ------------------------------------------------------------------------------------------------

    def states(self, answers: Sequence[LabelledAnswer]) -> StatesReader:
        """Hidden states at every position of every layer."""
        table = locate([a.tokens for a in answers], self.positions)
        ids = [a.answer.ids for a in answers]
        inputs = {"answers": self.answer_inputs(), "layers": self.layers, "positions": self.positions, "sites": self.settings.sites,
                  "dtype": self.settings.states_dtype, "content": content_key({"ids": ids, "table": table.tolist()})}  # fmt: skip
        extractor: list[Extractor] = []

        def read(rows: list[int]) -> bytes:
            if not extractor:
                extractor.append(Extractor(self.loaded, self.layers, self.settings.states_dtype))
            return states_bytes(extractor[0]([ids[i] for i in rows], table[rows], self.positions), "resid", rows)

        stage, shards = self._sharded(
            "states", inputs, [len(i) for i in ids], "answers", "Reading hidden states", read, "safetensors"
        )
        files = tuple(str((stage.folder / shard_name(i, "safetensors")).resolve()) for i in range(len(shards)))
        reader = StatesReader(files, tuple(map(tuple, shards)), self.layers, self.positions, present(table))
        if not stage.has(INDEX):
            stage.write(INDEX, reader.index())
        self.states_stage = stage
        return reader

    def fits(self, reader: StatesReader, labels: Labels) -> list[CellFit]:
        """A probe for every cell, saved layer by layer."""
        inputs = {"states": self.states_stage.key, "y": labels.y.tolist(), "splits": labels.splits, "probe": self.settings.probe,
                  "versions": versions()}  # fmt: skip
        stage = Stage(self.folder, "probes", inputs)
        missing = [layer for layer in self.layers if not stage.has(shard_name(layer + 1, "parquet"))]
        if missing:
            cells = [Cell("resid", layer, position) for layer in missing for position in self.positions]
            total = len(self.layers) * len(self.positions)
            with self.progress.stage("Fitting probes", total, "cells", total - len(cells)) as counter:
                row: list[CellFit] = []
                for fit in fit_cells(reader, cells, labels, self.settings.probe):
                    row.append(fit)
                    counter.advance()
                    if len(row) == len(self.positions):
                        stage.write(shard_name(fit.cell.layer + 1, "parquet"), tables.fits_bytes(row))
                        row = []
        return [f for layer in self.layers for f in tables.read_fits_bytes(stage.read(shard_name(layer + 1, "parquet")))]


def shard_name(i: int, suffix: str) -> str:
    """File name of shard `i`."""
    return f"{i:05d}.{suffix}"
