"""What a user can ask of a run.

Every option is defined once, here, in `probebench.job.answer_options` or in
`probebench.models.specs`; see `probebench.options.field`. Nothing heavy is imported: `--help` is
made of these fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from probebench.engines.spec import EngineSpec
from probebench.job import rules
from probebench.job.answer_options import AnswerOptions
from probebench.models.specs import MODEL, ModelSpec
from probebench.options.checks import above, at_least, between, check_options, known, share
from probebench.options.field import Option, option, options_of, own_options
from probebench.options.values import held_all

READ = "What is read"
PROBES, BESIDE, STATES = "Probes", "What stands beside them", "Hidden states"
RUN = "The run"


@dataclass(frozen=True, slots=True)
class Options(AnswerOptions):
    """Everything that a user can ask of a run. To add an option, add a field."""

    positions: tuple[str, ...] | None = option(
        None,
        "Token positions, or all; default: the published fifteen.",
        READ,
        examples=("all",),
        read="names",
        check=rules.check_positions,
    )
    sites: tuple[str, ...] = option(
        ("resid",),
        "Where in a block, or all.",
        READ,
        examples=("all", "resid"),
        read="names",
        check=rules.check_site_names,
    )
    layers: tuple[int, ...] | None = option(
        None, "Blocks to read, beside the embedding row; default: all.", READ, read="layers"
    )
    attribution: bool = option(
        False,
        "Also estimate what replacing each component by its mean changes.",
        READ,
        more="A few answers check the estimate by replacing them (docs/maps.md).",
        changes="adds",
        apart=True,
    )
    ablation: bool = option(
        False,
        "As --attribution, and replace each of them for every answer; slower.",
        READ,
        changes="adds",
        apart=True,
    )
    batching: str = option(
        "default",
        "exact: bit by bit the states of one example at a time; slower.",
        READ,
        choices=("default", "exact"),
    )
    probe: str = option(
        "logistic",
        "Kind of probe, or package.module:factory of a scikit-learn classifier.",
        PROBES,
        metavar="P",
        check=rules.check_probe,
    )
    solver: str = option(
        "batched",
        "Of the logistic probe; sklearn is the plain reference.",
        PROBES,
        choices=("batched", "sklearn"),
    )
    shuffles: int | None = option(
        None,
        "Shuffled-label fits per cell; default: 100 for the batched solver, none for others.",
        PROBES,
        check=at_least(0),
    )
    width: int | None = option(
        None,
        "Project the vectors of components to one width, for a fair comparison.",
        PROBES,
        check=at_least(1),
    )
    train_sizes: tuple[int, ...] | None = option(
        None,
        "Learning curve of the selected cell, such as 50,100,200.",
        PROBES,
        read="counts",
        check=rules.check_train_sizes,
        changes="adds",
    )
    repeat_splits: int = option(
        0,
        "Further splits of the same examples, and five folds that test each once.",
        PROBES,
        more="Nothing is generated or read again; their spread stands beside the one split.",
        metavar="K",
        check=between(0, 1000),
        changes="adds",
    )
    seed: int = option(
        0, "For splits, shuffles and resamples.", PROBES, check=between(0, 2**32 - 1)
    )
    encoder: str | None = option(
        None,
        "A text encoder, folder or hub id, for the text-embedding baseline.",
        BESIDE,
        path=True,
        changes="adds",
    )
    nli: str | None = option(
        None,
        "A model of natural-language inference, folder or hub id, for methods that compare texts.",
        BESIDE,
        more="Its labels have to be named entailment, neutral and contradiction.",
        path=True,
        changes="adds",
    )
    detectors: tuple[str, ...] = option(
        (),
        "Other methods of the field on the same answers, or all (docs/detectors.md).",
        BESIDE,
        examples=("all",),
        read="names",
        check=known(rules.methods),
        changes="adds",
    )
    samples: int = option(
        0,
        "Draw K further answers to each question: error types, selection (docs/protocol.md).",
        BESIDE,
        metavar="K",
        check=between(0, 1000),
        changes="adds",
    )
    temperature: float | None = option(
        None,
        "Of --samples: logits are divided by it; default: 1.",
        BESIDE,
        metavar="T",
        check=above(0),
        changes="adds",
    )
    top_p: float | None = option(
        None,
        "Of --samples: only the likeliest tokens that have this share together; default: 1.",
        BESIDE,
        metavar="P",
        check=share,
        changes="adds",
    )
    controls: tuple[str, ...] = option(
        (),
        "random-model: the same probe on untrained weights.",
        BESIDE,
        flag="--control",
        metavar="C",
        read="repeated",
        check=known(rules.controls),
        changes="adds",
    )
    neutral: str | None = option(
        None,
        "A run of this model whose correct answers say where alarms begin.",
        BESIDE,
        metavar="RUN",
        path=True,
        changes="adds",
    )
    skip: tuple[str, ...] = option(
        (),
        "Leave out p-true, text, text-embedding, ensembles or shuffles; such a run never ranks.",
        BESIDE,
        read="names",
        check=known(rules.skips),
    )
    states: str | None = option(
        None,
        "Hidden states of these answers made elsewhere, as by states import.",
        STATES,
        more="An import, or a run directory; nothing is extracted then.",
        path=True,
        changes="source",
    )
    states_dtype: str = option(
        "float16",
        "Of the stored vectors; bfloat16 holds what is beyond 65,504.",
        STATES,
        more="Runs in float32, which holds every value that float16 does, rank too.",
        choices=("float16", "bfloat16", "float32"),
    )
    discard_states: bool = option(
        False, "Delete the hidden states when the run is finished.", STATES, changes="nothing"
    )
    keep_tokens: bool = option(
        False,
        "Keep the vectors of all answer tokens that pooled probes read.",
        STATES,
        changes="nothing",
    )
    out: str | None = option(
        None,
        "Run directory, or the URL of one; default: runs/<model>/<task>.",
        RUN,
        path=True,
        changes="nothing",
        more="Such as s3://bucket/runs/x (docs/storage.md).",
    )
    log_to: tuple[str, ...] = option(
        (),
        "Also put the finished run into wandb or trackio, or both.",
        RUN,
        more="A run that is found finished is not put there again (docs/exports.md).",
        examples=("trackio", "wandb"),
        read="names",
        check=rules.check_trackers,
        changes="nothing",
    )
    part: str | None = option(
        None,
        "Compute a share of a run on a shared folder: 2/8 is the second of eight.",
        RUN,
        more="What is still missing is said; the call without it finishes (docs/cluster.md).",
        metavar="I/N",
        check=rules.check_part,
        changes="nothing",
    )
    where: EngineSpec = field(default_factory=EngineSpec)
    offline: bool = option(
        False, "Never ask the hub; use what is cached here.", MODEL, changes="nothing"
    )

    def check(self) -> None:
        """Complain before anything is loaded; the model is checked when it is looked for.

        Raises:
            UsageError: a value that cannot be.
        """
        self.where.check()
        check_options(self, rules.RULES)

    @classmethod
    def asked(cls, values: Mapping[str, Any]) -> Self:
        """From what a caller wrote, by argument; None and what is not there keep their defaults.
        Further models run on the device of the model.

        Raises:
            UsageError: a value of another type.
        """
        spec = ModelSpec(**held_all(ModelSpec, values))
        own = held_all(cls, values)
        for o in own_options(cls):
            if o.type is ModelSpec and o.name in own:
                own[o.name] = ModelSpec(own[o.name], device=spec.device)
        return cls(spec, **own, where=EngineSpec(**held_all(EngineSpec, values)))

    @property
    def overrides(self) -> dict[str, Any]:
        """Options that differ from the protocol's, so that the numbers are not comparable with a
        plain run; and those that add so much that they have a folder of their own."""
        found = {
            o.name: value
            for o in own_options(type(self))
            if (o.changes == "numbers" or o.apart) and (value := getattr(self, o.name)) != o.default
        }
        if isinstance(self.data, tuple) and len(self.data) == 1:
            found["data"] = self.data[0]
        return {n: asdict(v) if isinstance(v, ModelSpec) else v for n, v in found.items()}

    def by_argument(self) -> dict[str, Any]:
        """Every option by its name in Python; further models by theirs."""
        found = {}
        for asked in (self.model, self, self.where):
            for o in own_options(type(asked)):
                value = getattr(asked, o.name)
                found[o.argument] = value.name if isinstance(value, ModelSpec) else value
        return found

    def recorded(self) -> dict[str, Any]:
        """The settings of a record: every option by its name, and which override the protocol."""
        return {**asdict(self), "overrides": self.overrides}


OPTIONS: tuple[Option, ...] = options_of(Options)
"""All of them, those of the model first."""
