"""How fast subscriptions work off a backlog, with the real runtime: listener, lock-holder and worker processes.

Measured from outside, by the status that the node gives every 0.05 s: from the last report without a finished event to
the first that the subscription is idle, which is when everything is read, handled, acked and checkpointed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .case import Bench, Case, Figure
from .handlers import COUNTERS
from .node import HANDLERS, Stopwatch, events_per_second, run_subscription

_BUFFERS = {1: 1_932, 100: 23_435, 1_000: 3_810}


def cases() -> list[Case]:
    """One worker with three buffer sizes, four workers, a transactional projection, and the demo's."""
    alone = [
        _catch_up(f"buffer-{size}", f"1 worker, buffer {size:,}", reference, buffer_size=size)
        for size, reference in _BUFFERS.items()
    ]
    four = _catch_up(
        "4-workers",
        "4 workers by stream, buffer 100",
        5_054,
        concurrency=4,
        partition_by="stream",
        buffer_size=100,
    )
    projected = Figure("catch-up-transactional", "catch-up, transactional, 2 workers by stream", "events/s")
    demo = Figure("demo-projection", "demo's projection, 2 workers by stream", "events/s")
    return [*alone, four, Case((projected,), project), Case((demo,), project_commits)]


def _catch_up(name: str, how: str, reference: float, **options: Any) -> Case:
    figure = Figure(f"catch-up-{name}", f"catch-up, {how}", "events/s", reference)
    return Case((figure,), partial(catch_up, options))


def catch_up(options: dict[str, Any], bench: Bench) -> tuple[float]:
    """Events per second of a handler that does nothing."""
    return (_rate(bench, bench.backlog, bench.events, handler=f"{HANDLERS}:noop", **options),)


def project(bench: Bench) -> tuple[float]:
    """Events per second of a handler that counts in a table, in the transaction that records the event as done."""
    schema = bench.backlog
    bench.execute(COUNTERS, schema)
    bench.execute("truncate {}.counters", schema)
    return (
        _rate(
            bench,
            schema,
            bench.events,
            handler=f"{HANDLERS}:count",
            transactional=True,
            concurrency=2,
            partition_by="stream",
        ),
    )


def project_commits(bench: Bench) -> tuple[float]:
    """Events per second of the demo's projection, with the options of its declaration."""
    schema = bench.history
    bench.execute("truncate {}.demo_commits_per_month", schema)
    handler = "eventstore.runtime.demo.projection:commits_per_author"
    return (_rate(bench, schema, bench.events // 5, handler=handler),)


def _rate(bench: Bench, schema: str, events: int, **options: Any) -> float:
    stopwatch = Stopwatch(events)
    run_subscription(bench.url, schema, stopwatch, **options)
    return events_per_second(stopwatch.samples)
