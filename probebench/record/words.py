"""What a record is about, in words: its examples and classes, a cell, and where its labels come
from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol

from probebench.record.parts.measured import DetectorFacts
from probebench.record.schema import Record
from probebench.text import interval, listed, number


class Placed(Protocol):
    """What is read at one cell of the map."""

    @property
    def site(self) -> str: ...
    @property
    def layer(self) -> str: ...
    @property
    def position(self) -> str: ...


class Terms(NamedTuple):
    """What the examples of a run and their two labels are called."""

    what: str
    """`answers` or `statements`."""
    right: str
    """The positive class: `correct` or `true`."""
    wrong: str


def terms(record: Record) -> Terms:
    """What is judged, and what the two labels are called."""
    return terms_of(record.task.kind)


def terms_of(kind: str) -> Terms:
    """What the examples of a kind of task, and their two labels, are called."""
    if kind == "statements":
        return Terms("statements", "true", "false")
    return Terms("answers", "correct", "wrong")


def cell_words(cell: Placed) -> str:
    """Site, layer and position of a cell."""
    return f"{cell.site}, layer {cell.layer}, {cell.position}"


def part_words(record: Record) -> str:
    """Which examples a run is about where they are not all of its task's own, and what its test
    split is; else nothing."""
    settings, said = record.settings, list[str]()
    data, answers, limit = (settings.get(name) for name in ("data", "answers", "limit"))
    if files := [PurePath(file).name for file in ([data] if isinstance(data, str) else data or ())]:
        said.append(f"questions of {listed(files)} (--data)")
    if answers:
        said.append(f"answers of {PurePath(answers).name} (--answers)")
    if limit:
        said.append(f"{limit:,} examples at most (--limit)")
    if record.data.test_is == "validation":
        said.append("test is what the file calls validation; it has no test split")
    return "; ".join(said)


def overridden_words(record: Record) -> str:
    """Settings of the protocol that were overridden, as on the command line, but for those that
    `part_words` says; files and folders by their last name. Else nothing."""
    told = []
    for name, value in record.settings.overrides.items():
        if name in ("data", "answers", "limit"):
            continue
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            told.append(f"--{'' if value else 'no-'}{flag}")
        else:
            told.append(f"--{flag} {_value_words(value)}")
    return " ".join(told)


def _value_words(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("name")
    if isinstance(value, list | tuple):
        return ",".join(map(_value_words, value))
    text = str(value)
    return PurePath(text).name if PurePath(text).is_absolute() else text


def labels_words(record: Record) -> str:
    """Where the labels come from: a judge that was asked, or whoever gave them."""
    task, facts = record.task, record.labels
    judge = f"judge {task.judge}"
    if task.kind == "statements" or (facts and not facts.judged):
        return f"labels given with the {terms(record).what}"
    if facts and facts.given:
        return f"{judge} for {facts.judged:,} answers, labels given with {facts.given:,}"
    return judge


def on_fewer(d: DetectorFacts, n: int) -> str:
    """Goes on the name of a detector that scores fewer examples than those that stand beside it."""
    return "" if d.n >= n else f", n = {d.n:,}"


def unchecked(why: str) -> str:
    """What a reader must know of a model whose parts nobody could check."""
    return f"That the model's parts fit together (--device-map) was not checked: {why}."


def ranked(record: Record, target: str) -> bool:
    """Do estimates of attribution to a target rank components as replacing them does?"""
    found = record.attribution
    return found is not None and any(a.ranks for a in found.agreement if a.target == target)


def agreement_words(record: Record, target: str) -> str:
    """How far estimates of attribution rank components as replacing them does; empty where no
    component was replaced."""
    if (found := record.attribution) is None:
        return ""
    for a in found.agreement:
        if a.target == target:
            below = "" if a.ranks else f", below the {found.bar:g} from which estimates count"
            digits = 2 if a.ranks else 3  # .797 does not look like .80
            return (
                f"Held against what replacing them really changes: rank correlation "
                f"{number(a.spearman, digits)} {interval(a.spearman_95, 2)} over {a.n_components} "
                f"components of layers, n = {a.n} answers{below}."
            )
    return ""
