"""The promise of transactional handlers under as many kills as it takes: effects equal events, exactly."""

from __future__ import annotations

import os
import random
import time

import psutil

from eventstore.store import Connection
from eventstore.tests.faults.chaos import Writer
from eventstore.tests.support.node import Node, Project
from eventstore.tests.support.recording import HANDLERS, create_tables, orders, totals
from eventstore.tests.support.wait import wait_until

KILLS = int(os.environ.get("EVENTSTORE_TEST_KILLS") or 200)
ROLES = ("worker:", "listener", "lock-holder")
COUNTER = """
    [[subscriptions]]
    name = "counter"
    handler = "my_handlers:count"
    concurrency = 4
    partition_by = "stream"
    transactional = true
    transaction_size = 5
    buffer_size = 20
    max_crashes = 100000 # what dies here is innocent
"""


def test_a_counter_equals_the_number_of_events_after_200_kills(project: Project, conn: Connection) -> None:
    seed = int(os.environ.get("EVENTSTORE_TEST_SEED") or random.randrange(10**6))
    print(f"EVENTSTORE_TEST_SEED={seed}")  # noqa: T201 - shown where it fails
    rng = random.Random(seed)
    create_tables(conn, project.schema)
    project.handlers(HANDLERS)
    project.configure(COUNTER, restart="backoff_min = 0.01\nbackoff_max = 0.1")
    node = project.start().until_ready()
    writer = Writer(project.url, seed, project.schema)
    writer.start()
    try:
        killed = dict.fromkeys(ROLES, 0)
        while sum(killed.values()) < KILLS:
            time.sleep(rng.uniform(0.01, 0.1))  # so that some of what is killed has got to its work
            role = wait_until(lambda: _kill_one(node, rng), "there is somebody to kill", lambda: node.log)
            killed[role] += 1
    finally:
        head = writer.stop()
    assert min(killed.values()) > 0, killed
    node.until_idle("counter", at=head)
    assert totals(conn, project.schema) == dict(writer.appended)
    assert orders(conn, project.schema) == {
        stream: list(range(1, number + 1)) for stream, number in writer.appended.items()
    }
    assert node.process.poll() is None, "the supervisor lives through it"
    assert node.terminate() == 0


def _kill_one(node: Node, rng: random.Random) -> str:
    """Kills a random child; its role, empty where there is none at this moment."""
    children = [(process, _role(process)) for process in psutil.Process(node.process.pid).children(recursive=True)]
    targets = [(process, role) for process, role in children if role]
    if not targets:
        return ""
    process, role = rng.choice(targets)
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return ""
    return role


def _role(process: psutil.Process) -> str:
    try:
        title = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
    return next((role for role in ROLES if role in title), "")
