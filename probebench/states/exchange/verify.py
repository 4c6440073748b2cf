"""Stored hidden states checked: checksums, shapes, order and values, without torch and one layer of
one shard at a time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import BadFileError, StatesError
from probebench.files import content_key
from probebench.states.exchange.find import Stored, find_states, open_states, parts, read_manifest
from probebench.states.reader import INDEX, StatesReader
from probebench.states.shards import NAMES, SCORES, Shard
from probebench.types import EMB, Check, layer_name


def verify(path: str | Path) -> Iterator[Check]:
    """Check stored states one thing at a time; what cannot be looked at after a failure is left
    out.

    Raises:
        BadFileError: there are none to check.
    """
    folder = find_states(path)
    try:
        head, sums = read_manifest(folder)
    except StatesError as error:
        yield Check("manifest", False, str(error))
        return
    same = content_key(head["inputs"]) == head["key"]
    yield Check(
        "manifest",
        same,
        f"key {head['key'][:16]}"
        if same
        else f"its inputs give another key than {head['key'][:16]}",
    )
    try:
        stored = open_states(path)
    except StatesError as error:
        yield Check("index", False, str(error))
        yield from (_sum(folder, name, sums) for name in sorted(sums))
        return
    reader = stored.reader
    n = len(reader.present)
    yield _sum(folder, INDEX, sums, f"{n:,} examples, {len(reader.positions)} positions")
    others = sorted(
        name for name in sums if name != INDEX and name not in {Path(f).name for f in reader.files}
    )
    whole = []
    for name in (*(Path(f).name for f in reader.files), *others):
        whole.append(_sum(folder, name, sums))
        yield whole[-1]
    shapes = _shapes(reader)
    yield shapes
    rows = [row for part in reader.order for row in part]
    count = Counter(rows)
    wrong = sorted(row for row in {*range(n), *rows} if count[row] != 1 or not 0 <= row < n)
    yield Check(
        "order",
        not wrong,
        f"every example once: {n:,}"
        if not wrong
        else f"expected each of {n:,} examples once; {len(wrong)} are missing, twice or too many, "
        f"first {wrong[0]}",
    )
    if shapes.ok and not wrong and all(check.ok for check in whole):
        yield from _values(reader)
    if stored.run is not None:
        yield _answers(stored)


def _sum(folder: Path, name: str, sums: Mapping[str, frozenset[str]], detail: str = "") -> Check:
    """A file's checksum against those of the manifests."""
    title = f"file {name}"
    if name not in sums:
        return Check(title, False, "the manifest does not name it")
    expected = " or ".join(f"{told[:16]}..." for told in sorted(sums[name]))
    try:
        found, size = checksum(folder / name), (folder / name).stat().st_size
    except OSError as error:
        return Check(title, False, f"{error.strerror}; expected sha256 {expected}")
    if found not in sums[name]:
        return Check(
            title, False, f"{size:,} bytes with sha256 {found[:16]}..., expected {expected}"
        )
    return Check(
        title, True, f"{size:,} bytes, sha256 {found[:16]}..." + (f", {detail}" if detail else "")
    )


def _shapes(reader: StatesReader) -> Check:
    """Names, shapes and dtypes of all tensors against the index."""
    dtypes: set[str] = set()
    for file, rows in zip(reader.files, reader.order, strict=True):
        shard = Shard(file)
        if {*shard.tensors} - {SCORES} != {*reader.sites, "example"}:
            return Check(
                "shapes",
                False,
                f"{Path(file).name} holds {', '.join(sorted(shard.tensors))}; "
                f"expected example, {', '.join(reader.sites)}",
            )
        for site, at in reader.sites.items():
            shape = [len(at.layers), len(reader.positions), len(rows), max(at.widths)]
            if list(shard.shape(site)) != shape:
                return Check(
                    "shapes",
                    False,
                    f"{Path(file).name} has {site} {list(shard.shape(site))}, expected {shape}",
                )
            dtypes.add(shard.dtype(site))
    if not dtypes <= set(NAMES) or len(dtypes) != 1:
        allowed = f"{', '.join(sorted(NAMES)[:-1])} or {max(NAMES)}"
        return Check(
            "shapes",
            False,
            f"stored as {', '.join(sorted(dtypes)) or 'nothing'}; expected {allowed} throughout",
        )
    return Check(
        "shapes",
        True,
        f"{', '.join(reader.sites)} as (layer, position, example, width), {dtypes.pop()}",
    )


def _values(reader: StatesReader) -> Iterator[Check]:
    """Finite where present, zero where absent, and not the same for all examples."""
    finite = zero = constant = ""
    n = 0
    for site, at in reader.sites.items():
        width_of = dict(zip(at.layers, at.widths, strict=True))
        first: dict[tuple[int, int], NDArray[Any]] = {}
        varied: set[int] = set()
        for rows, layer, part in parts(reader, site, at.layers):
            there = reader.present[rows].T  # (position, example)
            n += int(there.sum())
            names = (site, layer, rows, reader.positions)
            finite = finite or _first(
                ~np.isfinite(part).all(axis=2) & there, "is not finite", *names
            )
            rest = part[:, :, width_of[layer] :].any(axis=2)
            zero = zero or _first((part.any(axis=2) & ~there) | rest, "is not zero", *names)
            if site != "resid":
                continue
            constant = constant or _first(~part.any(axis=2) & there, "is zero", *names)
            for j in range(len(part)):
                vectors = part[j][there[j]]
                if len(vectors):
                    known = first.setdefault((layer, j), vectors[0].copy())
                    varied.update([layer] if (vectors != known).any() else [])
        # rightly the same everywhere is the embedding of a prompt's last token, or of the stop
        # token
        same = [layer for layer in at.layers if layer not in varied and layer != EMB]
        if site == "resid" and same and reader.present.sum(axis=0).max() > 1:
            constant = (
                constant
                or f"layer {same[0]} of {site} holds the same vector for every example at every "
                "position"
            )
    yield Check("finite", not finite, finite or f"{n:,} vectors where the token is present")
    yield Check("zero", not zero, zero or "everywhere where it is absent")
    if "resid" in reader.sites:
        yield Check("resid", not constant, constant or "differs between examples in every block")


def _first(
    bad: NDArray[np.bool_],
    what: str,
    site: str,
    layer: int,
    rows: Sequence[int],
    positions: Sequence[str],
) -> str:
    """The first of (position, example) places where something is wrong, in words."""
    if not bad.any():
        return ""
    j, i = (int(k[0]) for k in np.nonzero(bad))
    return (
        f"{site} of layer {layer_name(layer)} at {positions[j]!r} {what} for example {rows[i]}, "
        f"and {int(bad.sum()) - 1} more there"
    )


def _answers(stored: Stored) -> Check:
    """As many examples as the run has answers."""
    try:
        table = stored.examples()
    except (BadFileError, OSError, ValueError) as error:
        return Check("answers", False, str(error))
    return Check("answers", True, f"{len(table):,} in the same order")


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
