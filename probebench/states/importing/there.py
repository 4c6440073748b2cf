"""The arrays of an import, one for each answer, with what their entries are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from probebench.errors import BadFileError
from probebench.models.handles import ModelHandle
from probebench.states.exchange.verify import checksum
from probebench.states.importing.array_checks import check_array
from probebench.states.importing.arrays import Array, find_arrays, read_array, read_layers
from probebench.states.importing.conventions import Entries, as_streams, entries_of, model_type
from probebench.states.importing.requests import find_requests
from probebench.tasks.given import GivenAnswer
from probebench.tasks.thinking import place_answer, thinking_ids
from probebench.types import AnyFloats, TokenizedAnswer


@dataclass(frozen=True, slots=True, eq=False)
class There:
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

    def used(self) -> list[list[str]]:
        """Checksum of the file and key of each answer's array."""
        sums = {file: checksum(file) for file in sorted({a.file for a in self.arrays.values()})}
        return [[sums[a.file], a.key] for a in (self.arrays[name] for name in self.ids)]

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
                f"of {self.ids[0]!r} have {self.shape[0]}, or other layers. Import them one after "
                "the other, with an answers file each."
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


def find_there(
    source: Path,
    name: str,
    convention: str,
    given: Sequence[GivenAnswer],
    handle: ModelHandle,
    wanted: Sequence[int] | None,
) -> tuple[There, list[str]]:
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
    return There(
        arrays, ids, sequences, handle, convention, wanted, entries, (len(values), named)
    ), notes


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
