"""Every kind of handler in a real worker: async, batches, state; hanging, dying, growing, retiring; exact counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventstore.store import Connection, EventData, EventStore
from eventstore.tests.support.node import Project
from eventstore.tests.support.recording import create_tables, orders
from eventstore.tests.support.wait import wait_until

HANDLERS = """
    import asyncio
    import ctypes
    import os
    import re
    import time
    from pathlib import Path

    from eventstore import ConfigurationError
    from eventstore.handlers import DoneUpTo, Retry, handler
    from psycopg.sql import SQL, Identifier

    HERE = Path(__file__).parent


    def write(name, *lines):
        with (HERE / name).open("a") as file:
            file.write("".join(f"{line}\\n" for line in lines))


    def first_time(name):
        marker = HERE / f"{name}.marker"
        known = marker.exists()
        marker.touch()
        return not known


    async def later(event, context):
        await asyncio.sleep(0.001)
        write("later", event.event_number)


    def batch(events, context):
        write("sizes", len(events))
        if len(events) > 1 and events[0].event_number <= 3 <= events[-1].event_number:
            raise ValueError("one of them is bad")
        if events[0].event_number == 3 and context.attempt < 3:
            raise ValueError("it is this one")
        done = events[:5]
        write("batch", *[event.event_number for event in done])
        return DoneUpTo(len(done), Retry(after=0))


    @handler(name="projection")
    class Projection:
        def __init__(self):
            self.total = 0

        async def start(self):
            self.loop = asyncio.get_running_loop()
            write("hooks", f"start {os.getpid()}")

        async def handle(self, event, context):
            assert asyncio.get_running_loop() is self.loop
            self.total += 1
            write("projection", event.event_number)

        async def stop(self):
            write("hooks", f"stop {os.getpid()} {self.total}")


    async def count(events, context):
        table = Identifier(context.schema, "effects")
        for event in events:
            await context.connection.execute(
                SQL("insert into {} (stream, version) values (%s, %s)").format(table),
                (event.stream_uuid, event.stream_version),
            )


    HANGS = {
        "python": lambda: [None for _ in iter(int, 1)],
        "sleep": lambda: time.sleep(3600),
        "regex": lambda: re.fullmatch("(a+)+b", "a" * 64),
        "gil": lambda: ctypes.PyDLL(None).sleep(3600),
    }


    def hanging(event, context):
        if event.data in HANGS and first_time(event.data):
            HANGS[event.data]()
        write("hanging", event.event_number)


    async def hanging_later(event, context):
        if event.data == "await" and first_time("await"):
            await asyncio.sleep(3600)
        write("hanging", event.event_number)


    def deadly(event, context):
        if event.data == "die" and first_time("die"):
            os._exit(9)
        write("deadly", event.event_number)


    def steady(event, context):
        write(f"steady.{os.getpid()}", event.event_number)


    class Clinging:
        def handle(self, event, context):
            write("clinging", event.event_number)

        def stop(self):
            time.sleep(3600)


    hoard = []


    def growing(event, context):
        hoard.append(b"x" * (2 * 1024 * 1024))
        write(f"growing.{os.getpid()}", event.event_number)


    class Misconfigured:
        def start(self):
            raise ConfigurationError("the projection needs PROJECTION_URL; set it")

        def handle(self, event, context):
            raise AssertionError("never started")


    class Reluctant(Misconfigured):
        def start(self):
            if first_time("reluctant"):
                raise OSError("not yet")

        def handle(self, event, context):
            write("reluctant", event.event_number)


    def odd(event):
        return event.event_number % 2


    def mapped(event):
        return f"mapped-{event.event_number}"


    def chosen(text, context):
        write("chosen", f"{text}/{context.partition}")
