"""The Python twin of `probebench eval`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from probebench.errors import TasksError, UnknownNameError, UsageError
from probebench.job.options import Options
from probebench.job.pipeline import evaluate as run_job
from probebench.job.several import Outcome, prepare_all, run_all
from probebench.models.loading import ModelSpec
from probebench.progress import Progress, TerminalProgress
from probebench.record.run import Run

OTHER_MODELS = ("judge_model", "extractor_model")
"""Arguments that name a further model."""


def evaluate(
    model: str,
    task: str | None = None,
    *,
    data: str | Path | Sequence[str | Path] | None = None,
    answers: str | Path | None = None,
    limit: int | None = None,
    positions: Sequence[str] | None = None,
    sites: Sequence[str] = ("resid",),
    layers: Sequence[int] | None = None,
    probe: str = "logistic",
    solver: str = "batched",
    shuffles: int | None = None,
    width: int | None = None,
    attribution: bool = False,
    thinking: bool | None = None,
    max_new_tokens: int | None = None,
    seed: int = 0,
    judge_model: str | None = None,
    exact_answer: str | None = None,
    extractor_model: str | None = None,
    train_sizes: Sequence[int] | None = None,
    label_noise: str | None = None,
    controls: Sequence[str] = (),
    neutral: str | Path | None = None,
    skip: Sequence[str] = (),
    encoder: str | Path | None = None,
    out: str | Path | None = None,
    revision: str | None = None,
    gguf_file: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    device_map: str | Path | Mapping[str, str | int] | None = None,
    attn_implementation: str | None = None,
    quantization: str = "none",
    peft: str | Path | None = None,
    trust_remote_code: bool = False,
    states: str | Path | None = None,
    states_dtype: str = "float16",
    batching: str = "default",
    generation: str | None = None,
    discard_states: bool = False,
    offline: bool = False,
    quiet: bool = True,
) -> Run:
    """Run the main job, or find it done, and return what its directory holds.

    Args:
        model: `tiny`, a folder, a GGUF file, or a hub id.
        task: a task of the suite, or the path of a task file; may be None when `answers` carries
            labels.
        data: questions from local files or folders, one or several, instead of the task's source.
        answers: answers made elsewhere; docs/answers.md explains the columns.
        limit: only so many examples, always the same ones.
        positions: names of token positions, or `all`; None means the fifteen published ones.
        sites: where in a block to read, or `all`.
        layers: block indices; None means all. The embedding row is always there.
        probe: kind of probe, or the import path `package.module:factory` of a scikit-learn
            classifier.
        solver: of the logistic probe: `batched`, or `sklearn` for scikit-learn's own.
        shuffles: shuffled-label fits per cell; None means 100 for the batched solver and none for
            others.
        width: project the vectors of components to one width; None leaves them as they are.
        attribution: also measure gradient x activation of every component.
        thinking: ask the chat template to switch thinking on or off; None leaves it to the
            template.
        max_new_tokens: instead of the task's limit, for models that think before they answer.
        seed: for splits, shuffles and resamples.
        judge_model: another model's second opinion on the labels, reported as agreement.
        exact_answer: how exact answers are found instead of by the task's rule: `new_words`,
            `model` or `whole`; `gold` finds them by the label, for comparison with Orgad et al.
            2025 only.
        extractor_model: another model that copies the exact answers out of the replies, as in Orgad
            et al. 2025.
        train_sizes: numbers of train examples for a learning curve of the selected cell.
        label_noise: a second judge to evaluate under, by name; `model` takes the opinions of
            `judge_model`.
        controls: further controls, by name: `random-model`, the same probe on a randomly
            initialised model of the same config.
        neutral: a finished run of the same model, a neutral control set: its correct answers place
            a second alarm threshold.
        skip: costly detectors and controls to leave out: `p-true`, `text`, `text-embedding`,
            `ensembles`, `shuffles`.
        encoder: a text encoder, by folder or hub id, for the text-embedding baseline.
        out: run directory; default `runs/<model>/<task>`.
        revision: commit or tag of a hub model.
        gguf_file: which GGUF file of a hub id, or of a folder, is the model.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        device_map: how to spread the model over devices: `auto`, `balanced`, a JSON file, or module
            names to devices.
        attn_implementation: as in transformers; None leaves it to the model.
        quantization: `int8` or `int4`, by bitsandbytes while loading; `none` leaves the checkpoint
            as it is.
        peft: folder of an adapter, which is merged into the weights.
        trust_remote_code: run Python code that comes with the model, with your rights.
        states: hidden states of `answers` that are there already, such as an import; nothing is
            extracted then.
        states_dtype: `float16`, `bfloat16` or `float32`, of the stored vectors.
        batching: `default`, or `exact` for hidden states to the last bit those of one example at a
            time.
        generation: `plain`, or `fast` for a static, compiled cache; None is fast on a GPU where the
            model can.
        discard_states: delete the hidden states when the run is finished.
        offline: never ask the hub.
        quiet: no progress on standard error.

    Raises:
        UsageError: what was asked for is wrong.
        RunError: the run cannot give a result.
    """
    values = {name: value for name, value in locals().items() if name != "quiet"}
    return run_job(_settings(values), Progress() if quiet else TerminalProgress())


def evaluate_all(
    model: str, tasks: Sequence[str], *, quiet: bool = True, **options: Any
) -> list[Outcome]:
    """Run several tasks of one model, one after the other; the Python twin of `--task A --task B`.

    Everything is checked before the first begins. A task that fails later does not stop the next.

    Args:
        model: as in `evaluate`.
        tasks: names or files.
        quiet: no progress on standard error.
        options: as in `evaluate`, the same for all tasks; without `out`.

    Returns:
        One outcome per task, in their order.

    Raises:
        UsageError: what was asked for is wrong; nothing was begun.
        RunError: a model or data set cannot be reached; nothing was begun.
        TasksError: some tasks failed; `error.outcomes` has all outcomes, and those that are done
            are on disk.
    """
    known = signature(evaluate).parameters
    for name in options:
        if name not in known or name in ("model", "task"):
            raise UnknownNameError(
                "option", name, [n for n in known if n not in ("model", "task", "quiet")]
            )
    if options.get("out") is not None and len(tasks) > 1:
        raise UsageError("`out` names one run directory; with several tasks leave it out.")
    defaults = {
        n: p.default for n, p in known.items() if p.default is not Parameter.empty and n != "quiet"
    }
    wanted = [_settings({**defaults, **options, "model": model, "task": task}) for task in tasks]
    outcomes = list(run_all(prepare_all(wanted, Progress() if quiet else TerminalProgress())))
    failed = [o for o in outcomes if o.error is not None]
    if failed:
        lines = [
            f"{len(failed)} of {len(outcomes)} tasks failed.",
            *(f"  {o.task}: {o.reason}" for o in failed),
        ]
        raise TasksError("\n".join(lines), outcomes)
    return outcomes


def _settings(values: Mapping[str, Any]) -> Options:
    """The arguments of `evaluate` as settings: paths as text, sequences as tuples, other models as
    what they are asked for by."""
    spread = values["device_map"]
    spec = ModelSpec(
        values["model"],
        values["revision"],
        values["dtype"],
        values["device"],
        values["attn_implementation"],
        json.dumps(dict(spread)) if isinstance(spread, Mapping) else _frozen(spread),
        values["quantization"],
        _frozen(values["peft"]),
        values["trust_remote_code"],
        values["gguf_file"],
    )
    device = values["device"]
    others: dict[str, Any] = {
        n: None if values[n] is None else ModelSpec(values[n], device=device) for n in OTHER_MODELS
    }
    names = [f.name for f in fields(Options) if f.name not in ("model", *OTHER_MODELS)]
    return Options(model=spec, **others, **{name: _frozen(values[name]) for name in names})


def _frozen(value: Any) -> Any:
    """A value as settings hold it."""
    if isinstance(value, Path):
        return str(value)
    return (
        tuple(map(_frozen, value))
        if isinstance(value, Sequence) and not isinstance(value, str)
        else value
    )
