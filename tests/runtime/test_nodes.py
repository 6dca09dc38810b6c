"""Two nodes on one database: one owner, a standby that says so, and a takeover that loses nothing."""

from __future__ import annotations

import signal

import pytest

from eventstore.store import Connection, EventData, EventStore
from eventstore.tests.support.node import Node, Project
from eventstore.tests.support.recording import HANDLERS, create_tables, orders, totals
from eventstore.tests.support.wait import wait_until

SUBSCRIPTIONS = """
    [[subscriptions]]
    name = "counter"
    handler = "my_handlers:count"
    concurrency = 2
    partition_by = "stream"
    transactional = true
    buffer_size = 10
"""
STREAMS = ("a", "b", "c")
EACH = 100


def two_nodes(project: Project, event_store: EventStore, conn: Connection, **runtime: str) -> tuple[Node, Node]:
    """An owner in the middle of its work, and a standby."""
    create_tables(conn, project.schema)
    project.handlers(HANDLERS)
    options = "\n".join(["heartbeat_interval = 0.1", *(f"{name} = {value}" for name, value in runtime.items())])
    project.configure(SUBSCRIPTIONS, runtime=options)
    for stream in STREAMS:
        event_store.append_to_stream(stream, 0, [EventData("Happened", {"seconds": 0.02})] * EACH)
    owner = project.start(name="owner")
    wait_until(lambda: owner.subscription("counter").get("epoch"), "the first node owns it", lambda: owner.log)
    standby = project.start(name="standby").until_ready()
    return owner, standby


def check(project: Project, conn: Connection) -> None:
    assert totals(conn, project.schema) == dict.fromkeys(STREAMS, EACH)
    assert orders(conn, project.schema) == {stream: list(range(1, EACH + 1)) for stream in STREAMS}


def test_the_second_node_waits_and_says_so(project: Project, event_store: EventStore, conn: Connection) -> None:
    owner, standby = two_nodes(project, event_store, conn)
    waiting = standby.until_state("counter", "waiting")
    wait_until(lambda: standby.subscription("counter")["owner"] == "owner", "the standby names the owner")
    assert "'owner' owns it" in standby.subscription("counter")["reason"]
    assert waiting["in_flight"] == 0
    owner.until_idle("counter", at=300)
    standby.until_idle("counter", at=300)
    assert standby.subscription("counter")["lag"] == 0
    assert standby.get("/readyz")[0] == 200, "a standby is ready: it does all there is for it to do"
    check(project, conn)


def test_sigterm_hands_over_by_notification(project: Project, event_store: EventStore, conn: Connection) -> None:
    """With an hour between two tries for the lock, only the notification can bring the takeover."""
    owner, standby = two_nodes(project, event_store, conn, lock_retry_interval="3600.0", poll_interval="3600.0")
    wait_until(lambda: (owner.subscription("counter").get("checkpoint") or 0) > 20, "the owner is in the middle")
    assert owner.terminate() == 0
    wait_until(lambda: standby.subscription("counter").get("epoch"), "the standby took over", lambda: standby.log)
    standby.until_idle("counter", at=300)
    check(project, conn)


def test_kill_minus_nine_hands_over_by_the_next_try(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    owner, standby = two_nodes(project, event_store, conn)
    wait_until(lambda: (owner.subscription("counter").get("checkpoint") or 0) > 20, "the owner is in the middle")
    owner.signal(signal.SIGKILL)
    owner.wait()
    wait_until(lambda: standby.subscription("counter").get("epoch"), "the standby took over", lambda: standby.log)
    standby.until_idle("counter", at=300)
    check(project, conn)


def test_a_former_owner_that_was_stopped_can_change_nothing(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    """SIGSTOP past the loss of its lock, then SIGCONT: its checkpoints and commits are fenced off."""
    owner, standby = two_nodes(project, event_store, conn)
    wait_until(lambda: (owner.subscription("counter").get("checkpoint") or 0) > 20, "the owner is in the middle")
    frozen = [process for process in owner.living() if "eventstore-runtime" in " ".join(process.cmdline())]
    for process in frozen:
        process.suspend()
    conn.execute("""
        select pg_terminate_backend(pid) from pg_stat_activity
         where application_name like 'eventstore-runtime lock-holder%'
           and pid in (select pid from pg_locks where locktype = 'advisory' and granted)
    """)
    conn.execute("""
        select pg_terminate_backend(pid) from pg_stat_activity
         where application_name like 'eventstore-runtime worker%' and state = 'idle in transaction'
    """)
    wait_until(lambda: standby.subscription("counter").get("epoch"), "the standby took over", lambda: standby.log)
    for process in frozen:
        process.resume()
    standby.until_idle("counter", at=300)
    check(project, conn)
    wait_until(lambda: owner.subscription("counter").get("state") == "waiting", "the former owner waits now")


@pytest.mark.parametrize("nodes", [4])
def test_many_nodes_started_at_once_have_one_owner(
    project: Project, event_store: EventStore, conn: Connection, nodes: int
) -> None:
    create_tables(conn, project.schema)
    project.handlers(HANDLERS)
    project.configure(SUBSCRIPTIONS)
    for stream in STREAMS:
        event_store.append_to_stream(stream, 0, [EventData("Happened", {})] * EACH)
    started = [project.start(name=f"n{number}") for number in range(nodes)]
    for node in started:
        node.until_idle("counter", at=300)
    owners = [node.name for node in started if node.subscription("counter")["state"] == "live"]
    assert len(owners) == 1
    check(project, conn)
