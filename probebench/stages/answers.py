"""The stages up to labelled answers: generation and exact answers. Each is saved shard by shard."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from probebench.errors import UsageError
from probebench.files import Background, ShardStore, content_key, shard_name
from probebench.job.options import Options
from probebench.job.record import versions
from probebench.models.asking import gather
from probebench.models.blocks.sites import resolve_layers
from probebench.models.copier import MAX_NEW_TOKENS, Copier, read_spans_bytes, spans_bytes
from probebench.models.generate import (
    Request,
    generate,
    pick_generation,
    score_answers,
    stop_texts,
    stop_tokens,
)
from probebench.models.loading import LoadedModel, ModelHandle, load_model
from probebench.models.passes.batches import BATCH_TOKENS, MAX_BATCH, Budget
from probebench.models.passes.embed import find_encoder
from probebench.models.passes.padding import alike_key
from probebench.models.untrained import check_untrained
from probebench.progress import Progress
from probebench.stages import parquet
from probebench.stages.budgets import Budgets
from probebench.stages.exact import GIVEN, Finder
from probebench.stages.labels import Asked, check_classes, judged
from probebench.states.extract import SHARD, plan_shards
from probebench.states.positions import PUBLISHED, STATEMENTS, resolve_positions
from probebench.tasks.exact.rules import declines
from probebench.tasks.prompts import encode_statement
from probebench.tasks.schema import Generation, Task
from probebench.tasks.split import split_examples
from probebench.tasks.thinking import place_answer, reply_start, thinking_ids
from probebench.types import Answer, LabelledAnswer, Span, SplitName

T = TypeVar("T")


class Stages:
    """The stages of one run up to its labels, each found again by its content key or computed."""

    def __init__(
        self, settings: Options, task: Task | None, handle: ModelHandle, progress: Progress
    ) -> None:
        self.settings, self.task, self.handle, self.progress = settings, task, handle, progress
        self.name = task.name if task else Path(settings.answers or "").stem
        self.folder = settings.folder(self.name)
        self.budgets = Budgets(self.folder, progress.begun)
        self.statements = task is not None and task.kind == "statements"
        if not handle.causal and not self.statements:
            raise UsageError(
                f"{handle.identity.name!r} ({handle.identity.architecture}) generates nothing, so "
                "it can only run statement tasks."
            )
        self.generation = pick_generation(handle, settings.generation) if handle.causal else "plain"
        self.positions = resolve_positions(
            settings.positions, STATEMENTS if self.statements else PUBLISHED
        )
        self.layers = resolve_layers(settings.layers, handle.identity.n_layers)
        self.marks = thinking_ids(handle.tokenizer)
        self._loaded: LoadedModel | None = None
        if "random-model" in settings.controls:
            check_untrained(handle)
        asked = gather(settings, task, handle)
        self.examples, self.prompt_ids, self.given, self.facts = (
            asked.examples,
            asked.prompt_ids,
            asked.given,
            asked.facts,
        )
        self.notes = (*handle.notes, *asked.notes)
        self.finder = Finder(settings, None if self.statements else task, asked.given)
        self.finder.check()

    @property
    def max_new_tokens(self) -> int | None:
        """Where the model's answers are cut off; None where it generates none."""
        if self.statements or self.given is not None or self.task is None:
            return None
        return self.settings.max_new_tokens or self.task.generation.max_new_tokens

    @property
    def splits(self) -> list[SplitName]:
        """The split of each example."""
        return split_examples(self.examples, self.settings.seed)

    @cached_property
    def stops(self) -> frozenset[int]:
        """Tokens that end an answer; looked up once, since base prompts need a pass over the whole
        vocabulary."""
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

    def free(self) -> None:
        """Give the model's memory back; it is loaded again when it is next needed."""
        import torch

        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @cached_property
    def encoder(self) -> ModelHandle | None:
        """The text encoder of the text-embedding baseline, found but not loaded; None where none
        was given."""
        s = self.settings
        return (
            None
            if s.encoder is None
            else find_encoder(s.encoder, device=s.model.device, offline=s.offline)
        )

    def loader(self, handle: ModelHandle | None) -> Callable[[], LoadedModel]:
        """Loads another model when it is first needed; None: the run's own."""
        if handle is None:
            return lambda: self.loaded
        return cache(lambda: load_model(handle, offline=self.settings.offline))

    # -- content keys ------------------------------------------------------------------------------

    def answer_inputs(self) -> dict[str, Any]:
        """Everything that decides the answers."""
        return {
            "model": self.handle.identity.key(),
            "task": self.task.hash if self.task else None,
            "data": self.facts["sha256"],
            "prompts": content_key({"ids": self.prompt_ids}),
            "batching": [BATCH_TOKENS, MAX_BATCH, SHARD],
            "generation": self.generation,
            **alike_key(self.handle.skeleton.config),
            "given": self.given is not None,
            "max_new_tokens": self.settings.max_new_tokens,
            "versions": versions(),
        }

    # -- answers -----------------------------------------------------------------------------------

    def budget(
        self, name: str, inputs: Mapping[str, Any], longest: int, loaded: Callable[[], LoadedModel]
    ) -> Callable[[], Budget]:
        """What a batch of generated answers may hold: measured when first needed, then kept."""

        def find() -> Budget:
            from probebench.models.passes.memory import probe_budget

            return probe_budget(loaded(), longest)

        return self.budgets.get(name, inputs, find)

    def sharded(
        self,
        name: str,
        inputs: Mapping[str, Any],
        lengths: Sequence[int],
        title: str,
        compute: Callable[[list[int]], T],
        pack: Callable[[T, list[int]], bytes],
        suffix: str,
        loaded: Callable[[], LoadedModel],
    ) -> tuple[ShardStore, list[list[int]]]:
        """Compute the shards of a stage that are not there yet, with the model that `loaded` gives.

        One shard is packed and written while the next is computed, so at most two are in memory.
        """
        stage, shards = ShardStore(self.folder, name, inputs), plan_shards(lengths)
        missing = [i for i in range(len(shards)) if not stage.has(shard_name(i, suffix))]
        if missing:
            loaded()  # so that its progress line comes before this stage's
            done = len(lengths) - sum(len(shards[i]) for i in missing)
            with (
                self.progress.stage(title, len(lengths), "answers", done) as counter,
                Background() as writer,
            ):
                for i in missing:
                    found = compute(shards[i])
                    writer.wait()
                    content = pack(found, shards[i])
                    del found  # before the next shard is computed
                    writer.submit(stage.write, shard_name(i, suffix), content)
                    self.progress.count_tokens(title, sum(lengths[k] for k in shards[i]))
                    counter.advance(len(shards[i]))
        return stage, shards

    def answers(self) -> list[Answer]:
        """The model's answers, generated or given; for statements the given text."""
        if (known := self.known()) is not None:
            return self._scored(known)
        task = self.task
        assert task is not None  # no given answers, so a task
        wanted = [Request(e.id, ids) for e, ids in zip(self.examples, self.prompt_ids, strict=True)]
        new = self.max_new_tokens or 0
        longest = max(len(w.prompt_ids) for w in wanted) + new
        budget = self.budget("answers", self.answer_inputs(), longest, lambda: self.loaded)

        def answer(rows: list[int]) -> list[Answer]:
            texts = stop_texts(self.handle, task.generation)
            some = [wanted[i] for i in rows]
            return generate(
                self.loaded, some, new, self.stops, texts, how=self.generation, budget=budget()
            )

        return self.collect(
            "answers", [len(w.prompt_ids) for w in wanted], "Generating answers", answer
        )

    def known(self) -> list[Answer] | None:
        """Statements, and answers made elsewhere, still without scores; None where the model is to
        answer."""
        none = np.zeros(0, dtype=np.float32)
        if self.statements:  # sequences whose first token is the prompt
            pairs = zip(self.examples, self.prompt_ids, strict=True)
            return [
                Answer(e.id, ids[:1], ids[1:], False, e.question, none, none, none)
                for e, ids in pairs
            ]
        if self.given is None:
            return None
        return [
            Answer(g.example.id, g.prompt_ids, g.answer_ids, g.stopped, g.text, none, none, none)
            for g in self.given
        ]

    def _scored(self, known: Sequence[Answer]) -> list[Answer]:
        """What is there already, with log-probabilities where the model has them."""
        budget = self.budgets.get("score", self.answer_inputs(), lambda: Budget(BATCH_TOKENS // 2))

        def score(rows: list[int]) -> list[Answer]:
            if not self.handle.causal:
                return [known[i] for i in rows]
            scores = score_answers(
                self.loaded,
                [(known[i].prompt_ids, known[i].answer_ids) for i in rows],
                budget=budget(),
            )
            return [
                replace(known[i], logprobs=p, logits=z, entropies=h)
                for i, (p, z, h) in zip(rows, scores, strict=True)
            ]

        name, title = (
            ("statements", "Reading statements")
            if self.statements
            else ("score", "Scoring answers")
        )
        return self.collect(name, [len(a.ids) for a in known], title, score)

    def collect(
        self,
        name: str,
        lengths: Sequence[int],
        title: str,
        compute: Callable[[list[int]], list[Answer]],
        inputs: Mapping[str, Any] | None = None,
        loaded: Callable[[], LoadedModel] | None = None,
    ) -> list[Answer]:
        """Answers of a stage, shard by shard, in the order of `lengths`."""

        def pack(found: list[Answer], rows: list[int]) -> bytes:
            if name not in ("score", "statements"):  # whose lengths have the answers in them
                self.progress.count_tokens(title, sum(len(a.answer_ids) for a in found))
            return parquet.answers_bytes(found)

        stage, shards = self.sharded(
            name,
            inputs or self.answer_inputs(),
            lengths,
            title,
            compute,
            pack,
            "parquet",
            loaded or (lambda: self.loaded),
        )
        found: dict[int, Answer] = {}
        for i, rows in enumerate(shards):
            found.update(
                zip(
                    rows,
                    parquet.read_answers_bytes(stage.read(shard_name(i, "parquet"))),
                    strict=True,
                )
            )
        return [found[i] for i in range(len(lengths))]

    def exact_spans(self, answers: Sequence[Answer]) -> list[Span | None]:
        """Where the exact answers stand."""
        if self.finder.rule == GIVEN:
            return (
                [g.exact for g in self.given] if self.given is not None else [None] * len(answers)
            )
        replies = [self.reply(a) for a in answers]
        spans = self.finder.spans(self.examples, [text for _, text in replies], self._copied_spans)
        return [
            s and Span(s.start + k, s.end + k) for s, (k, _) in zip(spans, replies, strict=True)
        ]

    def reply(self, answer: Answer) -> tuple[int, str]:
        """What is judged: the text after thinking, and where it begins in `answer.text`; empty when
        there is no final answer."""
        marks = None if self.statements else self.marks
        start = reply_start(
            self.handle.tokenizer, marks, answer.prompt_ids, answer.answer_ids, answer.text
        )
        return start, answer.text[start:]

    def _copied_spans(self, said: Sequence[str]) -> list[Span | None]:
        """What a language model copies out of the replies; None for refusals, of which it is not
        asked."""
        rows = [i for i, text in enumerate(said) if not declines(text)]
        handle, loaded = self.finder.extractor or self.handle, self.loader(self.finder.extractor)
        copier = Copier(
            handle,
            [self.examples[i].id for i in rows],
            [self.examples[i].question for i in rows],
            [said[i] for i in rows],
        )
        if not rows:
            return [None] * len(said)
        inputs, stops = (
            {**copier.inputs(), "versions": versions()},
            stop_tokens(handle, Generation(stop=("\n",))),
        )
        longest, room = max(copier.lengths) + MAX_NEW_TOKENS, handle.max_length
        if room is not None and longest > room:
            raise UsageError(
                f"{handle.identity.name!r} holds {room} tokens, and asking it for an exact answer "
                f"takes up to {longest}. Take "
                f"--exact-answer new_words, or --extractor-model with a model that holds more; the "
                "answers are kept."
            )
        budget = self.budget("exact", inputs, longest, loaded)

        def copy(some: list[int]) -> list[Span | None]:
            return copier.copy(loaded(), some, stops, budget())

        stage, shards = self.sharded(
            "exact",
            inputs,
            copier.lengths,
            "Finding exact answers",
            copy,
            lambda spans, _: spans_bytes(spans),
            "json",
            loaded,
        )
        found: list[Span | None] = [None] * len(said)
        for i, shard in enumerate(shards):
            for k, span in zip(
                shard, read_spans_bytes(stage.read(shard_name(i, "json"))), strict=True
            ):
                found[rows[k]] = span
        return found

    def labels(self, answers: Sequence[Answer], *, keep: bool = True) -> list[LabelledAnswer]:
        """Answers with label and split; exact answers are not looked for.

        Args:
            answers: generated, or `known` before.
            keep: write them down when they are refused.

        Raises:
            LabelError: no probe can be fitted to these labels.
        """
        s, task = self.settings, self.task
        given = (
            [e.label for e in self.examples]
            if self.given is None
            else [g.label for g in self.given]
        )
        judge, said = task.judge if task else "aliases", [self.reply(a)[1] for a in answers]
        found = judged(self.examples, answers, said, given, self.splits, judge)
        if self.given is not None:
            found = [replace(a, ended=g.ended) for a, g in zip(found, self.given, strict=True)]
        asked = Asked(self.statements, s.limit, self.max_new_tokens, brought=self.given is not None)
        check_classes(found, asked, self.folder if keep else None)
        return found

    @property
    def label_facts(self) -> dict[str, int]:
        """How many labels the judge decided, and how many came with the statements or answers."""
        given = (
            [e.label for e in self.examples]
            if self.given is None
            else [g.label for g in self.given]
        )
        judged = sum(label is None for label in given)
        return {"judged": judged, "given": len(given) - judged}

    def labelled(self) -> list[LabelledAnswer]:
        """Answers with label, exact answer and split; labels come first, since without both classes
        all else is in vain."""
        known = self.known()
        early = None if known is None else self.labels(known)  # before the model is loaded
        answers = self.answers()
        found = (
            self.labels(answers)
            if early is None
            else [replace(a, answer=b) for a, b in zip(early, answers, strict=True)]
        )
        tokenizer, marks, result = (
            self.handle.tokenizer,
            None if self.statements else self.marks,
            [],
        )
        for a, span in zip(found, self.exact_spans(answers), strict=True):
            ids = a.answer.prompt_ids, a.answer.answer_ids
            tokens = place_answer(tokenizer, marks, ids, stopped=a.answer.stopped, exact=span)
            if self.statements:
                last = encode_statement(tokenizer, a.example.question, causal=self.handle.causal)[1]
                tokens = replace(tokens, statement_last=last)
            result.append(replace(a, exact=span if tokens.exact else None, tokens=tokens))
        return result
