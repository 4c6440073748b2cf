"""Parts of the record that say what was run: model, task, data, settings, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from probebench.record.parts.part import (
    GIVEN,
    Count,
    Ends,
    Free,
    Items,
    Line,
    Part,
    Sha256,
    Share,
    Word,
    at_most,
    fewer,
    keys_like,
    ranked,
    within,
)

Name80 = Annotated[str, at_most(80)]
NAME = r"\w{1,40}"


class Gguf(Part):
    """The GGUF file that the model is."""

    file: str
    sha256: Sha256
    quantization: str


class ModelFacts(Part):
    """Which weights, and how they were run."""

    name: Line
    revision: Annotated[str | None, at_most(200)]
    """Commit on the hub, or `sha256:` of a folder's config and weights."""
    tokenizer: Sha256
    chat_template: str | None = None
    architecture: Annotated[str, Field(pattern=r"^\w+$"), at_most(80)]
    n_layers: Annotated[int, Field(ge=1), within(1, 1000)]
    width: Annotated[int, Field(ge=1), within(1, 10**6)]
    n_parameters: Annotated[int, Field(ge=1), within(1, 10**14)]
    dtype: Annotated[str, Field(pattern=r"^\w+$"), at_most(40)]
    attention: Name80
    device: Line
    device_map: str | None = None
    quantization: Word
    """How the weights are quantised, or were before they were brought back."""
    peft: Annotated[str | None, at_most(200)]
    remote_code: Annotated[str | None, at_most(200)]
    libraries: dict[str, str] = Field(default_factory=dict)
    gguf: Gguf | None = None
    """Null for models that are no GGUF file."""


class TaskFacts(Part):
    """The task, whose version and hash are null where answers came without one."""

    name: Line
    version: Annotated[int | None, Field(ge=1), GIVEN, within(1, 9999)]
    hash: Annotated[Sha256 | None, GIVEN]
    kind: Annotated[str, at_most(20)]
    judge: Word
    exact_answer: Word
    """The rule that finds the exact answers."""


class LabelCounts(Part):
    """How many labels the judge decided, and how many came with the statements or answers."""

    judged: Count
    given: Count


class Data(Part):
    """The examples, and which rows were left out."""

    origin: Annotated[str, at_most(1000)]
    revision: Annotated[str | None, at_most(200)]
    sha256: Sha256
    n_dropped: Count
    """Repeats, statements with both labels, test rows with an official twin in train."""
    mended: Annotated[dict[str, Count], fewer(100), keys_like(NAME)] = Field(default_factory=dict)
    """Of answers made elsewhere: rows put right, by what was done."""
    split: Literal["hash", "official", "file"] | None = None
    """By a hash of the group, as the publisher has it, or as the file of answers says; null in
    older records."""
    columns: Sha256 | None = None
    """Of what detectors and studies read of the rows beside questions and labels; null where no row
    has any of it, and in older records."""
    test_is: Annotated[str | None, at_most(20)] = None
    """`validation` where the file has no test split and its validation is reported as test."""
    validation_is: str | None = None
    """`train` where a quarter of its train groups chose C, layer and cell."""
    n_too_long: Count
    """Examples that do not fit into the model's context."""
    n_ungrouped: Count = 0
    """Examples whose file lacks a column that the task groups by."""


class ProbeFacts(Part):
    """The kind of probe."""

    name: Word
    grid: Items[float | None] = ()
    """Values of C to choose from; null of a probe that has none."""
    width: int | None = None
    solver: str | None = None
    file: str | None = None
    """Stem of the files of the selected cell's probe; null where it was not saved."""


class Settings(Part):
    """What was asked for: every option by its name, as `probebench.job.options` defines them. A row
    of the leaderboard keeps those that name no place on somebody's machine."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    task: str | None = None
    answers: str | None = None
    width: int | None = None
    seed: Annotated[int, Field(ge=0), within(0, 2**53)]
    states: str | None = None
    overrides: Annotated[dict[str, Free], fewer(100), keys_like(NAME)]
    """Settings that differ from the protocol's, so that the numbers are not comparable."""


class SourceModel(Part):
    """The model that states made elsewhere are of."""

    name: str | None
    revision: str | None
    dtype: str | None
    attention: str | None
    device: str | None


class StatesSource(Part):
    """States made elsewhere."""

    folder: str
    key: str
    convention: Free
    compared: Free
    """Were some of them held against our own pass?"""
    dtype: str
    model: SourceModel


class Extraction(Part):
    """How the hidden states were read."""

    batching: str | None
    examples: Count | None = None
    largest_relative_deviation: float | None = None
    """Over these examples, all layers and positions: the largest |a - b| / |b| of a vector read in
    a batch (a) and alone (b)."""
    source: StatesSource | None = None
    """Null where the run extracted its own."""


class ExtractorFacts(Part):
    """The model that copied the exact answers."""

    name: str
    revision: str
    quantization: str


class Rate(Part):
    """How many of how many."""

    n: Count
    of: Count
    rate: Share | None
    """Null where there is none to count."""


class RateWithEnds(Rate):
    """With Wilson's 95 % interval."""

    rate_95: Ends | None


class ExactFacts(Part):
    """How exact answers were found."""

    rule: str
    extractor: ExtractorFacts | None
    """Null where no model copied, or the run's own."""
    holds_answer: RateWithEnds | None
    """Of the correct answers with references, those whose exact answer the judge accepts by
    itself."""


class BudgetFacts(Part):
    """What a batch may hold."""

    tokens: Count
    examples: Count
    halvings: Count
    """How often memory ran out and both were halved."""


class AloneFacts(Part):
    """The first answers once more, each generated alone."""

    examples: Count
    tokens: Count
    differ: Count
    """How many of them differ within these tokens."""
    share: Share
    first_token: int | None
    """The earliest token that differs, from 0."""
    logprob_gap: float | None
    """The largest difference of log-probabilities up to there."""


class MappedFacts(Part):
    """A model that is spread over devices, held against the same model in one piece."""

    tokens: Count
    """Of the first prompt, that both gave a probability."""
    logprob_gap: float | None
    """The largest difference of their log-probabilities; null where it was not checked."""
    why: str | None
    """Why it was not."""


class GenerationFacts(Part):
    """How answers were generated."""

    how: str | None
    alike: Literal["any", "equal", "tried"] | None = None
    """Which prompts were answered together."""
    budgets: dict[str, BudgetFacts] = Field(default_factory=dict)
    max_new_tokens: int | None = None
    """Where answers were cut off; null where the model gave none."""
    alone: AloneFacts | None = None
    """Null where the model gave none."""
    mapped: MappedFacts | None = None
    """Null where the model was on one device."""


class Package(Part):
    """The code that ran."""

    name: Literal["probebench"]
    version: Annotated[str, Field(pattern=r"^[\w.+-]+$"), at_most(40)]
    commit: Annotated[str | None, Field(pattern="^[0-9a-f]{40}$")]
    """Null for an installed package."""
    dirty: Annotated[bool | None, ranked(lambda dirty: not dirty, "False or None")]
    """Do files of the package differ from its commit?"""


class StageTime(Part):
    """What one stage took."""

    seconds: float
    done: int
    """Examples or cells."""
    tokens: int


class Tokens(Part):
    """Tokens of all prompts and answers."""

    prompts: int
    answers: int


class Timing(Part):
    """How long it took; no result."""

    started: str | None = None
    device: str | None = None
    stages: dict[str, StageTime] = Field(default_factory=dict)
    tokens: Tokens | None = None
    total_seconds: float | None = None


class SubmissionFacts(Part):
    """Only in a row of the leaderboard."""

    format: int
