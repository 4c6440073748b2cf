"""What a user can ask of a run, and where its directory is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from probebench.detectors import suite
from probebench.errors import UnknownNameError, UsageError
from probebench.files import content_key
from probebench.models.blocks.sites import check_sites
from probebench.models.generate import GENERATIONS
from probebench.models.loading import ModelSpec
from probebench.probes.fit import MOVED
from probebench.probes.kinds import get_probe
from probebench.probes.labels import MIN_CLASS
from probebench.probes.logistic.solver import MAX_ITER, TOL
from probebench.probes.many_fits import ROUGH
from probebench.states.extract import BATCHINGS
from probebench.states.positions import resolve_positions
from probebench.states.shards import STATE_DTYPES
from probebench.tasks.exact.rules import FREE, GOLD, MODEL_RULE
from probebench.tasks.judge import JUDGES

BY_MODEL = "model"
"""Name of the second judge that is `judge_model`."""


def skips() -> dict[str, tuple[str, ...]]:
    """What costs time beside the map and can be left out: its name, and the rows that the table of
    detectors lacks then. `shuffles` are the fits of every cell to shuffled labels; those of the
    selected cell alone cost little and stay."""
    return {**suite.skips(), "shuffles": ()}


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that a user can ask of a run."""

    model: ModelSpec
    task: str | None = None
    data: str | tuple[str, ...] | None = None
    """Local files and folders, all of them together the questions."""
    answers: str | None = None
    limit: int | None = None
    positions: tuple[str, ...] | None = None
    sites: tuple[str, ...] = ("resid",)
    layers: tuple[int, ...] | None = None
    probe: str = "logistic"
    solver: str = "batched"
    """How logistic probes are fitted: `batched`, or `sklearn` for the plain reference."""
    shuffles: int | None = None
    """Shuffled-label fits per cell; None: as many as the probe can afford."""
    width: int | None = None
    """Project the vectors of components to this width; None leaves them as they are."""
    attribution: bool = False
    """Also measure gradient x activation of every component."""
    thinking: bool | None = None
    """Asks the chat template to switch thinking on or off; None leaves it to the template."""
    max_new_tokens: int | None = None
    """Overrides the task's limit, for models that think before they answer."""
    seed: int = 0
    judge_model: ModelSpec | None = None
    """Another model asked for a second opinion on every label; it changes no number."""
    exact_answer: str | None = None
    """Overrides the task's rule; `gold` looks at the label, for comparison with Orgad et al. 2025
    only."""
    extractor_model: ModelSpec | None = None
    """Another model that copies the exact answers, as in Orgad et al. 2025; None: the run's own,
    where the rule is `model`."""
    train_sizes: tuple[int, ...] | None = None
    """Numbers of train examples of the learning curve; it changes no other number."""
    label_noise: str | None = None
    """A second judge to evaluate under: a registered one, or `model` for the judge model. It
    changes no other number."""
    controls: tuple[str, ...] = ()
    """Further controls, by name: `random-model`."""
    skip: tuple[str, ...] = ()
    """Costly detectors and controls to leave out, by name of `skips`. Such a run never ranks."""
    encoder: str | None = None
    """A text encoder, a folder or a hub id, for the text-embedding baseline; it changes no other
    number."""
    neutral: str | None = None
    """A finished run of the same model whose correct answers place a second alarm threshold; it
    changes no other number."""
    states: str | None = None
    """Hidden states of these answers that are there already: an import, or a run directory. Nothing
    is extracted then."""
    states_dtype: str = "float16"
    batching: str = "default"
    """`exact`: hidden states to the last bit those of one example at a time."""
    generation: str | None = None
    """`plain`, or `fast` for a static, compiled cache; None: fast on a GPU where the model can,
    plain elsewhere."""
    offline: bool = False
    out: str | None = None
    discard_states: bool = False

    def check(self) -> None:
        """Complain before anything is loaded.

        Raises:
            UsageError: a value that cannot be.
        """
        if self.task is None and self.answers is None:
            raise UsageError(
                "Give a task with --task NAME, or answers made elsewhere with --answers FILE."
            )
        if self.answers is not None and self.data is not None:
            raise UsageError(
                "--answers and --data exclude each other: answers carry their own questions."
            )
        if self.exact_answer is not None and self.answers is not None and self.task is None:
            raise UsageError(
                "--exact-answer needs --task: without one, the file of --answers says where the "
                "exact answers are."
            )
        if self.extractor_model is not None and self.task is None:
            raise UsageError(
                "--extractor-model needs --task: without one, the file of --answers says where the "
                "exact answers are."
            )
        if self.states is not None and self.answers is None:
            raise UsageError(
                "--states needs --answers FILE: the answers that the hidden states are of."
            )
        if self.neutral is not None and self.width is not None:
            raise UsageError(
                "--neutral and --width exclude each other: the vectors of the other run are not "
                "projected."
            )
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit must be 1 or more; got {self.limit}.")
        if self.states_dtype not in STATE_DTYPES:
            raise UsageError(
                f"--states-dtype must be one of {', '.join(STATE_DTYPES)}; got "
                f"{self.states_dtype!r}."
            )
        if self.batching not in BATCHINGS:
            raise UnknownNameError("--batching", self.batching, BATCHINGS)
        if self.generation not in (None, *GENERATIONS):
            raise UnknownNameError("--generation", str(self.generation), GENERATIONS)
        for name in ("width", "max_new_tokens"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be 1 or more; got {value}.")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed must lie between 0 and {2**32 - 1}; got {self.seed}.")
        if self.shuffles is not None and self.shuffles < 0:
            raise UsageError(f"--shuffles must be 0 or more; got {self.shuffles}.")
        resolve_positions(self.positions)
        check_sites(self.sites)
        if (
            get_probe(self.probe, self.solver).batched is get_probe(self.probe).batched
            and self.solver != "batched"
        ):
            raise UsageError(
                f"--solver {self.solver} is for the logistic probe; {self.probe!r} has a solver of "
                "its own."
            )
        if self.train_sizes is not None and min(self.train_sizes, default=0) < 2:
            raise UsageError(
                f"--train-sizes must be numbers of 2 or more; got "
                f"{', '.join(map(str, self.train_sizes)) or 'none'}."
            )
        if self.label_noise not in (None, BY_MODEL, *JUDGES):
            raise UnknownNameError("--label-noise", str(self.label_noise), [*JUDGES, BY_MODEL])
        if self.label_noise == BY_MODEL and self.judge_model is None:
            raise UsageError(
                "--label-noise model takes the labels of the judge model; name one with "
                "--judge-model M."
            )
        for name in self.controls:
            if name not in suite.controls():
                raise UnknownNameError("--control", name, suite.controls())
        self._check_skip()
        if self.controls and self.states is not None:
            raise UsageError(
                "--control random-model and --states exclude each other: an untrained model has no "
                "such states."
            )
        if self.exact_answer not in (None, GOLD, *FREE):
            raise UnknownNameError("--exact-answer", str(self.exact_answer), [GOLD, *FREE])
        if self.extractor_model is not None and self.exact_answer not in (None, GOLD, MODEL_RULE):
            raise UsageError(
                f"--extractor-model and --exact-answer {self.exact_answer} exclude each other: the "
                f"rule {self.exact_answer!r} asks "
                f"no model. Leave one of them out."
            )

    def _check_skip(self) -> None:
        """Complain about a name that cannot be left out, or that is asked for at once."""
        for name in self.skip:
            if name not in skips():
                raise UnknownNameError("--skip", name, skips())
        for name, option, value in (
            ("shuffles", "--shuffles", self.shuffles),
            ("text-embedding", "--encoder", self.encoder),
        ):
            if name in self.skip and value:
                raise UsageError(
                    f"--skip {name} and {option} {value} exclude each other. Leave one of them out."
                )

    def probe_inputs(self) -> list[Any]:
        """Everything that decides the fits of a cell, for content keys."""
        probe = get_probe(self.probe, self.solver)
        numbers = [*probe.grid, TOL, ROUGH, MAX_ITER, MIN_CLASS, MOVED]
        return [
            self.probe,
            probe.source,
            self.solver,
            self.shuffles,
            self.width,
            self.seed,
            numbers,
        ]

    @property
    def overrides(self) -> dict[str, Any]:
        """Options that differ from the protocol's, so that the numbers are not comparable with a
        plain run."""
        names = (
            "data",
            "limit",
            "positions",
            "sites",
            "layers",
            "probe",
            "solver",
            "shuffles",
            "width",
            "attribution",
            "thinking",
            "max_new_tokens",
            "seed",
            "states_dtype",
            "batching",
            "exact_answer",
            "extractor_model",
            "skip",
        )
        plain = Options(self.model)
        found = {
            name: getattr(self, name)
            for name in names
            if getattr(self, name) != getattr(plain, name)
        }
        if isinstance(self.data, tuple) and len(self.data) == 1:
            found["data"] = self.data[0]
        return {
            name: asdict(value) if isinstance(value, ModelSpec) else value
            for name, value in found.items()
        }

    def folder(self, name: str) -> Path:
        """The run directory: `runs/<model>/<task>`, with a suffix when settings are overridden."""
        if self.out is not None:
            return Path(self.out)
        model = {
            f.name: v
            for f in fields(self.model)
            if f.name != "name" and (v := getattr(self.model, f.name)) != f.default
        }
        given = {
            name: value
            for name in ("answers", "states", "generation")
            if (value := getattr(self, name))
        }
        changed = {**self.overrides, **model, **given}
        suffix = f"--{content_key(changed)[:8]}" if changed else ""
        return Path("runs") / self.model.slug / f"{name}{suffix}"
