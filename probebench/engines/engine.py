"""An engine: where the stages of a run are computed. This process, or a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from probebench.engines.part import Part
from probebench.engines.parts import PartRunner
from probebench.engines.spec import LOCAL, RAY, EngineSpec
from probebench.models.handles import ModelHandle
from probebench.models.loading import ModelSpec, find_model
from probebench.models.optional import need
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.stage import LocalRunner, Runner


class Engine(Protocol):
    """Computes the stages of one run after the other."""

    def find(self, spec: ModelSpec, *, offline: bool) -> ModelHandle:
        """A model, found on a machine like the ones that will load it."""

    def runner(
        self, folder: Path, progress: Progress, *, offline: bool
    ) -> AbstractContextManager[Runner]:
        """What computes the stages of one run.

        Args:
            folder: the run directory, locked.
            progress: what it reports to.
            offline: never ask the hub.
        """


class LocalEngine:
    """Computes in this process.

    Args:
        part: which part of a run; None: all of it.
    """

    def __init__(self, part: Part | None = None) -> None:
        self.part = part

    def find(self, spec: ModelSpec, *, offline: bool) -> ModelHandle:
        return find_model(spec, offline=offline)

    @contextmanager
    def runner(self, folder: Path, progress: Progress, *, offline: bool) -> Iterator[Runner]:
        models = Models(progress, offline=offline)
        try:
            if self.part is None:
                yield LocalRunner(folder, progress, models)
            else:
                yield PartRunner(folder, progress, models, self.part)
        finally:
            models.free()  # before the next task's are loaded


@contextmanager
def opened(spec: EngineSpec, device: str) -> Iterator[Engine]:
    """An engine for the runs of one call. A cluster is asked for when something is to be computed.

    Args:
        spec: which engine.
        device: what models are asked to run on.

    Raises:
        UsageError: there is no such engine, or its package is not installed.
    """
    spec.check()
    if spec.engine == LOCAL:
        yield LocalEngine()
        return
    need(f"--engine {RAY}", "ray")
    from probebench.engines.ray.engine import RayEngine

    engine = RayEngine(spec, device)
    try:
        yield engine
    finally:
        engine.close()
