"""One owner of a name over all processes: standby, take-over, and a race of two processes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from eventstore import EventStore, subscribe_to_all_streams
from eventstore.store import Connection, Statements, run
from eventstore.store.subscriptions import begin_epoch, try_locks, unlock
from eventstore.tests.support.consuming import take
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import LIMIT, wait_until

CONSUMER = """
import json, sys
from eventstore import EventStore, subscribe_to_all_streams
with EventStore(sys.argv[1], schema=sys.argv[2]) as store, subscribe_to_all_streams(store, "raced") as subscription:
    print("ready", flush=True)
    with subscription.subscriber() as subscriber:
        for events in subscriber:
            print(json.dumps([event.event_number for event in events]), flush=True)
            subscriber.ack(events)
"""


class Process:
    """A process that consumes the subscription "raced" and prints what it gets."""

    def __init__(self, store: EventStore) -> None:
        command = [sys.executable, "-c", CONSUMER, store.settings.url, store.schema]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.ready = False
        self.numbers: list[int] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == "ready\n":
                self.ready = True
            else:
                self.numbers += json.loads(line)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def processes(event_store: EventStore) -> Iterator[list[Process]]:
    both = [Process(event_store), Process(event_store)]
    yield both
    for process in both:
        process.kill()


def test_two_processes_race_and_the_loser_takes_over(event_store: EventStore, processes: list[Process]) -> None:
    wait_until(lambda: all(process.ready for process in processes), "both processes have subscribed")
    event_store.append_to_stream("a", 0, events(*range(20)))
    wait_until(lambda: event_store.subscription("$all", "raced").last_seen == 20, "all is acknowledged")
    owners = [process for process in processes if process.numbers]
    assert [owner.numbers for owner in owners] == [list(range(1, 21))]
    standby = next(process for process in processes if process is not owners[0])
    owners[0].kill()
    event_store.append_to_stream("a", 20, events(*range(20)))
    wait_until(lambda: standby.numbers == list(range(21, 41)), "the other goes on", lambda: str(standby.numbers))


def test_a_standby_waits_for_the_lock_and_takes_over_on_release(event_store: EventStore, conn: Connection) -> None:
    event_store.append_to_stream("a", 0, events(1))
    with subscribe_to_all_streams(event_store, "s"):
        pass
    statements = Statements(event_store.schema)
    number = event_store.subscription("$all", "s").subscription_id
    assert run(conn, try_locks(statements, [number])) == {number: True}
    with subscribe_to_all_streams(event_store, "s") as subscription:
        subscriber = subscription.subscriber()
        assert not subscription.wait_subscribed(0.3)
        assert not subscription.subscribed
        assert subscriber.get(timeout=0) == []
        run(conn, unlock(statements, [number]))
        assert subscription.wait_subscribed(LIMIT)
        assert take(subscriber, 1, subscriber.ack)[0].data == 1


def test_a_standby_that_is_closed_leaves_the_lock_alone(event_store: EventStore, conn: Connection) -> None:
    with subscribe_to_all_streams(event_store, "s"):
        pass
    number = event_store.subscription("$all", "s").subscription_id
    run(conn, try_locks(Statements(event_store.schema), [number]))
    with subscribe_to_all_streams(event_store, "s"):
        pass
    assert [lag.is_locked for lag in event_store.subscription_lags()] == [True]


def test_a_fenced_owner_begins_anew(event_store: EventStore, conn: Connection) -> None:
    event_store.append_to_stream("a", 0, events(1, 2))
    with subscribe_to_all_streams(event_store, "s") as subscription:
        subscriber = subscription.subscriber()
        batch = take(subscriber, 1)
        number = event_store.subscription("$all", "s").subscription_id
        run(conn, begin_epoch(Statements(event_store.schema), number, "somebody else"))
        subscriber.ack(batch)
        assert [event.data for event in take(subscriber, 2, subscriber.ack)] == [1, 2]
        wait_until(lambda: subscription.checkpoint == 2, "the new epoch checkpoints")
    assert [lag.is_locked for lag in event_store.subscription_lags()] == [False]
