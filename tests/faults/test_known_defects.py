"""The defects of commanded/eventstore that are in SQL and connections; `tests/unit/routing` has the others."""

from __future__ import annotations

import pytest

from eventstore.store import Connection, EventData, EventStore, Statements, run
from eventstore.store.subscriptions import begin_epoch, create_subscription, save_checkpoint
from eventstore.tests.support.node import Project
from eventstore.tests.support.recording import HANDLERS, calls
from eventstore.tests.support.wait import wait_until

NO_POLL = "heartbeat_interval = 0.1\npoll_interval = 3600.0"
"""So that nothing but what comes with a connection can find an event."""


def test_a_stale_owner_cannot_overwrite_a_checkpoint_and_none_goes_back(event_store: EventStore) -> None:
    """There: `last_seen` was set unconditionally."""
    statements = Statements(event_store.schema)
    with event_store.open_session("test") as conn:
        number = run(conn, create_subscription(statements, "$all", "s")).subscription_id
        stale = run(conn, begin_epoch(statements, number, "one")).epoch
        newest = run(conn, begin_epoch(statements, number, "two")).epoch
        assert run(conn, save_checkpoint(statements, number, newest, 7)).fence_held
        assert not run(conn, save_checkpoint(statements, number, stale, 9)).fence_held
        assert run(conn, save_checkpoint(statements, number, newest, 5)).fence_held
    assert event_store.subscription("$all", "s").last_seen == 7


def end_backend(conn: Connection, role: str) -> int:
    """Ends the node's connections of this role; how many there were."""
    query = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like %s"
    row = conn.execute(query, [f"eventstore-runtime {role} @%"]).fetchone()
    assert row is not None
    return int(row[0])


def test_what_was_appended_while_the_listening_connection_was_away_is_read_when_it_returns(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    """There: nothing was read after a reconnect, until the next notification."""
    project.handlers(HANDLERS)
    project.configure(
        '[[subscriptions]]\nname = "s"\nhandler = "my_handlers:plain"',
        runtime=NO_POLL,
        restart="backoff_min = 0.5\nbackoff_max = 0.5",
    )
    event_store.append_to_stream("a", 0, [EventData("Happened", 1)])
    node = project.start().until_ready()
    node.until_idle("s", at=1)
    assert end_backend(conn, "LISTEN") == 1
    event_store.append_to_stream("a", 1, [EventData("Happened", 2)])
    node.until_idle("s", at=2)
    assert sorted(int(line[0]) for line in calls(project, "s")) == [1, 2]


@pytest.mark.parametrize("role", ["listener", "lock-holder"])
def test_a_database_error_while_catching_up_ends_no_subscription(
    project: Project, event_store: EventStore, conn: Connection, role: str
) -> None:
    """There: it killed the subscription for good."""
    project.handlers(HANDLERS)
    project.configure(
        """
        [[subscriptions]]
        name = "s"
        handler = "my_handlers:slow"
        max_size = 10
        """,
        runtime=NO_POLL,
        restart="backoff_min = 0.01\nbackoff_max = 0.1",
    )
    event_store.append_to_stream("a", 0, [EventData("Happened", {"seconds": 0.02})] * 60)
    node = project.start()
    wait_until(lambda: node.subscription("s").get("checkpoint"), "it is catching up", lambda: node.log)
    assert node.subscription("s")["state"] == "catching_up"
    assert end_backend(conn, role) == 1
    node.until_idle("s", at=60)
    assert {int(line[0]) for line in calls(project, "s")} == set(range(1, 61))
    assert node.terminate() == 0
