"""Writers at the same time: one creator wins, versions stay contiguous and $all stays gapless."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from eventstore.store import (
    AppendResult,
    Connection,
    DuplicateEvent,
    EventData,
    EventStore,
    EventStoreError,
    StreamExists,
    WrongExpectedVersion,
)
from eventstore.tests.support.events import events
from eventstore.tests.support.threads import together
from eventstore.tests.support.wait import wait_until

pytestmark = pytest.mark.every_server

WAITING = "select count(*) from pg_locks where pid = %s and not granted"


class Racer:
    """An append that runs in a thread, on a connection whose waiting can be observed."""

    def __init__(
        self,
        store: EventStore,
        conn: Connection,
        expected: Any,
        stream: str = "a",
        what: Sequence[EventData] = (EventData("E", "second"),),
    ) -> None:
        self.pid = conn.info.backend_pid
        self.outcome: AppendResult | EventStoreError | None = None
        self._append = partial(store.append_to_stream, stream, expected, what, conn=conn)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._append()
        except EventStoreError as error:
            self.outcome = error

    def finish(self) -> AppendResult | EventStoreError | None:
        self._thread.join()
        return self.outcome


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [("any_version", AppendResult("a", 2, 2, 2, 2)), ("no_stream", StreamExists), (0, WrongExpectedVersion)],
)
def test_the_loser_of_a_race_for_a_new_stream(
    event_store: EventStore,
    open_connection: Callable[..., Connection],
    conn: Connection,
    expected: int | str,
    outcome: object,
) -> None:
    """The second writer is provably blocked by the first one's uncommitted stream before that commits."""
    first, second = open_connection(), open_connection()
    with first.transaction():
        event_store.append_to_stream("a", "no_stream", events("first"), conn=first)
        racer = Racer(event_store, second, expected)
        wait_until(lambda: conn.execute(WAITING, [racer.pid]).fetchone() == (1,), "the second writer waits")
    finished = racer.finish()
    assert finished == outcome or type(finished) is outcome
    heads = event_store.stream_heads(["a", "$all"])
    assert heads["a"] == heads["$all"] == (2 if expected == "any_version" else 1)


@pytest.mark.parametrize("expected", ["any_version", "no_stream"])
def test_the_second_writer_creates_what_the_first_took_back(
    event_store: EventStore, open_connection: Callable[..., Connection], conn: Connection, expected: str
) -> None:
    first, second = open_connection(), open_connection()
    with first.transaction(force_rollback=True):
        event_store.append_to_stream("a", "no_stream", events("first"), conn=first)
        racer = Racer(event_store, second, expected)
        wait_until(lambda: conn.execute(WAITING, [racer.pid]).fetchone() == (1,), "the second writer waits")
    assert racer.finish() == AppendResult("a", 1, 1, 1, 1)


def test_an_exact_version_is_compared_after_the_wait(
    event_store: EventStore, open_connection: Callable[..., Connection], conn: Connection
) -> None:
    event_store.append_to_stream("a", "no_stream", events("zero"))
    first, second = open_connection(), open_connection()
    with first.transaction():
        event_store.append_to_stream("a", 1, events("first"), conn=first)
        racer = Racer(event_store, second, 1)
        wait_until(lambda: conn.execute(WAITING, [racer.pid]).fetchone() == (1,), "the second writer waits")
    assert type(racer.finish()) is WrongExpectedVersion
    assert event_store.stream_heads(["a"]) == {"a": 2}


def test_many_creators_of_one_stream(event_store: EventStore, open_connection: Callable[..., Connection]) -> None:
    connections = [open_connection() for _ in range(8)]

    def create(own: Connection) -> bool:
        try:
            event_store.append_to_stream("a", "no_stream", events(1), conn=own)
        except StreamExists:
            return False
        return True

    assert sum(together(create, connections)) == 1
    assert event_store.stream_heads(["a", "$all"]) == {"a": 1, "$all": 1}


