"""A model's shape without its weights: what a pass holds is counted tensor by tensor where nothing
is computed.

Counting needs no numbers, so it is exact for any size. Architectures whose passes look at their
numbers, as experts do that are chosen token by token, are run instead, with few layers and examples
and with random numbers, and the count goes on in proportion.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from probebench.models.blocks.sites import base_of
from probebench.models.handles import ModelHandle
from probebench.models.loading import quiet_libraries
from probebench.models.passes.live_bytes import LiveBytes
from probebench.models.passes.padding import known_alike
from probebench.models.passes.token_scores import token_scores

FEW_LAYERS, FEW_ROWS = (2, 4), (1, 3)
"""Layers of the models, and examples of the passes, that are run where a pass cannot be counted
without numbers."""
PER_LAYER = (
    "layer_types",
    "mlp_layer_types",
    "block_types",
    "layers_block_type",
    "attention_layers",
    "intermediate_size",
    "activation_sparsity_pattern",
    "no_rope_layers",
)
"""Entries of a config that may list one value per layer."""
DECODER = ("decoder_layers", "num_decoder_layers")
"""Entries that count the same where an architecture has an encoder too."""
VOCABULARIES = ("vocab_size", "vocab_size_per_layer_input")
"""Entries of a config that say how many tokens there are; Gemma's small models have two tables."""
SMALL_VOCABULARY = 1024
TILE = 2**20
"""Random numbers that weights are filled with, over and over: as fast as memory, and no two experts
are alike."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One way to run a model over sequences of one length."""

    rows: int
    """Examples."""
    run: Callable[[Any, int, Any], Any]
    """Given a model, how many examples, and what `before` made."""
    before: Callable[[Any, int], Any] | None = None
    """Makes what stands there already when counting begins, such as a cache."""


