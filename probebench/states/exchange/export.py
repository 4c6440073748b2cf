"""Stored hidden states in formats that others read: a memory-mappable array or a table, written
shard by shard."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probebench._version import __version__
from probebench.errors import RunError, UnknownNameError, UsageError
from probebench.files import elsewhere, place, write_json
from probebench.states.exchange.find import CONVENTION, EXAMPLES, Stored, open_states, parts
from probebench.states.positions import ALIASES
from probebench.states.reader import StatesReader
from probebench.states.shards import read_dtype
from probebench.types import layer_name

FORMATS = ("npy", "parquet")


@dataclass(frozen=True, slots=True)
class Selection:
    """What is exported."""

    layers: Mapping[str, tuple[int, ...]]
    """Site -> layers, in the order of the file's axis."""
    positions: tuple[str, ...]


def select(
    reader: StatesReader,
    sites: Sequence[str] | None,
    layers: Sequence[int] | None,
    positions: Sequence[str] | None,
) -> Selection:
    """The stored part of what was asked for; None means all that is stored.

    Raises:
        UnknownNameError: a site, layer or position that is not stored.
        UsageError: nothing is left.
    """
    chosen = tuple(reader.sites) if sites is None else tuple(sites)
    there = sorted({layer for site in chosen for layer in reader.site(site).layers})
    for layer in layers or ():
        if layer not in there:
            raise UnknownNameError(
                f"layer of {', '.join(chosen)}", layer_name(layer), map(layer_name, there)
            )
    names = reader.positions if positions is None else tuple(ALIASES.get(p, p) for p in positions)
    for name in names:
        if name not in reader.positions:
            raise UnknownNameError(
                "position",
                name,
                reader.positions,
                "Positions that the run did not read cannot be exported.",
            )
    kept = {
        site: tuple(k for k in reader.site(site).layers if layers is None or k in layers)
        for site in chosen
    }
    kept = {site: some for site, some in kept.items() if some}
    if not kept or not names:
        raise UsageError(
            "Nothing to export: name at least one site, layer and position that is stored, or "
            "leave the options out."
        )
    return Selection(kept, tuple(p for p in reader.positions if p in names))


def export(
    path: str | Path,
    to: str,
    out: str | Path,
    *,
    sites: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    positions: Sequence[str] | None = None,
) -> Path:
    """Write stored states as `npy` (one memory-mappable array per site) or `parquet` (one row per
    vector).

    Args:
        path: a finished run, or a folder of states.
        to: `npy` or `parquet`.
        out: a folder that is not there yet, or empty.
        sites, layers, positions: only these; None means all that is stored.

    Returns:
        The folder. It appears when all its files are whole.

    Raises:
        UnknownNameError: a format, site, layer or position that is not there.
        UsageError: a folder that is not empty, or not of this machine.
        RunError: the disk is full.
    """
    if to not in FORMATS:
        raise UnknownNameError("format", to, FORMATS)
    stored, out = open_states(path), place(out)
    if elsewhere(out):
        raise UsageError(
            f"--out must be a folder of this machine; got '{out}'. Copy it from there."
        )
    chosen, examples = select(stored.reader, sites, layers, positions), stored.examples()
    with new_folder(out) as folder:
        facts = {
            site: (_npy if to == "npy" else _parquet)(stored, site, chosen, folder)
            for site in chosen.layers
        }
        columns = [stored.reader.positions.index(p) for p in chosen.positions]
        np.save(folder / "present.npy", stored.reader.present[:, columns])
        examples.to_parquet(folder / EXAMPLES, index=False)
        axes = ["example", "layer", "position", "width"] if to == "npy" else ["row"]
        about = {"schema_version": 1, "format": to, "axes": axes, "sites": facts}
        write_json(folder / "states.json", about | _about(stored, chosen, len(examples)))
    return out


