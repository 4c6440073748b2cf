"""What all parts of a run's record share: strict, without unknown keys, never changed, and readable
like the JSON that they are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    Strict,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, PydanticCustomError

from probebench.text import clipped

NOTHING = "nothing"
"""What is given where a key is missing."""
RANKED = "ranked"
"""Context of a validation that also asks what only a row of the leaderboard must keep."""
LONGEST = 100
"""Characters of the line that a part shows itself as. A tuple is as long as its parts' lines."""
SINGLE = (str, int, float)
"""What such a line has room for."""
TELLING = ("name", "layer", "position", "test_auroc", "auroc", "value", "n")
"""Fields that stand first in it."""


class Part(BaseModel, Mapping[str, Any]):
    """One object of a record.

    Our code reads fields as attributes. It is also a mapping of its JSON, `part["n"]`, with the
    keys that the record holds: a key that came later is not in an older record, where the attribute
    has its default. Lists are tuples as attributes and lists as items.
    """

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    _names: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _in_order(cls, content: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Keep the keys in the order in which they were given, so that what is read is written
        again byte by byte."""
        part = handler(content)
        if isinstance(content, Mapping):
            part._names = tuple(content)
        return part

    @classmethod
    def from_plain(cls, content: object, context: str | None = None) -> Self:
        """Read it from what JSON holds: objects, lists, texts, numbers and null.

        Args:
            content: an object.
            context: `RANKED` to ask for what a row of the leaderboard must keep too.

        Raises:
            ValidationError: with every key, type and number that cannot be; see `problems`.
        """
        return cls.model_validate(content, context=context)

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it: the keys that were given, in their order."""
        return {name: _plain(value) for name, value in self.items()}

    def changed(self, **fields: Any) -> Self:
        """The same with other fields, given as JSON holds them or as parts.

        Raises:
            ValidationError: values that cannot be.
        """
        return self.from_plain(self.plain() | {k: _plain(v) for k, v in fields.items()})

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        value = getattr(self, name)
        return list(value) if isinstance(value, tuple) else value

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self.items()) == dict(other.items())

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        """Both as one plain mapping, the other's keys before ours."""
        return dict(self.items()) | dict(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """One line of at most `LONGEST` characters: single values, the telling ones first, then the
        names of what holds more; dots for what has no room."""
        held = {name: value for name in self if (value := getattr(self, name)) is not None}
        ordered = sorted(held, key=lambda name: (not isinstance(held[name], SINGLE), _told(name)))
        line, left_out = type(self).__name__, ""
        for name in ordered:
            word = f", {name}{_shown(held[name])}"
            if len(line + word) + len("<, ...>") > LONGEST:
                left_out = ", ..."
            else:
                line += word
        return f"<{line}{left_out}>".replace(",", ":", 1)

    __str__ = __repr__


def _told(name: str) -> int:
    return TELLING.index(name) if name in TELLING else len(TELLING)


def _shown(value: Any) -> str:
    if not isinstance(value, SINGLE):
        return ""
    return f"={value:.4g}" if isinstance(value, float) else f"={clipped(repr(value), 40)}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a record cannot hold."""

    path: str
    """Such as `detectors[0].auroc`."""
    given: Any
    expected: str

    def __str__(self) -> str:
        given = self.given if self.given is NOTHING else clipped(repr(self.given), 60)
        return f"{self.path}: given {given}, expected {self.expected}"


def problems(error: ValidationError) -> list[Problem]:
    """Everything that is wrong, in the order of the fields."""
    return [_problem(one) for one in error.errors(include_url=False)]


def _problem(one: ErrorDetails) -> Problem:
    path = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in one["loc"])
    path = path.removeprefix(".")
    if one["type"] == "missing":
        last = one["loc"][-1]
        return Problem(path, NOTHING, "an item" if isinstance(last, int) else "this key")
    if one["type"] == "extra_forbidden":
        return Problem(path, one["input"], "no such key: records do not have it")
    return Problem(path or "record", one["input"], _expected(one))


