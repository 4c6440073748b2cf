"""The stage that draws further answers to each question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from probebench.models.decoding.drawing import Drawing
from probebench.models.generate import Request, draw, stop_texts
from probebench.models.handles import ModelHandle
from probebench.models.passes.batches import Budget
from probebench.stages.engine import Models, Work
from probebench.stages.exact import spans_of
from probebench.stages.labelled import judged, placed
from probebench.stages.parquet import answers_bytes, read_answers_bytes
from probebench.stages.plan import Plan
from probebench.stages.sampling.samples import Samples
from probebench.stages.stage import Runner, Stage, in_order
from probebench.types import Answer, LabelledAnswer


@dataclass(frozen=True, eq=False)
class Drawn(Stage[list[list[Answer]]]):
    """Several answers to each prompt."""

    plan: Plan
    drawing: Drawing
    name: ClassVar[str] = "samples"
    title: ClassVar[str] = "Drawing further answers"
    unit: ClassVar[str] = "questions"
    suffix: ClassVar[str] = "parquet"
    budget_name: ClassVar[str] = "samples"

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        return {"answers": self.plan.answer_inputs, "drawing": self.drawing.inputs}

    @cached_property
    def requests(self) -> list[Request]:
        """(example,) the prompts."""
        q = self.plan.questions
        return [Request(e.id, ids) for e, ids in zip(q.examples, q.prompt_ids, strict=True)]

    @cached_property
    def lengths(self) -> list[int]:
        return [len(r.prompt_ids) for r in self.requests]

    @property
    def needs(self) -> ModelHandle:
        return self.plan.handle

    def first_budget(self, models: Models) -> Budget:
        return models.measured(self.needs, max(self.lengths) + (self.plan.max_new_tokens or 0))

    def compute(self, rows: list[int], work: Work) -> list[list[Answer]]:
        plan = self.plan
        assert plan.task is not None  # else nothing is generated
        return draw(
            work.models.get(plan.handle),
            [self.requests[i] for i in rows],
            plan.max_new_tokens or 0,
            plan.stops,
            stop_texts(plan.handle, plan.task.generation),
            self.drawing,
            work.budget(),
        )

    def pack(self, found: list[list[Answer]], rows: list[int]) -> bytes:
        return answers_bytes([a for some in found for a in some])

    def unpack(self, content: bytes) -> list[list[Answer]]:
        every, n = read_answers_bytes(content), self.drawing.n
        return [every[i : i + n] for i in range(0, len(every), n)]

    def tokens(self, found: list[list[Answer]], rows: list[int]) -> int:
        """Prompts once, and all answers."""
        return sum(
            self.lengths[i] + sum(len(a.answer_ids) for a in some)
            for i, some in zip(rows, found, strict=True)
        )


def drawn_samples(plan: Plan, runner: Runner) -> Samples | None:
    """Further answers with label and exact answer; None where none were asked for."""
    drawing = plan.beside.drawing
    if drawing is None:
        return None
    found = in_order(runner.run(Drawn(plan, drawing)))
    n = drawing.n
    answers = _located(plan, runner, [a for some in found for a in some], n)
    each = tuple(tuple(answers[i : i + n]) for i in range(0, len(answers), n))
    return Samples(each, drawing.temperature, drawing.top_p)


def _located(
    plan: Plan, runner: Runner, answers: Sequence[Answer], n: int
) -> Sequence[LabelledAnswer]:
    """Answers, `n` to each example, as the greedy ones are judged and located."""
    examples = [e for e in plan.examples for _ in range(n)]
    splits = [s for s in plan.splits for _ in range(n)]
    said = [plan.reply(a)[1] for a in answers]
    labelled = judged(examples, answers, said, [None] * len(answers), splits, plan.judge)
    spans = spans_of(plan, runner, examples, answers)
    return [placed(plan, a, span) for a, span in zip(labelled, spans, strict=True)]
