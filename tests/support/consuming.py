"""Consuming a subscription in a test: taking events with a limit, and cutting its session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from eventstore.store import Connection

from .wait import LIMIT, wait_until


class Consumer(Protocol):
    """A subscriber, or a transient subscription."""

    def get(self, timeout: float | None = None) -> list[Any]: ...


def take(consumer: Consumer, count: int, done: Callable[[list[Any]], object] = len) -> list[Any]:
    """Return `count` events, batch by batch; `done` is called with each batch."""
    taken: list[Any] = []
    while len(taken) < count:
        batch = consumer.get(timeout=LIMIT)
        assert batch, f"only {len(taken)} of {count} events came"
        taken += batch
        done(batch)
    assert len(taken) == count
    return taken


def terminate(conn: Connection, role: str) -> int:
    """End the sessions of that role; returns how many there were."""
    query = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s"
    return conn.execute(query, [f"eventstore-runtime {role}"]).rowcount


def terminated(conn: Connection, role: str) -> None:
    """End the session of that role, waiting for it where it is not there yet."""
    wait_until(lambda: terminate(conn, role), f"a session of {role!r} was ended")
