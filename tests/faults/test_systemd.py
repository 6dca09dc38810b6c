"""A node as systemd sees it: its notifications on a socket of the kind that NOTIFY_SOCKET names."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from eventstore.store import EventData, EventStore
from eventstore.tests.support.node import Project
from eventstore.tests.support.recording import HANDLERS
from eventstore.tests.support.wait import wait_until

PLAIN = '[[subscriptions]]\nname = "plain"\nhandler = "my_handlers:plain"\n'


class Manager:
    """The service manager's side."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)

    def heard(self, text: str) -> bool:
        """True once it was told something with that text."""
        while True:
            try:
                self.said.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return any(text in said for said in self.said)

    def forget(self) -> None:
        """Begins to listen anew."""
        self.heard("")
        self.said.clear()

    def close(self) -> None:
        """Listens no more."""
        self._socket.close()


def test_systemd_hears_how_the_node_is(project: Project, event_store: EventStore) -> None:
    manager = Manager(project.folder / "notify")
    project.handlers(HANDLERS)
    project.configure(PLAIN, restart="backoff_min = 0.5")
    node = project.start(NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="300000")
    wait_until(lambda: manager.heard("READY=1"), "it is ready", lambda: node.log)
    wait_until(lambda: manager.heard("STATUS=running, 1 subscriptions"), "it says how it is", lambda: str(manager.said))
    assert manager.said.index("STATUS=starting, 1 subscriptions") < manager.said.index("READY=1")
    manager.forget()
    wait_until(lambda: manager.said.count("WATCHDOG=1") + manager.heard("WATCHDOG=1") >= 3, "it feeds the watchdog")
    os.kill(node.children()["listener"], signal.SIGKILL)
    wait_until(lambda: manager.heard("degraded, 1 subscriptions; processes down: listener"), "it names who is down")
    manager.forget()
    wait_until(lambda: manager.heard("STATUS=running"), "it recovers")
    event_store.append_to_stream("a", 0, [EventData("Happened", {})])
    node.until_idle("plain", at=1)
    assert node.terminate() == 0
    assert manager.heard("STOPPING=1")
    assert manager.said.count("STOPPING=1") == 1
    manager.close()


def test_the_unit_is_of_the_kind_that_waits_for_it() -> None:
    unit = (Path(__file__).parents[2] / "deploy" / "eventstore-runtime.service").read_text()
    assert "Type=notify" in unit
    assert "WatchdogSec=" in unit
