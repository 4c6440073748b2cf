"""Stored hidden states found and described, without torch: what `probebench states info` shows."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from probebench.errors import BadFileError, StatesError
from probebench.files import joined, located, place, readable
from probebench.states.reader import INDEX, SiteLayout, StatesReader
from probebench.states.shards import NAMES, Shard
from probebench.store.shards import ENDING, MANIFEST, manifests, read_manifests, sums_of
from probebench.types import EMB, layer_name

CONVENTION = (
    "block k counts from 0 and is read after it, before any final norm; -1 (emb) is the stream "
    "before block 0"
)
SOURCE = "source.json"
"""Beside the shards of imported states: which model made them, and by which convention they
came."""
EXAMPLES = "examples.parquet"
"""One row per example, in the order of the states' first axis."""
COLUMNS = ["id", "label", "split", "group"]
RECORD = "record.json"
"""What says that a folder is a finished run's."""
WIDE = 80


@dataclass(frozen=True, slots=True, eq=False)
class KeptBy:
    """A finished run that hidden states belong to, as far as its record speaks of them."""

    folder: Path
    """The run directory."""
    states: str
    """Where it keeps its states, below the folder; empty where they were not kept."""
    model: Mapping[str, Any]
    """As in `Stored`."""


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A folder of stored hidden states, with what is known of them."""

    folder: Path
    reader: StatesReader
    key: str
    """Content key of everything that decides the numbers."""
    inputs: Mapping[str, Any]
    """What the key is of."""
    shards: Mapping[str, frozenset[str]]
    """File name -> SHA-256 of its content, as the manifests say; several where it was written more
    than once."""
    model: Mapping[str, Any]
    """Name (where known), revision, architecture, ... of the model that made them."""
    absent: Mapping[str, str]
    """Layer of `resid` that the model has and these states have not -> why."""
    run: KeptBy | None
    """The finished run they belong to."""

    @property
    def dtype(self) -> str:
        """What the vectors are stored as: `float16`, `bfloat16` or `float32`."""
        if not self.reader.files:
            raise StatesError(f"The hidden states in {self.folder} hold no examples.")
        code = Shard(self.reader.files[0]).dtype(next(iter(self.reader.sites)))
        return NAMES.get(code, code)

    def examples(self) -> pd.DataFrame:
        """Id, label, split and group of each example, in the order of the states.

        Raises:
            BadFileError: no table of examples is there, or one of another length.
        """
        path = self.run.folder / "answers.parquet" if self.run else self.folder / EXAMPLES
        if not path.is_file():
            raise BadFileError(
                f"{self.folder} says nothing of its examples: {path.name} is not there. Give the "
                "run directory."
            )
        table = pd.read_parquet(readable(path), columns=COLUMNS)
        if len(table) != len(self.reader.present):
            raise BadFileError(
                f"{path} has {len(table)} examples, the hidden states have "
                f"{len(self.reader.present)}."
            )
        return table


def find_states(path: str | Path) -> Path:
    """The folder with the shards: itself, the one a finished run names, or the only one of a run
    directory.

    Raises:
        BadFileError: there is none, or more than one.
    """
    path = place(path)
    if (path / INDEX).is_file() or manifests(path):
        return path
    if (path / RECORD).is_file():
        run = _read_run(path)
        if not run.states:
            raise BadFileError(
                f"{path} keeps no hidden states: it was run with --discard-states. Run it again "
                "without."
            )
        return joined(path, run.states)
    found = sorted(p.parent for p in path.glob(f"stages/states-*/{INDEX}"))
    if len(found) == 1:
        return found[0]
    if found:
        raise BadFileError(
            f"{path} has several: {', '.join(f'stages/{p.name}' for p in found)}. Give one of them."
        )
    raise BadFileError(
        f"{path} holds no hidden states: neither a run directory nor a folder with {INDEX}."
    )


def open_states(path: str | Path) -> Stored:
    """Stored states with all that is known of them.

    Raises:
        BadFileError: none are there.
        StatesError: they are not whole.
    """
    folder = find_states(path)
    head, shards = read_manifest(folder)
    run = _run_of(folder, located(path))
    source = folder / SOURCE
    told = json.loads(source.read_text(encoding="utf-8")) if source.is_file() else {}
    inputs = head["inputs"]
    model = (
        run.model
        if run
        else told.get("model") or inputs.get("model") or inputs.get("answers", {}).get("model", {})
    )
    return Stored(
        folder,
        StatesReader.open(folder),
        head["key"],
        inputs,
        shards,
        model,
        told.get("absent", {}),
        run,
    )


CHANGED = ("peft", "quantization", "remote_code")
"""What makes another model of the same weights; states of before do not name it."""


def states_of(
    path: str | Path, model: Mapping[str, Any], content: str, positions: Sequence[str]
) -> Stored:
    """Stored states, when they are of this model, these answers and these positions.

    Args:
        path: where they are.
        model: revision and tokenizer that they must be of.
        content: content key of `{"ids": token ids per answer, "table": places as by
            `positions.locate`}`.
        positions: names of the token positions, in order.

    Raises:
        BadFileError: none are there.
        StatesError: they are of something else.
    """
    stored = open_states(path)
    for name in ("revision", "tokenizer", *(n for n in CHANGED if n in stored.model)):
        if stored.model.get(name) != model.get(name):
            raise StatesError(
                f"The hidden states in {stored.folder} are of another model: {name} "
                f"{stored.model.get(name)}, not {model.get(name)}."
            )
    if stored.reader.positions != tuple(positions):
        there = ",".join(stored.reader.positions)
        raise StatesError(
            f"The hidden states in {stored.folder} are at other positions. Ask for theirs: "
            f"--positions {there}"
        )
    if stored.inputs.get("content") != content:
        raise StatesError(
            f"The hidden states in {stored.folder} are of other answers, or in another order: the "
            "token ids or the places of the exact "
            "answers differ. Import them again with the answers file that is used here; exact "
            "answers, which an import finds by no rule, stand in its column 'exact_answer'."
        )
    return stored


def read_manifest(folder: Path) -> tuple[Mapping[str, Any], dict[str, frozenset[str]]]:
    """First line of a stage's manifests, and the checksums of each of its files, of which it has
    one.

    Raises:
        StatesError: there is none, or none whose first line can be read.
    """
    found = list(read_manifests(folder))
    if not found:
        raise StatesError(
            f"{folder / (MANIFEST + ENDING)} is not there or not whole. Run the same command again."
        )
    head = found[0].head
    return head, sums_of([one for one in found if one.head["key"] == head["key"]])


def _read_run(folder: Path) -> KeptBy:
    """What a run's record says of its hidden states.

    Raises:
        BadFileError: no record is there, or one that cannot be read.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return KeptBy(folder, str(record.get("states") or ""), record.get("model") or {})
    except (OSError, ValueError, AttributeError) as error:
        raise BadFileError(f"{folder / RECORD} cannot be read: {error}") from None


