"""A Ray cluster: reached or started, kept quiet, and shared out among workers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from probebench.errors import EngineError, ProbebenchError, UsageError

Resources = Mapping[str, float]
"""What a node has, as Ray counts it: `CPU`, `GPU`, and others."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}
"""Ray reports its use to nobody, does not announce how it hides GPUs, and prints nothing that
workers raised when nobody waits for it any more."""


@dataclass(frozen=True, slots=True)
class Share:
    """What each worker has of the cluster."""

    cpus: int
    gpus: int

    def room(self, node: Resources) -> int:
        """Workers that a node has room for."""
        rooms = [node.get("CPU", 0) // self.cpus if self.cpus else None]
        rooms.append(node.get("GPU", 0) // self.gpus if self.gpus else None)
        return int(min((room for room in rooms if room is not None), default=0))

    @property
    def shown(self) -> str:
        """As a message says it."""
        gpus = f" and {self.gpus} GPU{'s' * (self.gpus != 1)}" if self.gpus else ""
        return f"{self.cpus} core{'s' * (self.cpus != 1)}{gpus}"


def shared(
    nodes: Sequence[Resources], workers: int | None, gpus: int | None, device: str = "auto"
) -> Share:
    """How a cluster is shared out: every core and, where GPUs are asked for, every GPU is used.

    Args:
        nodes: what each has.
        workers: how many there are to be; None: one for each set of GPUs, or one for each node.
        gpus: of each worker; None: one where a node has any, none where the device is a CPU.
        device: what models are asked to run on.

    Raises:
        UsageError: no node has as many GPUs as one worker is to have.
    """
    most = int(max((n.get("GPU", 0) for n in nodes), default=0))
    if gpus is None:
        gpus = int(most > 0 and device != "cpu")
    if gpus > most:
        raise UsageError(
            f"--gpus-per-worker {gpus}: the best node of this cluster has {most} GPUs. Ask for as "
            "many at most, or for 0 to compute on processors."
        )
    able = [n for n in nodes if n.get("GPU", 0) >= gpus]
    if workers is None:
        each = (n.get("CPU", 0) // max(n.get("GPU", 0) // gpus if gpus else 1, 1) for n in able)
        return Share(max(int(min(each, default=1)), 1), gpus)
    cores = int(max((n.get("CPU", 0) for n in able), default=1))
    fitting = (k for k in range(cores, 1, -1) if sum(map(Share(k, gpus).room, able)) >= workers)
    return Share(next(fitting, 1), gpus)


def alive() -> list[Resources]:
    """What each node has that is there now."""
    return [node["Resources"] for node in _nodes()]


def node_ids() -> frozenset[str]:
    """Which nodes are there now. One that was cut off is held to be there for some seconds."""
    return frozenset(node["NodeID"] for node in _nodes())


def _nodes() -> Iterator[Mapping[str, Any]]:
    """What Ray says of each node that is there now."""
    import ray

    nodes: Any = ray.nodes
    return (node for node in nodes() if node["Alive"])


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A cluster, reached or started. One that this process is connected to already is taken as it
    is, and left so.

    Args:
        address: `auto`, `host:port`, `ray://host:port`; None: one on this machine, for this call.

    Raises:
        EngineError: there is none at this address, or it is of other versions.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    started: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        # without an address Ray itself would take a cluster that it finds on this machine
        ray.init(
            address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **started
        )
    except Exception as error:  # each way to fail has an exception of its own
        where = f"at {address}" if address else "on this machine"
        raise EngineError(
            f"No Ray cluster {where}: {first_line(error)} Start one with `ray start --head`, or "
            "leave --address out to use this machine alone."
        ) from None
    try:
        with _hushed():
            yield
    finally:
        ray.shutdown()


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep what the nodes of a cluster say of themselves, such as that one went away, off standard
    output, where `--json` writes; Ray has no setting for it. Whether a run can go on is said by the
    run."""
    import ray._private.worker as inside

    name = "print_to_stdstream"
    said = getattr(inside, name, None)
    if said is None:
        yield
        return
    setattr(inside, name, lambda *words, **how: None)
    try:
        yield
    finally:
        setattr(inside, name, said)


def first_line(error: BaseException) -> str:
    """What an error says first, as a sentence; of one in our own code, with its kind; of a worker
    that died, why: Ray says that below the names of what died, which it sets in."""
    import ray

    inner = cause(error)
    lines = [line for line in str(inner).strip().splitlines() if not line.startswith("\t")]
    why = 1 if isinstance(inner, ray.exceptions.ActorDiedError) else 0
    said = next(iter(lines[why:] or lines), "").rstrip(" .:")
    kind = "" if inner is error else type(inner).__name__
    return f"{': '.join(filter(None, [kind, said])) or type(error).__name__}."


def cause(error: BaseException) -> BaseException:
    """What was raised where it happened, out of what Ray wraps it in."""
    inner = getattr(error, "cause", None)
    return inner if isinstance(inner, BaseException) else error


def fetched(reference: Any) -> Any:
    """What a call gave.

    Raises:
        ProbebenchError: what our own code says where it ran, as it said it.
    """
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(found := cause(error), ProbebenchError):
            raise found from None
        raise


@contextmanager
def stored(what: str) -> Iterator[None]:
    """Around what puts something into the object store.

    Raises:
        EngineError: it is full.
    """
    import ray

    full = ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError
    try:
        yield
    except full as error:
        raise EngineError(
            f"Ray's object store on this node has no room for {what}: {first_line(error)} Give it "
            "more with `ray start --object-store-memory`, or free its disk. What is computed is "
            "kept; the same command goes on."
        ) from None
