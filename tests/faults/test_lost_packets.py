"""Packets to and from a process vanish, and no end of its connection is told: both find out by themselves.

A server that kept the session would keep its locks: those of a worker's transaction, or those of the subscriptions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from eventstore.store import EventData, EventStore, connect, initialise
from eventstore.tests.support.cluster import Cluster, new_cluster
from eventstore.tests.support.network import Network, new_network
from eventstore.tests.support.node import Node, Project
from eventstore.tests.support.recording import HANDLERS, create_tables, orders, totals
from eventstore.tests.support.wait import wait_until

WORKER, LOCK_HOLDER = "worker:counter:0", "lock-holder"
SUBSCRIPTION = """
    [[subscriptions]]
    name = "counter"
    handler = "my_handlers:count"
    transactional = true
"""
# The same on both ends as by default, but in three seconds instead of twenty-five.
QUICK = {
    "keepalives_idle": "1",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "3000",
    "options": "-c tcp_keepalives_idle=1 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=2 "
    "-c tcp_user_timeout=3000",
}
PARAMETERS = {} if os.environ.get("EVENTSTORE_TEST_DEFAULT_KEEPALIVES") else QUICK


class _Place:
    """A node here, and its server in a network that loses packets."""

    def __init__(self, network: Network, cluster: Cluster, project: Project) -> None:
        self.network = network
        self.cluster = cluster
        self.project = project
        self.node: Node = project.start().until_ready()

    def ports(self, role: str, state: str = "%") -> set[int]:
        """The ports of a process's connections that the server believes in, in a state that it knows."""
        with connect(self.cluster.admin_url, "test") as conn:
            query = "select client_port from pg_stat_activity where application_name like %s and state like %s"
            return {row[0] for row in conn.execute(query, (f"eventstore-runtime {role} @%", state)).fetchall()}

    def append(self, seconds: float) -> None:
        with EventStore(self.cluster.admin_url, pool_size=1) as store:
            store.append_to_stream("a", "any_version", [EventData("Happened", {"seconds": seconds})] * 2)

    def check(self, number: int) -> None:
        """So many events are handled, exactly once and in order."""
        self.node.until_idle("counter", at=number)
        with connect(self.cluster.admin_url, "test") as conn:
            assert totals(conn, "public") == {"a": number}
            assert orders(conn, "public") == {"a": list(range(1, number + 1))}
        assert self.node.subscription("counter")["failures"] == 0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[_Place]:
    with new_network() as network, new_cluster(network) as cluster:
        with connect(cluster.admin_url, "test") as conn:
            initialise(conn)
            create_tables(conn, "public")
            conn.execute("grant all on all tables in schema public to runtime")
            conn.execute("grant all on all sequences in schema public to runtime")
        parameters = "".join(f"&{name}={quote(value)}" for name, value in PARAMETERS.items())
        project = Project(tmp_path, cluster.url() + parameters, "public")
        project.handlers(HANDLERS)
        project.configure(SUBSCRIPTION, restart="backoff_min = 0.05\nbackoff_max = 0.5")
        try:
            made = _Place(network, cluster, project)
            yield made
            assert made.node.terminate() == 0, made.node.log
        finally:
            project.stop_all()


@pytest.mark.parametrize(("role", "state"), [(WORKER, "idle"), (WORKER, "idle in transaction"), (LOCK_HOLDER, "idle")])
def test_both_ends_notice_that_packets_vanish(place: _Place, role: str, state: str) -> None:
    place.append(seconds=0)
    place.check(2)
    if state != "idle":
        place.append(seconds=1)
    lost = wait_until(lambda: place.ports(role, state), "it is there", lambda: place.node.log)
    place.network.lose(*lost)
    wait_until(lambda: place.ports(role) - lost, "it has a new connection", lambda: place.node.log)
    wait_until(lambda: not place.ports(role) & lost, "the server gives up the old one", lambda: str(place.ports(role)))
    if state == "idle":
        place.append(seconds=0)
    place.check(4)
