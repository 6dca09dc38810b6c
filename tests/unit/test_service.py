"""What systemd hears, over a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore.runtime.service import Service, describe
from eventstore.runtime.status import ChildStatus
from eventstore.tests.support.reports import node_status, running, subscription


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def heard(manager: socket.socket) -> list[str]:
    """All that it was told so far."""
    said = []
    while True:
        try:
            said.append(manager.recv(4096).decode())
        except BlockingIOError:
            return said


def test_ready_is_said_once_and_every_state_when_it_changes(manager: socket.socket) -> None:
    service = Service(os.environ)
    service.tell(node_status(ready=False, state="starting"))
    assert heard(manager) == ["STATUS=starting, 2 subscriptions"]
    service.tell(node_status())
    service.tell(node_status(uptime=99.0))
    assert heard(manager) == ["READY=1", "STATUS=running, 2 subscriptions"]
    down = running(ChildStatus(name="listener", state="backing_off"))
    service.tell(node_status(ready=False, state="degraded", children=down))
    service.tell(node_status())
    service.stopping()
    service.stopping()
    assert heard(manager) == [
        "STATUS=degraded, 2 subscriptions; processes down: listener",
        "STATUS=running, 2 subscriptions",
        "STOPPING=1",
    ]
    service.close()
    service.tell(node_status(state="stopping"))
    assert heard(manager) == []


def test_a_name_of_several_lines_says_nothing_more_than_itself(manager: socket.socket) -> None:
    service = Service(os.environ)
    service.tell(node_status(subscription("a\nSTOPPING=1", state="halted"), ready=False, state="degraded"))
    assert heard(manager) == ["STATUS=degraded, 1 subscriptions; subscriptions halted: a STOPPING=1"]
    service.close()


def test_what_is_halted_is_named() -> None:
    status = node_status(subscription("a", state="halted"), subscription("b", state="failed"), state="degraded")
    assert describe(status) == "degraded, 2 subscriptions; subscriptions halted: a, b"


@pytest.mark.parametrize(
    ("variables", "watchdog"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_where_it_watches_this_process(
    manager: socket.socket, variables: dict[str, str], watchdog: float | None
) -> None:
    service = Service({**os.environ, **variables})
    assert service.watchdog == watchdog
    service.turning()
    assert heard(manager) == ([] if watchdog is None else ["WATCHDOG=1"])
    service.close()


def test_without_a_manager_or_with_one_that_does_not_read_nothing_happens(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service({**os.environ, "WATCHDOG_USEC": "1000000"})
    for _ in range(2_000):
        service.turning()
    service.close()
    monkeypatch.delenv("NOTIFY_SOCKET")
    alone = Service(os.environ)
    alone.tell(node_status())
    alone.stopping()
    alone.close()
