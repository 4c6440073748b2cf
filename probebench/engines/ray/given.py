"""Shards given to workers until each is there, or has failed too often."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from probebench.engines.ray.cluster import fetched, first_line
from probebench.engines.ray.lanes import AT_ONCE, TRIES, Lane, Lanes
from probebench.engines.ray.worker import Sent, Size, Written
from probebench.errors import ProbebenchError

FAILED = 3
"""Shards that may fail for good before the others are not tried either."""


class Given:
    """The shards of one stage on their way.

    No more are given out than workers compute and write at a time. When a worker goes down, what
    it held comes back, and is tried again alone in a worker: so it is known which shard it was.

    Args:
        lanes: the workers.
        sent: the stage.
        missing: its shards that are not there.
        size: what a batch may hold now; None where the stage keeps no budget.
    """

    def __init__(
        self, lanes: Lanes, sent: Sent, missing: Sequence[int], size: Callable[[], Size] | None
    ) -> None:
        self.lanes, self.sent, self.size = lanes, sent, size
        self.waiting, self.suspects = deque(missing), deque[int]()
        self.flights: dict[Any, tuple[Lane, int]] = {}
        self.tries: Counter[int] = Counter()
        self.failed: dict[int, str] = {}
        """Shard -> why it could not be computed."""

    def written(self, begun: Callable[[int], None]) -> Iterator[Written]:
        """Each shard once it is there; those that failed for good are in `failed` then.

        Args:
            begun: told how many units of unfinished shards are through.

        Raises:
            ProbebenchError: what a shard says to a user, or that there are no workers.
        """
        try:
            while self.flights or self.suspects or (self.waiting and len(self.failed) < FAILED):
                self._give()
                come = self.lanes.wait(list(self.flights))
                for reference in come:
                    if reference in self.flights:  # or it went down with another one of its worker
                        yield from self._landed(reference)
                if not come:
                    begun(self._through())
        finally:
            for lane in {lane for lane, _ in self.flights.values()}:  # only after an error
                self.lanes.lose(lane)

    def _give(self) -> None:
        """A shard to every worker; to each a second one as long as enough are left for all."""
        ready = sorted(self.lanes.ready, key=lambda lane: len(lane.flights))
        for lane in ready:
            if self.suspects and not lane.flights:
                self._fly(lane, self.suspects.popleft(), alone=True)
        if len(self.failed) >= FAILED:
            return
        for depth in range(AT_ONCE):
            for lane in ready:
                left = len(self.waiting) - depth * len(ready)
                if left > 0 and lane.free and len(lane.flights) == depth:
                    self._fly(lane, self.waiting.popleft())

    def _fly(self, lane: Lane, shard: int, *, alone: bool = False) -> None:
        size = self.size() if self.size is not None else None
        reference = lane.actor.shard.remote(self.sent, shard, size)
        lane.flights.append(reference)
        lane.alone = alone
        self.flights[reference] = lane, shard

    def _landed(self, reference: Any) -> Iterator[Written]:
        lane, shard = self.flights.pop(reference)
        lane.flights.remove(reference)
        try:
            found: Written = fetched(reference)
        except ProbebenchError:
            raise
        except Exception as error:  # the worker died, or it holds something that is broken
            self._down(lane, shard, first_line(error))
            return
        lane.alone = False
        yield found

    def _down(self, lane: Lane, shard: int, why: str) -> None:
        """A worker is lost: what it held is tried again alone, and what it held alone counts as
        tried."""
        self.lanes.lose(lane)
        others = [self.flights.pop(reference)[1] for reference in lane.flights]
        self.tries[shard] += lane.alone
        if self.tries[shard] < TRIES:
            self.suspects += [shard, *others]
        else:
            self.failed[shard] = why

    def _through(self) -> int:
        """Units of unfinished shards that are through, as workers said when asked last."""
        import ray

        busy = {lane for lane, _ in self.flights.values()}
        for lane in busy:
            if lane.asked is None:
                lane.asked = lane.actor.reached.remote()
        asked = {lane.asked: lane for lane in busy}
        come, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0.5) if asked else ([], [])
        for reference in come:
            lane, asked[reference].asked = asked[reference], None
            try:
                lane.through = ray.get(reference)
            except ray.exceptions.RayError:
                lane.through = 0  # its shard says so next
        return sum(lane.through for lane in busy)
