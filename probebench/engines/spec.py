"""Which engine is asked for. Nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

from probebench.options.checks import Rule, at_least, check_options
from probebench.options.field import option

RUN = "The run"
"""The heading of these options."""
LOCAL, RAY = "local", "ray"


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Where a run is computed; nothing here can change a number. To add an option, add a field."""

    engine: str = option(
        LOCAL,
        "Where it is computed: in this process, or by the workers of a Ray cluster.",
        RUN,
        more="The numbers are the same (docs/cluster.md).",
        choices=(LOCAL, RAY),
        changes="nothing",
    )
    address: str | None = option(
        None,
        "Of the cluster: auto, host:port or ray://host:port; default: one is started here.",
        RUN,
        metavar="A",
        changes="nothing",
    )
    workers: int | None = option(
        None,
        "Of the cluster; default: as many as it has room for.",
        RUN,
        check=at_least(1),
        changes="nothing",
    )
    gpus_per_worker: int | None = option(
        None,
        "GPUs of each worker; default: 1 where the cluster has any.",
        RUN,
        check=at_least(0),
        changes="nothing",
    )

    def check(self) -> None:
        """Complain about values that cannot be.

        Raises:
            UnknownNameError: an engine that there is not.
            UsageError: what only a cluster has, without one.
        """
        check_options(self, RULES)


def _cluster_is_asked(
    engine: str, address: str | None, workers: int | None, gpus_per_worker: int | None
) -> str | None:
    asked = {"--address": address, "--workers": workers, "--gpus-per-worker": gpus_per_worker}
    for flag, value in asked.items():
        if value is not None and engine == LOCAL:
            return f"{flag} {value} is of a cluster; add --engine {RAY}."
    return None


RULES: tuple[Rule, ...] = (_cluster_is_asked,)
