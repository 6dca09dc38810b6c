"""Two nodes, continuous appends, and random faults; at the end every promise is checked from the database.

    python -m eventstore.tests.faults.chaos --minutes 10 --seed 1

The seed fixes which faults come in which order; the operating system still decides what they hit.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from eventstore.store import Connection, EventData, EventStore, connect
from eventstore.tests.support.database import fresh_schema, running_server
from eventstore.tests.support.node import Node, Project
from eventstore.tests.support.recording import HANDLERS, calls, create_tables, orders, totals
from eventstore.tests.support.wait import wait_until

SUBSCRIPTIONS = """
    [[subscriptions]]
    name = "counter"
    handler = "my_handlers:count"
    concurrency = 3
    partition_by = "stream"
    transactional = true
    transaction_size = 5

    [[subscriptions]]
    name = "plain"
    handler = "my_handlers:plain"
    concurrency = 2
    partition_by = "stream"
"""
TABLES = {
    "restart": "backoff_min = 0.01\nbackoff_max = 0.2",
    "runtime": "heartbeat_interval = 0.1\nlock_retry_interval = 0.5",
}
TERMINATE = """
    select pg_terminate_backend(pid) from pg_stat_activity
     where application_name like 'eventstore-runtime %@%' and random() < 0.4
"""


class Writer:
    """Appends small batches to thirty streams until told to stop, and remembers how many."""

    def __init__(self, store: EventStore, seed: int) -> None:
        self.appended: Counter[str] = Counter()
        self._store = store
        self._rng = random.Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> int:
        """The number of events appended."""
        self._stopping.set()
        self._thread.join()
        return self.appended.total()

    def _run(self) -> None:
        while not self._stopping.wait(0.01):
            stream, number = f"s-{self._rng.randrange(30)}", self._rng.randrange(1, 6)
            self._store.append_to_stream(stream, "any_version", [EventData("Happened", {"seconds": 0.001})] * number)
            self.appended[stream] += number


class Chaos:
    """Two nodes, and what can happen to them."""

    def __init__(self, project: Project, conn: Connection, seed: int) -> None:
        self._project = project
        self._conn = conn
        self._rng = random.Random(seed)
        self._nodes = [project.start(name="a"), project.start(name="b")]
        self.faults: Counter[str] = Counter()
        self._choices: list[tuple[str, Callable[[int], bool], int]] = [
            ("kill -9 of a child", self._kill_child, 10),
            ("backends terminated", self._terminate_backends, 3),
            ("kill -9 of a supervisor", self._kill_supervisor, 1),
            ("orderly stop and start", self._restart, 1),
            ("child stopped and continued", self._freeze_child, 1),
        ]

    def fault(self) -> None:
        """Does something bad to one of the nodes, if there is something to do it to."""
        name, act, _ = self._rng.choices(self._choices, [weight for *_, weight in self._choices])[0]
        try:
            if act(self._rng.randrange(2)):
                self.faults[name] += 1
        except ProcessLookupError:
            return

    def end(self) -> list[Node]:
        """Stops both nodes in order."""
        for node in self._nodes:
            node.until_ready()
            assert node.terminate() == 0, node.log
        return self._nodes

    def _kill_child(self, index: int) -> bool:
        children = self._nodes[index].children()
        if children:
            os.kill(self._rng.choice(list(children.values())), signal.SIGKILL)
        return bool(children)

    def _terminate_backends(self, _: int) -> bool:
        return bool(self._conn.execute(TERMINATE).fetchall())

    def _kill_supervisor(self, index: int) -> bool:
        self._nodes[index].kill()
        return self._start(index)

    def _restart(self, index: int) -> bool:
        node = self._nodes[index]
        if not node.status():
            return False
        assert node.terminate() == 0, f"an orderly stop was none:\n{node.log}"
        return self._start(index)

    def _freeze_child(self, index: int) -> bool:
        children = self._nodes[index].children()
        if not children:
            return False
        pid = self._rng.choice(list(children.values()))
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self._rng.uniform(0.1, 1.0))
        os.kill(pid, signal.SIGCONT)
        return True

    def _start(self, index: int) -> bool:
        self._nodes[index] = self._project.start(name=self._nodes[index].name)
        return True


def run_chaos(url: str, schema: str, folder: Path, *, seconds: float, seed: int) -> Counter[str]:
    """Runs the storm and checks the calm after it.

    Returns:
        How often each kind of fault was done.

    Raises:
        AssertionError: A promise was broken; says which.
    """
    project = Project(folder, url, schema)
    with connect(url, "test") as conn, EventStore(url, schema=schema, pool_size=2) as store:
        create_tables(conn, schema)
        project.handlers(HANDLERS)
        project.configure(SUBSCRIPTIONS, **TABLES)
        try:
            chaos, writer, rng = Chaos(project, conn, seed), Writer(store, seed), random.Random(seed)
            writer.start()
            until = time.monotonic() + seconds
            try:
                while time.monotonic() < until:
                    time.sleep(rng.uniform(0.02, 0.3))
                    chaos.fault()
            finally:
                head = writer.stop()
            _check(project, store, conn, dict(writer.appended), head)
            nodes = chaos.end()
            wait_until(lambda: not [p for node in nodes for p in node.living()], "no process is left")
        finally:
            project.stop_all()
    return chaos.faults


def _check(project: Project, store: EventStore, conn: Connection, appended: dict[str, int], head: int) -> None:
    def checkpoints() -> set[int | None]:
        return {store.subscription("$all", name).last_seen for name in ("counter", "plain")}

    wait_until(lambda: checkpoints() == {head}, f"both are at {head}", lambda: str(checkpoints()))
    assert totals(conn, project.schema) == appended, "effects are not exactly once"
    in_order = {stream: list(range(1, number + 1)) for stream, number in appended.items()}
    assert orders(conn, project.schema) == in_order, "effects are out of order"
    handled = {int(line[0]) for line in calls(project, "plain")}
    assert handled == set(range(1, head + 1)), "events were lost"


def main() -> None:
    """Runs it from the command line and prints the faults."""
    parser = argparse.ArgumentParser(description="Random faults on two nodes; every promise is checked at the end.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="which faults (random)")
    given = parser.parse_args()
    console = Console()
    console.print(f"seed {given.seed}, {given.minutes:g} minutes")
    with running_server() as url, fresh_schema(url) as schema, tempfile.TemporaryDirectory() as folder:
        faults = run_chaos(url, schema, Path(folder), seconds=given.minutes * 60, seed=given.seed)
    table = Table("Fault", "Times", box=box.SIMPLE)
    for name, times in sorted(faults.items()):
        table.add_row(name, str(times))
    console.print(table, "Nothing lost, order kept, effects exactly once.")


if __name__ == "__main__":
    main()
