"""Parts of the record that say what else a probe could be reading."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from probebench.record.parts.described import Rate
from probebench.record.parts.part import Count, Difference, Ends, Items, Line, Part, Share


class Confound(Part):
    """An AUROC beside the probe's on the same examples."""

    n: Count
    n_correct: Count
    probe_auroc: Share | None
    auroc: Share | None
    auroc_95: Ends
    probe_minus_this: Difference | None
    probe_minus_this_95: Ends


class Linear(Confound):
    """A linear model of the confounds."""

    C: float | None


class Residual(Confound):
    """The probe after the confounds are regressed out."""

    fitted_on: Literal["train", "validation"]
    r2: float | None


class TextEmbedding(Part):
    """The row of the text-embedding baseline; without an encoder only the reason."""

    auroc: Share | None
    auroc_95: Ends = (None, None)
    n: Count | None = None
    probe_minus_this: Difference | None = None
    probe_minus_this_95: Ends = (None, None)
    reason: str | None = None


class AnswerInPrompt(Part):
    """Prompts in which an accepted answer stands."""

    flag: bool | None
    """Null where nothing is known."""
    declared: bool | None
    """Does the task give a context or options?"""
    all: Rate
    correct: Rate
    wrong: Rate


class Within(Part):
    """The probe's AUROC over the pairs of a correct and a wrong test answer of one stratum."""

    by: Line
    """What the answers of a stratum share; `confounds`: deciles of their own model's decision."""
    n: Count
    """Test examples in strata that hold both classes."""
    n_strata: Count
    """Strata that hold both classes."""
    n_pairs: Annotated[int, Field(ge=0)]
    share_of_pairs: Share
    """Of all pairs of a correct and a wrong test answer."""
    probe_auroc: Share | None
    """Over all pairs."""
    auroc: Share | None
    auroc_95: Ends


class Confounds(Part):
    """What a probe could be reading instead of right and wrong."""

    features: Items[str]
    left_out: dict[str, str]
    """Features that this task does not have, and why."""
    linear: Linear | None
    residual: Residual | None
    residual_validation: Residual | None = None
    within: Items[Within] = ()
    text_embedding: TextEmbedding
    answer_in_prompt: AnswerInPrompt | None
    """Null for statements."""
