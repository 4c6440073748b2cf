"""The first answers of a run once more, each alone: does it change what a model says, that it
answers in batches?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from probebench.models.generate import Request, generate, stop_texts
from probebench.models.passes.agreement import EXAMPLES, TOKENS, agreement
from probebench.stages.answers import Stages
from probebench.types import Answer, LabelledAnswer


def alone_facts(stages: Stages, answers: Sequence[LabelledAnswer]) -> dict[str, Any] | None:
    """How the first answers differ from those that the same prompts get alone; None where the model
    answered nothing.

    They are generated when first asked for, without a cache of fixed size, and kept with the run.
    """
    task, most = stages.task, stages.max_new_tokens
    if task is None or most is None:
        return None
    first = [a.answer for a in answers[:EXAMPLES]]
    texts = stop_texts(stages.handle, task.generation)

    def one_by_one(rows: list[int]) -> list[Answer]:
        wanted = [Request(first[i].id, first[i].prompt_ids) for i in rows]
        return [
            generate(stages.loaded, [r], min(most, TOKENS), stages.stops, texts)[0] for r in wanted
        ]

    alone = stages.collect(
        "alone", [len(a.prompt_ids) for a in first], "Answering alone", one_by_one
    )
    return agreement(first, alone)
