"""The plan of a run: everything that was asked of it, resolved once and complete before anything is
computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from probebench.files import content_key
from probebench.models.asking import Questions
from probebench.models.blocks.sites import SitePlan
from probebench.models.decoding.drawing import Drawing
from probebench.models.generate import stop_tokens
from probebench.models.handles import ModelHandle
from probebench.probes.kinds import Probe
from probebench.record.run import Run
from probebench.states.reader import SiteLayout
from probebench.tasks.schema import Task
from probebench.tasks.thinking import ThinkingIds, reply_start, thinking_ids
from probebench.types import Answer, Cell, Example, SplitName

GIVEN = "given"
"""The name of no rule: the file of `--answers` says where exact answers are, or there are none."""


@dataclass(frozen=True, slots=True, eq=False)
class ExactRule:
    """Which rule finds the exact answers of a run."""

    name: str
    """The rule as the record has it; `GIVEN` where none is applied."""
    blind: str
    """The rule that looks at no label; with `gold`, the one for answers in which no accepted answer
    stands."""
    extractor: ModelHandle | None
    """Another model that copies; None where the run's own model copies, or none does."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Which hidden states are read, and how."""

    positions: tuple[str, ...]
    layers: tuple[int, ...]
    """Asked for, the embedding row included."""
    sites: SitePlan
    """What the model has of the sites and layers asked for, and why the rest is absent."""
    layout: Mapping[str, SiteLayout]
    """What is stored of each site."""
    dtype: str
    batching: str
    given: str | None
    """States that are there already: an import, or a run directory; None: they are extracted."""

    @property
    def cells(self) -> list[Cell]:
        """Cells that can have a probe, site by site, downwards."""
        return [
            Cell(site, layer, name)
            for site, at in self.layout.items()
            for layer in at.layers
            for name in self.positions
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """How the probe of a cell is fitted."""

    probe: Probe
    shuffles: int
    """Shuffled-label fits per cell."""
    width: int | None
    """Components are projected to this width; None leaves them as they are."""
    device: str | None
    """A GPU, or None: the processors."""
    inputs: Sequence[Any]
    """Everything of the above that decides the fits, for content keys."""


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """What is reported beside the map, and what is left out."""

    skip: tuple[str, ...]
    controls: tuple[str, ...]
    detectors: tuple[str, ...]
    """Methods that were asked for by name, or `all`."""
    drawing: Drawing | None
    """How further answers are drawn; None: none are."""
    encoder: ModelHandle | None
    """The text encoder of the text-embedding baseline."""
    nli: ModelHandle | None
    """The inference model of methods that compare texts."""
    judge: ModelHandle | None
    """The model of `--judge-model`."""
    label_noise: str | None
    """A second judge to evaluate under."""
    train_sizes: tuple[int, ...] | None
    repeat_splits: int
    """Further splits; 0: none, and no folds either."""
    attribution: bool
    """Estimate what replacing components changes."""
    ablation: bool
    """Measure it on all answers that are looked at, not on a few."""
    neutral: Run | None
    """The run of `--neutral`."""
    keep_tokens: bool
    """Keep the vectors of all answer tokens, which otherwise go when probes of them are trained."""

    @property
    def n_drawn(self) -> int:
        """Further answers to each question."""
        return 0 if self.drawing is None else self.drawing.n


@dataclass(frozen=True, eq=False)
class Plan:
    """What one run will do. Nothing in it needs weights, and nothing in it is set later."""

    name: str
    """Of the task, or of the file of answers."""
    folder: Path
    task: Task | None
    handle: ModelHandle
    questions: Questions
    splits: tuple[SplitName, ...]
    """(example,) the split of each."""
    limit: int | None
    generation: str
    """`plain`, or `fast` for a static, compiled cache."""
    max_new_tokens: int | None
    """Where the model's answers are cut off; None where it generates none."""
    exact: ExactRule
    reading: Reading
    fitting: Fitting
    beside: Beside
    seed: int
    answer_inputs: Mapping[str, Any]
    """Everything that decides the answers."""
    inputs: Mapping[str, Any]
    """Everything that decides what the record says."""

    @cached_property
    def key(self) -> str:
        """Content key of the run."""
        return content_key(self.inputs)

    @property
    def examples(self) -> Sequence[Example]:
        """What is asked."""
        return self.questions.examples

    @property
    def statements(self) -> bool:
        """Does the task give statements to be read, and not questions to be answered?"""
        return self.task is not None and self.task.kind == "statements"

    @property
    def judge(self) -> str:
        """The judge that labels the answers."""
        return self.task.judge if self.task else "aliases"

    @property
    def given_labels(self) -> list[int | None]:
        """(example,) labels that came with the statements or answers; None where the judge
        decides."""
        given = self.questions.given
        return [e.label for e in self.examples] if given is None else [g.label for g in given]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the record should know of the model, its tokens and its template."""
        return (*self.handle.notes, *self.questions.notes)

    @cached_property
    def stops(self) -> frozenset[int]:
        """Tokens that end an answer; base prompts need a pass over the whole vocabulary for
        them."""
        return frozenset() if self.task is None else stop_tokens(self.handle, self.task.generation)

    @cached_property
    def thinking(self) -> ThinkingIds | None:
        """Delimiters of thinking; None where the model has none, and for statements."""
        return None if self.statements else thinking_ids(self.handle.tokenizer)

    def reply(self, answer: Answer) -> tuple[int, str]:
        """What is judged: the text after thinking, and where it begins in `answer.text`; empty when
        there is no final answer."""
        ids = answer.prompt_ids, answer.answer_ids
        start = reply_start(self.handle.tokenizer, self.thinking, *ids, answer.text)
        return start, answer.text[start:]
