"""The monitor: what each path answers, and the HTTP server that does."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from eventstore.runtime.channel import socket_pair
from eventstore.runtime.loop import Loop
from eventstore.runtime.messages import NodeReport
from eventstore.runtime.monitor import Board, Monitor
from eventstore.runtime.plan import MonitorPlan
from eventstore.runtime.status import ChildStatus, NodeStatus, status_json
from eventstore.store.errors import ConfigurationError
from eventstore.tests.support.reports import node_plan, node_status, running, subscription


def board(status: NodeStatus | None = None, stale_after: float = 30.0) -> Board:
    made = Board(stale_after)
    if status is not None:
        made.update(status_json(status))
    return made


def asked(board: Board, path: str) -> tuple[int, Any]:
    code, content_type, body = board.answer(path)
    assert content_type.startswith("application/json")
    return int(code), json.loads(body)


@contextmanager
def monitor_at(host: str = "127.0.0.1", port: int = 0, **options: Any) -> Iterator[tuple[Monitor, str]]:
    """A started monitor and its address."""
    control, supervisor = socket_pair()
    monitor = Monitor("monitor", node_plan(monitor=MonitorPlan(host=host, port=port, **options)), control)
    try:
        address = monitor.start()
        try:
            yield monitor, address
        finally:
            assert monitor._server is not None
            monitor._server.shutdown()
    finally:
        monitor.close()
        monitor.loop.close()
        supervisor.close()


def get(address: str, *paths: str, **headers: str) -> list[tuple[int, str, bytes]]:
    """Asks for paths over one connection."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    answers = []
    for path in paths:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answers.append((answer.status, answer.headers["Content-Type"], answer.read()))
    connection.close()
    return answers


def test_before_the_first_status() -> None:
    fresh = board()
    assert asked(fresh, "/status") == (503, {})
    assert asked(fresh, "/readyz") == (503, {"ok": False, "reason": "starting"})
    assert asked(fresh, "/healthz") == (200, {"ok": True})
    code, _, body = fresh.answer("/metrics")
    assert (code, body) == (HTTPStatus.OK, b"")


def test_a_node_that_runs() -> None:
    status = node_status()
    running_board = board(status)
    assert asked(running_board, "/status") == (200, json.loads(status_json(status)))
    assert asked(running_board, "/readyz") == (200, {"ok": True})
    assert asked(running_board, "/healthz") == (200, {"ok": True})
    code, content_type, body = running_board.answer("/metrics")
    assert code == HTTPStatus.OK
    assert content_type.startswith("text/plain; version=")
    assert "eventstore_node_ready" in {family.name for family in text_string_to_metric_families(body.decode())}


def test_the_newest_status_counts() -> None:
    changing = board(node_status())
    changing.update(status_json(node_status(ready=False, state="stopping")))
    assert asked(changing, "/readyz") == (503, {"ok": False, "reason": "stopping"})
    changing.update(status_json(node_status()))
    assert asked(changing, "/readyz")[0] == 200


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (
            {"children": running(ChildStatus(name="listener", state="backing_off", reason="ended with SIGKILL"))},
            "process listener is backing_off: ended with SIGKILL",
        ),
        (
            {"children": running(ChildStatus(name="listener", state="starting"))},
            "process listener is starting: just started",
        ),
        (
            {"subscriptions": [subscription("a", state="halted", reason="halted at event 3: no")]},
            "subscription a is halted at event 3: no",
        ),
        (
            {"subscriptions": [subscription("a", state="failed", reason="no such table")]},
            "subscription a is failed: no such table",
        ),
        ({"state": "starting"}, "starting"),
    ],
)
def test_why_a_node_is_not_ready(facts: dict[str, Any], reason: str) -> None:
    assert asked(board(node_status(ready=False, **facts)), "/readyz") == (503, {"ok": False, "reason": reason})


def test_a_node_that_reports_no_more_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    stale = board(node_status(), stale_after=30.0)
    begin = Loop.now()
    monkeypatch.setattr(Loop, "now", staticmethod(lambda: begin + 29))
    assert asked(stale, "/healthz")[0] == 200
    monkeypatch.setattr(Loop, "now", staticmethod(lambda: begin + 31))
    assert asked(stale, "/healthz") == (503, {"ok": False, "reason": "the supervisor does not report"})
    stale.update(status_json(node_status()))
    assert asked(stale, "/healthz")[0] == 200


