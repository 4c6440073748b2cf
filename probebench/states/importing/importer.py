"""Hidden states made elsewhere (`states import`): checked, and gathered at our positions into
shards of our own form.

Places, labels and splits are those that `eval --answers` finds for the same file. The files' form
is in `arrays` and `requests`, what their layer axis may hold in `conventions`; a few answers are
held against our own pass in `recomputed`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench._version import __version__
from probebench.errors import ProbebenchError, UnknownNameError, UsageError
from probebench.files import content_key, place
from probebench.models.asking import given_questions
from probebench.models.loading import ModelSpec, find_model, load_model, quiet_libraries
from probebench.options.field import options_of
from probebench.options.python import speaks_python
from probebench.progress import Progress
from probebench.states.exchange.find import EXAMPLES, SOURCE
from probebench.states.importing.conventions import CONVENTIONS, Entries
from probebench.states.importing.lookalike import Look
from probebench.states.importing.numbers import inspect
from probebench.states.importing.recomputed import OwnPass, Recomputed, Subject, recompute
from probebench.states.importing.store import examples_table, write_shards
from probebench.states.importing.there import There, find_there, tokenized
from probebench.states.positions import locate, resolve_positions
from probebench.states.shards import STATE_DTYPES
from probebench.store.lock import Lock
from probebench.store.shards import ShardStore

INSPECTED = 32
"""Answers held against the convention before anything is written."""
UNKNOWN = ("dtype", "attention", "device")
"""Of a model's identity: what the machine that made the states knows, and we do not."""
UNCHECKED = (
    "Not compared with our own pass (--no-check): shifted layers or exchanged requests would not "
    "have been seen."
)


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
    compared: Recomputed | None
    """How much was held against our own pass; None: nothing was."""


@speaks_python(*options_of(ModelSpec), dtype="--states-dtype")
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
    there, notes = find_there(Path(source), Path(answers).name, convention, given, handle, layers)
    table = locate(tokenized(given, handle), names)
    held = _held(there, progress, check=check, offline=offline)
    entries, notes = held.entries, [*notes, *held.notes]
    own = {"compared": check, "positions": names, "dtype": dtype, "probebench": __version__}
    about = _about(there, entries, held.compared, notes)
    with Lock(place(out)):
        stage = ShardStore(place(out), "states", _inputs(there, entries, table) | own)
        stage.write(SOURCE, (json.dumps(about, indent=1) + "\n").encode())
        stage.write(EXAMPLES, examples_table(given, seed))
        write_shards(stage, there, entries, table, names, dtype, progress)
    kept = entries.layers, entries.absent
    return Imported(stage.folder, len(given), *kept, tuple(notes), held.compared)


def _inputs(there: There, entries: Entries, table: NDArray[np.int64]) -> dict[str, Any]:
    """What of arrays, answers and model decides the numbers."""
    return {
        "imported": there.convention,
        "arrays": content_key({"used": there.used()}),
        "layers": entries.layers,
        "entries": entries.at,
        "model": {k: v for k, v in there.handle.identity.key().items() if k not in UNKNOWN},
        "sites": ["resid"],
        "content": content_key({"ids": there.sequences, "table": table.tolist()}),
    }


def _about(
    there: There, entries: Entries, compared: Recomputed | None, notes: Sequence[str]
) -> dict[str, Any]:
    """What is written beside the shards for whoever reads them."""
    return {
        "model": {k: v for k, v in asdict(there.handle.identity).items() if k not in UNKNOWN},
        "convention": there.convention,
        "meaning": CONVENTIONS[there.convention],
        "absent": entries.absent,
        "notes": notes,
        "compared": asdict(compared) if compared else None,
    }


@dataclass(frozen=True, slots=True)
class _Held:
    """What came of holding arrays against their convention and our own pass."""

    entries: Entries
    notes: list[str]
    compared: Recomputed | None


def _held(there: There, progress: Progress, *, check: bool, offline: bool) -> _Held:
    """Some arrays held against the convention, and, where wanted, against our own pass."""
    some = np.linspace(0, len(there.ids) - 1, min(INSPECTED, len(there.ids))).astype(int).tolist()
    arrays = ((there.read(i), there.sequences[i]) for i in some)
    entries = there.entries
    notes = inspect(arrays, there.convention, there.handle, entries)
    if not check:
        return _Held(entries, [*notes, UNCHECKED], None)
    found = _compared(there, progress, offline)
    last = there.handle.identity.n_layers - 1
    if found.last_is_stream and last in entries.absent:
        entries = entries.with_last(last)
        notes = [note for note in notes if "last entry" not in note]
        notes.append(
            f"The last entry is layer {last} before the final norm, as our own pass has it, and "
            "was kept."
        )
    return _Held(entries, notes, found)


def _compared(there: There, progress: Progress, offline: bool) -> Recomputed:
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
        return recompute(own, subject, Look(own, subject, there.convention), progress)
