"""The Python twin of `probebench eval`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from probebench.models.loading import ModelSpec
from probebench.pipeline import evaluate as run_job
from probebench.progress import Progress, TerminalProgress
from probebench.run import Run
from probebench.settings import Settings


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
    train_sizes: Sequence[int] | None = None,
    label_noise: str | None = None,
    controls: Sequence[str] = (),
    neutral: str | Path | None = None,
    skip: Sequence[str] = (),
    encoder: str | Path | None = None,
    out: str | Path | None = None,
    revision: str | None = None,
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
        model: `tiny`, a folder, or a hub id.
        task: a task of the suite, or the path of a task file; may be None when `answers` carries labels.
        data: questions from local files or folders, one or several, instead of the task's source.
        answers: answers made elsewhere; docs/answers.md explains the columns.
        limit: only so many examples, always the same ones.
        positions: names of token positions, or `all`; None means the fifteen published ones.
        sites: where in a block to read, or `all`.
        layers: block indices; None means all. The embedding row is always there.
        probe: kind of probe, or the import path `package.module:factory` of a scikit-learn classifier.
        solver: of the logistic probe: `batched`, or `sklearn` for scikit-learn's own.
        shuffles: shuffled-label fits per cell; None means 100 for the batched solver and none for others.
        width: project the vectors of components to one width; None leaves them as they are.
        attribution: also measure gradient x activation of every component.
        thinking: ask the chat template to switch thinking on or off; None leaves it to the template.
        max_new_tokens: instead of the task's limit, for models that think before they answer.
        seed: for splits, shuffles and resamples.
        judge_model: another model's second opinion on the labels, reported as agreement.
        exact_answer: `gold` finds the exact answer by the label, for comparison with Orgad et al. 2025 only.
        train_sizes: numbers of train examples for a learning curve of the selected cell.
        label_noise: a second judge to evaluate under, by name; `model` takes the opinions of `judge_model`.
        controls: further controls, by name: `random-model`, the same probe on a randomly initialised model of the same config.
        neutral: a finished run of the same model, a neutral control set: its correct answers place a second alarm threshold.
        skip: costly detectors and controls to leave out: `p-true`, `text`, `text-embedding`, `ensembles`, `shuffles`.
        encoder: a text encoder, by folder or hub id, for the text-embedding baseline.
        out: run directory; default `runs/<model>/<task>`.
        revision: commit or tag of a hub model.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        device_map: how to spread the model over devices: `auto`, `balanced`, a JSON file, or module names to devices.
        attn_implementation: as in transformers; None leaves it to the model.
        quantization: `int8` or `int4`, by bitsandbytes while loading; `none` leaves the checkpoint as it is.
        peft: folder of an adapter, which is merged into the weights.
        trust_remote_code: run Python code that comes with the model, with your rights.
        states: hidden states of `answers` that are there already, such as an import; nothing is extracted then.
        states_dtype: `float16`, `bfloat16` or `float32`, of the stored vectors.
        batching: `default`, or `exact` for hidden states to the last bit those of one example at a time.
        generation: `plain`, or `fast` for a static, compiled cache; None is fast on a GPU where the model can.
        discard_states: delete the hidden states when the run is finished.
        offline: never ask the hub.
        quiet: no progress on standard error.

    Raises:
        UsageError: what was asked for is wrong.
        RunError: the run cannot give a result.
    """
    spread = json.dumps(dict(device_map)) if isinstance(device_map, Mapping) else _text(device_map)
    settings = Settings(
        model=ModelSpec(model, revision, dtype, device, attn_implementation, spread, quantization, _text(peft), trust_remote_code),
        task=task,
        data=_text(data) if data is None or isinstance(data, str | Path) else tuple(map(str, data)),
        answers=_text(answers),
        limit=limit,
        positions=None if positions is None else tuple(positions),
        sites=tuple(sites),
        layers=None if layers is None else tuple(layers),
        probe=probe,
        solver=solver,
        shuffles=shuffles,
        width=width,
        attribution=attribution,
        thinking=thinking,
        max_new_tokens=max_new_tokens,
        seed=seed,
        judge_model=None if judge_model is None else ModelSpec(judge_model, device=device),
        exact_answer=exact_answer,
        train_sizes=None if train_sizes is None else tuple(train_sizes),
        label_noise=label_noise,
        controls=tuple(controls),
        neutral=_text(neutral),
        skip=tuple(skip),
        encoder=_text(encoder),
        states=_text(states),
        states_dtype=states_dtype,
        batching=batching,
        generation=generation,
        offline=offline,
        out=_text(out),
        discard_states=discard_states,
    )
    return run_job(settings, Progress() if quiet else TerminalProgress())


def _text(value: str | Path | None) -> str | None:
    return None if value is None else str(value)