def test_a_monitor_that_never_hears_anything_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = board(stale_after=30.0)
    begin = Loop.now()
    monkeypatch.setattr(Loop, "now", staticmethod(lambda: begin + 31))
    assert asked(deaf, "/healthz")[0] == 503


def test_other_paths() -> None:
    assert asked(board(), "/health") == (404, {"error": "no /health here; ask /metrics, /status, /healthz and /readyz"})
    code, _, body = board().answer("/")
    assert code == HTTPStatus.OK
    assert body.split() == [b"/metrics", b"/status", b"/healthz", b"/readyz"]


def test_the_server_answers_with_what_the_supervisor_sent() -> None:
    with monitor_at() as (monitor, address):
        monitor.on_message(NodeReport(status_json(node_status())))
        ready, status, metrics, missing = get(address, "/readyz?verbose=1", "/status", "/metrics", "/nothing")
        assert ready == (200, "application/json; charset=utf-8", b'{"ok": true}')
        assert json.loads(status[2])["node"] == "one"
        assert b"eventstore_events_finished_total{" in metrics[2]
        assert missing[0] == 404


def test_a_taken_port_is_said_with_the_remedy() -> None:
    with monitor_at() as (_, address):
        port = int(address.rpartition(":")[2])
        with pytest.raises(ConfigurationError) as caught, monitor_at(port=port):
            pass
        assert str(caught.value) == (
            f"[monitor] cannot listen on 127.0.0.1:{port}: Address already in use; "
            "set [monitor] port to a free one (0 takes any), or enabled = false"
        )


def test_any_port_will_do_where_that_was_asked_for() -> None:
    with monitor_at() as (_, first):
        port = int(first.rpartition(":")[2])
        with monitor_at(port=port, any_port_if_taken=True) as (_, second):
            assert first != second
            assert get(second, "/healthz")[0][0] == 200


def test_a_host_that_is_not_ours_is_said() -> None:
    # An address of the documentation range, which no machine has.
    said = r"^\[monitor\] cannot listen on 192\.0\.2\.1:0: .*; set \[monitor\] host to an address of this machine"
    with pytest.raises(ConfigurationError, match=said), monitor_at("192.0.2.1", any_port_if_taken=True):
        pass


def test_it_listens_on_ipv6_where_the_machine_has_it() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with monitor_at("::1") as (_, address):
        assert address.startswith("http://[::1]:")
        assert get(address, "/healthz")[0][0] == 200


def test_a_client_that_goes_away_leaves_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with monitor_at() as (_, address):
        host, _, port = address.removeprefix("http://").rpartition(":")
        client = socket.create_connection((host, int(port)))
        client.sendall(b"GET /sta")
        # Closing at once with a reset instead of an orderly end.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert get(address, "/healthz")[0][0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_the_status_is_shown_to_those_who_have_the_token() -> None:
    with monitor_at(token="a-token") as (monitor, address):
        monitor.on_message(NodeReport(status_json(node_status())))
        (refused,) = get(address, "/status")
        assert refused[0] == 401
        assert b"token" in refused[2]
        assert b"a-token" not in refused[2]
        assert get(address, "/status", Authorization="Bearer a-token")[0][0] == 200
        assert get(address, "/status", Authorization="Basic " + b64encode(b"me:a-token").decode())[0][0] == 200
        assert get(address, "/status", Authorization="Bearer b-token")[0][0] == 401
        assert get(address, "/whatever", Authorization="Bearer b-token")[0][0] == 401
        assert [answer[0] for answer in get(address, "/healthz", "/readyz", "/metrics", "/")] == [200] * 4


def test_an_open_monitor_is_warned_of(capfd: pytest.CaptureFixture[str]) -> None:
    with monitor_at("0.0.0.0"):
        assert "monitor_is_open" in capfd.readouterr().out
    with monitor_at("0.0.0.0", token="a-token"), monitor_at("127.0.0.1"):
        assert "monitor_is_open" not in capfd.readouterr().out
