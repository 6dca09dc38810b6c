"""How long an event takes from the call of append to the handler, on a node that is otherwise at rest.

A process appends one event each 10 ms and puts the time of its call into the event's metadata; the handler, in its
worker process on the same machine and so by the same clock, writes down the difference.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from statistics import quantiles
from time import perf_counter, sleep, time_ns

from eventstore.runtime.idle import is_idle
from eventstore.runtime.status import NodeStatus
from eventstore.store import EventStore

from .case import Bench, Case, Figure, event
from .handlers import arrivals_file
from .node import HANDLERS, new_name, run_subscription

_INTERVAL = 0.01
_WARM_UP = 20
_PERCENTILES = {"p50": 5.1, "p95": 6.2, "p99": 9.3}


def cases() -> list[Case]:
    """Median and tail at 100 appends per second."""
    figures = [
        Figure(f"live-{name}", f"live, append to handler, {name}", "ms", reference, less_is_better=True)
        for name, reference in _PERCENTILES.items()
    ]
    return [Case(tuple(figures), latencies)]


class Feeder:
    """Watches a node: appends once it is live, and is satisfied when all of it is handled."""

    def __init__(self, processes: ProcessPoolExecutor, bench: Bench, schema: str) -> None:
        self._processes = processes
        self._arguments = (bench.url, schema, round(bench.seconds / _INTERVAL) + _WARM_UP)
        self._appending: Future[int] | None = None

    def __call__(self, status: NodeStatus) -> bool:
        """Takes a new status; True when every appended event is handled."""
        (subscription,) = status.subscriptions
        if self._appending is None:
            if subscription.state == "live" and subscription.workers:
                self._appending = self._processes.submit(append_steadily, *self._arguments)
            return False
        return self._appending.done() and is_idle(status, self._appending.result())


def latencies(bench: Bench) -> tuple[float, ...]:
    """Median, 95th and 99th percentile in milliseconds."""
    name = new_name()
    file = arrivals_file(name)
    context = multiprocessing.get_context("spawn")
    try:
        with bench.fresh_schema() as schema, ProcessPoolExecutor(1, context) as processes:
            feeder = Feeder(processes, bench, schema)
            # A slow heartbeat: the status is not what is measured, and should not be in the way of it.
            run_subscription(
                bench.url, schema, feeder, heartbeat=0.25, name=name, handler=f"{HANDLERS}:time_of_arrival"
            )
        nanoseconds = [int(line) for line in file.read_text().splitlines()]
    finally:
        file.unlink(missing_ok=True)
    cuts = quantiles(nanoseconds[_WARM_UP:], n=100, method="inclusive")
    return tuple(cuts[percent - 1] / 1e6 for percent in (50, 95, 99))


def append_steadily(url: str, schema: str, number: int) -> int:
    """Appends so many events, one each 10 ms, and returns the position of the last; runs in a process of its own.

    An append that comes late because the one before took long is timed from its own call.
    """
    position = 0
    with EventStore(url, schema=schema, pool_size=1) as store:
        began = perf_counter()
        for index in range(number):
            sleep(max(0.0, began + index * _INTERVAL - perf_counter()))
            happened = event(index, called_at=time_ns())
            position = store.append_to_stream(f"account-{index % 100}", "any_version", [happened]).position
    return position
