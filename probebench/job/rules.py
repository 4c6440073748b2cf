"""Checks of what is asked of a run: values that depend on a registry, looked up when needed, and
what does not go together.

A rule is a function of the options that it is about, by name; it says why, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from probebench.engines.part import Part
from probebench.engines.spec import LOCAL, EngineSpec
from probebench.errors import UsageError
from probebench.models.specs import ModelSpec
from probebench.options.checks import Rule

# -- values ----------------------------------------------------------------------------------------


def second_judges() -> Iterable[str]:
    """What `--label-noise` may name."""
    from probebench.tasks.judge import JUDGES
    from probebench.tasks.opinion import BY_MODEL

    return [*JUDGES, BY_MODEL]


def exact_rules() -> Iterable[str]:
    """What `--exact-answer` may name."""
    from probebench.tasks.exact.rules import FREE, GOLD

    return [GOLD, *FREE]


def controls() -> Iterable[str]:
    """What `--control` may name; shuffled labels are always there."""
    from probebench.detectors.suite import controls

    return controls()


def methods() -> Iterable[str]:
    """What `--detectors` may name."""
    from probebench.detectors.suite import EVERY, asked

    return [EVERY, *asked()]


def skips() -> dict[str, tuple[str, ...]]:
    """What costs time beside the map and can be left out: its name, and the rows that the table of
    detectors lacks then. `shuffles` are the fits of every cell to shuffled labels; those of the
    selected cell alone cost little and stay."""
    from probebench.detectors import suite

    return {**suite.skips(), "shuffles": ()}


def check_positions(flag: str, names: tuple[str, ...]) -> None:
    """Every one is a position, or `all`."""
    from probebench.states.positions import resolve_positions

    resolve_positions(names)


def check_part(flag: str, text: str) -> None:
    """It is one of several."""
    Part.read(text)


def check_site_names(flag: str, names: tuple[str, ...]) -> None:
    """Every one is a site, or `all`."""
    from probebench.models.blocks.sites import check_sites

    check_sites(names)


def check_trackers(flag: str, names: tuple[str, ...]) -> None:
    """Every one is a tracker that is installed."""
    from probebench.record.exports.trackers import check_trackers

    check_trackers(flag, names)


def check_probe(flag: str, name: str) -> None:
    """A kind of probe, or a factory that can be imported."""
    from probebench.probes.kinds import get_probe

    get_probe(name)


def check_train_sizes(flag: str, sizes: tuple[int, ...]) -> None:
    """Numbers of examples that a probe can be fitted to."""
    if min(sizes, default=0) < 2:
        given = ", ".join(map(str, sizes)) or "none"
        raise UsageError(f"{flag} must be numbers of 2 or more; got {given}.")


# -- what goes together ----------------------------------------------------------------------------


def _something_is_asked(task: str | None, answers: str | None) -> str | None:
    if task is not None or answers is not None:
        return None
    return "Give a task with --task NAME, or answers made elsewhere with --answers FILE."


def _answers_are_of_questions(answers: str | None, data: object) -> str | None:
    if answers is None or data is None:
        return None
    return "--answers and --data exclude each other: answers carry their own questions."


def _exact_answers_are_found(
    task: str | None, answers: str | None, exact_answer: str | None
) -> str | None:
    if exact_answer is None or answers is None or task is not None:
        return None
    return (
        "--exact-answer needs --task: without one, the file of --answers says where the exact "
        "answers are."
    )


def _exact_answers_are_copied(task: str | None, extractor_model: ModelSpec | None) -> str | None:
    if extractor_model is None or task is not None:
        return None
    return (
        "--extractor-model needs --task: without one, the file of --answers says where the exact "
        "answers are."
    )


def _copying_asks_a_model(
    exact_answer: str | None, extractor_model: ModelSpec | None
) -> str | None:
    from probebench.tasks.exact.rules import GOLD, MODEL_RULE

    if extractor_model is None or exact_answer in (None, GOLD, MODEL_RULE):
        return None
    return (
        f"--extractor-model and --exact-answer {exact_answer} exclude each other: the rule "
        f"{exact_answer!r} asks no model. Leave one of them out."
    )


def _states_are_of_answers(states: str | None, answers: str | None) -> str | None:
    if states is None or answers is not None:
        return None
    return "--states needs --answers FILE: the answers that the hidden states are of."


def _untrained_states(states: str | None, controls: tuple[str, ...]) -> str | None:
    if states is None or not controls:
        return None
    return (
        "--control random-model and --states exclude each other: an untrained model has no such "
        "states."
    )


def _neutral_is_whole(neutral: str | None, width: int | None) -> str | None:
    if neutral is None or width is None:
        return None
    return (
        "--neutral and --width exclude each other: the vectors of the other run are not projected."
    )


def _solver_is_of_logistic(probe: str, solver: str) -> str | None:
    from probebench.probes.kinds import get_probe

    if solver == "batched" or get_probe(probe).batched:
        return None
    return f"--solver {solver} is for the logistic probe; {probe!r} has a solver of its own."


def _judge_model_is_named(label_noise: str | None, judge_model: ModelSpec | None) -> str | None:
    from probebench.tasks.opinion import BY_MODEL

    if label_noise != BY_MODEL or judge_model is not None:
        return None
    return "--label-noise model takes the labels of the judge model; name one with --judge-model M."


def _shuffles_are_not_skipped(skip: tuple[str, ...], shuffles: int | None) -> str | None:
    return _skipped(skip, "shuffles", "--shuffles", shuffles)


def _encoder_is_not_skipped(skip: tuple[str, ...], encoder: str | None) -> str | None:
    return _skipped(skip, "text-embedding", "--encoder", encoder)


def _skipped(skip: tuple[str, ...], name: str, flag: str, value: object) -> str | None:
    if name not in skip or not value:
        return None
    return f"--skip {name} and {flag} {value} exclude each other. Leave one of them out."


def _nli_is_asked(nli: str | None, detectors: tuple[str, ...]) -> str | None:
    if nli is None or detectors:
        return None
    return (
        f"--nli {nli} is asked by methods that compare texts; name one with --detectors, or all "
        "(docs/detectors.md)."
    )


def _tokens_are_read(keep_tokens: bool, detectors: tuple[str, ...]) -> str | None:
    from probebench.detectors.suite import EVERY
    from probebench.detectors.whole.pooled import ASKED

    if not keep_tokens or {ASKED, EVERY} & set(detectors):
        return None
    return f"--keep-tokens keeps what {ASKED} read; name them with --detectors {ASKED}."


def _samples_are_generated(samples: int, answers: str | None) -> str | None:
    if not samples or answers is None:
        return None
    return (
        f"--samples {samples} and --answers exclude each other: further answers are drawn where "
        "the model answers."
    )


def _answers_are_there(
    answers: str | None, max_new_tokens: int | None, thinking: bool | None, generation: str | None
) -> str | None:
    named = {
        f"--max-new-tokens {max_new_tokens}": max_new_tokens,
        "--thinking" if thinking else "--no-thinking": thinking,
        f"--generation {generation}": generation,
    }
    asked = next((flag for flag, value in named.items() if value is not None), None)
    if answers is None or asked is None:
        return None
    return (
        f"{asked} and --answers exclude each other: it says how the model answers, and these "
        "answers are there."
    )


def _sampling_needs_samples(
    samples: int, temperature: float | None, top_p: float | None
) -> str | None:
    for flag, value in (("--temperature", temperature), ("--top-p", top_p)):
        if value is not None and not samples:
            return f"{flag} {value:g} is of drawn answers; say how many with --samples K."
    return None


def _workers_have_their_gpus(where: EngineSpec, model: ModelSpec) -> str | None:
    if where.engine == LOCAL or not model.device.startswith("cuda:"):
        return None
    return (
        "--device on a cluster is 'auto', 'cpu' or 'cuda': Ray says which GPU a worker has; got "
        f"{model.device!r}."
    )


def _parts_or_workers(where: EngineSpec, part: str | None) -> str | None:
    if where.engine == LOCAL or part is None:
        return None
    return f"--part {part} shares a run out by itself; leave --engine {where.engine} out."


RULES: tuple[Rule, ...] = (
    _something_is_asked,
    _answers_are_of_questions,
    _exact_answers_are_found,
    _exact_answers_are_copied,
    _copying_asks_a_model,
    _states_are_of_answers,
    _untrained_states,
    _neutral_is_whole,
    _solver_is_of_logistic,
    _judge_model_is_named,
    _shuffles_are_not_skipped,
    _encoder_is_not_skipped,
    _nli_is_asked,
    _tokens_are_read,
    _samples_are_generated,
    _answers_are_there,
    _sampling_needs_samples,
    _workers_have_their_gpus,
    _parts_or_workers,
)
