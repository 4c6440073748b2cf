"""Hidden states made elsewhere (`states import`): checked, and gathered at our positions into
shards of our own form.

Places, labels and splits are those that `eval --answers` finds for the same file. The files' form
is in `arrays` and `requests`, what their layer axis may hold in `conventions`; a few answers are
held against our own pass in `recomputed`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench._version import __version__
from probebench.errors import (
    BadFileError,
    ProbebenchError,
    StatesError,
    UnknownNameError,
    UsageError,
)
from probebench.files import Lock, ShardStore, content_key
from probebench.models.asking import given_questions
from probebench.models.handles import ModelHandle
from probebench.models.loading import ModelSpec, find_model, load_model, quiet_libraries
from probebench.progress import Progress
from probebench.states.exchange.arrays import (
    Array,
    check_array,
    find_arrays,
    read_array,
    read_layers,
)
from probebench.states.exchange.conventions import (
    CONVENTIONS,
    Entries,
    as_streams,
    entries_of,
    inspect,
    model_type,
)
from probebench.states.exchange.find import EXAMPLES, SOURCE
from probebench.states.exchange.lookalike import Look
from probebench.states.exchange.recomputed import Compared, OwnPass, Subject, compare
from probebench.states.exchange.requests import find_requests
from probebench.states.exchange.verify import checksum, verify
from probebench.states.extract import plan_shards
from probebench.states.positions import locate, present, resolve_positions
from probebench.states.reader import INDEX, SiteLayout, StatesReader
from probebench.states.shards import STATE_DTYPES, host_dtype, states_bytes, to_bfloat16, widened
from probebench.tasks.given import GivenAnswer
from probebench.tasks.split import split_examples
from probebench.tasks.thinking import place_answer, thinking_ids
from probebench.types import AnyFloats, TokenizedAnswer, layer_name

INSPECTED = 32
"""Answers held against the convention before anything is written."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import gave."""

    folder: Path
    """With manifest, shards and index; `StatesReader.open` reads it."""
    n_examples: int
    layers: tuple[int, ...]
    absent: Mapping[int, str]
    notes: tuple[str, ...]
    """What was left out, or could not be checked."""
    compared: Compared | None
    """How much was held against our own pass; None: nothing was."""


