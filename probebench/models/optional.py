"""Libraries that only some options need: there, with their versions, or one line that says how to
get them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from probebench.errors import UsageError

UNKNOWN = "unknown"


def need(option: str, *packages: str) -> dict[str, str]:
    """Versions of the packages that an option needs.

    Raises:
        UsageError: one of them is not installed.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise UsageError(
            f"{option} needs {' and '.join(missing)}, which {are} not installed: pip install "
            f"{' '.join(missing)}"
        )
    return {name: _version(name) for name in packages}


def installed(*packages: str) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    return {name: found for name in packages if (found := _version(name)) != UNKNOWN}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # importable, but not as an installed distribution
        return UNKNOWN
