"""Two nodes, continuous appends, and random faults; at the end every promise is checked from the database.

    python -m eventstore.tests.faults.chaos --minutes 10 --seed 1

The seed fixes which faults come in which order; the operating system still decides what they hit. The faults are those
of `support/calamities.py`.
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from eventstore.store import EventData, EventStore, StoreUnavailable, connect, initialise
from eventstore.tests.support.calamities import World
from eventstore.tests.support.cluster import Cluster, new_cluster
from eventstore.tests.support.node import Project
from eventstore.tests.support.proxy import running_proxy
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
    max_crashes = 1000 # what dies here is innocent

    [[subscriptions]]
    name = "plain"
    handler = "my_handlers:plain"
    concurrency = 2
    partition_by = "stream"
    max_crashes = 1000
"""
TABLES = {
    "restart": "backoff_min = 0.01\nbackoff_max = 0.3",
    "runtime": "heartbeat_interval = 0.1\nheartbeat_timeout = 3.0\nlock_retry_interval = 0.5\ncanary_interval = 0.5",
}
SCHEMA = "chaos"
VARIABLES = {
    "EVENTSTORE__STORE__SCHEMA": SCHEMA,
    "EVENTSTORE__STORE__TIMEOUT": "2",
    "EVENTSTORE__STORE__CONNECT_TIMEOUT": "2",
}
# After every so many faults the next one waits for calm, so that a recovery can be measured.
_CALM_EVERY = 4


class Writer:
    """Appends small batches to thirty streams until told to stop, and remembers how many."""

    def __init__(self, url: str, seed: int, schema: str = SCHEMA) -> None:
        self.appended: Counter[str] = Counter()
        self._url = url
        self._schema = schema
        self._rng = random.Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> int:
        """The number of events appended."""
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self.appended.total()

    def _run(self) -> None:
        try:
            with EventStore(self._url, schema=self._schema, pool_size=1) as store:
                while not self._stopping.wait(0.01):
                    self._append(store, f"s-{self._rng.randrange(30)}", self._rng.randrange(1, 6))
        except BaseException as error:
            self._failure = error

    def _append(self, store: EventStore, stream: str, number: int) -> None:
        events = [EventData("Happened", {"seconds": 0.001})] * number
        try:
            store.append_to_stream(stream, self.appended[stream], events)
            self.appended[stream] += number
        except StoreUnavailable:
            # Whether it was committed shows when the server is back; nobody else appends.
            (self.appended[stream],) = wait_until(lambda: _version(store, stream), "the server is back") or (0,)


def _version(store: EventStore, stream: str) -> tuple[int] | None:
    """The stream's version, None while the server is away."""
    try:
        return (store.stream_heads([stream]).get(stream, 0),)
    except StoreUnavailable:
        return None


Recoveries = dict[str, list[float | None]]
"""For each kind of fault, every time it happened: the seconds until all was well, None where nobody waited."""


def run_chaos(folder: Path, *, seconds: float, seed: int) -> Recoveries:
    """Runs the storm and checks the calm after it.

    Raises:
        AssertionError: A promise was broken; says which.
    """
    with new_cluster() as cluster, running_proxy(cluster.port) as one, running_proxy(cluster.port) as other:
        project = Project(folder, cluster.url(), SCHEMA)
        with connect(cluster.url(), "test") as conn:
            initialise(conn, SCHEMA)
            create_tables(conn, SCHEMA)
        project.handlers(HANDLERS)
        project.configure(SUBSCRIPTIONS, **TABLES)
        project.variables = VARIABLES
        rng = random.Random(seed)
        writer = Writer(f"{cluster.admin_url}&options=-c%20default_transaction_read_only%3Doff", seed)
        try:
            world = World(cluster, (one, other), project, SCHEMA, rng)
            writer.start()
            try:
                recoveries = _storm(world, rng, seconds)
            finally:
                head = writer.stop()
            _check(cluster, world, dict(writer.appended), head)
        finally:
            project.stop_all()
    return recoveries


def _storm(world: World, rng: random.Random, seconds: float) -> Recoveries:
    recoveries: Recoveries = defaultdict(list)
    calamities = world.calamities()
    # All of them once, in any order, and then as often as their weights say.
    first = rng.sample(calamities, len(calamities))
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        time.sleep(rng.uniform(0.02, 0.3))
        chosen = first.pop() if first else rng.choices(calamities, [calamity.weight for calamity in calamities])[0]
        number += 1
        if not chosen.happen(rng.randrange(2)):
            continue
        recoveries[chosen.name].append(_recovery(world) if number % _CALM_EVERY == 0 else None)
    return recoveries


def _recovery(world: World) -> float:
    begun = time.monotonic()
    for node in world.nodes:
        node.until_ready()
    return time.monotonic() - begun


def _check(cluster: Cluster, world: World, appended: dict[str, int], head: int) -> None:
    with EventStore(cluster.admin_url, schema=SCHEMA) as store, connect(cluster.admin_url, "test") as conn:

        def checkpoints() -> set[int | None]:
            return {store.subscription("$all", name).last_seen for name in ("counter", "plain")}

        def seen() -> str:
            return "\n".join([str(checkpoints()), *(f"{node.status()}\n{node.log[-4_000:]}" for node in world.nodes)])

        wait_until(lambda: checkpoints() == {head}, f"both are at {head}", seen)
        appended = {stream: number for stream, number in appended.items() if number}
        assert totals(conn, SCHEMA) == appended, "effects are not exactly once"
        in_order = {stream: list(range(1, number + 1)) for stream, number in appended.items()}
        assert orders(conn, SCHEMA) == in_order, "effects are out of order"
        handled = {int(line[0]) for line in calls(world.project, "plain")}
        assert handled == set(range(1, head + 1)), "events were lost"
    for node in world.nodes:
        node.until_ready()
        assert node.terminate() == 0, node.log
    wait_until(lambda: not [p for node in world.nodes for p in node.living()], "no process is left")


def table_of(recoveries: Recoveries) -> Table:
    """Faults and recoveries, for people."""
    table = Table("Fault", "Times", "Recovery, median", "longest", box=box.SIMPLE)
    for name, times in sorted(recoveries.items()):
        measured = [seconds for seconds in times if seconds is not None]
        shown = (f"{median(measured):.1f} s", f"{max(measured):.1f} s") if measured else ("", "")
        table.add_row(name, str(len(times)), *shown)
    return table


def main() -> None:
    """Runs it from the command line and prints the faults."""
    parser = argparse.ArgumentParser(description="Random faults on two nodes; every promise is checked at the end.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="which faults (random)")
    given = parser.parse_args()
    # The writer's pool loses its server again and again; that is no news.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    console = Console()
    console.print(f"seed {given.seed}, {given.minutes:g} minutes")
    with tempfile.TemporaryDirectory() as folder:
        recoveries = run_chaos(Path(folder), seconds=given.minutes * 60, seed=given.seed)
    console.print(table_of(recoveries), "Nothing lost, order kept, effects exactly once.")


if __name__ == "__main__":
    main()
