"""Fitted probes on disk, without pickle: weights as safetensors, what they belong to as JSON beside
them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from probebench.errors import BadFileError, UsageError
from probebench.files import located, write_atomic, write_json
from probebench.probes.estimators import HiddenLayer
from probebench.probes.kinds import linear_map
from probebench.probes.parts import OneScale
from probebench.probes.saved import (
    KINDS,
    SCHEMA_VERSION,
    ProbeMeta,
    SavedProbe,
    check_tensors,
    checked_meta,
    width_of,
)


def load_probe(path_stem: Path | str) -> SavedProbe:
    """Read a probe that `save_probe` wrote.

    Raises:
        BadFileError: a file is missing, damaged, of an unknown schema version, or the two do not
            belong together.
        StatesError: weights that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    weights, description = paths(path_stem)
    head = _read_json(description)
    version = head.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise BadFileError(
            f"{description} has schema version {version!r}; this version of probebench reads "
            f"{SCHEMA_VERSION}. "
            f"Read it with the version that wrote it: {head.get('version', 'unknown')}."
        )
    kind, width, digest = (head.pop(name, None) for name in ("kind", "width", "weights_sha256"))
    if kind not in KINDS:
        raise BadFileError(f"{description}: kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    meta = checked_meta(head, str(description), BadFileError)
    content = _read(weights)
    if hashlib.sha256(content).hexdigest() != digest:
        raise BadFileError(
            f"{weights} is not the file that {description.name} describes: damaged, or from "
            "another probe. Save again."
        )
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise BadFileError(f"{weights} is no safetensors file: {error}.") from None
    check_tensors(kind, tensors, str(weights), BadFileError)
    if width != width_of(kind, tensors):
        raise BadFileError(
            f"{description} says width {width!r}; the weights are for {width_of(kind, tensors)}."
        )
    layers = tuple(
        (tensors[f"{k}.weight"], tensors[f"{k}.bias"])
        for k in range(len(tensors) // 2)
        if f"{k}.weight" in tensors
    )
    scale = float(tensors["scale"][0]) if "scale" in tensors else None
    return SavedProbe(meta, kind, layers, tensors.get("centre"), scale)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadFileError(
            f"{path} is not there. A saved probe is two files, <name>.safetensors and <name>.json."
        ) from None
    except OSError as error:
        raise BadFileError(f"Cannot read {path}: {error.strerror}.") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read(path))
    except ValueError as error:
        raise BadFileError(f"{path} is not JSON: {error}.") from None
    if not isinstance(content, dict):
        raise BadFileError(
            f"{path} holds a {type(content).__name__}; a saved probe is described by an object."
        )
    return content


def paths(stem: Path | str) -> tuple[Path, Path]:
    """Weights and description of a probe: `<stem>.safetensors` and `<stem>.json`; either may also
    be given as the stem."""
    name = str(stem)
    for ending in (".safetensors", ".json"):
        name = name.removesuffix(ending)
    return located(f"{name}.safetensors"), located(f"{name}.json")


def save_probe(
    path_stem: Path | str, fitted: Any, meta: ProbeMeta | Mapping[str, Any]
) -> tuple[Path, Path]:
    """Write a fitted probe as `<stem>.safetensors` and `<stem>.json`.

    `OneScale` before an affine classifier or a `HiddenLayer` is kept step by step, so that
    decisions come back to the last bit; other affine pipelines are folded into one map, with
    decisions equal up to rounding.

    Returns:
        The two files.

    Raises:
        UsageError: a probe that is neither affine nor a `HiddenLayer`, or `meta` that does not
            describe one.
        StatesError: weights that are not finite.
    """
    meta = checked_meta(meta if isinstance(meta, Mapping) else asdict(meta), "meta", UsageError)
    classes = tuple(np.asarray(getattr(fitted, "classes_", meta.classes)).tolist())
    if classes != meta.classes:
        raise UsageError(
            f"meta says the classes are {meta.classes}; the fitted probe tells {classes} apart."
        )
    kind, tensors = _tensors(fitted)
    check_tensors(kind, tensors, "The fitted probe", UsageError)
    weights, description = paths(path_stem)
    from safetensors.numpy import save

    # one metadata key only: with several, their order in the file would differ from run to run
    content = bytes(save(tensors, metadata={"format": f"probebench probe {SCHEMA_VERSION}"}))
    write_atomic(weights, content)
    head = {"schema_version": SCHEMA_VERSION, "kind": kind, "width": width_of(kind, tensors)}
    write_json(
        description, {**head, **asdict(meta), "weights_sha256": hashlib.sha256(content).hexdigest()}
    )
    return weights, description


def _tensors(fitted: Any) -> tuple[str, dict[str, NDArray[np.floating[Any]]]]:
    """Kind and arrays of a fitted probe."""
    steps = [step for _, step in fitted.steps] if isinstance(fitted, Pipeline) else [fitted]
    *scalers, last = steps
    folded = linear_map(fitted)
    ours = not scalers or (len(scalers) == 1 and isinstance(scalers[0], OneScale))
    if ours and isinstance(last, HiddenLayer):
        kind, layers = "hidden", [(np.asarray(w), np.asarray(b)) for w, b in last.layers_]
    elif folded is None:
        raise UsageError(
            f"A fitted {_describe(fitted)} is not an affine map on the vectors, and only such "
            "probes and the mlp probe can be saved: anything else would need pickle, which runs "
            "code when it is read. Keep its decisions instead."
        )
    elif ours:
        kind, layers = (
            "affine",
            [(np.asarray(last.coef_).reshape(1, -1), np.ravel(last.intercept_))],
        )
    else:
        kind, layers, scalers = "affine", [(folded.weight[None], np.array([folded.bias]))], []
    tensors = {
        f"{k}.{name}": np.ascontiguousarray(a)
        for k, pair in enumerate(layers)
        for name, a in zip(("weight", "bias"), pair, strict=True)
    }
    for scaler in scalers:
        tensors |= {
            "centre": np.ascontiguousarray(scaler.mean_),
            "scale": np.array([scaler.scale_]),
        }
    return kind, tensors


def _describe(fitted: Any) -> str:
    return (
        " + ".join(type(s).__name__ for _, s in fitted.steps)
        if isinstance(fitted, Pipeline)
        else type(fitted).__name__
    )
