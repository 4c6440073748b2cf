"""The record of a run: the one model of `record.json`, for what writes it, reads it, shows it and
checks it."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from probebench.record.parts.abstained import Abstention
from probebench.record.parts.added import Added
from probebench.record.parts.attributed import AttributionFacts
from probebench.record.parts.checked import Coincidences, NearTwins, Said, Subset
from probebench.record.parts.confounded import Confounds
from probebench.record.parts.described import (
    Data,
    ExactFacts,
    Extraction,
    GenerationFacts,
    LabelCounts,
    ModelFacts,
    Package,
    ProbeFacts,
    Settings,
    SubmissionFacts,
    TaskFacts,
    Timing,
)
from probebench.record.parts.measured import (
    Calibration,
    ComparisonFacts,
    Controls,
    DetectorFacts,
    PositionBest,
    PositionFacts,
    SelectionFacts,
    SiteFacts,
    SplitCounts,
)
from probebench.record.parts.part import (
    Free,
    Items,
    Layer,
    Part,
    Place,
    Sha256,
    at_most,
    fewer,
    keys_like,
    ranked,
)
from probebench.record.parts.resplits import ResplitFacts
from probebench.record.parts.sampled import Sampled
from probebench.record.parts.studied import (
    LabelNoise,
    LearningCurve,
    Neutral,
    Published,
    Readable,
    SecondOpinion,
)

SCHEMA_VERSION: Final = 2
"""Of `record.json`: raised when what a field means changes, or one goes."""
PROTOCOL_VERSION: Final = 2
"""Of what the numbers mean (docs/protocol.md). Records of earlier versions are read and shown, and
never ranked with those of this one."""
Version = Annotated[str, at_most(80)]


class Record(Part):
    """One evaluation of one model on one task. Numbers are null where they are undefined."""

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)]
    """2: raised when what a field means changes, or one goes."""
    protocol_version: Annotated[
        int,
        Field(ge=1, le=PROTOCOL_VERSION),
        ranked(lambda version: version == PROTOCOL_VERSION, f"{PROTOCOL_VERSION}"),
    ]
    """2: raised when what a number means changes."""
    key: Sha256
    """Content key of everything that decides a number."""
    model: ModelFacts
    task: TaskFacts
    labels: LabelCounts | None = None
    data: Data
    probe: ProbeFacts
    settings: Settings
    extraction: Extraction | None = None
    exact_answer: ExactFacts | None = None
    generation: GenerationFacts | None = None
    states: str | None = None
    """Folder of the hidden states, as seen from the run; null where they were not kept."""
    second_opinion: SecondOpinion | None = None
    """Agreement with `--judge-model`."""
    attribution: AttributionFacts | None = None
    """Whether `--attribution` ranks components as replacing them does."""
    package: Package
    versions: Annotated[dict[str, Version], fewer(100), keys_like(r"[\w.-]{1,40}")]
    """Of this package and of the libraries that can change a number."""
    counts: SplitCounts
    layers: Annotated[Items[Layer], Field(min_length=1), fewer(1001)]
    """Rows of the map."""
    positions: Annotated[Items[Place], Field(min_length=1), fewer(60)]
    """Columns of the map."""
    sites: dict[str, SiteFacts] = Field(default_factory=dict)
    positions_present: dict[str, PositionFacts] = Field(default_factory=dict)
    selection: SelectionFacts
    detectors: Annotated[Items[DetectorFacts], Field(min_length=1), fewer(200)]
    """The selected probe first."""
    comparison: ComparisonFacts
    calibration: Calibration | None = None
    controls: Controls
    coincidences: Coincidences | None = None
    """Columns that are one token."""
    by_position: Annotated[Items[PositionBest], fewer(60)] = ()
    readable: Readable | None = None
    resplits: ResplitFacts | None = None
    """What other splits of the same examples give; null where none were asked for."""
    added: Added | None = None
    """What the probe adds to all baselines together; null where there is none."""
    subsets: Annotated[Items[Subset] | None, fewer(20)] = None
    """The headline without refusals and without answers that were cut off."""
    said: Said | None = None
    """Which answers are given, and the probe among equal ones; null for statements."""
    confounds: Confounds | None = None
    near_twins: NearTwins | None = None
    """Test texts that nearly stand in train or validation."""
    abstention: Abstention | None = None
    """Thresholds that keep the errors among the answers given below a level."""
    label_noise: LabelNoise | None = None
    learning_curve: LearningCurve | None = None
    neutral: Neutral | None = None
    sampled: Sampled | None = None
    """Error types, answer selection and soft targets; null without `--samples`."""
    studies: dict[str, Free] = Field(default_factory=dict)
    """What further registered studies found, by their names."""
    published: Published | None = None
    """Figures that papers print for this model and task; null where they print none."""
    warnings: Annotated[Items[Annotated[str, at_most(4000)]], fewer(500)] = ()
    """What a reader must know, one sentence each."""
    files: Items[str] = ()
    """Names of the files of the run."""
    timing: Timing | None = None
    submission: SubmissionFacts | None = None
    """Only in a row of the leaderboard."""

    @property
    def headline(self) -> str:
        """Model, task, selected cell and its test AUROC."""
        cell, auroc = self.selection, self.selection.test_auroc
        found = (
            ""
            if auroc is None
            else f": layer {cell.layer}, {cell.position}, test AUROC {auroc:.3f}"
        )
        return f"{self.model.name} on {self.task.name}{found}"

    def __repr__(self) -> str:
        """One line, where the record itself is thousands."""
        return f"<Record of {self.headline}>"

    __str__ = __repr__