def _run_of(folder: Path, path: Path) -> KeptBy | None:
    """The finished run that names this folder as its states."""
    for at in (path, *list(folder.resolve().parents)[:2]):
        with suppress(BadFileError):
            run = _read_run(at)
            if run.states and joined(at, run.states).resolve() == folder.resolve():
                return run
    return None


def describe(stored: Stored) -> str:
    """What is stored, in lines of eighty columns."""
    reader, model = stored.reader, stored.model
    size = sum(located(f).stat().st_size for f in reader.files)
    name = f"{model.get('name', 'name not kept')}: {model.get('architecture', '?')}"
    n = len(reader.files)
    rows = [
        ("folder", str(stored.folder)),
        ("model", f"{name}, {model.get('n_layers', '?')} layers, width {model.get('width', '?')}"),
        ("revision", str(model.get("revision", "not kept")).replace("sha256:", "sha256: ")),
        (
            "examples",
            f"{len(reader.present):,} in {n} shard{'s' * (n != 1)}, {size / 1e6:,.1f} MB "
            f"({size:,} bytes), {stored.dtype}",
        ),
        ("layers", CONVENTION),
        *((site, f"{ranges(at.layers)}; {widths(at)}") for site, at in reader.sites.items()),
        *((f"no {layer_name(int(layer))}", why) for layer, why in stored.absent.items()),
        ("key", stored.key),
    ]
    lines = [line for head, text in rows for line in _wrapped(head, text)]
    lines += ["", f"{'position':<34}{'examples':>9}"]
    lines += [
        f"{p:<34}{int(reader.present[:, j].sum()):>9,}" for j, p in enumerate(reader.positions)
    ]
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    lines = textwrap.wrap(text, WIDE - 11, break_on_hyphens=False) or [""]
    return [f"{head if i == 0 else '':<10} {line}" for i, line in enumerate(lines)]


def ranges(layers: Sequence[int]) -> str:
    """`emb, 0-31` for the layers of a site."""
    parts: list[list[int]] = []
    for layer in layers:
        if layer != EMB and parts and parts[-1][-1] == layer - 1 != EMB:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ", ".join(layer_name(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def widths(at: SiteLayout) -> str:
    """`width 64`, or the smallest and largest width."""
    low, high = min(at.widths), max(at.widths)
    return f"width {low}" if low == high else f"width {low} to {high}"


def parts(
    reader: StatesReader, site: str, layers: Sequence[int]
) -> Iterator[tuple[list[int], int, NDArray[Any]]]:
    """Examples, layer, and (position, example, width) vectors of each layer of each shard; bfloat16
    as float32."""
    at = reader.site(site)
    for file, rows in zip(reader.files, reader.order, strict=True):
        shard = Shard(file)
        for layer in layers:
            yield list(rows), layer, shard.vectors(site, at.layers.index(layer))
