"""Keys of a task file for texts that came with their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class TurnFields:
    """Where the turns of a transcript stand. The last one is the assistant's, and is what is
    labelled."""

    column: str = "messages"
    """Records of a role and a text, or one text that `pattern` cuts."""
    role: str = "role"
    content: str = "content"
    pattern: str | None = None
    """Regular expression with groups named `system` (where there is one), `user` and `assistant`,
    for a column that holds a transcript as one text."""
    answer: str | None = None
    """Column of the last turn, where the messages end before it; a list holds several answers to
    the same messages, and the label's column then one label for each."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """What the publisher's roles stand for, such as human: user."""
    labels: Mapping[str, int] = field(default_factory=lambda: {"honest": 1, "deceptive": 0})
    """What the publisher's labels stand for; 1 = honest. 1 and 0, true and false always do."""
    left_out: tuple[str, ...] = ()
    """Labels of rows that are left out."""


@dataclass(frozen=True, slots=True)
class SpanFields:
    """Where the labelled spans of an answer stand."""

    answer: str = "answer"
    """The answer's text; or records of a role and a text (`messages`), whose last one it is."""
    column: str = "spans"
    """Records of a label and a place."""
    label: str = "label"
    start: str = "start"
    """First character."""
    end: str = "end"
    """The character after the last; where a record has none, its text is as long as it is."""
    text: str = "text"
    """The characters themselves; they are held against the answer, and found in it where a record
    says no place."""
    labels: Mapping[str, int] = field(default_factory=lambda: {"right": 1, "wrong": 0})
    """What the publisher's labels stand for; 1 = right."""
    left_out: tuple[str, ...] = ()
    """Labels of spans that are neither."""
    others: Literal["unlabelled", "right"] = "unlabelled"
    """What is outside all spans: `right` where the publisher marked whatever is wrong."""
    join: str | None = None
    """Column that two given files share: rows without an answer are joined to those with one."""
