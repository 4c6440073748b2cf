"""The workers of a call, as this process sees them: started, lost, replaced."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from probebench.engines.ray.cluster import Share, alive, fetched, first_line, node_ids
from probebench.engines.ray.worker import Place, Worker
from probebench.errors import EngineError, ProbebenchError
from probebench.record.versions import versions

AT_ONCE = 2
"""Shards that a worker holds: one is written while the next is computed."""
TRIES = 3
"""How often something is tried that takes its worker down with it."""
PATIENCE = 900.0
"""Seconds that a run waits for a first worker: a cluster may have to start machines."""
GRACE = 10.0
"""Seconds that it waits for others once the first one is there."""
LOOK = 2.0
"""Seconds between two looks at what the cluster has, and at how far workers are."""


@dataclass(slots=True, eq=False)
class Lane:
    """One worker."""

    actor: Any
    joining: Any
    """The reference of the call by which it takes part in the run; None once it does."""
    flights: list[Any] = field(default_factory=list)
    """References of the shards that it holds."""
    alone: bool = False
    """Holds a shard that took a worker down, and gets no second one beside it."""
    asked: Any = None
    """The reference of the question how far it is."""
    through: int = 0
    among: frozenset[str] = frozenset()
    """The nodes that were there when it was asked for."""

    @property
    def free(self) -> bool:
        """Can it be given something now?"""
        return self.joining is None and not self.alone and len(self.flights) < AT_ONCE


class Lanes:
    """All of them. As many are asked for as there are to be; those that the cluster has no room for
    begin when it has, as when a node joins or comes back.

    Args:
        share: what each has of the cluster.
        workers: how many; None: as many as there is room for, now or later.
        offline: never ask the hub.
        clock: seconds.
    """

    def __init__(
        self,
        share: Share,
        workers: int | None,
        *,
        offline: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share, self.workers, self.offline, self.clock = share, workers, offline, clock
        self.lanes: list[Lane] = []
        self.place: Place | None = None
        self._looked, self._alive, self._began = float("-inf"), clock(), 0
        self._late, self._refused = False, 0

    @property
    def ready(self) -> list[Lane]:
        """Those that can be given something."""
        return [lane for lane in self.lanes if lane.joining is None]

    @property
    def joining(self) -> list[Any]:
        """References of those that cannot yet."""
        return [lane.joining for lane in self.lanes if lane.joining is not None]

    def enter(self, place: Place) -> None:
        """Begin a run: every worker has to show that it can take part in it."""
        self.place, self._late, self._refused = place, False, 0
        for lane in self.lanes:
            lane.joining = lane.actor.join.remote(place, versions())
        self._alive = self.clock()

    def leave(self) -> None:
        """End a run: its models are not needed any more."""
        self.place = None
        for lane in self.lanes:
            lane.actor.free.remote()

    def close(self) -> None:
        """Let all workers go."""
        for lane in list(self.lanes):
            self.lose(lane)

    def grow(self) -> None:
        """Ask for the workers that are missing.

        Raises:
            EngineError: for long there has been none.
        """
        now = self.clock()
        if self.ready:
            self._alive = now
        elif now - self._alive > PATIENCE:
            raise EngineError(
                f"No worker could begin within {PATIENCE / 60:.0f} minutes: each needs "
                f"{self.share.shown}. What is computed is kept; start nodes, and give the same "
                "command again."
            )
        if now - self._looked < LOOK:
            return
        self._looked = now
        wanted = self.workers or max(sum(map(self.share.room, alive())), 1)
        for _ in range(wanted - self._refused - len(self.lanes)):
            self.lanes.append(self._begun())

    def _begun(self) -> Lane:
        import ray

        kind: Any = ray.remote(Worker)
        actor = kind.options(
            num_cpus=self.share.cpus,
            num_gpus=self.share.gpus,
            max_concurrency=AT_ONCE + 1,  # and the question how far it is
            max_restarts=0,
            scheduling_strategy="SPREAD",
        ).remote(self.share.cpus, self.offline)
        assert self.place is not None  # workers begin within a run
        return Lane(actor, actor.join.remote(self.place, versions()), among=node_ids())

    def joined(self, reference: Any) -> None:
        """A worker has answered whether it can take part. One that cannot, and comes when others
        are at work, goes again, and no other is asked for in its place.

        Raises:
            EngineError: it cannot, at the beginning; or workers go down as often as they begin,
                and not because a node went away that they may have been given to.
        """
        lane = next(lane for lane in self.lanes if lane.joining == reference)
        try:
            fetched(reference)
        except ProbebenchError:
            if not (self._late and self.ready):
                raise
            self.lose(lane)
            self._refused += 1
        except Exception as error:
            self._began += lane.among <= node_ids()
            if self._began >= TRIES * len(self.lanes):
                raise EngineError(f"Workers cannot begin: {first_line(error)}") from None
            self.lose(lane)
        else:
            lane.joining, self._began = None, 0

    def lose(self, lane: Lane) -> None:
        """A worker is gone, or is to go."""
        import ray

        self.lanes.remove(lane)
        self._looked = float("-inf")  # ask for another at once
        with suppress(Exception):
            ray.kill(lane.actor)

    def wait(self, references: list[Any]) -> list[Any]:
        """Those of some references that have come, within a moment; workers join meanwhile.

        Raises:
            EngineError: no worker can join.
        """
        import ray

        self.grow()
        joining = self.joining
        looked = [*references, *joining]
        come, _ = ray.wait(looked, num_returns=1, timeout=LOOK)
        for reference in come:
            if reference in joining:
                self.joined(reference)
        return [reference for reference in come if reference not in joining]

    def await_first(self) -> None:
        """Wait for a first worker, and a moment for others that begin as fast."""
        while not self.ready:
            self.wait([])
        end = self.clock() + GRACE
        while self.joining and self.clock() < end:
            self.wait([])
        self._late = True

    def each(self, call: Callable[[Any], Any]) -> None:
        """Wait until every worker that is there has done something; those that go down with it are
        lost.

        Args:
            call: makes the call of an actor.
        """
        under_way = {call(lane.actor): lane for lane in self.ready}
        while under_way:
            for reference in self.wait(list(under_way)):
                lane = under_way.pop(reference)
                try:
                    fetched(reference)
                except ProbebenchError:
                    raise
                except Exception:  # whoever takes its place says so if it was no accident
                    self.lose(lane)

    def ask(self, call: Callable[[Any], Any]) -> Any:
        """What one worker says, whichever it is.

        Args:
            call: makes the call of an actor.

        Raises:
            EngineError: workers went down with it, time and again.
        """
        for _ in range(TRIES):
            while not self.ready:
                self.wait([])
            lane = self.ready[0]
            reference = call(lane.actor)
            try:
                while not self.wait([reference]):
                    pass
                return fetched(reference)
            except ProbebenchError:
                raise
            except Exception as error:
                last = first_line(error)
                self.lose(lane)
        raise EngineError(f"{TRIES} workers went down, one after the other: {last}") from None
