"""The registry of detectors: whatever scores an answer, one row each.

A row says what a detector is called, when it can be read, what it needs, whether it can be left
out or has to be asked for, and what its decisions must be beside those of others. Tables, `--skip`,
`--control` and `--detectors`, the check of submissions, the summary and the report follow from it.
To add a detector, write a function that makes its decisions and register it with its row;
`probebench.detectors.suite` names the modules.

Signs are fixed in advance: a higher decision means more likely correct.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from probebench.detectors.relations import Relation
from probebench.types import DetectorKind, Floats, When

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.plan import Plan
    from probebench.stages.stage import Runner

Need = Literal[
    "text",
    "token counts",
    "train labels",
    "token scores",
    "exact answer",
    "asking",
    "encoder",
    "cells",
    "embedding row",
    "untrained model",
    "states",
    "samples",
    "inference model",
    "attention maps",
]
"""What a detector is made from. `token scores` are those of generated tokens, `asking` a further
pass of a model that generates, `cells` the decisions of the run's probes, `states` vectors of the
run's model, `samples` further answers to each question, `inference model` one that says whether a
text follows from another, `attention maps` where the heads of the run's model look."""
EVERYWHERE: frozenset[Need] = frozenset({"text", "token counts", "train labels", "encoder"})
"""What no example lacks."""
UNLABELLED: frozenset[Need] = frozenset({"token counts", "token scores", "exact answer", "asking"})
"""What no label goes into."""
Input = Literal["answers", "statements"]
Access = Literal["text", "logits", "states", "attention"]
"""The deepest that a method looks into the model: what it says, how likely it finds that, vectors,
or where its heads look."""
Supervision = Literal["none", "sign", "labels"]
"""What of the labels of train it is fitted to: nothing, its sign alone, or all."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What one detector says of every example of a run."""

    name: str
    decisions: Floats
    """(example,) NaN where there is none."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    when: When | None = None
    """When it can be read, where its row leaves that to the run."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A detector that this run cannot have, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What a table of methods says of one, beside its name and source (docs/detectors.md)."""

    access: Access
    supervision: Supervision
    passes: str
    """What it costs per answer beyond the main job, in words; `none` where it reads what is
    there."""
    changed: str = ""
    """In what it differs from its paper, in words; empty where in nothing."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Description:
    """All that is known of a detector before it is made."""

    name: str
    of_answers: str
    """Its words in tables; `{k}` and the like stand for parts of its detail."""
    of_statements: str | None
    """The same where statements are read; None where they have no such thing."""
    needs: frozenset[Need]
    when: When | None
    """Whether it can be read before the model answers; None: when the cells can that it reads. Of
    statements everything is readable before."""
    kind: DetectorKind = "baseline"
    family: str = ""
    """Baselines of one family differ only in what they average over: a summary shows the best one.
    Empty for one that is shown in any case."""
    required: frozenset[Input] = frozenset()
    """Of what it must stand in a submission, or be absent with a reason."""
    relations: tuple[Relation, ...] = ()
    """What its decisions must be."""
    skip: str | None = None
    """The name by which `--skip` leaves it out; None where it is always there."""
    control: str | None = None
    """The name by which `--control` asks for it; None where nobody has to."""
    asked: str | None = None
    """The name by which `--detectors` asks for it; None where nobody has to."""
    method: Method | None = None
    """Of one that has to be asked for: what it needs."""
    source: str | None = None
    """The paper to cite for it, by its key in `report/methods.bib`."""

    def label(self, given: bool) -> str | None:
        """Its words in tables, of given statements or of answers."""
        return self.of_statements if given else self.of_answers

    @property
    def of_any_run(self) -> str:
        """Its words in a table over many runs, whose details differ."""
        return re.sub(r"{\w+}", "the best", self.of_answers)

    def is_called(self, label: str, *, given: bool) -> bool:
        """Are these its words?"""
        own = self.label(given)
        pattern = r"\d{1,4}".join(map(re.escape, re.split(r"{\w+}", own or "")))
        return own is not None and re.fullmatch(pattern, label) is not None

    @property
    def constant(self) -> bool:
        """Does it say the same of every example, so that there is nothing to rank?"""
        return self.needs == {"train labels"}

    @property
    def label_free(self) -> bool:
        """Is it a baseline that is fitted to no label?"""
        return self.kind == "baseline" and self.needs <= UNLABELLED

    @property
    def covers(self) -> frozenset[Need] | None:
        """What the examples have that it scores: empty where it scores all, None where that hangs
        on the run."""
        if self.needs <= EVERYWHERE:
            return frozenset()
        return self.needs if "token scores" in self.needs else None


Make = Callable[["RunData", "Runner"], Iterable[Scores | Missing]]
"""The scores of one or more rows, from the data of a run and what computes further stages."""


class Timed(Protocol):
    """Seconds of a model's work, as the dry run measures them."""

    def passing(self, lengths: Sequence[int]) -> float:
        """Of a pass over sequences of so many tokens."""

    def projecting(self, n_tokens: int) -> float:
        """Of projecting so many tokens to the vocabulary."""


Price = Callable[["Plan", Sequence[int], Timed], float]
"""Seconds that rows take beyond the main job, from the plan, tokens of each example's prompt and
answer, and what a pass takes. Groups that read one stage share a function, which counts once."""


Disk = Callable[["Plan"], int]
"""Bytes at most of what rows put on the disk while they are made, from the plan."""


@dataclass(frozen=True, slots=True, eq=False)
class Detectors:
    """Rows that are made together."""

    rows: tuple[Description, ...]
    make: Make
    price: Price | None = None
    """None where making them takes next to nothing, or the dry run has a line of its own."""
    disk: Disk | None = None
    """None where they put next to nothing there."""


DETECTORS: list[Detectors] = []


def detector(
    *rows: Description, price: Price | None = None, disk: Disk | None = None
) -> Callable[[Make], Make]:
    """Register a function that makes the scores of these rows."""

    def register(make: Make) -> Make:
        DETECTORS.append(Detectors(rows, make, price, disk))
        return make

    return register
