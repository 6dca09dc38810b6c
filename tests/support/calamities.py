"""What can happen to two nodes, their network and their server, each with how it is undone: the repertoire of chaos."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import psutil
from psycopg.sql import SQL, Identifier

from eventstore.store import Connection, connect

from .cluster import PASSWORD, Cluster
from .node import Node, Project
from .proxy import Proxy

TERMINATE = """
    select pg_terminate_backend(pid) from pg_stat_activity
     where application_name like 'eventstore-runtime %@%' and random() < {share}
"""


class Calamity(NamedTuple):
    """One kind of fault: its name, what does it to the node of an index (False where it did nothing), how often."""

    name: str
    happen: Callable[[int], bool]
    weight: int


class World:
    """Two nodes, each behind a proxy of its own, on one server.

    Args:
        cluster: The server.
        proxies: The network of each node.
        project: What the nodes run.
        schema: Where the store is.
        rng: Decides what is hit.
    """

    def __init__(
        self, cluster: Cluster, proxies: tuple[Proxy, Proxy], project: Project, schema: str, rng: random.Random
    ) -> None:
        self.cluster = cluster
        self.proxies = proxies
        self.project = project
        self._schema = schema
        self._rng = rng
        self.nodes = [self._start(0), self._start(1)]

    def calamities(self) -> list[Calamity]:
        """All that can happen."""
        return [
            Calamity("kill -9 of a child", self._kill_child, 10),
            Calamity("kill -9 of a fork server", self._kill_fork_server, 1),
            Calamity("kill -9 of a supervisor", self._kill_supervisor, 2),
            Calamity("orderly stop and start", self._restart, 2),
            Calamity("child stopped, continued", self._freeze_child, 2),
            Calamity("child stopped until it is replaced", self._hang_child, 1),
            Calamity("whole node stopped past takeover, continued", self._freeze_node, 1),
            Calamity("supervisor without descriptors", self._starve, 1),
            Calamity("sessions terminated", self._terminate, 3),
            Calamity("server restarted, fast", lambda _: self._restart_server("fast"), 1),
            Calamity("server restarted, immediate", lambda _: self._restart_server("immediate"), 1),
            Calamity("connections reset", self._cut, 2),
            Calamity("connections refused", self._refuse, 1),
            Calamity("network silent", self._stall, 1),
            Calamity("session lost half-way", self._vanish, 2),
            Calamity("notifications lost", self._swallow, 1),
            Calamity("too many connections", self._no_connections, 1),
            Calamity("password refused", self._other_password, 1),
            Calamity("server read-only", self._read_only, 1),
            Calamity("statement time-outs", self._lock_table, 1),
        ]

    # Processes

    def _start(self, index: int) -> Node:
        url = self.cluster.url(self.proxies[index].port)
        return self.project.start(name="ab"[index], EVENTSTORE__STORE__URL=url)

    def _child(self, index: int, *roles: str) -> int | None:
        pids = [pid for name, pid in self.nodes[index].children().items() if name.startswith(roles or ("",))]
        return self._rng.choice(pids) if pids else None

    def _kill_child(self, index: int) -> bool:
        return _signal(self._child(index), signal.SIGKILL)

    def _kill_fork_server(self, index: int) -> bool:
        for process in self.nodes[index].living():
            with suppress(psutil.Error):
                if any("forkserver" in part for part in process.cmdline()[:6]):
                    return _signal(process.pid, signal.SIGKILL)
        return False

    def _kill_supervisor(self, index: int) -> bool:
        self.nodes[index].kill()
        self.nodes[index] = self._start(index)
        return True

    def _restart(self, index: int) -> bool:
        node = self.nodes[index]
        if not node.status().get("ready"):
            return False
        code = node.terminate()
        assert code == 0, f"an orderly stop was none:\n{node.log}"
        self.nodes[index] = self._start(index)
        return True

    def _freeze_child(self, index: int) -> bool:
        pid = self._child(index)
        happened = _signal(pid, signal.SIGSTOP)
        self._while_it_lasts(1.0)
        _signal(pid, signal.SIGCONT)
        return happened

    def _hang_child(self, index: int) -> bool:
        """Of those whose heartbeat is watched; nobody continues it."""
        return _signal(self._child(index, "listener", "lock-holder", "monitor"), signal.SIGSTOP)

    def _freeze_node(self, index: int) -> bool:
        """Its sessions are ended meanwhile, so that the other node takes over and the stopped one does not know."""
        frozen = [process for process in self.nodes[index].living() if _signal(process.pid, signal.SIGSTOP)]
        try:
            with self._admin() as conn:
                conn.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name like %s",
                    (f"eventstore-runtime %@{'ab'[index]}",),
                )
            self._while_it_lasts(2.0)
        finally:
            for process in frozen:
                _signal(process.pid, signal.SIGCONT)
        return bool(frozen)

    def _starve(self, index: int) -> bool:
        if not self.nodes[index].status().get("ready"):
            return False
        try:
            supervisor = psutil.Process(self.nodes[index].process.pid)
            usual = supervisor.rlimit(resource.RLIMIT_NOFILE)
            supervisor.rlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
        except psutil.Error:
            return False
        self._kill_child(index)
        self._while_it_lasts(1.0)
        supervisor.rlimit(resource.RLIMIT_NOFILE, usual)
        return True

    # The server

    def _admin(self) -> Connection:
        return connect(f"{self.cluster.admin_url}&options=-c%20default_transaction_read_only%3Doff", "test")

    def _terminate(self, _: int) -> bool:
        with self._admin() as conn:
            return bool(conn.execute(TERMINATE.format(share=0.4).encode()).fetchall())

    def _terminate_all(self, conn: Connection) -> None:
        conn.execute(TERMINATE.format(share=2).encode())

    def _restart_server(self, how: str) -> bool:
        self.cluster.stop(how)
        self._while_it_lasts(2.0)
        self.cluster.start()
        return True

    def _no_connections(self, _: int) -> bool:
        with self._admin() as conn, _undone(conn, "alter role runtime connection limit -1"):
            conn.execute("alter role runtime connection limit 0")
            self._terminate_all(conn)
            self._while_it_lasts(1.0)
        return True

    def _other_password(self, _: int) -> bool:
        # A node that is only starting takes a refusal for final: spare those.
        if not all(node.status().get("ready") for node in self.nodes):
            return False
        with self._admin() as conn, _undone(conn, f"alter role runtime password '{PASSWORD}'"):
            conn.execute("alter role runtime password 'another'")
            self._terminate_all(conn)
            self._while_it_lasts(1.0)
        return True

    def _read_only(self, _: int) -> bool:
        with self._admin() as conn:
            conn.execute("alter system set default_transaction_read_only = on")
            conn.execute("select pg_reload_conf()")
            self._while_it_lasts(1.0)
            conn.execute("alter system reset default_transaction_read_only")
            conn.execute("select pg_reload_conf()")
        return True

    def _lock_table(self, _: int) -> bool:
        with self._admin() as conn, conn.transaction():
            conn.execute(
                SQL("lock table {} in access exclusive mode").format(Identifier(self._schema, "subscriptions"))
            )
            self._while_it_lasts(3.0)
        return True

    # The network

    def _cut(self, index: int) -> bool:
        self.proxies[index].cut()
        return True

    def _refuse(self, index: int) -> bool:
        self.proxies[index].refusing = True
        self.proxies[index].cut()
        self._while_it_lasts(1.0)
        self.proxies[index].refusing = False
        return True

    def _stall(self, index: int) -> bool:
        self.proxies[index].stall()
        self._while_it_lasts(4.0)
        self.proxies[index].flow()
        return True

    def _vanish(self, index: int) -> bool:
        return bool(self.proxies[index].vanish(self._rng.choice(["LISTEN", "listener", "lock-holder"])))

    def _swallow(self, index: int) -> bool:
        self.proxies[index].swallowing = True
        self._while_it_lasts(3.0)
        self.proxies[index].swallowing = False
        return True

    def _while_it_lasts(self, most: float) -> None:
        time.sleep(self._rng.uniform(0.1, most))


def _signal(pid: int | None, number: signal.Signals) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def _undone(conn: Connection, statement: str) -> Iterator[None]:
    try:
        yield
    finally:
        conn.execute(statement.encode())
