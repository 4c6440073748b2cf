"""What is imported, gathered at the wanted places into shards of our own form."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.errors import StatesError
from probebench.progress import Progress
from probebench.states.exchange.verify import verify
from probebench.states.extract import plan_shards
from probebench.states.importing.conventions import Entries
from probebench.states.importing.there import There
from probebench.states.positions import present
from probebench.states.reader import INDEX, SiteLayout, StatesReader
from probebench.states.shards import host_dtype, states_bytes, to_bfloat16, widened
from probebench.store.shards import ShardStore
from probebench.tasks.given import GivenAnswer
from probebench.tasks.split import split_examples
from probebench.types import AnyFloats, layer_name


def write_shards(
    stage: ShardStore,
    there: There,
    entries: Entries,
    table: NDArray[np.int64],
    names: tuple[str, ...],
    dtype: str,
    progress: Progress,
) -> None:
    """The shards, and the index when they are sound.

    Raises:
        StatesError: they are not.
    """
    shards = plan_shards([len(s) for s in there.sequences])
    files = [f"{k:05d}.safetensors" for k in range(len(shards))]
    with progress.stage("Importing states", len(there.ids), "answers") as counter:
        for file, rows in zip(files, shards, strict=True):
            if not stage.has(file):
                vectors = gather_places(there.read, rows, entries, table[rows], names, dtype)
                stage.write(file, states_bytes({"resid": vectors}, rows))
            counter.advance(len(rows))
    layout = {
        "resid": SiteLayout(entries.layers, (there.handle.identity.width,) * len(entries.layers))
    }
    stage.write(
        INDEX,
        StatesReader(
            tuple(files), tuple(map(tuple, shards)), layout, names, present(table)
        ).index(),
    )
    for part in verify(stage.folder):
        if not part.ok:
            (stage.folder / INDEX).unlink()  # without it the folder holds no states
            raise StatesError(f"What was imported is not sound: {part.name}: {part.detail}.")


def gather_places(
    read: Callable[[int], AnyFloats],
    rows: Sequence[int],
    entries: Entries,
    table: NDArray[np.int64],
    names: Sequence[str],
    dtype: str,
) -> NDArray[Any]:
    """(layer, position, example, width) vectors of one shard; zeros where a position is absent,
    bfloat16 as its bits.

    Raises:
        StatesError: a vector that `dtype` cannot hold.
    """
    out: NDArray[Any] | None = None
    for i, row in enumerate(rows):
        values = read(row)
        if out is None:
            out = np.zeros(
                (len(entries.layers), len(names), len(rows), values.shape[2]),
                dtype=host_dtype(dtype),
            )
        for j, (first, last) in enumerate(table[i]):
            if first < 0:
                continue
            vectors = values[list(entries.at), first : last + 1]
            vector = vectors[:, 0] if first == last else vectors.astype(np.float64).mean(axis=1)
            with np.errstate(over="ignore"):  # said below, with its place
                out[:, j, i] = to_bfloat16(vector) if dtype == "bfloat16" else vector
            finite = np.isfinite(widened(out[:, j, i])).all(axis=1)
            if not finite.all():
                layer = layer_name(entries.layers[int(np.argmin(finite))])
                wider = "bfloat16 or float32" if dtype == "float16" else "float32"
                raise StatesError(
                    f"Layer {layer} at {names[j]!r} is too large for {dtype}. Keep it with "
                    f"--states-dtype {wider}."
                )
    assert out is not None  # no shard is empty
    return out


def examples_table(given: Sequence[GivenAnswer], seed: int) -> bytes:
    """The examples as parquet; the label is null where a judge is to decide."""
    examples = [g.example for g in given]
    labels = pd.array([g.label for g in given], dtype="Int64")
    buffer = io.BytesIO()
    pd.DataFrame(
        {
            "id": [e.id for e in examples],
            "label": labels,
            "split": split_examples(examples, seed),
            "group": [e.group for e in examples],
        }
    ).to_parquet(buffer, index=False)
    return buffer.getvalue()