def test_eight_writers_leave_no_gap(database_url: str, schema: str) -> None:
    with EventStore(database_url, schema=schema, pool_size=8) as store:

        def write(writer: int) -> list[AppendResult]:
            return [
                store.append_to_stream(f"s{(writer + n) % 5}", "any_version", events(*range(1 + n % 3)))
                for n in range(60)
            ]

        results = [result for part in together(write, range(8)) for result in part]
        found = list(store.stream_forward("$all", read_batch_size=100))
    assert [event.event_number for event in found] == list(range(1, len(found) + 1))
    versions = defaultdict(list)
    for event in found:
        versions[event.stream_uuid].append(event.stream_version)
    assert {name: list(range(1, len(given) + 1)) for name, given in versions.items()} == versions
    claimed = sorted(n for result in results for n in range(result.first_position, result.position + 1))
    assert claimed == list(range(1, len(found) + 1))


def test_a_reader_of_all_never_sees_a_later_event_first(database_url: str, schema: str) -> None:
    """Invariant: position order is commit order, so whoever reads after a position misses nothing."""
    done = threading.Event()
    with EventStore(database_url, schema=schema, pool_size=5) as store:

        def write(writer: int) -> None:
            for n in range(60):
                store.append_to_stream(f"s{writer}", "any_version", events(n, n))

        def follow() -> list[int]:
            seen: list[int] = []
            while True:
                last_round = done.is_set()
                batch = store.read_all_streams_forward(len(seen) + 1)
                seen += [event.event_number for event in batch]
                if last_round and not batch:
                    return seen

        def write_all() -> list[int]:
            together(write, [1, 2, 3])
            done.set()
            return []

        seen, _ = together(lambda work: work(), [follow, write_all])
    assert seen == list(range(1, 3 * 60 * 2 + 1))


def test_the_all_lock_is_taken_after_the_inserts(
    event_store: EventStore, open_connection: Callable[..., Connection], conn: Connection
) -> None:
    """A writer that waits for $all has stored its events by then: a third one with the same id waits for it."""
    same = [EventData("E", 2, event_id=uuid4())]
    first, second, third = (open_connection() for _ in range(3))
    with first.transaction():
        event_store.append_to_stream("a", "no_stream", events(1), conn=first)
        waiting = Racer(event_store, second, "any_version", stream="b", what=same)
        wait_until(lambda: conn.execute(WAITING, [waiting.pid]).fetchone() == (1,), "the second writer waits")
        behind = Racer(event_store, third, "any_version", stream="c", what=same)
        blocked = (
            "select wait_event, pg_blocking_pids(pid) from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
        )
        found = wait_until(lambda: conn.execute(blocked, [behind.pid]).fetchone(), "the third writer waits")
        assert found == ("transactionid", [waiting.pid])
    assert waiting.finish() == AppendResult("b", 1, 1, 2, 2)
    assert type(behind.finish()) is DuplicateEvent


@pytest.mark.parametrize("expected", ["any_version", "no_stream"])
def test_append_many_that_loses_a_race_for_a_new_stream(
    event_store: EventStore, open_connection: Callable[..., Connection], conn: Connection, expected: Any
) -> None:
    first = open_connection()
    behind_first = "select count(*) from pg_stat_activity where %s = any (pg_blocking_pids(pid))"
    outcome: list[Any] = []

    def append() -> None:
        try:
            appends = [("b", 0, events(1)), ("a", expected, events("second"))]
            outcome.extend(event_store.append_many(appends))
        except EventStoreError as error:
            outcome.append(error)

    thread = threading.Thread(target=append)
    with first.transaction():
        event_store.append_to_stream("a", "no_stream", events("first"), conn=first)
        thread.start()
        pid = first.info.backend_pid
        wait_until(lambda: conn.execute(behind_first, [pid]).fetchone() == (1,), "append_many waits")
    thread.join()
    if expected == "any_version":
        assert outcome == [AppendResult("b", 1, 1, 2, 2), AppendResult("a", 2, 2, 3, 3)]
    else:
        assert [type(error) for error in outcome] == [StreamExists]
        assert event_store.stream_heads(["a", "b", "$all"]) == {"a": 1, "$all": 1}
