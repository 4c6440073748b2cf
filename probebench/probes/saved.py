"""A saved probe: what it belongs to, its decisions, and what its arrays and words must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError, UnknownNameError, UsageError
from probebench.files import clean_json
from probebench.probes.parts import affine, hidden, scaled
from probebench.types import layer_name

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

    @property
    def words(self) -> str:
        """Probe, model and cell in a few words."""
        where = f"{self.site}, layer {layer_name(self.layer)}, {self.position}"
        return f"{self.probe} on {self.model}: {where}"

    def __repr__(self) -> str:
        """One line."""
        return f"<ProbeMeta {self.words}>"


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

    def __repr__(self) -> str:
        """One line: its weights are thousands of numbers."""
        return f"<SavedProbe {self.meta.words}; {self.width:,} features>"

    @property
    def width(self) -> int:
        """Features of a vector."""
        return int(self.layers[0][0].shape[1 if self.kind == "affine" else 0])

    def decision_function(self, X: Any) -> NDArray[np.floating[Any]]:
        """(example,) decisions of raw (example, width) vectors, those of the fitted estimator to
        the last bit. Tensors of torch may be of any type of numbers, on any device.

        Raises:
            StatesError: vectors of another width, or not finite.
        """
        X = _as_array(X)
        X = X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
        if X.ndim != 2 or X.shape[1] != self.width:
            raise StatesError(
                f"This probe reads (example, {self.width}) vectors of {self.meta.model}, site "
                f"{self.meta.site}, layer {self.meta.layer}; got an array of shape {X.shape}."
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


def _as_array(X: Any) -> NDArray[Any]:
    """Vectors as numpy holds them; what it has no type for, such as bfloat16, as float32."""
    if not hasattr(X, "detach"):
        return np.asarray(X)
    X = X.detach().cpu()
    try:
        return np.asarray(X.numpy())
    except TypeError:
        return np.asarray(X.float().numpy())


def width_of(kind: str, tensors: Mapping[str, NDArray[Any]]) -> int:
    """Features of a vector."""
    return int(tensors["0.weight"].shape[1 if kind == "affine" else 0])


def check_tensors(
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


def checked_meta(given: Mapping[str, Any], where: str, error: type[UsageError]) -> ProbeMeta:
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
