"""How fast subscriptions work off a backlog, with the real runtime: listener, lock-holder and worker processes.

Measured from outside, by the status that the node gives every 0.05 s: from the last report without a finished event to
the first that the subscription is idle, which is when everything is read, handled, acked and checkpointed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .case import Bench, Case, Figure, Limit
from .handlers import COUNTERS
from .node import HANDLERS, Cost, Stopwatch, events_per_second, run_subscription

_SELECT = Limit("limit-select")


def cases() -> list[Case]:
    """One worker with four settings, four workers, projections, and what the number of events does to both."""
    return [
        _catch_up("buffer-1", "1 worker, buffer 1, checkpoint 1", 1_932, buffer_size=1, checkpoint_threshold=1),
        _catch_up("buffer-1-checkpoint-1000", "1 worker, buffer 1, checkpoint 1,000", 43_284, buffer_size=1),
        _catch_up("buffer-100", "1 worker, buffer 100", 23_435, buffer_size=100),
        _catch_up("buffer-1000", "1 worker, buffer 1,000", 3_810, buffer_size=1_000),
        _catch_up(
            "4-workers",
            "4 workers by stream, buffer 100",
            5_054,
            concurrency=4,
            partition_by="stream",
            buffer_size=100,
        ),
        Case((Figure("catch-up-transactional", "catch-up, transactional, 2 workers", limit=_SELECT),), project),
        Case(
            (Figure("catch-up-transactional-batch", "catch-up, transactional, batches of 500", limit=_SELECT),),
            project_batches,
        ),
        Case((Figure("demo-projection", "demo's projection, 2 workers by stream"),), project_commits),
        Case(
            (
                *_flat("few", "the backlog"),
                *_flat("many", "the large backlog"),
            ),
            few_and_many,
        ),
    ]


def _catch_up(name: str, how: str, reference: float, **options: Any) -> Case:
    figure = Figure(f"catch-up-{name}", f"catch-up, {how}", reference=reference, limit=_SELECT)
    return Case((figure,), partial(catch_up, options))


def _flat(name: str, which: str) -> list[Figure]:
    return [
        Figure(f"flat-{name}", f"flat, catch-up of {which}, buffer 1,000", limit=_SELECT),
        Figure(f"flat-{name}-cpu", f"flat, the same: CPU of an event, {which}", "µs", less_is_better=True),
        Figure(f"flat-{name}-memory", f"flat, the same: memory (PSS), {which}", "MB", less_is_better=True),
    ]


def few_and_many(bench: Bench) -> tuple[float, ...]:
    """Events per second, CPU and peak memory, for the same subscription on the usual backlog and on a large one."""
    found: list[float] = []
    for schema, events in ((bench.backlog, bench.events), (bench.large_backlog, bench.many)):
        stopwatch = Cost(events)
        run_subscription(bench.url, schema, stopwatch, handler=f"{HANDLERS}:noop", buffer_size=1_000)
        found += [events_per_second(stopwatch.samples), stopwatch.microseconds, stopwatch.peak / 1e6]
    return tuple(found)


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


def project_batches(bench: Bench) -> tuple[float]:
    """The same by a handler that takes a batch and writes it with one statement."""
    schema = bench.backlog
    bench.execute(COUNTERS, schema)
    bench.execute("truncate {}.counters", schema)
    options = {"transactional": True, "batch_size": 500, "buffer_size": 1_000}
    return (_rate(bench, schema, bench.events, handler=f"{HANDLERS}:count_batch", **options),)


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
