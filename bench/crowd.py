"""A node under writers at full speed, and one whose ten subscriptions read the same stream."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from time import perf_counter

from eventstore.runtime.idle import is_idle
from eventstore.runtime.status import NodeStatus
from eventstore.store import EventStore

from .case import Bench, Case, Figure, event
from .node import HANDLERS, run_subscription

SUBSCRIPTIONS = 10
WRITERS = 4
_BATCH = 10


def cases() -> list[Case]:
    """Four writers flat out, and ten subscriptions."""
    flat_out = (
        Figure("flat-out-appended", "flat out, 4 writers, batches of 10: appended", reference=4_600),
        Figure("flat-out-consumed", "flat out, consumed by 1 worker meanwhile", reference=2_218),
        Figure("flat-out-lag", "flat out, largest lag", "events", 28_680, less_is_better=True),
    )
    ten = (
        Figure("ten-subscriptions", "10 $all subscriptions, handled by all together"),
        Figure("ten-reads", "10 $all subscriptions, reads of each event", "reads", less_is_better=True),
    )
    return [Case(flat_out, consume_flat_out), Case(ten, ten_subscriptions)]


class Flood:
    """Watches a node: lets the writers loose once it is live, and is satisfied when all of it is handled."""

    def __init__(self, processes: ProcessPoolExecutor, bench: Bench, schema: str) -> None:
        self._processes = processes
        self._arguments = (bench.url, schema, bench.seconds)
        self._begun: list[Future[tuple[int, int]]] = []
        self.handled = 0
        self.largest_lag = 0

    def __call__(self, status: NodeStatus) -> bool:
        """Takes a new status; True when every appended event is handled."""
        (subscription,) = status.subscriptions
        if not self._begun:
            if subscription.state == "live" and subscription.workers:
                self._begun = [self._processes.submit(append_flat_out, n, *self._arguments) for n in range(WRITERS)]
            return False
        self.largest_lag = max(self.largest_lag, subscription.lag or 0)
        if not all(writer.done() for writer in self._begun):
            self.handled = subscription.finished
            return False
        return is_idle(status, max(writer.result()[1] for writer in self._begun))

    @property
    def appended(self) -> int:
        """Events that the writers appended."""
        return sum(writer.result()[0] for writer in self._begun)


def consume_flat_out(bench: Bench) -> tuple[float, ...]:
    """Events per second appended, events per second handled while that went on, and the largest lag seen."""
    context = multiprocessing.get_context("spawn")
    with bench.fresh_schema() as schema, ProcessPoolExecutor(WRITERS, context) as processes:
        flood = Flood(processes, bench, schema)
        run_subscription(bench.url, schema, flood, handler=f"{HANDLERS}:noop")
    return flood.appended / bench.seconds, flood.handled / bench.seconds, flood.largest_lag


def append_flat_out(writer: int, url: str, schema: str, seconds: float) -> tuple[int, int]:
    """Appends without a pause; how many events, and the position of the last. Runs in a process of its own."""
    events = [event(number) for number in range(_BATCH)]
    with EventStore(url, schema=schema, pool_size=1) as store:
        end = perf_counter() + seconds
        appended, position = 0, 0
        while perf_counter() < end or not appended:
            position = store.append_to_stream(f"stream-{writer}", "any_version", events).position
            appended += _BATCH
        return appended, position


class Readers:
    """Watches ten subscriptions until all are idle, and remembers what they cost the database."""

    def __init__(self, target: int) -> None:
        self._target = target
        # Until a status without a finished event comes, which there may be none of where the start was quick.
        self._began = perf_counter()
        self.events_per_second = 0.0
        self.events_read = 0

    def __call__(self, status: NodeStatus) -> bool:
        """Takes a new status; True when every subscription is idle."""
        finished = sum(subscription.finished for subscription in status.subscriptions)
        if not finished:
            self._began = perf_counter()
            return False
        self.events_per_second = finished / (perf_counter() - self._began)
        self.events_read = status.listener.events_read
        return is_idle(status, self._target)


def ten_subscriptions(bench: Bench) -> tuple[float, ...]:
    """Events per second over all ten, and how often the database was asked for each event: 1 would be ideal."""
    readers = Readers(bench.events)
    run_subscription(bench.url, bench.backlog, readers, copies=SUBSCRIPTIONS, handler=f"{HANDLERS}:noop")
    return readers.events_per_second, readers.events_read / bench.events
