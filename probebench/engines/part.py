"""A part of a run: one of several processes, on any machines that share a folder, that compute a
run together. Nothing heavy is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass

from probebench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Part:
    """One of several parts."""

    number: int
    """From 1."""
    of: int

    @classmethod
    def read(cls, text: str) -> Part:
        """From `2/8`.

        Raises:
            UsageError: it is none.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        number, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= of:
            raise UsageError(f"--part must be one of several, from 1/8 to 8/8; got {text!r}.")
        return cls(number, of)

    @property
    def writer(self) -> str:
        """Its name in a run directory."""
        return f"part-{self.number}-of-{self.of}"

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def owner(self, shard: int) -> int:
        """The number of the part that computes a shard. Shards are sorted by length, so that each
        part has long ones and short ones."""
        return shard % self.of + 1
