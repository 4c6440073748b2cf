"""What was loaded, held against its checkpoint: weights missing, of another shape, or left over.

transformers goes on with random numbers, or without them, and a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from probebench.errors import RunError, UsageError
from probebench.models.blocks.taps import find_blocks

HEADS_AHEAD = re.compile(r"\.(eh_proj|enorm|hnorm|shared_head|mtp\w*|nextn\w*)\.")
"""Marks of a further block that foretells the token after the next, as DeepSeek-V3 and GLM have
it; transformers leaves it out."""
BUFFERS = re.compile(r"(inv_freq|position_ids|masked_bias|causal_mask|_extra_state)$")
"""Not weights but constants, which early versions wrote down too."""
ON_TOP = re.compile(r"lora_")
"""Weights that are for pictures and sound only (Phi-4-multimodal)."""


def check_loaded(name: str, model: Any, facts: dict[str, Any], n_layers: int) -> None:
    """Complain where transformers would go on with random numbers in place of weights, or with a
    part of them.

    Args:
        name: the model, for messages.
        model: what was loaded.
        facts: transformers' loading information.
        n_layers: blocks of the decoder, by its config.

    Raises:
        UsageError: weights that are missing, of another shape, or of a block and without a place.
    """
    # poolers are never run here
    missing = sorted(key for key in facts["missing_keys"] if "pooler" not in key)
    for keys, what in (
        (missing, "are missing"),
        (sorted(k[0] for k in facts["mismatched_keys"]), "have another shape"),
    ):
        if keys:
            raise UsageError(
                f"{len(keys)} weights that {type(model).__name__} needs {what} in the checkpoint "
                f"{name!r}, the first {keys[0]!r}. "
                f"Its config.json is not that of its weights, or it has no language-model head."
            )
    left = sorted(_of_blocks(model, facts["unexpected_keys"], n_layers))
    if further := [(k, key) for k, key in left if k >= n_layers]:
        raise UsageError(
            f"The config.json of {name!r} asks for {n_layers} blocks, and its checkpoint has "
            f"weights of {further[-1][0] + 1}, the first without a place {further[0][1]!r}. Config "
            "and weights do not belong together: get both from the same model."
        )
    if inside := [key for _, key in left if _is_used(model, key)]:
        raise UsageError(
            f"{len(inside)} weights of the blocks of {name!r} have no place in "
            f"{type(model).__name__}, the first {inside[0]!r}. Its config.json and its weights do "
            "not belong together: get both from the same model."
        )


def _of_blocks(model: Any, keys: Iterable[str], n_layers: int) -> Iterator[tuple[int, str]]:
    """Block and name of each weight of the decoder's blocks that was not used."""
    try:
        blocks = find_blocks(model, n_layers)
    except RunError:  # such a model cannot be read anyway
        return
    first = next(name for name, module in model.named_modules() if module is blocks[0])
    where, prefix = first.rpartition(".")[0], f"{model.base_model_prefix}."
    # a checkpoint may be of the model with its head, or of the one without
    names = {where, where.removeprefix(prefix), prefix + where}
    block = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(names)))})\.(\d+)\.")
    found = [
        (int(match[1]), key)
        for key in keys
        if (match := block.match(key)) and not BUFFERS.search(key)
    ]
    ahead = {k for k, key in found if HEADS_AHEAD.search(key)}
    yield from ((k, key) for k, key in found if k < n_layers or k not in ahead)


def _is_used(model: Any, key: str) -> bool:
    """Whether a weight or bias inside a block would change what it does, had it a place: quantised
    models keep scales and zeros beside theirs, and some attention a mask that is called bias."""
    if getattr(model, "hf_quantizer", None) is not None or ON_TOP.search(key):
        return False
    parent, _, last = key.rpartition(".")
    if last != "bias":
        return last == "weight"
    prefix = f"{model.base_model_prefix}."
    for name in (parent, prefix + parent, parent.removeprefix(prefix)):
        with suppress(AttributeError):  # no module of that name
            return not any(True for _ in model.get_submodule(name).children())
    return True
