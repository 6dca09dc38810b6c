"""Subscription rows, locks, epochs, fenced checkpoints and the done-ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from psycopg import sql

from eventstore.store import (
    CheckpointResult,
    ConfigurationError,
    Connection,
    EventStore,
    Ownership,
    OwnershipLost,
    StartFrom,
    Statements,
    StreamNameTooLong,
    SubscriptionLag,
    SubscriptionNotFound,
    SubscriptionRecord,
    run,
)
from eventstore.store import subscriptions as operations
from eventstore.store.delivery import release_owners
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events
from eventstore.tests.support.threads import together
from eventstore.tests.support.wait import wait_until

pytestmark = pytest.mark.every_server

BIGGEST_INT = 2_147_483_647
WAITING = "select count(*) from pg_locks where pid = %s and not granted"


@pytest.fixture
def statements(schema: str) -> Statements:
    return Statements(schema)


@pytest.fixture
def subscription(conn: Connection, statements: Statements) -> SubscriptionRecord:
    return run(conn, operations.create_subscription(statements, "$all", "s"))


def last_seen(conn: Connection, statements: Statements) -> int | None:
    record = run(conn, operations.get_subscription(statements, "$all", "s"))
    assert record is not None
    return record.last_seen


def checkpoint(conn: Connection, statements: Statements, number: int, epoch: int, **more: int) -> CheckpointResult:
    return run(conn, operations.save_checkpoint(statements, 1, epoch, number, **more))


def begin(conn: Connection, statements: Statements, node: str = "n", **more: Any) -> Ownership:
    return run(conn, operations.begin_epoch(statements, 1, node, **more))


@pytest.mark.parametrize(
    ("stream", "start", "expected"),
    [
        ("$all", "origin", None),
        ("$all", "current", 3),
        ("b", "current", 1),
        ("new", "current", 0),
        ("$all", 0, 0),
        ("$all", 2, 2),
    ],
)
def test_start_from(
    event_store: EventStore, conn: Connection, statements: Statements, stream: str, start: Any, expected: int | None
) -> None:
    event_store.append_many([("a", 0, events(1, 2)), ("b", 0, events(3))])
    created = run(conn, operations.create_subscription(statements, stream, "s", start))
    assert (created.stream_uuid, created.subscription_name, created.last_seen) == (stream, "s", expected)
    assert event_store.subscription(stream, "s") == created
    assert event_store.subscriptions() == [created]


@pytest.mark.parametrize("start", [-1, True, "end", None, 1.5])
def test_unknown_starts(conn: Connection, statements: Statements, start: Any) -> None:
    with pytest.raises(ConfigurationError, match="start_from"):
        run(conn, operations.create_subscription(statements, "$all", "s", start))


def test_names_are_checked(conn: Connection, statements: Statements) -> None:
    with pytest.raises(ConfigurationError, match="subscription name"):
        run(conn, operations.create_subscription(statements, "$all", ""))
    with pytest.raises(StreamNameTooLong):
        run(conn, operations.create_subscription(statements, "x" * 9000, "s"))


def test_the_start_counts_only_for_a_new_subscription(conn: Connection, statements: Statements) -> None:
    first = run(conn, operations.create_subscription(statements, "$all", "s", 5))
    assert run(conn, operations.create_subscription(statements, "$all", "s", "origin")) == first
    other = run(conn, operations.create_subscription(statements, "a", "s", "origin"))
    assert other.subscription_id != first.subscription_id


def test_many_create_one(open_connection: Callable[..., Connection], statements: Statements) -> None:
    connections = [open_connection() for _ in range(6)]
    created = together(lambda own: run(own, operations.create_subscription(statements, "$all", "s")), connections)
    assert len({record.subscription_id for record in created}) == 1


def test_delete(event_store: EventStore, conn: Connection, statements: Statements) -> None:
    run(conn, operations.create_subscription(statements, "$all", "s"))
    epoch = begin(conn, statements).epoch
    run(conn, operations.record_done_events(statements, 1, epoch, [1]))
    event_store.delete_subscription("$all", "s")
    assert event_store.subscriptions() == []
    for call in (event_store.delete_subscription, event_store.subscription):
        with pytest.raises(SubscriptionNotFound, match="'s'"):
            call("$all", "s")
    with pytest.raises(SubscriptionNotFound, match="#1"):
        begin(conn, statements)


def test_locks_exclude_other_sessions(open_connection: Callable[..., Connection], statements: Statements) -> None:
    one, two = open_connection(), open_connection()
    assert run(one, operations.try_locks(statements, [1, 2])) == {1: True, 2: True}
    assert run(two, operations.try_locks(statements, [1, 2, 3])) == {1: False, 2: False, 3: True}
    assert run(one, operations.unlock(statements, [1, 3])) == {1: True, 3: False}
    assert run(two, operations.try_locks(statements, [1])) == {1: True}


def test_a_closed_session_gives_its_locks_back(
    open_connection: Callable[..., Connection], conn: Connection, statements: Statements
) -> None:
    one = open_connection()
    run(one, operations.try_locks(statements, [1]))
    one.close()
    wait_until(lambda: run(conn, operations.try_locks(statements, [1]))[1], "the lock is free")


@pytest.mark.parametrize(
    ("subscription_id", "key"),
    [
        (1, 1),
        (BIGGEST_INT, BIGGEST_INT),
        (BIGGEST_INT + 1, 1),
        (2 * BIGGEST_INT, 0),
        (2**63 - 1, (2**63 - 1) % BIGGEST_INT),
    ],
)
def test_the_locks_key_is_the_elixir_librarys(
    open_connection: Callable[..., Connection], conn: Connection, schema: str, subscription_id: int, key: int
) -> None:
    """The lock as commanded/eventstore takes it, spelled out here by hand, excludes ours."""
    statements = Statements(schema)
    elixir = open_connection()
    theirs = f"'\"{schema}\".subscriptions'::regclass::oid::int, {key}"
    elixir.execute(f"select pg_advisory_lock({theirs})".encode())
    assert run(conn, operations.try_locks(statements, [subscription_id])) == {subscription_id: False}
    elixir.execute(f"select pg_advisory_unlock({theirs})".encode())
    assert run(conn, operations.try_locks(statements, [subscription_id])) == {subscription_id: True}
    assert elixir.execute(f"select pg_try_advisory_lock({theirs})".encode()).fetchone() == (False,)


def test_schemas_do_not_share_locks(
    database_url: str, open_connection: Callable[..., Connection], conn: Connection, statements: Statements
) -> None:
    with fresh_schema(database_url, name="an \"odd\" 'schema'") as other:
        held = open_connection()
        assert run(held, operations.try_locks(statements, [1])) == {1: True}
        assert run(conn, operations.try_locks(Statements(other), [1])) == {1: True}
        assert run(held, operations.try_locks(Statements(other), [1])) == {1: False}


@pytest.mark.usefixtures("subscription")
def test_each_owner_begins_a_new_epoch(conn: Connection, statements: Statements) -> None:
    assert begin(conn, statements) == Ownership(1, None)
    assert begin(conn, statements, unit=1) == Ownership(1, None)
    checkpoint(conn, statements, 7, 1)
    assert begin(conn, statements) == Ownership(2, 7, unclean=1, released=False)


@pytest.mark.usefixtures("subscription")
def test_owners_that_end_without_order_and_progress_are_counted(conn: Connection, statements: Statements) -> None:
    begin(conn, statements, run="a")
    assert begin(conn, statements, run="a").unclean == 0, "the node lives, only a process of it died"
    assert begin(conn, statements, run="b").unclean == 1
    assert begin(conn, statements, run="c").unclean == 2
    checkpoint(conn, statements, 7, 4)
    assert begin(conn, statements, run="d").unclean == 1, "there was progress"
    run(conn, release_owners(statements, {1: 5}))
    assert begin(conn, statements, run="e") == Ownership(6, 7, unclean=0, released=True)


@pytest.mark.usefixtures("subscription")
def test_a_checkpoint_moves_forward_only(conn: Connection, statements: Statements) -> None:
    epoch = begin(conn, statements).epoch
    assert checkpoint(conn, statements, 5, epoch) == CheckpointResult(fence_held=True, moved=True)
    for number in (5, 4, 0):
        assert checkpoint(conn, statements, number, epoch) == CheckpointResult(fence_held=True, moved=False)
    assert last_seen(conn, statements) == 5
    assert checkpoint(conn, statements, 6, epoch) == CheckpointResult(fence_held=True, moved=True)
    assert last_seen(conn, statements) == 6


@pytest.mark.usefixtures("subscription")
def test_a_former_owner_can_write_nothing(conn: Connection, statements: Statements) -> None:
    old = begin(conn, statements).epoch
    run(conn, operations.record_done_events(statements, 1, old, [3]))
    new = begin(conn, statements).epoch
    assert checkpoint(conn, statements, 9, old) == CheckpointResult(fence_held=False, moved=False)
    assert checkpoint(conn, statements, 9, new, unit=1) == CheckpointResult(fence_held=False, moved=False)
    assert last_seen(conn, statements) is None
    assert run(conn, operations.done_events(statements, 1, [3])) == {3}
    with pytest.raises(OwnershipLost, match=f"epoch {old}"):
        run(conn, operations.record_done_events(statements, 1, old, [4]))
    assert run(conn, operations.done_events(statements, 1, [4])) == set()


@pytest.mark.usefixtures("subscription")
def test_the_ledger(conn: Connection, statements: Statements) -> None:
    epoch = begin(conn, statements).epoch
    assert run(conn, operations.record_done_events(statements, 1, epoch, [2, 3, 5])) == 3
    assert run(conn, operations.record_done_events(statements, 1, epoch, [5, 6])) == 1
    assert run(conn, operations.done_events(statements, 1, range(10))) == {2, 3, 5, 6}
    assert run(conn, operations.done_events(statements, 1, range(10), unit=1)) == set()
    checkpoint(conn, statements, 3, epoch)
    assert run(conn, operations.done_events(statements, 1, range(10))) == {5, 6}
    assert run(conn, operations.record_done_events(statements, 1, epoch, [])) == 0


@pytest.mark.usefixtures("subscription")
def test_a_new_owner_waits_for_the_old_ones_checkpoint_and_sees_it(
    open_connection: Callable[..., Connection], conn: Connection, statements: Statements
) -> None:
    """Else it would deliver events whose ledger rows that checkpoint removed."""
    old, new = open_connection(), open_connection()
    epoch = begin(old, statements).epoch
    begun: list[Ownership] = []
    thread = threading.Thread(target=lambda: begun.append(begin(new, statements)))
    with old.transaction():
        assert checkpoint(old, statements, 8, epoch).moved
        thread.start()
        pid = new.info.backend_pid
        wait_until(lambda: conn.execute(WAITING, [pid]).fetchone() == (1,), "the new owner waits")
    thread.join()
    assert begun == [Ownership(epoch + 1, 8, unclean=1, released=False)]


@pytest.mark.usefixtures("subscription")
@pytest.mark.parametrize("write", ["checkpoint", "record"])
def test_an_old_owner_waits_for_a_new_epoch_and_is_refused(
    open_connection: Callable[..., Connection], conn: Connection, statements: Statements, write: str
) -> None:
    old, new = open_connection(), open_connection()
    epoch = begin(old, statements).epoch
    outcome: list[Any] = []

    def write_late() -> None:
        if write == "checkpoint":
            outcome.append(checkpoint(old, statements, 8, epoch))
            return
        try:
            run(old, operations.record_done_events(statements, 1, epoch, [8]))
        except OwnershipLost as error:
            outcome.append(error.epoch)

    thread = threading.Thread(target=write_late)
    with new.transaction():
        begin(new, statements)
        thread.start()
        pid = old.info.backend_pid
        wait_until(lambda: conn.execute(WAITING, [pid]).fetchone() == (1,), "the old owner waits")
    thread.join()
    assert outcome == ([CheckpointResult(False, False)] if write == "checkpoint" else [epoch])
    assert last_seen(conn, statements) is None
    assert run(conn, operations.done_events(statements, 1, [8])) == set()


@pytest.mark.usefixtures("subscription")
def test_handlers_of_one_owner_do_not_wait_for_each_other_or_the_checkpoint(
    open_connection: Callable[..., Connection], statements: Statements
) -> None:
    one, two, lock_holder = (open_connection(timeout=5.0) for _ in range(3))
    epoch = begin(lock_holder, statements).epoch
    with one.transaction(), two.transaction():
        assert run(one, operations.record_done_events(statements, 1, epoch, [2])) == 1
        assert run(two, operations.record_done_events(statements, 1, epoch, [3])) == 1
        assert checkpoint(lock_holder, statements, 1, epoch).moved


def test_lags(event_store: EventStore, conn: Connection, statements: Statements, schema: str) -> None:
    event_store.append_many([("a", 0, events(1, 2)), ("b", 0, events(3))])
    starts: list[tuple[str, str, StartFrom]] = [
        ("$all", "behind", 1),
        ("a", "done", "current"),
        ("new", "early", "origin"),
    ]
    for stream, name, start in starts:
        run(conn, operations.create_subscription(statements, stream, name, start))
    begin(conn, statements, "node-1")
    run(conn, operations.try_locks(statements, [1]))
    # A checkpoint that the Elixir side put beyond the head is no negative lag.
    conn.execute(
        sql.SQL("update {}.subscriptions set last_seen = 9 where subscription_id = 2").format(sql.Identifier(schema))
    )
    assert event_store.subscription_lags() == [
        SubscriptionLag(1, "behind", "$all", 1, 3, 2, 0, "node-1", 1, is_locked=True),
        SubscriptionLag(2, "done", "a", 9, 2, 0, None, None, None, is_locked=False),
        SubscriptionLag(3, "early", "new", None, 0, 0, None, None, None, is_locked=False),
    ]


def test_notify(open_connection: Callable[..., Connection], conn: Connection, statements: Statements) -> None:
    conn.execute('listen "odd channel"')
    run(open_connection(), operations.notify(statements, "odd channel", "released,7"))
    received = wait_until(lambda: list(conn.notifies(timeout=0)), "the notification arrives")
    assert [(notify.channel, notify.payload) for notify in received] == [("odd channel", "released,7")]
