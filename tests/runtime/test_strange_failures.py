"""Handlers and functions that fail with what can hardly be told: counted as failures, and no harm to anybody else."""

from __future__ import annotations

import pytest

from eventstore.store import EventData, EventStore
from eventstore.tests.support.node import Project
from eventstore.tests.support.wait import wait_until

HANDLERS = '''
    """Fails in ways that are seldom seen."""

    from pathlib import Path

    CALLS = Path(__file__).with_name("calls")
    CALLS.mkdir(exist_ok=True)


    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError("it has no words")


    class Panic(BaseException):
        """As extensions written in Rust raise it."""


    def fail(how):
        if how == "nul":
            raise ValueError("a byte of zero: \\0")
        if how == "surrogate":
            raise ValueError("half a character: \\ud800")
        if how == "unspeakable":
            raise Unspeakable
        if how == "panic":
            raise Panic("index out of bounds")
        if how == "endless":
            raise ValueError("much " * 1_000_000)


    def handle(event, context):
        fail(event.data["how"])
        with (CALLS / context.subscription).open("a") as file:
            file.write(f"{event.event_number}\\n")


    def other(event, context):
        with (CALLS / context.subscription).open("a") as file:
            file.write(f"{event.event_number}\\n")


    def partition(event):
        fail(event.data["how"])
        return event.stream_uuid
'''

SAID = {
    "nul": r"ValueError: a byte of zero: \0",
    "surrogate": r"ValueError: half a character: \ud800",
    "unspeakable": "Unspeakable: its text cannot be had (RuntimeError)",
    "panic": "Panic: index out of bounds",
    "endless": "ValueError: much much",
}


@pytest.mark.parametrize("how", SAID)
def test_a_handler_that_fails_strangely_is_counted(project: Project, event_store: EventStore, how: str) -> None:
    project.handlers(HANDLERS)
    project.configure(
        """
        [[subscriptions]]
        name = "s"
        handler = "my_handlers:handle"
        on_exhausted = "park"
        max_attempts = 2
        retry_backoff_min = 0.01
        """
    )
    event_store.append_to_stream("a", 0, [EventData("E", {"how": how}), EventData("E", {"how": ""})])
    node = project.start().until_ready()
    node.until_idle("s", at=2)
    assert (project.folder / "calls" / "s").read_text() == "2\n"
    (parked,) = event_store.parked_events("$all", "s")
    assert (parked.number, parked.attempts) == (1, 2)
    assert SAID[how] in parked.reason
    assert len(parked.reason) < 3_000
    assert sum(child["restarts"] for child in node.status()["children"]) == 0
    assert node.terminate() == 0


@pytest.mark.parametrize("how", SAID)
def test_a_partition_that_fails_strangely_halts_its_subscription_only(
    project: Project, event_store: EventStore, how: str
) -> None:
    project.handlers(HANDLERS)
    project.configure(
        """
        [[subscriptions]]
        name = "s"
        handler = "my_handlers:other"
        partition_by = "my_handlers:partition"

        [[subscriptions]]
        name = "other"
        handler = "my_handlers:other"
        """
    )
    event_store.append_to_stream("a", 0, [EventData("E", {"how": ""}), EventData("E", {"how": how})])
    node = project.start()
    wait_until(lambda: node.subscription("s").get("state") == "halted", "s is halted", lambda: node.log)
    assert f"halted at event 2: partition_by failed with {SAID[how]}" in node.subscription("s")["reason"]
    node.until_idle("other", at=2)
    assert sum(child["restarts"] for child in node.status()["children"]) == 0
