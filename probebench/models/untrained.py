"""A model that has learnt nothing: the same config, weights as its architecture initialises them
before training."""

from __future__ import annotations

import copy
from typing import Any

from probebench.errors import UsageError
from probebench.models.handles import LoadedModel, ModelHandle
from probebench.models.loading import quiet_libraries


def check_untrained(handle: ModelHandle) -> None:
    """Complain about a model of which no untrained copy can be made here.

    Raises:
        UsageError: it is spread over devices, or quantised: random weights have neither a map nor a
            calibration.
    """
    packed = handle.identity.quantization if handle.identity.packed else None
    for name, value in (("--device-map", handle.placement.map), ("quantised weights", packed)):
        if value is not None:
            raise UsageError(
                "--control random-model is for models on one device that are not quantised, and "
                f"{handle.identity.name!r} has {name} ({value}). Leave the control out, or run it "
                "with a smaller model of the family."
            )


def untrained(handle: ModelHandle, seed: int) -> LoadedModel:
    """The model's architecture with freshly drawn weights, on its device and in its dtype: the same
    for the same seed.

    Weights are drawn on the CPU by the architecture's own initialisation, so they do not depend on
    the device; torch's own random state is left as it was. An adapter is not merged: it would have
    nothing to adapt.

    Raises:
        UsageError: see `check_untrained`.
    """
    import torch

    check_untrained(handle)
    kind: Any = type(handle.skeleton)
    config = copy.deepcopy(handle.skeleton.config)
    with quiet_libraries(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        model = kind._from_config(
            config,
            dtype=getattr(torch, handle.identity.dtype),
            attn_implementation=handle.spec.attention,
        )
    return LoadedModel(model.to(handle.placement.device).eval(), handle)