def plain_pass(rows: int, tokens: int, chunk: int = 0, vocabulary: int = 0) -> Pass:
    """Whole sequences, without a cache; then the scores of up to `chunk` of their tokens, of a
    small model as wide as `vocabulary`."""

    def run(model: Any, n: int, _: Any) -> None:
        ids = torch.zeros((n, tokens), dtype=torch.long)
        mask = torch.ones_like(ids)
        states = base_of(model)(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        if chunk:
            _scores(model, states.flatten(0, 1)[:chunk], vocabulary)

    return Pass(rows, run)


def first_pass(rows: int, tokens: int, vocabulary: int = 0) -> Pass:
    """Whole sequences with a cache, and the scores of the last token; of a small model as wide as
    `vocabulary`."""
    return Pass(
        rows, lambda model, n, _: cached_pass(model, n, tokens, torch.device("cpu"), vocabulary)
    )


def last_step(rows: int, whole: int, vocabulary: int = 0) -> Pass:
    """The step of one token after which sequences have `whole` tokens; the cache is there, with all
    of them in every layer, as rows of answers keep it."""

    def step(model: Any, n: int, tokens: int, cache: Mapping[str, Any]) -> Any:
        ids = torch.zeros((n, 1), dtype=torch.long)
        # only caches of keys have a length that a mask can have; the others are states of one size
        mask = (
            {"attention_mask": torch.ones((n, tokens), dtype=torch.long)}
            if "past_key_values" in cache
            else {}
        )
        return base_of(model)(input_ids=ids, use_cache=True, **mask, **cache)

    def before(model: Any, n: int) -> dict[str, Any]:
        ids = torch.zeros((n, max(whole - 2, 1)), dtype=torch.long)
        mask, base = torch.ones_like(ids), base_of(model)
        out = base(input_ids=ids, attention_mask=mask, use_cache=True, **_whole_cache(model))
        return cache_of(step(model, n, ids.shape[1] + 1, cache_of(out)))

    def run(model: Any, n: int, cache: Mapping[str, Any]) -> None:
        _scores(model, step(model, n, max(whole, 3), cache)[0][:, -1], vocabulary)

    return Pass(rows, run, before)


def _whole_cache(model: Any) -> dict[str, Any]:
    """A cache whose layers with a window keep all; empty where the model makes its own."""
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    windows = [type(layer) is DynamicSlidingWindowLayer for layer in cache.layers]
    if not any(windows) or known_alike(model.config) != "any":
        return {}
    cache.layers = [
        DynamicLayer() if window else layer
        for window, layer in zip(windows, cache.layers, strict=True)
    ]
    return {"past_key_values": cache}


def cache_of(out: Any) -> dict[str, Any]:
    """The cache of a pass, under the name by which the next one takes it; empty where the model
    keeps it to itself."""
    names = ("past_key_values", "cache_params", "state")
    return next(({name: out[name]} for name in names if name in out and out[name] is not None), {})


def cached_pass(
    model: Any, rows: int, tokens: int, device: torch.device, vocabulary: int = 0
) -> None:
    """A pass over sequences that are all of one token, with a cache and the scores of the last
    token."""
    ids = torch.zeros((rows, tokens), dtype=torch.long, device=device)
    with torch.inference_mode():
        mask = torch.ones_like(ids)
        out = base_of(model)(input_ids=ids, attention_mask=mask, use_cache=True)
        _scores(model, out[0][:, -1], vocabulary)


def _scores(model: Any, states: torch.Tensor, vocabulary: int) -> None:
    """The distribution after some tokens, (token, width) their last states."""
    head = model.get_output_embeddings()
    if head is not None:
        scores = head(states)
        if scores.shape[-1] < vocabulary:
            scores = torch.nn.functional.pad(scores, (0, vocabulary - scores.shape[-1]))
        token_scores(scores, torch.zeros(len(scores), dtype=torch.long, device=scores.device))


def counted(handle: ModelHandle, *wanted: Pass) -> list[int]:
    """Bytes that live at once in each pass, beyond the weights; nothing is computed and no weights
    are needed.

    Raises:
        Exception: whatever an architecture raises that looks at its numbers.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with _silent(), FakeTensorMode():
        model = bare_model(handle, handle.identity.n_layers)
        return [_peak(model, w, w.rows) for w in wanted]


def measured(handle: ModelHandle, *wanted: Pass) -> list[int]:
    """The same by passes that are computed, with random weights: of few layers and examples, and
    from there in proportion."""
    n_layers = handle.identity.n_layers
    depths = (n_layers,) if n_layers <= FEW_LAYERS[1] else FEW_LAYERS
    found: list[list[float]] = []
    for k in depths:
        with _silent():
            model = random_model(handle, k, torch.device("cpu"))
            found.append([_all_rows(model, w) for w in wanted])
    return [round(_through(depths, peaks, n_layers)) for peaks in zip(*found, strict=True)]


def _all_rows(model: Any, wanted: Pass) -> float:
    rows = (wanted.rows,) if wanted.rows <= FEW_ROWS[1] else FEW_ROWS
    return _through(rows, [_peak(model, wanted, n) for n in rows], wanted.rows)


def held(handle: ModelHandle, *wanted: Pass) -> list[int]:
    """Bytes that live at once in each pass, counted where that can be done and else measured."""
    try:
        return counted(handle, *wanted)
    except Exception:  # whatever an architecture raises that looks at its numbers
        return measured(handle, *wanted)


def _through(x: Sequence[int], y: Sequence[float], at: int) -> float:
    """The line through one or two points."""
    return y[0] if len(x) == 1 else y[0] + (y[1] - y[0]) / (x[1] - x[0]) * (at - x[0])


def _peak(model: Any, wanted: Pass, rows: int) -> int:
    with torch.inference_mode(), LiveBytes() as live:
        there = wanted.before(model, rows) if wanted.before else None
        live.peak = live.now
        wanted.run(model, rows, there)
    return int(live.peak)


@contextmanager
def _silent() -> Iterator[None]:
    """What cannot be counted is found out by trying, and torch would print the trace of every
    try."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with quiet_libraries():
            yield
    finally:
        logger.setLevel(before)


def bare_model(handle: ModelHandle, n_layers: int, vocabulary: int | None = None) -> Any:
    """A model of the same shape as the handle's with as many layers as asked; its weights are
    whatever is there.

    Args:
        handle: the model.
        n_layers: how many.
        vocabulary: tokens it knows at most; None: as many as it does.
    """
    config: Any = copy.deepcopy(handle.skeleton.config)
    text = config.get_text_config(decoder=True)
    whole = text.num_hidden_layers
    if n_layers != whole:
        for name in PER_LAYER:
            listed = getattr(text, name, None)
            if isinstance(listed, (list, tuple)) and len(listed) == whole:
                setattr(text, name, listed[:n_layers])
        text.num_hidden_layers = n_layers
        for name in DECODER:
            if getattr(text, name, None) == whole:
                setattr(text, name, n_layers)
        # the last ones read what earlier ones keep, which may not be there
        if getattr(text, "num_kv_shared_layers", None):
            text.num_kv_shared_layers = 0
    if vocabulary is not None:
        for name in VOCABULARIES:
            if getattr(text, name, None):
                setattr(text, name, min(getattr(text, name), vocabulary))
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            if getattr(text, name, None) is not None:
                setattr(text, name, 0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, handle.identity.dtype))
    try:
        return type(handle.skeleton)(config).eval()
    finally:
        torch.set_default_dtype(before)


def known_tokens(model: Any) -> int:
    """Tokens that a model has vectors for."""
    text = model.config.get_text_config(decoder=True)
    return int(min(size for name in VOCABULARIES if (size := getattr(text, name, None))))


def random_model(
    handle: ModelHandle,
    n_layers: int,
    device: torch.device,
    vocabulary: int | None = SMALL_VOCABULARY,
) -> Any:
    """A model of the same shape that can be run, with random weights; layers and vocabulary as in
    `bare_model`."""
    with torch.device("meta"):
        model = bare_model(handle, n_layers, vocabulary)
    model = model.to_empty(device=device)
    tile = torch.randn(TILE, generator=torch.Generator().manual_seed(0)).mul_(0.02)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.ndim < 2 or not tensor.is_floating_point():
                # what memory happens to hold can be numbers that a CPU is slow at
                tensor.fill_(0.01)
                continue
            flat, part = tensor.view(-1), tile.to(device=device, dtype=tensor.dtype)
            whole = flat.numel() // TILE * TILE
            flat[:whole].view(-1, TILE).copy_(part)
            flat[whole:].copy_(part[: flat.numel() - whole])
    return model.eval()
