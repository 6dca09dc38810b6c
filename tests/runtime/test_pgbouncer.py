"""A node behind a real PgBouncer: refused in transaction mode, at work with `session_mode_url`."""

from __future__ import annotations

from eventstore.store import Connection, EventStore
from eventstore.tests.support.events import events
from eventstore.tests.support.node import Project

HANDLER = """
    def note(event, context):
        context.connection.execute(f'insert into "{context.schema}".noted values (%s)', [event.event_number])
"""

SUBSCRIPTION = """
    [[subscriptions]]
    name = "s"
    handler = "my_handlers:note"
    transactional = true
"""


def test_a_node_is_refused_in_transaction_mode(poolers: dict[str, str], project: Project) -> None:
    project.url = poolers["transaction"]
    project.handlers(HANDLER)
    project.configure(SUBSCRIPTION)
    node = project.start(EVENTSTORE__STORE__PREPARE_THRESHOLD="never")
    assert node.wait() == 2
    assert "in transaction mode, where LISTEN and locks are lost: set session_mode_url" in node.log
    assert "Traceback" not in node.log


def test_a_node_works_through_session_mode(
    poolers: dict[str, str], project: Project, event_store: EventStore, conn: Connection
) -> None:
    conn.execute(f'create table "{project.schema}".noted (number bigint)')
    project.url = poolers["transaction"]
    project.handlers(HANDLER)
    project.configure(SUBSCRIPTION, runtime="poll_interval = 600")
    node = project.start(
        EVENTSTORE__STORE__PREPARE_THRESHOLD="never", EVENTSTORE__STORE__SESSION_MODE_URL=poolers["session"]
    ).until_ready()
    for number in range(12):
        event_store.append_to_stream("a", number, events(number))
    node.until_idle("s", at=12)
    noted = conn.execute(f'select array_agg(number order by number) from "{project.schema}".noted').fetchone()
    assert noted == (list(range(1, 13)),)
    assert node.terminate() == 0
