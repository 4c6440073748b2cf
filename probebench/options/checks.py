"""Checks of one value, made for a field. Each gets the option's name as the command line has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

from probebench.errors import UnknownNameError, UsageError, nearest
from probebench.options.field import Check, Option, own_options

Rule = Callable[..., str | None]
"""(some options, by their names) -> why they do not go together, or None."""


def at_least(low: int) -> Check:
    """A whole number from `low` on."""

    def check(flag: str, value: int) -> None:
        if value < low:
            raise UsageError(f"{flag} must be {low} or more; got {value}.")

    return check


def between(low: int, high: int) -> Check:
    """A whole number of a range, both ends included."""

    def check(flag: str, value: int) -> None:
        if not low <= value <= high:
            raise UsageError(f"{flag} must lie between {low} and {high}; got {value}.")

    return check


def above(low: float) -> Check:
    """A number larger than `low`."""

    def check(flag: str, value: float) -> None:
        if not value > low:
            raise UsageError(f"{flag} must be larger than {low:g}; got {value:g}.")

    return check


def share(flag: str, value: float) -> None:
    """A number larger than 0, up to 1."""
    if not 0 < value <= 1:
        raise UsageError(f"{flag} must be larger than 0 and at most 1; got {value:g}.")


def known(names: Callable[[], Iterable[str]]) -> Check:
    """A name, or several, of a list that is looked up when it is needed."""

    def check(flag: str, value: str | tuple[str, ...]) -> None:
        allowed = list(names())
        for name in (value,) if isinstance(value, str) else value:
            if name not in allowed:
                raise UnknownNameError(flag, name, allowed)

    return check


def check_options(asked: Any, rules: Iterable[Rule]) -> None:
    """Complain about the first value that cannot be, or that does not go with another.

    Args:
        asked: a dataclass of options; those of its parts are not looked at.
        rules: what goes together.

    Raises:
        UsageError: with option, value and rule.
    """
    for option in own_options(type(asked)):
        check_option(option, getattr(asked, option.name))
    for rule in rules:
        about = {name: getattr(asked, name) for name in signature(rule).parameters}
        if (wrong := rule(**about)) is not None:
            raise UsageError(wrong)


def check_option(option: Option, value: Any) -> None:
    """Complain about a value that cannot be.

    Raises:
        UsageError: with option, value and rule.
    """
    if value is None:
        return
    if option.choices and value not in option.choices:
        near = nearest(str(value), option.choices)
        rule = f"It must be one of {', '.join(option.choices)}."
        raise UnknownNameError(option.flag, str(value), [near] if near else [], rule)
    if option.check is not None:
        option.check(option.flag, value)
