"""Fitted probes on disk, without pickle: weights as safetensors, what they belong to as JSON beside
them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from probebench.errors import BadFileError, StatesError, UnknownNameError, UsageError
from probebench.files import clean_json, write_atomic, write_json
from probebench.probes.estimators import HiddenLayer, OneScale, affine, hidden, scaled
from probebench.probes.kinds import linear_map

SCHEMA_VERSION = 1
KINDS = ("affine", "hidden")


@dataclass(frozen=True, slots=True)
class ProbeMeta:
    """What a probe belongs to; all that someone else needs to apply it to vectors of their own."""

    probe: str
    """Name of the probe, or the import path of its factory."""
    C: float | None
    """Inverse strength of the penalty chosen on validation; None where there is no such choice."""
    site: str
    layer: int
    """Block index, -1 for the embedding output."""
    layer_convention: str
    """What layer k means, in words."""
    position: str
    position_rule: str
    """What the position means, in words."""
    model: str
    revision: str | None
    """Commit or content hash of the weights; None where there is none."""
    dtype: str
    """In which the model ran."""
    attention: str
    """Attention implementation."""
    version: str
    """Of this package."""
    classes: tuple[int, ...] = (0, 1)
    """What the probe tells apart; positive decisions mean the second. 1 = correct."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedProbe:
    """A probe read from disk."""

    meta: ProbeMeta
    kind: str
    """`affine` or `hidden`."""
    layers: tuple[tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]], ...]
    """Weights and bias of each layer: one pair of (1, width) and (1,) when affine, else of (in,
    out) and (out,)."""
    centre: NDArray[np.float64] | None
    """(width,) taken from the vectors first; None for probes on raw vectors."""
    scale: float | None
    """By which all features are divided then."""

    @property
    def width(self) -> int:
        """Features of a vector."""
        return int(self.layers[0][0].shape[1 if self.kind == "affine" else 0])

    def decision_function(self, X: Any) -> NDArray[np.floating[Any]]:
        """(example,) decisions of raw (example, width) vectors, those of the fitted estimator to
        the last bit.

        Raises:
            StatesError: vectors of another width, or not finite.
        """
        X = np.asarray(X)
        X = X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
        if X.ndim != 2 or X.shape[1] != self.width:
            raise StatesError(
                f"This probe reads (example, {self.width}) vectors of {self.meta.model}, site "
                f"{self.meta.site}, layer "
                f"{self.meta.layer}; got an array of shape {X.shape}."
            )
        if not np.isfinite(X).all():
            bad = int((~np.isfinite(X).all(axis=1)).sum())
            raise StatesError(
                f"{bad} of {len(X)} vectors are not finite. Leave examples whose token is absent "
                "out."
            )
        if self.centre is not None and self.scale is not None:
            X = scaled(X, self.centre, self.scale)
        return affine(X, *self.layers[0]) if self.kind == "affine" else hidden(X, list(self.layers))

    def predict(self, X: Any) -> NDArray[np.int64]:
        """(example,) one of `meta.classes` for each raw vector."""
        first, second = self.meta.classes
        return np.where(self.decision_function(X) > 0, second, first)