def _expected(one: ErrorDetails) -> str:
    """Pydantic's words for what it wants, less the beginning that all of them share."""
    limits = one.get("ctx", {})
    kind = one["type"]
    if kind == "string_pattern_mismatch":
        return f"text like {limits['pattern']}"
    if kind in ("too_short", "too_long"):
        most = "at least" if kind == "too_short" else "at most"
        return f"{most} {limits.get('min_length', limits.get('max_length'))} items"
    if kind == "model_type":
        return "an object"
    return one["msg"].removeprefix("Input should be ")


# -- types of fields -------------------------------------------------------------------------------


def ranked(check: Any, expected: str) -> AfterValidator:
    """A condition that only a row of the leaderboard must keep."""

    def validate(value: Any, info: ValidationInfo) -> Any:
        if info.context == RANKED and not check(value):
            raise PydanticCustomError("ranked", "{expected}", {"expected": expected})
        return value

    return AfterValidator(validate)


def at_most(length: int) -> AfterValidator:
    """Text that a page of the leaderboard has room for."""
    return ranked(
        lambda text: text is None or len(text) <= length, f"text of at most {length} characters"
    )


def within(low: float, high: float) -> AfterValidator:
    """A number between two others, both included."""
    return ranked(
        lambda value: value is None or low <= value <= high, f"a number from {low:g} to {high:g}"
    )


def fewer(most: int, least: int = 0) -> AfterValidator:
    """A list or an object of no more items than a page of the leaderboard has room for."""
    return ranked(
        lambda items: items is None or least <= len(items) <= most, f"{least} to {most} items"
    )


def keys_like(pattern: str) -> AfterValidator:
    """An object whose keys have one form."""
    return ranked(
        lambda items: all(re.fullmatch(pattern, name) for name in items), f"keys like {pattern}"
    )


GIVEN = ranked(lambda value: value is not None, "a value, not null")
"""Null only where a run is not of a task of the suite."""
MANY = 10**7
"""More examples than any task has."""


def _ordered(ends: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    low, high = ends
    if (low is None) != (high is None) or (low is not None and high is not None and low > high):
        raise PydanticCustomError("ends", "the lower end, then the upper end")
    return ends


def inside(low: float, high: float) -> AfterValidator:
    """Ends between two numbers, both included, or null."""
    return ranked(
        lambda ends: all(end is None or low <= end <= high for end in ends),
        f"two numbers from {low:g} to {high:g}, or two nulls",
    )


def _finite(value: JsonValue) -> JsonValue:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        if isinstance(one, float) and not math.isfinite(one):
            raise PydanticCustomError("finite", "finite numbers, or null")
    return value


T = TypeVar("T")
Items = Annotated[tuple[T, ...], Strict(False)]
"""A list in JSON, a tuple here."""
Count = Annotated[
    int, Field(ge=0), ranked(lambda n: n is None or n <= MANY, f"a whole number up to {MANY}")
]
"""A number of examples, tokens, cells..."""
Share = Annotated[float, Field(ge=0, le=1)]
"""From 0 to 1: an AUROC, a rate, a p value."""
Difference = Annotated[float, Field(ge=-1, le=1)]
"""Of two shares."""
Ends = Annotated[tuple[float | None, float | None], Strict(False), AfterValidator(_ordered)]
"""Lower and upper end of a 95 % interval; two nulls where it is undefined."""
ShareEnds = Annotated[Ends, inside(0, 1)]
"""The same of a share."""
DifferenceEnds = Annotated[Ends, inside(-1, 1)]
"""The same of a difference of two shares."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Layer = Annotated[str, Field(pattern="^(emb|0|[1-9][0-9]{0,3})$")]
"""A row of the map: `emb`, or the index of a block."""
Free = Annotated[JsonValue, AfterValidator(_finite)]
"""Whatever JSON can hold."""
Line = Annotated[str, at_most(200)]
Word = Annotated[str, at_most(40)]
Place = Annotated[str, at_most(60)]
"""Name of a position."""
