"""A node as a user starts it, by the command line: for what it costs at rest, and how long it takes to start."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter, sleep, time_ns
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from eventstore.store import Connection, EventStore, connect

from .case import Bench, Case, Figure, event
from .handlers import arrivals_file
from .node import HANDLERS, new_name
from .processes import cpu_seconds, family, proportional_size

SUBSCRIPTIONS = 10
_ROOT = Path(__file__).resolve().parents[1]
_LIMIT = 60.0
_POLL = 0.005
_BETWEEN_LOOKS = 0.02
_LAST_QUERIES = "select pid, query_start from pg_stat_activity where application_name like %s"


def cases() -> list[Case]:
    """An idle node, and a start."""
    idle = (
        Figure("idle-queries", "idle, 10 subscriptions, queries", "queries/s", less_is_better=True),
        Figure("idle-cpu", "idle, 10 subscriptions, CPU of one core", "%", less_is_better=True),
        Figure("idle-memory", "idle, 10 subscriptions, memory (PSS)", "MB", less_is_better=True),
    )
    start = Figure("start-up", "start-up, command to first event handled", "ms", less_is_better=True)
    return [Case(idle, at_rest), Case((start,), start_up)]


def at_rest(bench: Bench) -> tuple[float, ...]:
    """Queries per second, CPU and memory of a node that has nothing to do.

    It is watched ten times as long as other measures take, at least a few seconds, since it does so little.
    """
    with bench.fresh_schema() as schema:
        with EventStore(bench.url, schema=schema) as store:
            store.append_to_stream("account-0", "no_stream", [event(0)])
        node = new_name()
        subscriptions = [(new_name(), "noop") for _ in range(SUBSCRIPTIONS)]
        with (
            _node(bench.url, schema, node, subscriptions) as (process, status),
            connect(bench.url, "bench") as connection,
        ):
            _until(lambda: _all_idle(status()), "the node is idle", process)
            pids = family(process.pid)
            cpu, began = cpu_seconds(pids), perf_counter()
            queries = _count_queries(connection, node, max(2.0, bench.seconds * 10))
            elapsed, used = perf_counter() - began, cpu_seconds(pids) - cpu
            return queries / elapsed, 100 * used / elapsed, proportional_size(family(process.pid)) / 1e6


def _count_queries(connection: Connection, node: str, seconds: float) -> int:
    """How many queries a node sends in so many seconds.

    Each shows as the latest one of its session for a while. The server's own counts would do for a busy node; for one
    at rest they come up to a minute late.
    """
    name = [f"%@{node}"]
    before = set(connection.execute(_LAST_QUERIES, name))
    seen = set(before)
    end = perf_counter() + seconds
    while perf_counter() < end:
        sleep(_BETWEEN_LOOKS)
        seen.update(connection.execute(_LAST_QUERIES, name))
    return len(seen - before)


def start_up(bench: Bench) -> tuple[float]:
    """Milliseconds from the start of the process to the first call of the handler, on a store that exists."""
    name = new_name()
    file = arrivals_file(name)
    try:
        with bench.fresh_schema() as schema:
            with EventStore(bench.url, schema=schema) as store:
                store.append_to_stream("account-0", "no_stream", [event(0, called_at=0)])
            began = time_ns()
            with _node(bench.url, schema, new_name(), [(name, "time_of_arrival")]) as (process, _):
                _until(lambda: file.exists() and file.stat().st_size, "the first event is handled", process)
            return ((int(file.read_text()) - began) / 1e6,)
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def _node(
    url: str, schema: str, node: str, subscriptions: list[tuple[str, str]]
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], dict[str, Any]]]]:
    """A running node, and a function that asks its monitor for the status."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    declared = [{"name": name, "handler": f"{HANDLERS}:{handler}"} for name, handler in subscriptions]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSTORE__")}
    # By the environment, where nobody sees a password.
    variables = {
        "EVENTSTORE__STORE__URL": url,
        "EVENTSTORE__STORE__SCHEMA": schema,
        "EVENTSTORE__RUNTIME__NAME": node,
        "EVENTSTORE__RUNTIME__PYTHON_PATH": json.dumps([str(_ROOT)]),
        "EVENTSTORE__MONITOR__PORT": str(port),
        "EVENTSTORE__LOG__LEVEL": "warning",
    }
    with tempfile.TemporaryDirectory(prefix="eventstore-bench-") as folder:
        file = Path(folder) / "supervisor.toml"
        file.write_text("".join(f"[[subscriptions]]\n{_toml(one)}\n" for one in declared))
        command = [sys.executable, "-m", "eventstore.runtime", "run", "-c", str(file)]
        process = subprocess.Popen(command, env={**kept, **variables}, cwd=folder)
        try:
            yield process, lambda: _status(port)
        finally:
            process.terminate()
            process.wait(_LIMIT)


def _toml(options: dict[str, str]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())


def _status(port: int) -> dict[str, Any]:
    try:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/status", timeout=5) as answer:
            status: dict[str, Any] = json.load(answer)
            return status
    except (URLError, OSError):
        return {}


def _all_idle(status: dict[str, Any]) -> bool:
    subscriptions = status.get("subscriptions", [])
    return len(subscriptions) == SUBSCRIPTIONS and all(one["idle"] for one in subscriptions)


def _until(fact: Callable[[], object], what: str, process: subprocess.Popen[bytes]) -> None:
    deadline = monotonic() + _LIMIT
    while not fact():
        if process.poll() is not None:
            raise RuntimeError(f"the node ended with {process.returncode} before {what}")
        if monotonic() > deadline:
            raise RuntimeError(f"after {_LIMIT:g} s it is not so that {what}")
        sleep(_POLL)
