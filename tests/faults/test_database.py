"""The database goes away in the middle: connections are not repaired, processes come back, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess

import pytest

from eventstore.store import Connection, EmbeddedServer, EventData, EventStore, connect, initialise
from eventstore.store.keeper import postmaster_pid
from eventstore.tests.support.database import temporary_home
from eventstore.tests.support.node import Project
from eventstore.tests.support.recording import HANDLERS, create_tables, orders, totals
from eventstore.tests.support.wait import wait_until

SUBSCRIPTION = """
    [[subscriptions]]
    name = "counter"
    handler = "my_handlers:count"
    concurrency = 2
    partition_by = "stream"
    transactional = true
    transaction_size = 3
"""
QUICK = "backoff_min = 0.02\nbackoff_max = 0.3"
STREAMS = ("a", "b", "c", "d")
EACH = 50


def check(project: Project, conn: Connection) -> None:
    assert totals(conn, project.schema) == dict.fromkeys(STREAMS, EACH)
    assert orders(conn, project.schema) == {stream: list(range(1, EACH + 1)) for stream in STREAMS}


def test_terminated_backends_lose_and_double_nothing(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    create_tables(conn, project.schema)
    project.handlers(HANDLERS)
    project.configure(SUBSCRIPTION, restart=QUICK)
    for stream in STREAMS:
        event_store.append_to_stream(stream, 0, [EventData("Happened", {"seconds": 0.005})] * EACH)
    node = project.start(EVENTSTORE__LOG__FORMAT="json")
    for step in (20, 60, 100, 140):
        wait_until(lambda step=step: sum(totals(conn, project.schema).values()) >= step, "it works", lambda: node.log)
        conn.execute("""
            select pg_terminate_backend(pid) from pg_stat_activity
             where application_name like 'eventstore-runtime %' and application_name not like '%test%'
               and application_name not like '%store%' and pid <> pg_backend_pid()
        """)
    node.until_idle("counter", at=200)
    check(project, conn)
    assert "Traceback" not in node.log
    assert node.terminate() == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_a_restarted_server_is_found_again(project: Project, how: signal.Signals) -> None:
    with temporary_home() as home, EmbeddedServer.acquire(home) as server:
        project.url, project.schema = server.url, "public"
        with connect(server.url) as conn, EventStore(server.url) as store:
            initialise(conn)
            create_tables(conn, "public")
            for stream in STREAMS:
                store.append_to_stream(stream, 0, [EventData("Happened", {"seconds": 0.005})] * EACH)
            project.handlers(HANDLERS)
            project.configure(SUBSCRIPTION, restart=QUICK)
            node = project.start()
            wait_until(lambda: sum(totals(conn, "public").values()) >= 60, "it works", lambda: node.log)
        pid = postmaster_pid(home / "data")
        assert pid is not None
        subprocess.run(["kill", f"-{how.name.removeprefix('SIG')}", str(pid)], check=True)
        wait_until(lambda: postmaster_pid(home / "data") is None, "the server is down")
        wait_until(lambda: node.get("/readyz")[0] == 503, "the node says that it is not ready")
        assert node.get("/healthz")[0] == 200
        with EmbeddedServer.acquire(home) as again, connect(again.url) as conn:
            node.until_idle("counter", at=200)
            check(project, conn)
            assert node.terminate() == 0
