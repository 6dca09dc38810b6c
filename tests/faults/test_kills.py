"""kill -9 of each process while events are handled: nothing is lost, order holds, effects are exactly once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from eventstore.store import Connection, EventData, EventStore
from eventstore.tests.support.database import temporary_home
from eventstore.tests.support.git import Repository
from eventstore.tests.support.node import COMMAND, Node, Project, environment
from eventstore.tests.support.recording import HANDLERS, calls, create_tables, orders, totals
from eventstore.tests.support.wait import wait_until

STREAMS = [f"stream-{number}" for number in range(10)]
PER_STREAM = 60

SUBSCRIPTIONS = """
    [[subscriptions]]
    name = "counter"
    handler = "my_handlers:count"
    concurrency = 3
    partition_by = "stream"
    transactional = true
    transaction_size = 5
    buffer_size = 20
    max_crashes = 1000 # what dies here is innocent

    [[subscriptions]]
    name = "plain"
    handler = "my_handlers:plain"
    max_crashes = 1000
"""


def start(project: Project, event_store: EventStore, conn: Connection) -> Node:
    """A node with work for a second or two, so that kills hit it in the middle."""
    create_tables(conn, project.schema)
    project.handlers(HANDLERS)
    project.configure(SUBSCRIPTIONS, restart="backoff_min = 0.01\nbackoff_max = 0.1")
    for stream in STREAMS:
        events = [EventData("Happened", {"seconds": 0.003}) for _ in range(PER_STREAM)]
        event_store.append_to_stream(stream, 0, events)
    return project.start()


def check(project: Project, node: Node, conn: Connection) -> None:
    """Everything is done: exactly once by the transactional handler, at least once by the plain one."""
    node.until_idle("counter", "plain", at=len(STREAMS) * PER_STREAM)
    assert totals(conn, project.schema) == dict.fromkeys(STREAMS, PER_STREAM)
    assert orders(conn, project.schema) == {stream: list(range(1, PER_STREAM + 1)) for stream in STREAMS}
    handled = {int(line[0]) for line in calls(project, "plain")}
    assert handled == set(range(1, len(STREAMS) * PER_STREAM + 1))
    assert node.terminate() == 0


def kill(node: Node, which: Callable[[str], bool], rng: random.Random) -> bool:
    """Kills one of the running children that are meant; False when there is none at this moment."""
    pids = [pid for name, pid in node.children().items() if which(name)]
    if not pids:
        return False
    try:
        os.kill(rng.choice(pids), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("role", ["worker:", "listener", "lock-holder", ""])
def test_kill_minus_nine(
    project: Project, event_store: EventStore, conn: Connection, role: str, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(request.node.name)
    node = start(project, event_store, conn)
    for step in range(1, 7):
        wait_until(
            lambda step=step: (node.subscription("counter").get("checkpoint") or 0) >= step * 60,
            "the work goes on",
            lambda: node.log,
        )
        wait_until(lambda: kill(node, lambda name: name.startswith(role), rng), "there is somebody to kill")
    check(project, node, conn)


def test_kill_of_the_fork_server_brings_everything_back(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    node = start(project, event_store, conn)
    wait_until(lambda: (node.subscription("counter").get("checkpoint") or 0) >= 100, "the work goes on")
    before = node.children()
    (server,) = [p for p in node.living() if any("forkserver" in part for part in p.cmdline()[:6])]
    server.kill()
    wait_until(lambda: node.children() and not set(node.children().values()) & set(before.values()), "all are new")
    check(project, node, conn)


def test_no_process_outlives_a_killed_supervisor(project: Project, event_store: EventStore, conn: Connection) -> None:
    node = start(project, event_store, conn)
    wait_until(lambda: len(node.children()) == 7, "all children run")
    assert len(node.living()) >= 7
    node.kill()
    wait_until(lambda: not node.living(), "nobody is left", lambda: str(node.living()))
    again = project.start()
    check(project, again, conn)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_no_process_outlives_a_killed_supervisor_though_it_is_busy(
    project: Project, event_store: EventStore, method: str
) -> None:
    """A handler that never returns hears nothing of channels that close: the kernel must end it."""
    project.handlers(HANDLERS)
    project.configure(
        """
        [[subscriptions]]
        name = "slow"
        handler = "my_handlers:slow"
        """,
        runtime=f'heartbeat_interval = 0.1\nstart_method = "{method}"',
    )
    event_store.append_to_stream("a", 0, [EventData("Happened", {"seconds": 3600.0})])
    node = project.start().until_ready()
    wait_until(lambda: calls(project, "slow"), "the worker is inside its handler", lambda: node.log)
    node.kill()
    wait_until(lambda: not node.living(), "nobody is left", lambda: str(node.living()))


def test_the_demo_equals_git_log_though_its_processes_are_killed(repository: Repository, tmp_path: Path) -> None:
    names = [f"Dev {n} <dev{n}@example.com>".encode() for n in range(20)]
    rng = random.Random(7)
    repository.fast_import(rng.choice(names) for _ in range(4_000))
    with temporary_home() as home, (tmp_path / "out.json").open("wb") as out, (tmp_path / "err").open("wb") as err:
        arguments = ("demo", "--git", str(repository.path), "--json", "--data-dir", str(home))
        variables = {"EVENTSTORE__RESTART__BACKOFF_MIN": "0.01", "EVENTSTORE__RESTART__BACKOFF_MAX": "0.1"}
        process = subprocess.Popen([*COMMAND, *arguments], stdout=out, stderr=err, env=environment(**variables))
        killed = _kill_children_until_it_ends(process, rng)
        assert process.wait() == 0, (tmp_path / "err").read_text()
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["projection"] == dict(repository.authors())
    assert killed >= 3, f"only {killed} kills hit anything"
    assert {s["lag"] for s in result["subscriptions"].values()} == {0}


def _kill_children_until_it_ends(process: subprocess.Popen[bytes], rng: random.Random) -> int:
    """Kills a random worker, listener or lock-holder every now and then, a dozen times at most."""
    killed = 0
    while process.poll() is None:
        try:
            family = psutil.Process(process.pid).children(recursive=True)
            targets = [p for p in family if any(role in _title(p) for role in ("worker:", "listener", "lock-holder"))]
        except psutil.NoSuchProcess:
            break
        if targets and killed < 12:
            killed += _kill(rng.choice(targets))
        try:
            process.wait(rng.uniform(0.05, 0.2))
        except subprocess.TimeoutExpired:
            continue
    return killed


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _kill(process: psutil.Process) -> int:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return 0
    return 1
