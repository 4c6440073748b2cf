"""Parts of the record that hold what was measured: counts, cells, detectors, controls."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from probebench.record.parts.described import Rate
from probebench.record.parts.part import (
    GIVEN,
    MANY,
    Count,
    Difference,
    DifferenceEnds,
    Ends,
    Free,
    Items,
    Layer,
    Part,
    Place,
    Share,
    ShareEnds,
    Word,
    at_most,
    fewer,
    inside,
    keys_like,
    ranked,
    within,
)
from probebench.types import DetectorKind, When

SUITE_NAME = r"[a-z][a-z0-9_]{0,63}"
"""What detectors of the suite, and so those of the leaderboard, are called."""
DetectorName = Annotated[
    str,
    Field(pattern="^[a-z][a-z0-9_.-]{0,63}$"),
    ranked(lambda name: re.fullmatch(SUITE_NAME, name), f"text like {SUITE_NAME}"),
]
Metric = Annotated[float | None, within(-1e6, 1e6)]
KEPT = "kept_tokens"
"""In the detail of a detector, where the answer tokens are that it was trained on."""


class FoundByClass(Part):
    """Answers in which something was found, of all and by class."""

    all: Rate
    correct: Rate
    wrong: Rate


class Counts(Part):
    """The answers of one split."""

    n: Annotated[Count, within(1, MANY)]
    correct: Count
    accuracy: Annotated[Share | None, GIVEN]
    """correct / n."""
    groups: Annotated[Count, within(1, MANY)]
    refused: Count
    not_stopped: Count
    """Answers without a stop token."""
    empty: Count = 0
    """Answers that ended before anything was said."""
    thinking: Count = 0
    exact_found: FoundByClass | None = None


class SplitCounts(Part):
    """The answers of all splits and of each."""

    all: Counts
    train: Counts
    validation: Counts
    test: Counts


class CellName(Part):
    """Where a vector was read."""

    site: Word
    layer: Layer
    position: Place


class ChosenCell(CellName):
    """A cell chosen by validation."""

    C: float | None = None
    validation_auroc: Share | None = None
    converged: bool | None = None
    iterations: int | None = None


class TestedCell(ChosenCell):
    """With its test AUROC, on all test examples that have its token."""

    test_auroc: Share | None
    test_auroc_95: ShareEnds
    n_test: Count
    selectivity: Difference | None
    """AUROC minus that of probes of shuffled labels."""
    p: Share | None
    q: Share | None


class SelectionFacts(TestedCell):
    """The selected cell."""

    validation_auroc: Annotated[Share | None, GIVEN]
    test_auroc: Annotated[Share | None, GIVEN]
    n_test: Annotated[Count, within(2, MANY)]
    rule: str = ""
    n_test_correct: Count = 0
    n_validation: Count = 0
    readable: When | None = None
    barred: Annotated[dict[Place, Annotated[str, at_most(200)]], fewer(60)] = Field(
        default_factory=dict
    )
    """Positions whose cells did not compete, and why."""
    would_win: CellName | None = None
    """The cell that would have been selected had they competed; null where it is the same."""


class SiteFacts(Part):
    """What was read of one site."""

    layers: Items[Layer]
    widths: Items[int]
    absent: dict[str, str]
    """Layers without it, and why."""
    best: TestedCell | None
    """Its best cell by validation."""
    C: dict[str, Count] = Field(default_factory=dict)
    """C -> cells that validation chose it for."""


class PositionFacts(Part):
    """How often a position exists."""

    n: Count
    in_prompt: Count
    """Of a position that belongs to the answer: where it is a prompt token."""
    readable: When


class FalseAlarms(Part):
    """Share of correct answers flagged as wrong, on test."""

    value: float | None
    low: float | None
    high: float | None


class MetricFacts(Part):
    """One number of one detector."""

    value: Metric
    low: Metric
    high: Metric
    n: Count
    positive: Literal["correct", "wrong"]
    """The class that it looks for."""
    if_calibrated: float | None = None
    """What the noise of this test split alone would give."""
    threshold: float | None = None
    n_validation: Count | None = None
    n_threshold: Count | None = None
    """Correct validation answers that placed the threshold."""
    false_alarms: FalseAlarms | None = None


class DetectorFacts(Part):
    """One row of the table of detectors, on the test examples that the selected probe scores, or
    on those of them that it scores itself."""

    name: DetectorName
    label: Annotated[str, at_most(120)]
    kind: DetectorKind
    when: When
    n: Annotated[Count, within(2, MANY)]
    n_correct: Annotated[Count, within(1, MANY)]
    n_missing: Count
    """Test examples that this detector has no score for."""
    auroc: Share
    auroc_95: ShareEnds
    auroc_95_delong: ShareEnds
    auprc: Annotated[float | None, GIVEN, within(0, 1)]
    prevalence: Share
    probe_auroc: Share | None = None
    """Of the selected probe on the same examples."""
    probe_minus_this: Difference | None
    """AUROC of the probe minus this one's; null for the probe itself."""
    probe_minus_this_95: DifferenceEnds
    probe_minus_this_95_delong: DifferenceEnds = (None, None)
    metrics: Annotated[dict[DetectorName, MetricFacts], fewer(40)]
    detail: dict[str, Free] = Field(default_factory=dict)
    """What only this detector has: C or cell, letter mass, cells of an ensemble..."""

    @property
    def tokens(self) -> str | None:
        """Folder of the answer tokens that it was trained on, as seen from the run; None where they
        were not kept."""
        place = self.detail.get(KEPT)
        return place if isinstance(place, str) else None