def paths(stem: Path | str) -> tuple[Path, Path]:
    """Weights and description of a probe: `<stem>.safetensors` and `<stem>.json`; either may also
    be given as the stem."""
    name = str(stem)
    for ending in (".safetensors", ".json"):
        name = name.removesuffix(ending)
    return Path(f"{name}.safetensors"), Path(f"{name}.json")


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
    meta = _meta(meta if isinstance(meta, Mapping) else asdict(meta), "meta", UsageError)
    classes = tuple(np.asarray(getattr(fitted, "classes_", meta.classes)).tolist())
    if classes != meta.classes:
        raise UsageError(
            f"meta says the classes are {meta.classes}; the fitted probe tells {classes} apart."
        )
    kind, tensors = _tensors(fitted)
    _check_tensors(kind, tensors, "The fitted probe", UsageError)
    weights, description = paths(path_stem)
    from safetensors.numpy import save

    # one metadata key only: with several, their order in the file would differ from run to run
    content = bytes(save(tensors, metadata={"format": f"probebench probe {SCHEMA_VERSION}"}))
    write_atomic(weights, content)
    head = {"schema_version": SCHEMA_VERSION, "kind": kind, "width": _width(kind, tensors)}
    write_json(
        description, {**head, **asdict(meta), "weights_sha256": hashlib.sha256(content).hexdigest()}
    )
    return weights, description


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
    meta = _meta(head, str(description), BadFileError)
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
    _check_tensors(kind, tensors, str(weights), BadFileError)
    if width != _width(kind, tensors):
        raise BadFileError(
            f"{description} says width {width!r}; the weights are for {_width(kind, tensors)}."
        )
    layers = tuple(
        (tensors[f"{k}.weight"], tensors[f"{k}.bias"])
        for k in range(len(tensors) // 2)
        if f"{k}.weight" in tensors
    )
    scale = float(tensors["scale"][0]) if "scale" in tensors else None
    return SavedProbe(meta, kind, layers, tensors.get("centre"), scale)


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
            "probes and the mlp probe can be "
            f"saved: anything else would need pickle, which runs code when it is read. Keep its "
            "decisions instead."
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


def _width(kind: str, tensors: Mapping[str, NDArray[Any]]) -> int:
    return int(tensors["0.weight"].shape[1 if kind == "affine" else 0])


def _check_tensors(
    kind: str, tensors: Mapping[str, NDArray[Any]], what: str, error: type[UsageError]
) -> None:
    """All arrays there, of shapes that fit one another, and finite."""
    n = sum(name.endswith(".weight") for name in tensors)
    names = {f"{k}.{part}" for k in range(n) for part in ("weight", "bias")}
    if (
        not n
        or set(tensors) not in (names, names | {"centre", "scale"})
        or (kind == "affine" and n != 1)
    ):
        raise error(
            f"{what} does not hold the arrays of one {kind} probe; it holds "
            f"{', '.join(sorted(tensors)) or 'none'}."
        )
    for name, values in tensors.items():
        if values.dtype not in (np.float32, np.float64):
            raise error(f"{what}: {name} is {values.dtype}; weights are float32 or float64.")
        if not np.isfinite(values).all():
            raise StatesError(
                f"{what}: {name} has values that are not finite, so every decision would be "
                "undefined. Fit the probe again."
            )
    weights, biases = ([tensors[f"{k}.{part}"] for k in range(n)] for part in ("weight", "bias"))
    shapes = [w.T.shape if kind == "affine" else w.shape for w in weights]
    joined = all(len(s) == 2 for s in shapes) and all(a[1] == b[0] for a, b in pairwise(shapes))
    if (
        not joined
        or shapes[-1][1] != 1
        or any(b.shape != (s[1],) for b, s in zip(biases, shapes, strict=True))
    ):
        raise error(
            f"{what}: layers of shapes {[w.shape for w in weights]} and "
            f"{[b.shape for b in biases]} do not fit together."
        )
    if "centre" in tensors and (
        tensors["centre"].shape != (shapes[0][0],)
        or tensors["scale"].shape != (1,)
        or not tensors["scale"][0] > 0
    ):
        raise error(f"{what}: centre and scale must be ({shapes[0][0]},) and one number above 0.")


def _meta(given: Mapping[str, Any], where: str, error: type[UsageError]) -> ProbeMeta:
    """Checked description."""
    types: dict[str, tuple[type, ...]] = {
        "C": (float, int, type(None)),
        "layer": (int,),
        "revision": (str, type(None)),
        "classes": (list, tuple),
    }
    known = [f.name for f in fields(ProbeMeta)]
    for name in given:
        if name not in known:
            raise (
                UnknownNameError(f"field of {where}", str(name), known)
                if error is UsageError
                else error(f"{where} has an unknown field {name!r}.")
            )
    missing = [name for name in known if name not in given and name != "classes"]
    if missing:
        raise error(f"{where} lacks {', '.join(missing)}.")
    values = clean_json(given)  # an undefined C is None, numpy's numbers are Python's
    for name, value in values.items():
        allowed = types.get(name, (str,))
        if not isinstance(value, allowed) or isinstance(value, bool):
            expected = " or ".join("None" if t is type(None) else t.__name__ for t in allowed)
            raise error(f"{where}: {name} must be {expected}; got {value!r}.")
    values["classes"] = tuple(values.get("classes", (0, 1)))
    if len(values["classes"]) != 2:
        raise error(f"{where}: classes must be two; got {values['classes']!r}.")
    return ProbeMeta(**values)


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
