"""The Python twin of `probebench eval`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from probebench.models import ModelSpec
from probebench.pipeline import evaluate as run_job
from probebench.progress import Progress, TerminalProgress
from probebench.run import Run
from probebench.settings import Settings


def evaluate(
    model: str,
    task: str | None = None,
    *,
    data: str | Path | None = None,
    answers: str | Path | None = None,
    limit: int | None = None,
    positions: Sequence[str] | None = None,
    sites: Sequence[str] = ("resid",),
    layers: Sequence[int] | None = None,
    probe: str = "logistic",
    seed: int = 0,
    judge_model: str | None = None,
    exact_answer: str | None = None,
    out: str | Path | None = None,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    attn_implementation: str | None = None,
    states_dtype: str = "float16",
    discard_states: bool = False,
    offline: bool = False,
    quiet: bool = True,
) -> Run:
    """Run the main job, or find it done, and return what its directory holds.

    Args:
        model: `tiny`, a folder, or a hub id.
        task: a task of the suite, or the path of a task file; may be None when `answers` carries labels.
        data: questions from a local file instead of the task's source.
        answers: answers made elsewhere; see `probebench.answers` for the columns.
        limit: only so many examples, always the same ones.
        positions: names of token positions; None means the fifteen published ones.
        sites: where in a block to read.
        layers: block indices; None means all. The embedding row is always there.
        probe: kind of probe.
        seed: for splits, shuffles and resamples.
        judge_model: another model's second opinion on the labels, reported as agreement.
        exact_answer: `gold` finds the exact answer by the label, for comparison with Orgad et al. 2025 only.
        out: run directory; default `runs/<model>/<task>`.
        revision: commit or tag of a hub model.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        attn_implementation: as in transformers; None leaves it to the model.
        states_dtype: `float16` or `float32`, of the stored vectors.
        discard_states: delete the hidden states when the run is finished.
        offline: never ask the hub.
        quiet: no progress on standard error.

    Raises:
        UsageError: what was asked for is wrong.
        RunError: the run cannot give a result.
    """
    settings = Settings(
        model=ModelSpec(model, revision, dtype, device, attn_implementation),
        task=task,
        data=None if data is None else str(data),
        answers=None if answers is None else str(answers),
        limit=limit,
        positions=None if positions is None else tuple(positions),
        sites=tuple(sites),
        layers=None if layers is None else tuple(layers),
        probe=probe,
        seed=seed,
        judge_model=None if judge_model is None else ModelSpec(judge_model, device=device),
        exact_answer=exact_answer,
        states_dtype=states_dtype,
        offline=offline,
        out=None if out is None else str(out),
        discard_states=discard_states,
    )
    return run_job(settings, Progress() if quiet else TerminalProgress())
