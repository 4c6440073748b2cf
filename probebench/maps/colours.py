"""What numbers are drawn in: white at a middle on a light page, the page's own dark on a dark one,
and stronger away from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from probebench.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

CHANCE = 0.5
NARROW = 0.01
"""Between ends of colours that would else be one."""
STEPS = 20_000
"""Colours of a scale: so many that the one that changes at a printed digit changes there."""
HALF_DIGIT = 0.005
"""What is nearer to a number is printed as that number."""
PALE = 0.12
"""Where violet begins, as a part of its ramp."""
SELECTED, BLUE, RED = "#d95f02", "#2f6fb3", "#c0392b"
"""Orange is the selected cell and nothing else."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one of the two looks of a map."""

    above: tuple[str, ...]
    """From the middle on upwards."""
    below: tuple[str, ...]
    """From the middle on downwards."""
    amounts: tuple[str, ...]
    """Of amounts from 0 on, which have no middle."""
    absent: str
    pale: str
    """Of names that take no part, and of lines."""
    grey: str
    """Of what is not selected."""
    near: str
    """What is written on the page's own colour, and on what is nearer to it."""
    far: str
    """What is written on the others."""


LIGHT = Palette(
    above=("#ffffff", "#c6dbef", "#6baed6", "#2171b5", "#08306b"),
    below=("#ffffff", "#dadaeb", "#9e9ac8", "#6a51a3", "#3f007d"),
    amounts=("#ffffff", "#c7e9c0", "#74c476", "#238b45", "#00441b"),
    absent="#d0d0d0",
    pale="#9a9a9a",
    grey="#e4e4e4",
    near="#111111",
    far="#ffffff",
)
DARK = Palette(
    above=("#1b2027", "#1d3f63", "#2f6fb3", "#6fb0ea", "#c4e2ff"),
    below=("#1b2027", "#3a3158", "#6a57a5", "#a693dd", "#e0d6ff"),
    amounts=("#1b2027", "#1d4a33", "#2f8a57", "#6fcf97", "#c8f5d9"),
    absent="#454c54",
    pale="#7c848d",
    grey="#30363d",
    near="#f4f6f8",
    far="#14181d",
)


def palette() -> Palette:
    """The colours of the look that is being drawn in (`probebench.maps.style`)."""
    import matplotlib as mpl
    from matplotlib.colors import to_rgb

    return LIGHT if sum(to_rgb(mpl.rcParams["figure.facecolor"])) > 1.5 else DARK


def ramp(colours: tuple[str, ...]) -> Colormap:
    """Colours from the first to the last."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ramp", list(colours))


def least(values: pd.DataFrame) -> float:
    """The smallest value in the two digits that a map prints; chance where there is none."""
    known = values.to_numpy(dtype=float)
    return min((round(v, 2) for v in known[np.isfinite(known)].tolist()), default=CHANCE)


def below_chance(values: pd.DataFrame) -> bool:
    """Is one of them printed as less than chance?"""
    return least(values) < CHANCE


@dataclass(frozen=True, slots=True)
class Scale:
    """What a value is drawn in: the page's own colour at the middle, ever stronger towards both
    ends, and about equally strong at the same distance on either side."""

    low: float
    high: float
    middle: float
    amounts: bool = False
    """Without a middle: from 0 on, in green."""
    aurocs: bool = False
    """Chance is what violet is below, wherever the middle lies."""

    @classmethod
    def of_aurocs(cls, matrix: pd.DataFrame, low: float | None, high: float | None) -> Self:
        """From chance to 1, and down to the tenth below the least value where one is printed as
        below chance; or between ends of one's own. A lower end at or above chance is where blue
        begins: what is below chance is violet all the same.

        Raises:
            UsageError: the upper end is not above the lower.
        """
        start, high = CHANCE if low is None else low, 1.0 if high is None else high
        if high <= start:
            raise UsageError(
                f"--vmax {high:g} is not above {start:g}, where the colours begin. Give --vmin too."
                if low is None
                else f"--vmin {start:g} is not below {high:g}, where the colours end."
            )
        violet = start >= CHANCE and below_chance(matrix)
        low = float(np.floor(least(matrix) * 10) / 10) if violet else start
        return cls(low, high, max(start, CHANCE), aurocs=True)

    @classmethod
    def around(
        cls, matrix: pd.DataFrame, middle: float | None, low: float | None, high: float | None
    ) -> Self:
        """From the smallest to the largest value, the middle among them, or 0 where they have none;
        or between ends of one's own."""
        values, amounts = matrix.to_numpy(dtype=float), middle is None
        finite, middle = values[np.isfinite(values)], middle or 0.0
        low = float(np.min(finite, initial=middle)) if low is None else low
        high = float(np.max(finite, initial=middle)) if high is None else high
        if low >= high:
            return cls(low, low + NARROW, low, amounts)
        return cls(low, high, middle, amounts)

    @property
    def below(self) -> float:
        """Where violet begins, downwards: at the middle, or at chance where that is less."""
        return min(self.middle, CHANCE) if self.aurocs else self.middle

    @property
    def reach(self) -> float:
        """Distance from where it begins at which the colour is strongest."""
        return max(self.high - self.middle, self.below - self.low)

    @property
    def colours(self) -> Colormap:
        """From low to high: blue above the middle, and violet from the first value below it that is
        printed as such, already pale violet there: in a ramp from white .48 would look like .50;
        amounts in green."""
        return _colours(self, palette())

    def colour(self, value: float) -> str:
        """A value's own."""
        from matplotlib.colors import to_hex

        return str(to_hex(self.colours((value - self.low) / (self.high - self.low))))

    def ink(self, value: float) -> str:
        """What is written on its colour: of dark and light what stands out more."""
        ground, inks = _luminance(self.colour(value)), (palette().near, palette().far)
        return max(inks, key=lambda ink: _contrast(_luminance(ink), ground))


@lru_cache(maxsize=8)
def _colours(scale: Scale, look: Palette) -> Colormap:
    from matplotlib.colors import ListedColormap

    if scale.amounts:
        return ramp(look.amounts)
    values = scale.low + (scale.high - scale.low) * (np.arange(STEPS) + 0.5) / STEPS
    up, down = (values - scale.middle) / scale.reach, (values - scale.below) / scale.reach
    above = ramp(look.above)(np.maximum(up, 0))
    below = ramp(look.below)(PALE - (1 - PALE) * np.minimum(down, 0))
    lower = values < scale.below - HALF_DIGIT
    return ListedColormap(np.where(lower[:, None], below, above))


@cache
def _luminance(colour: str) -> float:
    """Relative luminance of a colour, 0 to 1 (WCAG 2)."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def _contrast(one: float, other: float) -> float:
    """Ratio of two luminances, 1 to 21 (WCAG 2)."""
    high, low = max(one, other), min(one, other)
    return (high + 0.05) / (low + 0.05)