"""


def lines(project: Project, name: str) -> list[str]:
    """What the handlers wrote under a name, whole lines only."""
    written: list[str] = []
    for file in sorted(project.folder.glob(name)):
        written += file.read_text().splitlines()
    return written


def numbers(project: Project, name: str) -> list[int]:
    return sorted(map(int, lines(project, name)))


def append(event_store: EventStore, *data: object) -> None:
    event_store.append_to_stream("a", 0, [EventData("Happened", one) for one in data])


def test_async_batch_and_stateful_handlers_each_see_every_event_once(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure("""
        [[subscriptions]]
        name = "later"
        handler = "my_handlers:later"

        [[subscriptions]]
        name = "batch"
        handler = "my_handlers:batch"
        batch_size = 8
        batch_timeout = 0.01
        retry_backoff_min = 0.01

        [[subscriptions]]
        handler = "my_handlers:Projection"

        [[subscriptions]]
        name = "chosen"
        handler = "my_handlers:chosen"
        partition_by = "stream"
        selector = "my_handlers:odd"
        mapper = "my_handlers:mapped"
    """)
    append(event_store, *range(100))
    node = project.start()
    node.until_idle("later", "batch", "projection", "chosen", at=100)
    assert node.terminate() == 0
    everything = list(range(1, 101))
    for name in ("later", "batch", "projection"):
        assert numbers(project, name) == everything, name
    assert lines(project, "chosen") == [f"mapped-{n}/a" for n in everything if n % 2]
    assert max(map(int, lines(project, "sizes"))) == 8
    started, stopped = (line.split() for line in lines(project, "hooks"))
    assert stopped == ["stop", started[1], "100"], "one instance saw all of it, and was stopped in order"
    assert "batch_failed" in node.log


def test_awaited_batches_have_exactly_once_effects(project: Project, event_store: EventStore, conn: Connection) -> None:
    create_tables(conn, project.schema)
    project.handlers(HANDLERS)
    project.configure("""
        [[subscriptions]]
        name = "count"
        handler = "my_handlers:count"
        concurrency = 2
        partition_by = "stream"
        transactional = true
        batch_size = 7
        max_events_per_worker = 40
    """)
    for stream in "abc":
        event_store.append_to_stream(stream, 0, [EventData("Happened", {})] * 60)
    assert project.start("--until-idle").wait() == 0
    assert orders(conn, project.schema) == {stream: list(range(1, 61)) for stream in "abc"}


@pytest.mark.parametrize(
    ("how", "handler", "said"),
    [
        ("python", "hanging", "in <lambda>"),
        ("sleep", "hanging", "in <lambda>"),
        ("regex", "hanging", "in fullmatch"),
        ("gil", "hanging", "in <lambda>"),
        ("await", "hanging_later", "in run_until_complete"),
    ],
)
def test_a_call_that_hangs_is_ended_says_where_and_comes_again(
    project: Project, event_store: EventStore, how: str, handler: str, said: str
) -> None:
    project.handlers(HANDLERS)
    project.configure(f"""
        [[subscriptions]]
        name = "hanging"
        handler = "my_handlers:{handler}"
        timeout = 2.0
    """)
    append(event_store, 1, how, 3)
    node = project.start()
    node.until_idle("hanging", at=3)
    assert node.terminate() == 0
    assert set(numbers(project, "hanging")) == {1, 2, 3}
    assert "SIGALRM" in node.log
    assert said in node.log


def test_a_worker_that_dies_in_its_handler_leaves_nothing_out(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure('[[subscriptions]]\nname = "deadly"\nhandler = "my_handlers:deadly"\n')
    append(event_store, 1, "die", 3)
    node = project.start()
    node.until_idle("deadly", at=3)
    assert set(numbers(project, "deadly")) == {1, 2, 3}
    (worker,) = (child for child in node.status()["children"] if child["name"] == "worker:deadly:0")
    assert (worker["restarts"], worker["last_exit"]) == (1, "exit code 9")


@pytest.mark.parametrize("partition_by", ["", 'partition_by = "event_type"'])
def test_retirement_neither_loses_nor_doubles_an_event(
    project: Project, event_store: EventStore, partition_by: str
) -> None:
    project.handlers(HANDLERS)
    project.configure(f"""
        [[subscriptions]]
        name = "steady"
        handler = "my_handlers:steady"
        concurrency = 2
        {partition_by}
        max_events_per_worker = 50
    """)
    append(event_store, *range(600))
    node = project.start()
    node.until_idle("steady", at=600)
    assert numbers(project, "steady.*") == list(range(1, 601))
    lives = [len(file.read_text().split()) for file in project.folder.glob("steady.*")]
    assert max(lives) == 50
    assert len(lives) >= 12
    workers = [child for child in node.status()["children"] if child["name"].startswith("worker:")]
    assert all(child["restarts"] == 0 for child in workers), "to retire is no failure"
    assert node.terminate() == 0


def test_a_stop_that_hangs_does_not_keep_the_successor_waiting(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure(
        """
        [[subscriptions]]
        name = "clinging"
        handler = "my_handlers:Clinging"
        max_events_per_worker = 2
        """,
        runtime="grace = 0.5",
        restart="backoff_min = 0.05",
    )
    append(event_store, *range(3))
    node = project.start()
    node.until_idle("clinging", at=3)
    assert numbers(project, "clinging") == [1, 2, 3]
    assert "SIGALRM" in node.log
    assert "in stop" in node.log


def test_a_worker_that_grows_is_replaced(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure('[[subscriptions]]\nname = "growing"\nhandler = "my_handlers:growing"\nmax_rss = 180\n')
    append(event_store, *range(350))
    node = project.start()
    node.until_idle("growing", at=350)
    assert node.terminate() == 0
    assert numbers(project, "growing.*") == list(range(1, 351))
    assert len(list(project.folder.glob("growing.*"))) >= 2
    assert "MiB of memory (max_rss)" in node.log


def test_a_start_that_cannot_be_is_final_and_one_that_fails_is_tried_again(
    project: Project, event_store: EventStore
) -> None:
    project.handlers(HANDLERS)
    project.configure(
        """
        [[subscriptions]]
        name = "misconfigured"
        handler = "my_handlers:Misconfigured"

        [[subscriptions]]
        name = "reluctant"
        handler = "my_handlers:Reluctant"
        """,
        restart="backoff_min = 0.05",
    )
    append(event_store, 1, 2)
    node = project.start()
    failed = node.until_state("misconfigured", "failed")
    assert failed["reason"].endswith("the projection needs PROJECTION_URL; set it")
    node.until_idle("reluctant", at=2)
    restarts = {child["name"]: child["restarts"] for child in node.status()["children"]}
    assert (restarts["worker:misconfigured:0"], restarts["worker:reluctant:0"]) == (0, 1)
    assert "OSError: not yet" in node.log
    assert numbers(project, "reluctant") == [1, 2]
    assert node.terminate() == 0
    waiting = project.start("--until-idle")
    assert waiting.wait() == 2, "starting it again would not help"
    assert "error: subscription 'misconfigured': the projection needs PROJECTION_URL; set it" in waiting.log


def test_what_cannot_be_a_handler_is_said_at_the_start(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    Path(project.folder / "wrong.py").write_text("class NoHandler:\n    def run(self): ...\n")
    project.configure('[[subscriptions]]\nname = "s"\nhandler = "wrong:NoHandler"\n')
    node = project.start()
    assert node.wait() == 2
    wait_until(lambda: "class 'wrong:NoHandler' has no method handle(event, context)" in node.log, "it says why")
