"""What passes between the stages. Shapes stand beside each array; `None` or a mask means absent,
never a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Decisions, scores and metrics: all that is computed in double precision."""
Float32s = NDArray[np.float32]
AnyFloats = NDArray[np.floating[Any]]
"""Vectors in whatever precision a model, a file or an estimator has them."""
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
DetectorKind = Literal["probe", "ensemble", "baseline", "method", "control"]
"""A `method` is another detector of the field, where it is asked for, and no baseline of a run."""
When = Literal["before", "after"]
EMB = -1
"""Layer number of the embedding output, the row `emb` of site `resid`."""


class LabelledSpan(NamedTuple):
    """Characters `start:end` of an answer that are right or wrong."""

    start: int
    end: int
    label: int


@dataclass(frozen=True, slots=True)
class MarkedAnswer:
    """An answer in which spans are labelled 1 = right or 0 = wrong."""

    text: str
    spans: tuple[LabelledSpan, ...]
    n_lost: int
    """Labelled texts that do not stand in the answer."""


@dataclass(frozen=True, slots=True)
class Example:
    """One question of a task."""

    id: str
    question: str
    references: tuple[str, ...]
    """Accepted answers, the canonical one first. Empty when a label is given instead."""
    group: str
    """Examples of one group never cross a split."""
    split: SplitName | None = None
    """Official split, where the task keeps one."""
    wrong: tuple[str, ...] = ()
    """Answers known to be wrong; the other options of a choice."""
    label: int | None = None
    """Given label of a statement: 1 = true."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The source row, for prompts that use more than the question."""
    turns: tuple[tuple[str, str], ...] = ()
    """Of a transcript: (role, text) of each turn, the labelled one last."""
    marked: MarkedAnswer | None = None
    """An answer made elsewhere, of a task whose labels are inside answers."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The model's own reply to one example. Token ids are kept and never re-encoded."""

    id: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    """Generated ids, the stop token included when there is one."""
    stopped: bool
    """True when the last id is a stop token; False when the answer ran into `max_new_tokens`."""
    text: str
    """Decoded answer without the stop token and other special tokens."""
    logprobs: NDArray[np.float32]
    """(answer token,) natural-log probability of each generated id."""
    logits: NDArray[np.float32]
    """(answer token,) unnormalised score of each generated id."""
    entropies: NDArray[np.float32]
    """(answer token,) entropy in nats of the distribution each id was taken from."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and answer."""
        return self.prompt_ids + self.answer_ids


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start:end` of an answer's text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of one answer."""

    correct: bool
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Thinking:
    """Where a model's thinking stands, as indices into prompt + answer; None for what is absent."""

    first: int | None
    """First token of the thoughts; None when there are none between the delimiters."""
    last: int | None
    """Last token before the closing delimiter; None when the answer was cut off while thinking."""
    end: int | None
    """Last token of the closing delimiter; in the prompt when the template switches it off."""
    final: int | None
    """First generated token after thinking: where the final answer begins."""


@dataclass(frozen=True, slots=True)
class TokenizedAnswer:
    """Where things stand in one sequence of prompt and generated ids: all that a rule may see."""

    n_prompt: int
    n_total: int
    exact: tuple[int, int] | None
    """First and last token of the exact answer, as indices into the whole sequence."""
    statement_last: int | None = None
    """Last token of a given statement, before closing special tokens."""
    stop: int | None = None
    """The stop token; None when the answer was cut off."""
    thinking: Thinking | None = None
    """None where no delimiter says that the model thinks before it answers."""
    begin: int = 0
    """First token that a position may count to from the end: of a transcript's last turn."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledAnswer:
    """An answer with its label and the place of its exact answer."""

    example: Example
    answer: Answer
    label: int
    """1 = correct, 0 = wrong."""
    refused: bool
    exact: Span | None
    """Where the exact answer stands in `answer.text`; None when no rule found it."""
    tokens: TokenizedAnswer
    split: SplitName
    judged: bool = True
    """False where the label came with the statement or the answer, and no judge was asked."""
    ended: bool = False
    """True where a file says that the model ended the answer, though no stop token stands there."""

    @property
    def cut_off(self) -> bool:
        """Did the answer end because it was as long as it may be?"""
        return not (self.answer.stopped or self.ended)

    @property
    def empty(self) -> bool:
        """Did it end before anything was said?"""
        return not self.answer.text.strip()


@dataclass(frozen=True, slots=True, eq=False)
class HiddenStates:
    """Vectors of one site at named token positions."""

    values: NDArray[np.floating[Any]]
    """(example, layer, position, width). Undefined where `present` is False."""
    present: NDArray[np.bool_]
    """(example, position). False where the example has no such token."""
    layers: tuple[int, ...]
    """Block indices along the second axis, `EMB` (-1) for the embedding output."""
    positions: tuple[str, ...]
    site: str = "resid"

    def __repr__(self) -> str:
        axes = "{:,} examples x {} layers x {} positions x {}".format(*self.values.shape)
        return f"<HiddenStates of {self.site}: {axes}, {self.values.dtype}>"


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Check:
    """One thing of a task file, or of stored hidden states, that was looked at."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One (layer, position) of one site."""

    site: str
    layer: int
    position: str

    @property
    def row(self) -> str:
        """The layer as it is written on maps: `emb` or the block index."""
        return layer_name(self.layer)


@dataclass(frozen=True, slots=True, eq=False)
class CellFit:
    """The probe of one cell, chosen on validation, with its decisions."""

    cell: Cell
    decisions: NDArray[np.float64]
    """(example,) real-valued decision of every example of the run, NaN where the cell is absent."""
    C: float
    """Inverse L2 strength chosen by validation AUROC; NaN in a masked cell, or without a choice."""
    validation_auroc: float
    converged: bool
    iterations: int
    masked: str
    """Why there is no probe, or an empty string."""
    control: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """(shuffle,) test AUROC, against the true labels, of the same probe fitted to shuffled ones."""
    null: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """(shuffle,) the same against test labels shuffled along: as if they said nothing of states."""
    unconverged: int = 0
    """Fits of this cell that did not converge: at other values of C, or to shuffled labels."""
    absent: bool = False
    """True where the layer does not have the site at all."""
    barred: str = ""
    """Why it is never chosen before cells that are judged on other examples; empty otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreMatrix:
    """One metric over all cells of one site on one split."""

    metric: str
    site: str
    split: SplitName
    layers: tuple[int, ...]
    positions: tuple[str, ...]
    values: NDArray[np.float64]
    """(layer, position); NaN where the cell is masked."""
    low: NDArray[np.float64]
    """(layer, position) lower end of the 95 % interval."""
    high: NDArray[np.float64]
    """(layer, position) upper end."""
    n: NDArray[np.int64]
    """(layer, position) examples scored."""
    delong_low: NDArray[np.float64]
    """(layer, position) lower end of DeLong's interval, examples independent."""
    delong_high: NDArray[np.float64]
    """(layer, position) upper end."""
    shuffled: NDArray[np.float64]
    """(layer, position) mean AUROC of the same probe on shuffled labels; NaN where none is."""
    p: NDArray[np.float64]
    """(layer, position) one-sided permutation p-value of an AUROC above chance; NaN where none."""
    q: NDArray[np.float64]
    """(layer, position) the same, adjusted for the false-discovery rate over this site's cells
    (Benjamini and Hochberg 1995)."""
    distinct: NDArray[np.bool_]
    """(layer, position) False for a cell that is the same as an earlier one of its layer."""


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """Anything that scores answers: higher means more likely correct."""

    name: str
    label: str
    """Short name for tables."""
    decisions: NDArray[np.float64]
    """(example,) for every example of the run, NaN where the detector has no score."""
    kind: DetectorKind = "baseline"
    when: When = "after"
    """Whether it can be read before the model answers, or only after."""
    detail: Mapping[str, Any] = field(default_factory=dict)


def layer_name(layer: int) -> str:
    """`emb` or the block index."""
    return "emb" if layer == EMB else str(layer)


def layer_number(name: str) -> int:
    """The layer of such a name."""
    return EMB if name == "emb" else int(name)