class Dropped(Part):
    """By class."""

    correct: Count
    wrong: Count


class ComparisonFacts(Part):
    """Which examples and detectors stand in the table."""

    n_test: Annotated[Count, within(2, MANY)]
    n_compared: Annotated[Count, within(2, MANY)]
    """Test examples that the selected probe scores."""
    dropped: Dropped
    """The others."""
    absent: Annotated[dict[str, Annotated[str, at_most(400)]], fewer(100), keys_like(SUITE_NAME)]
    """Detectors that have no row, and why."""


class Bin(Part):
    """One bin of the reliability plot, with Wilson's interval of the share of correct answers."""

    mean_predicted: Share
    fraction_correct: Share
    n: Count
    low: float | None
    high: float | None


class Calibration(Part):
    """Platt scaling of the selected probe."""

    detector: str
    n: Count
    n_validation: Count
    slope: float | None
    intercept: float | None
    bins: Items[Bin]


class ShuffledLabels(Part):
    """Test AUROCs of shuffled labels at the selected cell, and of what they keep: group sizes."""

    repeats: Annotated[Count, ranked(lambda n: 2 <= n <= 999, "a whole number from 2 to 999")]
    mean_auroc: Annotated[Share | None, GIVEN]
    mean_auroc_95: Annotated[Ends, inside(-9, 9)]
    """Student's interval of the mean over repeats."""
    sd: Annotated[float | None, GIVEN, within(0, 1)]
    auroc: Annotated[Items[Annotated[Share | None, GIVEN]], fewer(999, least=2)]
    group_sizes_auroc: Share | None = None


class Permutation(Part):
    """What shuffled labels say of the selected cell's map as a whole."""

    shuffles: Annotated[Count, ranked(lambda n: n <= 10**5, f"a whole number up to {10**5}")]
    site: str | None = None
    max_statistic_p: Share | None
    cells: Count
    """Unmasked block cells."""
    cells_p_below_05: Count
    cells_q_below_05: Count


class Controls(Part):
    """What a probe gives where there is nothing to read."""

    shuffled_labels: ShuffledLabels
    permutation: Permutation


class PositionBest(Part):
    """The best layer of one position by validation."""

    position: Place
    when: When | None = None
    paper: bool = False
    """Is it in the tables of Orgad et al. (2025)?"""
    layer: Layer | None
    """Null where no cell of the position could be fitted."""
    masked: str | None = None
    barred: Annotated[str | None, at_most(200)] = None
    """Why no cell of it is ever selected; null where they compete."""
    C: float | None = None
    validation_auroc: Share | None = None
    test_auroc: Share | None = None
    test_auroc_95: ShareEnds = (None, None)
    n_test: Count | None = None
