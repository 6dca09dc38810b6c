"""Runs a real node on one subscription of the measured database, and takes its times from the outside.

The node is the one of `eventstore-runtime run`: same supervisor, same processes; only the monitor is off and the
heartbeat is quick, because the status that comes with it is what the stopwatch reads.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from eventstore.runtime.config import (
    LogConfig,
    MonitorConfig,
    NodeConfig,
    RuntimeConfig,
    StoreConfig,
    SubscriptionConfig,
)
from eventstore.runtime.idle import is_idle, stuck
from eventstore.runtime.launch import open_store, plan_node, run_node
from eventstore.runtime.status import NodeStatus

from .processes import cpu_seconds, proportional_size

HANDLERS = f"{__package__}.handlers"
_ROOT = str(Path(__file__).resolve().parents[1])

Watch = Callable[[NodeStatus], bool]
"""Sees every new status; True ends the node."""


class Sample(NamedTuple):
    """How many events were finished at a moment."""

    moment: float
    finished: int


class Stopwatch:
    """Watches a node until its only subscription is idle at a position.

    Args:
        target: The position that the checkpoint must have reached.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.samples: list[Sample] = []

    def __call__(self, status: NodeStatus) -> bool:
        """Takes a new status; True when the subscription is idle."""
        (subscription,) = status.subscriptions
        self.samples.append(Sample(perf_counter(), subscription.finished))
        return is_idle(status, self._target)


class Cost(Stopwatch):
    """A stopwatch that also looks at what the node's processes cost; not the supervisor, which is this process.

    Attributes:
        peak: The most memory that was seen, in bytes: what is shared between them counts once.
    """

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.peak = 0
        self._before = 0.0
        self._cpu = 0.0

    def __call__(self, status: NodeStatus) -> bool:
        """Takes a new status; True when the subscription is idle."""
        idle = super().__call__(status)
        pids = [child.pid for child in status.children if child.pid]
        self.peak = max(self.peak, proportional_size(pids))
        self._cpu = cpu_seconds(pids)
        if not self.samples[-1].finished:
            self._before = self._cpu
        return idle

    @property
    def microseconds(self) -> float:
        """CPU time for each finished event, of all processes together."""
        return (self._cpu - self._before) / self.samples[-1].finished * 1e6


def new_name() -> str:
    """A name for a subscription that no run before has used."""
    return f"bench-{uuid.uuid4().hex[:12]}"


def run_subscription(
    url: str, schema: str, watch: Watch, *, heartbeat: float = 0.05, copies: int = 1, **options: Any
) -> None:
    """Runs a node with one new subscription, or several, until the watch is satisfied.

    Args:
        url: The database.
        schema: The schema of the store.
        watch: Sees every status, and ends the run.
        heartbeat: Seconds between two reports; bounds how late the watch sees something.
        copies: How many subscriptions with these options there are, each with its own name.
        options: Options of the subscription; `handler` must be one of them, the name is drawn where none is given.

    Raises:
        RuntimeError: The node cannot work, one of its processes had to be restarted, or it was interrupted.
    """
    config = RuntimeConfig(
        store=StoreConfig(url=url, schema=schema),
        runtime=NodeConfig(name="bench", heartbeat_interval=heartbeat, python_path=[_ROOT]),
        monitor=MonitorConfig(enabled=False),
        log=LogConfig(level="warning"),
        subscriptions=[SubscriptionConfig(**{"name": new_name(), **options}) for _ in range(copies)],
    )
    problem = "the node was interrupted before it was through"

    def observe(status: NodeStatus, reports: Mapping[str, bytes]) -> bool:
        nonlocal problem
        trouble = stuck(status) or _restarted(status)
        if trouble or watch(status):
            problem = trouble
            return True
        return False

    with open_store(config) as store:
        run_node(plan_node(config, store), observe)
    if problem:
        raise RuntimeError(problem)


def events_per_second(samples: Sequence[Sample]) -> float:
    """The rate from the last sample without a finished event to the last of all, the one of an idle subscription.

    So the start of processes does not count, while the wait for the last checkpoint does. Both ends are seen up to two
    heartbeats late: over a run of a second or more that makes a few percent, either way.
    """
    begin = next(sample for sample in reversed(samples) if not sample.finished)
    end = samples[-1]
    return end.finished / (end.moment - begin.moment)


def _restarted(status: NodeStatus) -> str:
    """What makes a measure void; empty if nothing does."""
    return next((f"{child.name} ended with {child.last_exit}" for child in status.children if child.last_exit), "")
