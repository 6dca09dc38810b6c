"""A node at work on a server of its own, behind a network that can fail: what the tests of outages do things to.

Its schema has a name with quotes, its role may do no more than it must, and its password is looked for in everything
that the node shows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eventstore.store import Connection, EventData, EventStore, connect, initialise

from .cluster import PASSWORD, Cluster, new_cluster
from .node import Node, Project
from .proxy import Proxy, running_proxy
from .recording import HANDLERS, calls, create_tables, orders, totals
from .wait import wait_until

SCHEMA = "o\"rders 'of' {schema}"
STREAMS = ("a", "b", "c", "d")
SUBSCRIPTIONS = """
    [[subscriptions]]
    name = "counter"
    handler = "my_handlers:count"
    concurrency = 2
    partition_by = "stream"
    transactional = true
    transaction_size = 3
    max_crashes = 1000 # what dies here is innocent

    [[subscriptions]]
    name = "plain"
    handler = "my_handlers:plain"
    max_crashes = 1000
"""
# Without notifications nothing would be found: the poll is an hour away.
RUNTIME = """
    heartbeat_interval = 0.1
    heartbeat_timeout = 3.0
    lock_retry_interval = 0.3
    poll_interval = 3600.0
    canary_interval = 0.3
    grace = 5.0
"""
RESTART = "backoff_min = 0.05\nbackoff_max = 0.5"


class Site:
    """A cluster, a proxy, a project, a node, and all that was ever appended."""

    def __init__(self, cluster: Cluster, proxy: Proxy, project: Project) -> None:
        self.cluster = cluster
        self.proxy = proxy
        self.project = project
        self.node: Node
        self.variables = {
            "EVENTSTORE__STORE__SCHEMA": SCHEMA,
            "EVENTSTORE__STORE__TIMEOUT": "2",
            "EVENTSTORE__STORE__CONNECT_TIMEOUT": "2",
            "EVENTSTORE__LOG__FORMAT": "json",
        }
        self.appended: Counter[str] = Counter()

    @property
    def admin_url(self) -> str:
        """As superuser, past the proxy, and writing whatever the server's default is."""
        return f"{self.cluster.admin_url}&options={quote('-c default_transaction_read_only=off')}"

    def admin(self) -> Connection:
        """A connection as superuser, past the proxy; close it."""
        return connect(self.admin_url, "test")

    def start(self) -> Node:
        """Starts the node, which reaches the server through the proxy."""
        self.node = self.project.start(name="node", **self.variables)
        return self.node

    def append(self, each: int = 20, seconds: float = 0.003) -> None:
        """Appends to every stream."""
        with EventStore(self.admin_url, schema=SCHEMA, pool_size=1) as store:
            for stream in STREAMS:
                store.append_to_stream(stream, "any_version", [EventData("Happened", {"seconds": seconds})] * each)
                self.appended[stream] += each

    def terminate(self, role: str = "%") -> list[int]:
        """Ends the node's sessions of a role from the server's side; the backends' pids."""
        with self.admin() as conn:
            return [row[0] for row in conn.execute(_TERMINATE, (f"eventstore-runtime {role} @%",)).fetchall()]

    def backends(self, role: str, state: str = "%") -> list[int]:
        """The pids of the node's sessions of a role, in a state that the server knows."""
        query = "select pid from pg_stat_activity where application_name like %s and state like %s"
        with self.admin() as conn:
            return [row[0] for row in conn.execute(query, (f"eventstore-runtime {role} @%", state)).fetchall()]

    def restarts(self) -> dict[str, int]:
        """Restarts of each process."""
        return {child["name"]: child["restarts"] for child in self.node.status().get("children", ())}

    def until_not_ready(self, *words: str) -> None:
        """Waits until the node says that it is not ready, and that some process says why with these words."""
        wait_until(lambda: self.node.get("/readyz")[0] == 503, "it is not ready", self.explain)
        for word in words:
            wait_until(lambda word=word: word in json.dumps(self.node.status()), f"it says {word!r}", self.explain)
        assert self.node.get("/healthz")[0] == 200

    def explain(self) -> str:
        """What there is to see."""
        return f"{json.dumps(self.node.status(), indent=1)}\n{self.node.log[-5_000:]}"

    def check(self) -> None:
        """Everything appended is handled: exactly once, in order, by the one handler, and by the other at all."""
        head = self.appended.total()
        self.node.until_idle("counter", "plain", at=head)
        self.node.until_ready()
        with self.admin() as conn:
            assert totals(conn, SCHEMA) == dict(self.appended), "effects are not exactly once"
            in_order = {stream: list(range(1, number + 1)) for stream, number in self.appended.items()}
            assert orders(conn, SCHEMA) == in_order, "effects are out of order"
        assert {int(line[0]) for line in calls(self.project, "plain")} == set(range(1, head + 1)), "events were lost"
        self.check_secrecy()

    def check_secrecy(self) -> None:
        """The password is nowhere to be seen."""
        assert PASSWORD not in self.node.log
        for path in ("/status", "/metrics", "/readyz"):
            assert PASSWORD.encode() not in self.node.get(path)[1]
        for process in self.node.living():
            assert PASSWORD not in " ".join(process.cmdline())

    def log_lines(self, since: int = 0) -> list[dict[str, Any]]:
        """What the node logged after so many characters."""
        return [json.loads(line) for line in self.node.log[since:].splitlines() if line.startswith("{")]


_TERMINATE = """
    select pid, pg_terminate_backend(pid) from pg_stat_activity
     where application_name like %s and pid <> pg_backend_pid()
"""


@contextmanager
def new_site(folder: Path, **tables: str) -> Iterator[Site]:
    """Gives a site whose node is ready; everything ends with the block."""
    with new_cluster() as cluster, running_proxy(cluster.port) as proxy:
        with connect(cluster.url(), "test") as conn:
            initialise(conn, SCHEMA)
            create_tables(conn, SCHEMA)
        project = Project(folder, cluster.url(proxy.port), "public")
        project.handlers(HANDLERS)
        project.configure(SUBSCRIPTIONS, **{"runtime": RUNTIME, "restart": RESTART, **tables})
        site = Site(cluster, proxy, project)
        try:
            site.start().until_ready()
            yield site
        finally:
            project.stop_all()