def _about(stored: Stored, chosen: Selection, n: int) -> dict[str, Any]:
    """What `states.json` says of every format."""
    return {
        "positions": chosen.positions,
        "examples": {"file": EXAMPLES, "n": n, "label": "1 = correct, 0 = wrong"},
        "present": {
            "file": "present.npy",
            "axes": ["example", "position"],
            "absent": "vectors are zero where it is False (npy), or have no row (parquet)",
        },
        "layer_convention": CONVENTION,
        "model": dict(stored.model),
        "states_key": stored.key,
        "probebench": __version__,
    }


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder that takes its name when the block ends without an error.

    Raises:
        UsageError: `out` is there and not empty.
        RunError: it cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"{out} is there and not empty; nothing is overwritten. Give --out a new folder."
        )
    temporary = out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(out)
    except OSError as error:
        raise RunError(
            f"Cannot write {out}: {error.strerror or error}. Nothing half-written was kept."
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _facts(stored: Stored, site: str, chosen: Selection, file: str) -> dict[str, Any]:
    at = stored.reader.site(site)
    width_of = dict(zip(at.layers, at.widths, strict=True))
    layers = chosen.layers[site]
    return {
        "file": file,
        "layers": [layer_name(k) for k in layers],
        "layer_numbers": layers,
        "widths": [width_of[k] for k in layers],
    }


def _npy(stored: Stored, site: str, chosen: Selection, folder: Path) -> dict[str, Any]:
    """`<site>.npy`, filled layer by layer through a memory map."""
    reader, layers = stored.reader, chosen.layers[site]
    facts = _facts(stored, site, chosen, f"{site}.npy")
    columns = [reader.positions.index(p) for p in chosen.positions]
    shape = (len(reader.present), len(layers), len(columns), max(facts["widths"]))
    dtype = read_dtype(stored.dtype)  # npy has no bfloat16
    size, free = int(np.prod(shape)) * dtype.itemsize, shutil.disk_usage(folder).free
    if size > free:  # a full disk kills a process that writes through a memory map, without a word
        raise RunError(
            f"{site}.npy needs {size / 1e6:,.1f} MB and {folder.parent} has {free / 1e6:,.1f} MB "
            "free. Export fewer --layers or --positions."
        )
    array = np.lib.format.open_memmap(folder / facts["file"], mode="w+", dtype=dtype, shape=shape)
    for rows, layer, part in parts(reader, site, layers):
        array[rows, layers.index(layer)] = part[columns].transpose(1, 0, 2)[:, :, : shape[3]]
    array.flush()
    return facts | {"shape": shape, "dtype": str(dtype), "stored_dtype": stored.dtype}


def _parquet(stored: Stored, site: str, chosen: Selection, folder: Path) -> dict[str, Any]:
    """`<site>.parquet`, one row group per shard and layer."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    reader = stored.reader
    facts = _facts(stored, site, chosen, f"{site}.parquet")
    width_of, width = (
        dict(zip(facts["layer_numbers"], facts["widths"], strict=True)),
        max(facts["widths"]),
    )
    columns = np.array([reader.positions.index(p) for p in chosen.positions])
    ids, n = stored.examples()["id"].to_numpy(), 0
    schema = _schema(width)
    with ParquetWriter(
        folder / facts["file"],
        schema,
        compression="zstd",
        use_dictionary=["id", "layer", "position", "width"],
        use_byte_stream_split=["vector.list.element"],
    ) as writer:
        for rows, layer, part in parts(reader, site, chosen.layers[site]):
            # (row, 2): which example of the shard, which position
            where = np.argwhere(reader.present[rows][:, columns])
            vectors = part[columns[where[:, 1]], where[:, 0], :width].astype(np.float32)
            example = np.asarray(rows, dtype=np.int32)[where[:, 0]]
            names = pa.DictionaryArray.from_arrays(
                pa.array(where[:, 1].astype(np.int32)), list(chosen.positions)
            )
            same = [
                pa.array(np.full(len(where), value, dtype=np.int32))
                for value in (layer, width_of[layer])
            ]
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)
            known = pa.array(ids[example], pa.string())
            table = pa.table([pa.array(example), known, same[0], names, same[1], flat], schema)
            writer.write_table(table, row_group_size=max(len(where), 1))
            n += len(where)
    return facts | {"rows": n, "dtype": "float32", "stored_dtype": stored.dtype}


def _schema(width: int) -> Any:
    """Columns of the table. Vectors are float32, which every reader knows; of those stored in
    float16 the byte streams that hold nothing compress away."""
    import pyarrow as pa

    return pa.schema(
        [
            ("example", pa.int32()),
            ("id", pa.string()),
            ("layer", pa.int32()),
            ("position", pa.dictionary(pa.int32(), pa.string())),
            ("width", pa.int32()),
            ("vector", pa.list_(pa.float32(), width)),
        ]
    )
