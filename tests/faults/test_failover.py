"""The primary goes away and a streaming standby is promoted: the node finds it by itself, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore.store import EventData, EventStore, connect, initialise
from eventstore.tests.support.cluster import PASSWORD, Cluster, new_cluster
from eventstore.tests.support.node import Project
from eventstore.tests.support.recording import HANDLERS, create_tables, orders, totals
from eventstore.tests.support.wait import wait_until

COUNTER = """
    [[subscriptions]]
    name = "counter"
    handler = "my_handlers:count"
    concurrency = 2
    partition_by = "stream"
    transactional = true
"""
STREAMS = ("a", "b", "c")


@pytest.fixture
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """A primary, and a standby that streams from it."""
    with new_cluster() as primary:
        standby = Cluster(primary.data.with_name("standby"))
        primary.copy_to(standby)
        standby.start()
        try:
            yield primary, standby
        finally:
            if standby.running():
                standby.stop("immediate")


def test_a_promoted_standby_is_found(pair: tuple[Cluster, Cluster], tmp_path: Path) -> None:
    primary, standby = pair
    with connect(primary.url()) as conn, EventStore(primary.url()) as store:
        initialise(conn)
        create_tables(conn, "public")
        for stream in STREAMS:
            store.append_to_stream(stream, 0, [EventData("Happened", {"seconds": 0.005})] * 100)
        replicated = "select count(*) from pg_stat_replication where state = 'streaming'"
        with connect(primary.admin_url) as admin:
            wait_until(lambda: admin.execute(replicated).fetchone() == (1,), "the standby streams")
        # The standby first, so that a node that took any server would take the wrong one.
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        project = Project(tmp_path, f"postgresql://runtime:{PASSWORD}@{hosts}/postgres", "public")
        project.handlers(HANDLERS)
        project.configure(COUNTER, restart="backoff_min = 0.02\nbackoff_max = 0.3")
        node = project.start()
        try:
            wait_until(lambda: sum(totals(conn, "public").values()) >= 60, "it works", lambda: node.log)
            # A fast shutdown ends when the standby has everything: what was confirmed is not lost.
            primary.stop("fast")
            wait_until(lambda: node.get("/readyz")[0] == 503, "it is not ready", lambda: node.log)
            before = node.subscription("counter")["checkpoint"]
            standby.promote()
            with connect(standby.url()) as promoted, EventStore(standby.url()) as there:
                there.append_to_stream("a", 100, [EventData("Happened", {"seconds": 0.0})] * 10)
                node.until_idle("counter", at=310)
                assert before <= 310
                assert totals(promoted, "public") == {"a": 110, "b": 100, "c": 100}
                assert orders(promoted, "public")["a"] == list(range(1, 111))
            node.until_ready()
            assert node.terminate() == 0
            assert PASSWORD not in node.log
            assert "Traceback" not in node.log
        finally:
            project.stop_all()
