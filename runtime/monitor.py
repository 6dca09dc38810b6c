"""The monitor process: serves the node's status and metrics over HTTP, from memory.

Gets the status from the supervisor with every heartbeat; a scrape never asks another process anything.
`/healthz` says that the node turns, `/readyz` that it does its work, `/status` everything, `/metrics` the same
for Prometheus.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from ..store.errors import ConfigurationError
from .access import CHALLENGE, is_allowed
from .actor import Actor
from .loop import Loop
from .messages import NodeReport, ToChild
from .metrics import StatusCollector
from .plan import NodePlan

# What everybody may ask for: it names subscriptions and processes, and holds no data.
_OPEN = ("/", "/metrics", "/healthz", "/readyz")
_FREE_PORT = "set [monitor] port to a free one (0 takes any), or enabled = false"
_OWN_HOST = 'set [monitor] host to an address of this machine, such as "127.0.0.1", or "0.0.0.0" for all of them'
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_JSON = "application/json; charset=utf-8"
_REFUSED = json.dumps({"error": "show the token of [monitor] token as bearer token or basic auth"}).encode()


class Monitor(Actor):
    """The actor of the monitor process."""

    def __init__(self, name: str, plan: NodePlan, control: socket.socket) -> None:
        super().__init__(name, plan, control)
        self._board = Board(plan.heartbeat_timeout)
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> str:
        """Listens; its address goes into the status."""
        self._server = self._listen()
        threading.Thread(target=self._server.serve_forever, daemon=True, name="http").start()
        host, port = self._server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{shown}:{port}"

    def _listen(self) -> ThreadingHTTPServer:
        where = self.plan.monitor
        if where.host not in _LOOPBACK and not where.token:
            self.log.warning("monitor_is_open", host=where.host, remedy="set [monitor] token, or host to 127.0.0.1")
        try:
            return _Server((where.host, where.port), self._board, where.token)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and where.any_port_if_taken:
                self.log.warning("monitor_port_taken", port=where.port, remedy="any free one is used; see child_ready")
                return _Server((where.host, 0), self._board, where.token)
            address = f"{where.host}:{where.port}"
            remedy = _FREE_PORT if error.errno in (errno.EADDRINUSE, errno.EACCES) else _OWN_HOST
            raise ConfigurationError(f"[monitor] cannot listen on {address}: {error.strerror}; {remedy}") from None

    def on_message(self, message: ToChild) -> None:
        """Takes the newest status."""
        if isinstance(message, NodeReport):
            self._board.update(message.status)

    def close(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.server_close()


class Board:
    """The newest status, and what the endpoints answer from it. Written by one thread, read by many.

    Args:
        stale_after: Seconds without a new status after which the node counts as stuck.
    """

    def __init__(self, stale_after: float) -> None:
        self._registry = CollectorRegistry()
        self._collector = StatusCollector()
        self._registry.register(self._collector)
        self._status = b""
        self._stale_after = stale_after
        self._updated_at = Loop.now()

    def update(self, status: bytes) -> None:
        """Takes a new status, as JSON."""
        self._collector.status = json.loads(status)
        self._status = status
        self._updated_at = Loop.now()

    def answer(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Status code, content type and body for a path."""
        match path:
            case "/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(self._registry)
            case "/status":
                return HTTPStatus.OK if self._status else HTTPStatus.SERVICE_UNAVAILABLE, _JSON, self._status or b"{}"
            case "/healthz":
                return _verdict(Loop.now() - self._updated_at <= self._stale_after, "the supervisor does not report")
            case "/readyz":
                return _verdict(bool(self._collector.status.get("ready")), _why_not_ready(self._collector.status))
            case "/":
                return HTTPStatus.OK, "text/plain; charset=utf-8", b"/metrics\n/status\n/healthz\n/readyz\n"
            case _:
                there_are = "/metrics, /status, /healthz and /readyz"
                return HTTPStatus.NOT_FOUND, _JSON, json.dumps({"error": f"no {path} here; ask {there_are}"}).encode()


def _verdict(good: bool, reason: str) -> tuple[HTTPStatus, str, bytes]:
    if good:
        return HTTPStatus.OK, _JSON, b'{"ok": true}'
    return HTTPStatus.SERVICE_UNAVAILABLE, _JSON, json.dumps({"ok": False, "reason": reason}).encode()


def _why_not_ready(status: dict[str, Any]) -> str:
    """The first thing that keeps the node from being ready, in one sentence."""
    if not status:
        return "starting"
    for child in status["children"]:
        if child["state"] not in ("running", "finished"):
            return f"process {child['name']} is {child['state']}: {child['reason'] or 'just started'}"
    for subscription in status["subscriptions"]:
        if subscription["state"] not in ("waiting", "catching_up", "live", "paused"):
            return f"subscription {subscription['name']} is {_state_and_reason(subscription)}"
    return str(status["state"])


def _state_and_reason(subscription: dict[str, Any]) -> str:
    state, reason = subscription["state"], subscription["reason"]
    return reason if reason.startswith(state) else f"{state}: {reason}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], board: Board, token: str) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.board = board
        self.token = token
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Binds without asking DNS for a name of the address, which can take many seconds and serves nothing."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away early is not worth a traceback."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "eventstore-runtime"
    sys_version = ""
    timeout = 10

    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        path = self.path.partition("?")[0]
        if path in _OPEN or is_allowed(self.server.token, self.headers["Authorization"]):
            code, content_type, body = self.server.board.answer(path)
        else:
            code, content_type, body = HTTPStatus.UNAUTHORIZED, _JSON, _REFUSED
        self.send_response(code)
        if code == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", CHALLENGE)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a line each."""
