"""What reading a run's examples put right, left out or had to do without, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from probebench.types import SPLITS

if TYPE_CHECKING:
    from probebench.tasks.schema import Task
    from probebench.types import Example

MENDED = {
    "prompt_pads": "prompts had padding around them, which was taken off",
    "prompt_no_begin": (
        "prompts lack the token that prompts of this model begin with; they are taken as they stand"
    ),
    "prompt_no_turn": (
        "prompts lack the tokens with which the model's chat template opens a turn; they are taken "
        "as they stand"
    ),
    "prompt_repeated": (
        "answers began with their prompt or the opening of their turn, which was taken off"
    ),
    "prompt_echoed": (
        "answers begin with the words of their prompt; they are taken as the model's own"
    ),
    "answer_pads": "answers had padding before them, which was taken off",
    "answer_prefix": (
        "answers began with what the tokenizer puts before a text, which was taken off"
    ),
    "after_end": (
        "answers had padding, further stop tokens or blanks behind their end, which were taken off"
    ),
    "cut_off": (
        "answers are texts without a stop token, where others of the file have theirs written "
        "out; they count as cut off"
    ),
    "stop_added": (
        "answers are texts without a word on whether the model ended them; a stop token was added "
        "to each"
    ),
}
"""What is done to rows of `--answers`, by name, and how it is said."""


def split_note(task: Task | None, examples: Sequence[Example]) -> Iterator[str]:
    """That a task's official split is not in the data, or one that the data name is not used."""
    if task is None or any(e.split is not None for e in examples):
        return
    if all(e.fields.get("split") in SPLITS for e in examples):
        yield (
            "The column 'split' is not used: examples are split by a hash of their group, as all "
            "questions of a task are. In a file for --answers it counts."
        )
    if task.split != "official":
        return
    yield (
        f"{task.name} keeps its publisher's split, which no example here names: all are split by a "
        "hash of their group, and the test examples are others than the publisher's."
    )


def data_notes(data: Mapping[str, Any], n: int) -> list[str]:
    """What a reader of the numbers must know of how the examples were read.

    Args:
        data: the record's `data`; older records lack some of its keys.
        n: examples of the run.
    """
    notes = []
    if lost := data.get("n_ungrouped"):
        notes.append(
            f"{lost:,} of {n:,} examples lack the columns that the task groups by, so each "
            "question is a group of its own: what the task would keep together (such as questions "
            "on one person) may stand on both sides of a split."
        )
    notes += [f"{k:,} of {n:,} {MENDED[name]}." for name, k in (data.get("mended") or {}).items()]
    if data.get("test_is") == "validation":
        notes.append(
            "The file has no test split: the numbers of the test split are those of what it calls "
            "validation, and a quarter of "
            "its train groups took the part of validation (choice of C, layer and cell)."
        )
    elif data.get("validation_is") == "train":
        notes.append(
            "The file has no validation split: a quarter of its train groups took that part "
            "(choice of C, layer and cell)."
        )
    return notes
