"""Parts of the record that hold what was found beside the map: readable, confounds, curves, label
noise, other judges, other people's figures."""

from __future__ import annotations

from typing import Literal

from probebench.record.parts.measured import ChosenCell, MetricFacts
from probebench.record.parts.part import Count, Difference, Ends, Items, Layer, Part, Place, Share


class ReadableCell(ChosenCell):
    """With its AUROC on the examples of the comparison."""

    auroc: Share | None
    auroc_95: Ends


class BestBaseline(Part):
    """The baseline with the highest validation AUROC."""

    name: str
    label: str
    validation_auroc: Share | None = None
    n_validation: Count = 0
    """Validation examples that all the baselines scored which it was chosen among."""
    auroc: Share | None
    auroc_95: Ends


class AgainstFacts(Part):
    """The best cell against the best baseline, on the test examples that both score."""

    cell: ReadableCell
    best_baseline: BestBaseline
    difference: Difference | None
    difference_95: Ends
    difference_se: float | None = None
    difference_p: Share | None = None
    detectable_difference: float | None = None
    """Found 4 times out of 5 by a two-sided test at 5 %."""
    n: Count
    n_correct: Count | None = None


class Readable(Part):
    """What can be read before the answer, and after it; null where nothing can."""

    before: AgainstFacts | None
    after: AgainstFacts | None


class Agreement(Part):
    """How often two judges agree."""

    n: Count
    agreement: Share | None
    kappa: float | None


class WholeAgreement(Part):
    """How often two judges agree, and who says correct alone."""

    n: Count
    with_opinion: Count
    agreement: Share | None
    kappa: float | None
    only_second_says_correct: Count
    only_first_says_correct: Count


class SecondOpinion(WholeAgreement):
    """The model of `--judge-model`."""

    model: str
    revision: str


class NoiseScore(Part):
    """One AUROC under one judge's labels."""

    auroc: Share | None
    auroc_95: Ends
    n: Count
    n_correct: Count


class NoiseScores(Part):
    """Decisions scored under the labels of both judges."""

    scored_under_first: NoiseScore
    scored_under_second: NoiseScore


class NoiseFits(Part):
    """The run's own decisions, and those of the cell fitted again to the second labels."""

    fitted_to_first: NoiseScores
    fitted_to_second: NoiseScores | None = None


class Refit(Part):
    """The cell fitted to the second labels, or why it could not be."""

    C: float | None
    validation_auroc: Share | None = None
    reason: str | None = None


class Attenuation(Part):
    """How much noise in the first labels takes from an AUROC, the second ones taken as true."""

    wrong_among_labelled_correct: Share | None
    correct_among_labelled_wrong: Share | None
    factor: float | None
    factor_95: Ends
    observed: Share | None
    predicted: Share | None
    predicted_95: Ends
    bias: float | None
    """observed - predicted."""
    n: Count


class LabelNoise(WholeAgreement):
    """What another judge's labels would change."""

    judge: str
    by_split: dict[str, Agreement]
    n_test: Count
    scores: NoiseFits
    refit: Refit
    change: float | None
    change_95: Ends
    attenuation: Attenuation


class CurvePoint(Part):
    """The probe on so many train examples, over several orders of them."""

    n: Count
    repeats: Count
    """Orders with an AUROC."""
    auroc: Share | None
    auroc_95: Ends
    sd: float | None
    aurocs: Items[Share | None]
    C: Items[float | None]


class CurveEnd(Part):
    """The probe on all train examples."""

    n: Count
    auroc: Share | None
    auroc_95: Ends
    C: float | None


class LearningCurve(Part):
    """The selected cell's probe on fewer train examples."""

    site: str
    layer: Layer
    position: Place
    points: Items[CurvePoint]
    all: CurveEnd
    too_large: Items[int]
    n_test: Count
    n_test_correct: Count


class Neutral(Part):
    """The recalls at thresholds of another run of the model."""

    run: str
    key: str
    task: str
    reason: str | None = None
    """Why it sets no threshold; null where it does."""
    n: Count = 0
    """That run's correct answers used."""
    n_seen: Count = 0
    """Answers left out, since this run asks their questions too."""
    recall_at_fpr_01: MetricFacts | None = None
    recall_at_fpr_05: MetricFacts | None = None


class PublishedRow(Part):
    """A figure of a paper beside ours."""

    model: str
    task: str
    detector: str
    auroc: float
    spread: float
    source: str
    ours: str
    ours_is: Literal["position", "detector"]
    our_auroc: Share | None
    our_auroc_95: Ends | None
    our_n: Count | None


class ErrorType(Part):
    """A paper's figure for one type of error."""

    error_type: str
    auroc: float
    source: str


class PublishedTransfer(Part):
    """A paper's figure of a probe applied to another task."""

    test_task: str
    direction_free_auroc: float
    source: str


class Published(Part):
    """What papers print for the same model and task."""

    rows: Items[PublishedRow]
    sign: str
    differs: Items[str]
    """What differs between this run and the paper's."""
    error_types: Items[ErrorType]
    transfer: Items[PublishedTransfer]
    cite: str
