"""probebench: how linearly readable is *right or wrong* inside a language model?

    >>> import probebench
    >>> run = probebench.evaluate(model="tiny", task="people")
    >>> run.matrix("auroc")

Names are imported when first used, so that `import probebench` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from probebench._version import __version__

if TYPE_CHECKING:
    from probebench.across.compare import compare
    from probebench.across.transfer import transfer
    from probebench.api import evaluate, evaluate_all, evaluate_spans
    from probebench.record.run import Run

__all__ = [
    "Run",
    "__version__",
    "compare",
    "evaluate",
    "evaluate_all",
    "evaluate_spans",
    "transfer",
]


def __getattr__(name: str) -> Any:
    if name in ("evaluate", "evaluate_all", "evaluate_spans"):
        import probebench.api

        return getattr(probebench.api, name)
    if name == "Run":
        from probebench.record.run import Run

        return Run
    if name == "compare":
        from probebench.across.compare import compare

        return compare
    if name == "transfer":
        from probebench.across.transfer import transfer

        return transfer
    raise AttributeError(f"module 'probebench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