def import_states(
    source: str | Path,
    model: ModelSpec,
    answers: str | Path,
    out: str | Path,
    convention: str,
    *,
    layers: Sequence[int] | None = None,
    positions: Sequence[str] | None = None,
    dtype: str = "float16",
    seed: int = 0,
    check: bool = True,
    offline: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Bring hidden states made elsewhere into our own form, at our positions.

    Args:
        source: an .npz or .safetensors file, a folder with examples.jsonl, or one of vLLM's files
            per request.
        model: the model that made them.
        answers: the answers they are of; see `probebench.tasks.given`.
        out: a run directory, or a new folder.
        convention: what the layer axis holds: `hf`, `blocks`, `tl` or `vllm`.
        layers: what the entries of the layer axis are, or which of them to keep; None: what the
            file or the convention says.
        positions: names of token positions; None means the fifteen published ones.
        dtype: `float16`, `bfloat16` or `float32`, of what is stored.
        seed: of the splits that are written beside them.
        check: load the model and hold some answers against our own pass; what is not checked is
            recorded as such.
        offline: never ask the hub.
        progress: where to report to.

    Raises:
        UsageError: files, arrays or options that are not what they should be.
        StatesError: vectors that cannot be trusted.
    """
    if convention not in CONVENTIONS:
        raise UnknownNameError("convention", convention, CONVENTIONS)
    if dtype not in STATE_DTYPES:
        raise UsageError(f"--states-dtype must be one of {', '.join(STATE_DTYPES)}; got {dtype!r}.")
    names, progress = resolve_positions(positions), progress or Progress()
    handle = find_model(model, offline=offline)
    given = given_questions(Path(answers), None, handle).given or ()
    there, notes = _find(Path(source), Path(answers).name, convention, given, handle, layers)
    table = locate(tokenized(given, handle), names)
    some = [int(i) for i in np.linspace(0, len(given) - 1, min(INSPECTED, len(given)))]
    notes += inspect(
        ((there.read(i), there.sequences[i]) for i in some), convention, handle, there.entries
    )
    entries, found = there.entries, None
    if check:
        found = _compared(there, progress, offline)
        if found.last_is_stream and (last := handle.identity.n_layers - 1) in entries.absent:
            entries = entries.with_last(last)
            notes = [note for note in notes if "last entry" not in note]
            notes.append(
                f"The last entry is layer {last} before the final norm, as our own pass has it, "
                "and was kept."
            )
    else:
        notes.append(
            "Not compared with our own pass (--no-check): shifted layers or exchanged requests "
            "would not have been seen."
        )
    sums = {file: checksum(file) for file in sorted({a.file for a in there.arrays.values()})}
    used = [[sums[a.file], a.key] for a in (there.arrays[name] for name in there.ids)]
    unknown = ("dtype", "attention", "device")  # of the machine that made the states
    inputs = {
        "imported": convention,
        "compared": check,
        "arrays": content_key({"used": used}),
        "layers": entries.layers,
        "entries": entries.at,
        "positions": names,
        "model": {k: v for k, v in handle.identity.key().items() if k not in unknown},
        "sites": ["resid"],
        "dtype": dtype,
        "content": content_key({"ids": there.sequences, "table": table.tolist()}),
        "probebench": __version__,
    }
    about = {
        "model": {k: v for k, v in asdict(handle.identity).items() if k not in unknown},
        "convention": convention,
        "meaning": CONVENTIONS[convention],
        "absent": entries.absent,
        "notes": notes,
        "compared": asdict(found) if found else None,
    }
    with Lock(Path(out)):
        stage = ShardStore(Path(out), "states", inputs)
        stage.write(SOURCE, (json.dumps(about, indent=1) + "\n").encode())
        stage.write(EXAMPLES, _examples(given, seed))
        _write(stage, there, entries, table, names, dtype, progress)
    return Imported(stage.folder, len(given), entries.layers, entries.absent, tuple(notes), found)


@dataclass(frozen=True, slots=True, eq=False)
class _There:
    """The arrays of an import, one for each answer."""

    arrays: Mapping[str, Array]
    """By the answer's id; some may be of no answer."""
    ids: Sequence[str]
    """Of the answers, in order."""
    sequences: Sequence[tuple[int, ...]]
    """Token ids of each: prompt and answer."""
    handle: ModelHandle
    convention: str
    wanted: Sequence[int] | None
    """Layers that the option names."""
    entries: Entries
    """What the entries of the first answer are; those of the others must be the same."""
    shape: tuple[int, tuple[int, ...] | None]
    """Its number of entries, and the layers that its file names."""

    def read(self, i: int) -> AnyFloats:
        """(entry, token, width) of an answer.

        Raises:
            BadFileError: it is of other tokens, or of other layers than the first.
            StatesError: vectors that are not finite, or zero.
        """
        values, named = _read(self.arrays[self.ids[i]], self.ids[i], self.sequences[i], self.handle)
        if (len(values), named) != self.shape:
            _entries(self.convention, len(values), self.handle, named, self.wanted)
            raise BadFileError(
                f"States of {self.ids[i]!r} have {len(values)} entries along the layer axis, those "
                f"of {self.ids[0]!r} have "
                f"{self.shape[0]}, or other layers. Import them one after the other, with an "
                "answers file each."
            )
        return as_streams(values, self.handle, self.entries) if self.convention == "hf" else values


def _read(
    array: Array, name: str, ids: tuple[int, ...], handle: ModelHandle
) -> tuple[AnyFloats, tuple[int, ...] | None]:
    values, tokens = read_array(array)
    check_array(
        name,
        values,
        tokens,
        ids,
        handle.identity,
        "token, layer" if array.token_first else "layer, token",
    )
    return values, read_layers(array)


def _find(
    source: Path,
    name: str,
    convention: str,
    given: Sequence[GivenAnswer],
    handle: ModelHandle,
    wanted: Sequence[int] | None,
) -> tuple[_There, list[str]]:
    """The arrays of the answers of the file `name`, with what their entries are; and what was left
    out."""
    sequences, ids = [g.prompt_ids + g.answer_ids for g in given], [g.example.id for g in given]
    vllm = convention == "vllm"
    arrays = (
        find_requests(source, dict(zip(ids, sequences, strict=True)))
        if vllm
        else find_arrays(source)
    )
    notes = _match(arrays, given, name)
    values, named = _read(arrays[ids[0]], ids[0], sequences[0], handle)
    entries = _entries(convention, len(values), handle, named, wanted)
    return _There(
        arrays, ids, sequences, handle, convention, wanted, entries, (len(values), named)
    ), notes


def _write(
    stage: ShardStore,
    there: _There,
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


def _entries(
    convention: str,
    n: int,
    handle: ModelHandle,
    named: Sequence[int] | None,
    wanted: Sequence[int] | None,
) -> Entries:
    """What the entries are, by the file's own names, the option and the convention."""
    n_layers, kind = handle.identity.n_layers, model_type(handle)
    if named is None:
        return entries_of(convention, n, n_layers, wanted, kind)
    if len(named) != n:
        raise BadFileError(
            f"The file names {len(named)} layers and has {n} entries along the layer axis."
        )
    entries = entries_of(convention, n, n_layers, named, kind)
    return entries if wanted is None else entries.only(wanted)


def _compared(there: _There, progress: Progress, offline: bool) -> Compared:
    """Some answers held against our own pass.

    Raises:
        ProbebenchError: the model cannot be loaded; it says how to do without.
        StatesError: the states are something else.
    """
    try:
        with progress.stage("Loading the model", 1, "model") as counter:
            loaded = load_model(there.handle, offline=offline)
            counter.advance()
    except ProbebenchError as error:
        raise type(error)(
            f"{error} (It is loaded to hold a few answers against our own pass. --no-check imports "
            "without, and is recorded.)"
        ) from None
    entries = there.entries
    subject = Subject(
        there.ids, there.sequences, there.read, entries.layers, entries.at, entries.last
    )
    with quiet_libraries():
        own = OwnPass(loaded)
        return compare(own, subject, Look(own, subject, there.convention), progress)


def _match(arrays: Mapping[str, Array], given: Sequence[GivenAnswer], name: str) -> list[str]:
    """Every answer has its array; arrays of no answer are counted."""
    wanted = [g.example.id for g in given]
    if missing := [i for i in wanted if i not in arrays]:
        raise BadFileError(
            f"{len(missing)} of {len(wanted)} answers of {name} have no states, the first "
            f"{missing[0]!r}. Ids must be those of the "
            f"answers; leave answers without states out of the file."
        )
    extra = len(arrays.keys() - set(wanted))
    return [f"{extra} arrays are of no answer in {name} and were left out."] if extra else []


def tokenized(given: Sequence[GivenAnswer], handle: ModelHandle) -> list[TokenizedAnswer]:
    """Where things stand in each sequence, as in a run on the same answers."""
    tokenizer, marks = handle.tokenizer, thinking_ids(handle.tokenizer)
    return [
        place_answer(
            tokenizer, marks, (g.prompt_ids, g.answer_ids), stopped=g.stopped, exact=g.exact
        )
        for g in given
    ]


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


def _examples(given: Sequence[GivenAnswer], seed: int) -> bytes:
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
