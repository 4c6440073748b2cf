"""How the tables name and sort the model of an entry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probebench.leaderboard.board.entries import Entry

SIZES = (
    (1e9, "under 1 B"),
    (4e9, "1-4 B"),
    (10e9, "4-10 B"),
    (40e9, "10-40 B"),
    (float("inf"), "over 40 B"),
)


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the tables name it."""

    name: str
    """As submitted: untrusted text."""
    slug: str
    """Safe as a file name and in an address."""
    family: str
    n_parameters: float | None
    size: str
    """A class of sizes, or `unknown`."""
    n_layers: int | None = None
    width: int | None = None
    dtype: str | None = None
    """What it was computed in; of several types the usual one, and what was computed in another."""
    revision: str | None = None


def model_of(entry: Entry) -> Model:
    """How the tables name and sort an entry's model."""
    kind = entry.variant.removeprefix("gguf-")
    said = not kind or (kind != entry.variant and kind in entry.model)  # a file's name says it
    name = entry.model if said else f"{entry.model} ({entry.variant})"
    size = entry.n_parameters or size_in_name(entry.model)
    return Model(
        name,
        safe_slug(entry.slug),
        family_of(entry.model, entry.family),
        size,
        size_class(size),
        entry.n_layers,
        entry.width,
        entry.dtype,
        entry.revision,
    )


def computed_in(tasks: Mapping[str, Sequence[str]]) -> str:
    """The types of a model's runs in words.

    Args:
        tasks: by type.
    """
    of = {dtype: sorted(set(names)) for dtype, names in tasks.items()}
    usual, *others = sorted(of, key=lambda dtype: (-len(of[dtype]), dtype))
    return "; ".join([usual, *(f"{dtype} on {', '.join(of[dtype])}" for dtype in others)])


def family_of(name: str, architecture: str | None) -> str:
    """Family in words: from the architecture (`Qwen2` is Qwen), for published figures from the
    model's name."""
    if architecture:
        return re.sub(r"(?<=[A-Za-z])\d+.*$", "", architecture) or architecture
    words = re.split(r"[-_.\s]+", name.rpartition("/")[2])
    return next((w for w in words if w.isalpha() and w.lower() != "meta"), "other")


def size_in_name(name: str) -> float | None:
    """Parameters that a name states, such as 7e9 for `Mistral-7B`."""
    found = re.search(
        r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)\s?([BM])(?![A-Za-z0-9])", name, re.IGNORECASE
    )
    return float(found[1]) * (1e9 if found[2].upper() == "B" else 1e6) if found else None


def size_class(n_parameters: float | None) -> str:
    """The filter's class of sizes."""
    return (
        "unknown"
        if n_parameters is None
        else next(word for limit, word in SIZES if n_parameters < limit)
    )


def safe_slug(name: str) -> str:
    """A name that is a plain file name: anything else is replaced, and a short hash keeps two such
    names apart."""
    plain = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", name)).strip(".-_")[:80]
    if plain and plain == name and name.lower() not in {"con", "prn", "aux", "nul"}:
        return plain
    return f"{plain or 'x'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
