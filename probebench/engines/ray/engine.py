"""The engine whose runs share the workers of one Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from probebench.engines.ray.cluster import Share, alive, connected, fetched, shared
from probebench.engines.ray.lanes import Lanes
from probebench.engines.ray.runner import RayRunner
from probebench.engines.ray.worker import Place
from probebench.engines.spec import EngineSpec
from probebench.files import write_atomic
from probebench.models.devices import pick_device
from probebench.models.handles import ModelHandle
from probebench.models.loading import ModelSpec, find_model
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.stage import Runner

MARK = ".engine-"
"""How the name of the file begins by which workers know a run directory."""


class RayEngine:
    """Computes on a cluster, which is reached or started when it is first needed, and kept for all
    runs of a call.

    Args:
        spec: which cluster, and how much of it.
        device: what models are asked to run on.
    """

    def __init__(self, spec: EngineSpec, device: str) -> None:
        self.spec, self.device = spec, device
        self._open = ExitStack()
        self._share: Share | None = None
        self._lanes: Lanes | None = None

    def share(self) -> Share:
        """What each worker has.

        Raises:
            EngineError: there is no such cluster.
            UsageError: no node of it is large enough.
        """
        if self._share is None:
            s = self.spec
            self._open.enter_context(connected(s.address))
            self._share = shared(alive(), s.workers, s.gpus_per_worker, self.device)
        return self._share

    def find(self, spec: ModelSpec, *, offline: bool) -> ModelHandle:
        """A model, found with the GPUs that a worker has; this process may have none."""
        share = self.share()
        if not share.gpus:  # nor may a GPU of this machine be taken then
            alone = spec.device == "auto" and pick_device("auto").type != "cpu"
            return find_model(replace(spec, device="cpu") if alone else spec, offline=offline)
        import ray

        call: Any = ray.remote(find_model)
        there = call.options(num_cpus=share.cpus, num_gpus=share.gpus)
        found: ModelHandle = fetched(there.remote(spec, offline=offline))
        return found

    @contextmanager
    def runner(self, folder: Path, progress: Progress, *, offline: bool) -> Iterator[Runner]:
        share = self.share()
        if self._lanes is None:
            self._lanes = Lanes(share, self.spec.workers, offline=offline)
        for old in folder.glob(f"{MARK}*"):  # of a run that was killed
            old.unlink()
        place = Place(folder.resolve(), f"{MARK}{uuid4().hex}")
        write_atomic(place.folder / place.mark, b"")
        self._lanes.enter(place)
        try:
            yield RayRunner(place.folder, progress, Models(progress, offline=offline), self._lanes)
        finally:
            self._lanes.leave()
            (place.folder / place.mark).unlink(missing_ok=True)

    def close_workers(self) -> None:
        """Let the workers go; others begin when they are needed."""
        if self._lanes is not None:
            self._lanes.close()

    def close(self) -> None:
        """Let the workers go, and the cluster if it was started for this call."""
        self.close_workers()
        self._open.close()
