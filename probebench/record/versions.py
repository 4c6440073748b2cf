"""Versions of this package, and of the libraries that can change a number."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from probebench._version import __version__

LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "scikit-learn",
    "numpy",
    "scipy",
    "pandas",
    "datasets",
)


@cache
def versions() -> dict[str, str]:
    """Versions of this package and of the libraries that can change a number."""
    found = {"probebench": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
