"""Types of what `evaluate` takes, for type checkers. Written by `python
scripts/write_options.py` from the definition of the options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict


class Asked(TypedDict, total=False):
    """Options of `evaluate` and `evaluate_all`, by argument."""

    revision: str | None
    """Commit or tag of a hub model."""

    dtype: str
    """Of the weights; auto: as the checkpoint on a GPU, float32 on a CPU."""

    device: str
    """auto, cpu, cuda or cuda:N."""

    attn_implementation: str | None
    """As in transformers, such as eager or sdpa."""

    device_map: str | Path | Mapping[str, str | int] | None
    """Spread over devices: auto, balanced, a JSON file or object."""

    quantization: str
    """By bitsandbytes, while loading."""

    peft: str | Path | None
    """An adapter, merged into the weights."""

    trust_remote_code: bool
    """Run Python code that comes with the model, with your rights."""

    gguf_file: str | None
    """The GGUF file of a hub id, or of a folder."""

    data: str | Path | Sequence[str | Path] | None
    """Questions from a local file or folder instead of the task's source."""

    answers: str | Path | None
    """Answers made elsewhere; goes on from extraction."""

    limit: int | None
    """Only N examples, always the same ones."""

    thinking: bool | None
    """Ask the chat template for it; default: as the template does."""

    max_new_tokens: int | None
    """Instead of the task's limit, for models that think first."""

    generation: str | None
    """fast: a static, compiled cache; default: on a GPU."""

    judge_model: str | Path | None
    """Another model's second opinion on the labels; agreement is reported."""

    label_noise: str | None
    """Evaluate under a second judge too; model: that of judge_model."""

    exact_answer: str | None
    """new_words, model or whole; gold finds it by the label, as the paper did."""

    extractor_model: str | Path | None
    """Another model copies the exact answers out, as in the paper."""

    positions: str | Sequence[str] | None
    """Token positions, or all; default: the published fifteen."""

    sites: str | Sequence[str]
    """Where in a block, or all."""

    layers: Sequence[int] | None
    """Blocks to read, beside the embedding row; default: all."""

    attribution: bool
    """Also estimate what replacing each component by its mean changes."""

    ablation: bool
    """As attribution, and replace each of them for every answer; slower."""

    batching: str
    """exact: bit by bit the states of one example at a time; slower."""

    probe: str
    """Kind of probe, or package.module:factory of a scikit-learn classifier."""

    solver: str
    """Of the logistic probe; sklearn is the plain reference."""

    shuffles: int | None
    """Shuffled-label fits per cell; default: 100 for the batched solver, none for others."""

    width: int | None
    """Project the vectors of components to one width, for a fair comparison."""

    train_sizes: Sequence[int] | None
    """Learning curve of the selected cell, such as 50,100,200."""

    repeat_splits: int
    """Further splits of the same examples, and five folds that test each once."""

    seed: int
    """For splits, shuffles and resamples."""

    encoder: str | Path | None
    """A text encoder, folder or hub id, for the text-embedding baseline."""

    nli: str | Path | None
    """A model of natural-language inference, folder or hub id, for methods that compare texts."""

    detectors: str | Sequence[str]
    """Other methods of the field on the same answers, or all (docs/detectors.md)."""

    samples: int
    """Draw K further answers to each question: error types, selection (docs/protocol.md)."""

    temperature: float | None
    """Of samples: logits are divided by it; default: 1."""

    top_p: float | None
    """Of samples: only the likeliest tokens that have this share together; default: 1."""

    controls: str | Sequence[str]
    """random-model: the same probe on untrained weights."""

    neutral: str | Path | None
    """A run of this model whose correct answers say where alarms begin."""

    skip: str | Sequence[str]
    """Leave out p-true, text, text-embedding, ensembles or shuffles; such a run never ranks."""

    states: str | Path | None
    """Hidden states of these answers made elsewhere, as by states import."""

    states_dtype: str
    """Of the stored vectors; bfloat16 holds what is beyond 65,504."""

    discard_states: bool
    """Delete the hidden states when the run is finished."""

    keep_tokens: bool
    """Keep the vectors of all answer tokens that pooled probes read."""

    out: str | Path | None
    """Run directory, or the URL of one; default: runs/<model>/<task>."""

    log_to: str | Sequence[str]
    """Also put the finished run into wandb or trackio, or both."""

    part: str | None
    """Compute a share of a run on a shared folder: 2/8 is the second of eight."""

    engine: str
    """Where it is computed: in this process, or by the workers of a Ray cluster."""

    address: str | None
    """Of the cluster: auto, host:port or ray://host:port; default: one is started here."""

    workers: int | None
    """Of the cluster; default: as many as it has room for."""

    gpus_per_worker: int | None
    """GPUs of each worker; default: 1 where the cluster has any."""

    offline: bool
    """Never ask the hub; use what is cached here."""
