"""Replays: what handlers see of a reset, what keeps silent during it, and that nothing stays in their memory."""

from __future__ import annotations

import signal
from typing import Any

from eventstore.store import EventData, EventStore
from eventstore.tests.support.node import Node, Project, command
from eventstore.tests.support.recording import HANDLERS, calls
from eventstore.tests.support.wait import wait_until

REPLAYS = (
    HANDLERS
    + '''
    def seen(event, context):
        note(event, context, "replay" if context.is_replay else "live")


    def seen_together(events, context):
        for event in events:
            note(event, context, "replay" if context.is_replay else "live")


    class Counting:
        """Remembers in its process how many events it has seen."""

        def __init__(self):
            self.seen = 0

        def handle(self, event, context):
            self.seen += 1
            note(event, context, str(self.seen))
'''
)
SUBSCRIPTIONS = """
    [[subscriptions]]
    name = "loud"
    handler = "my_handlers:seen"
    side_effects = "{side_effects}"

    [[subscriptions]]
    name = "quiet"
    handler = "my_handlers:seen"
    side_effects = "live_only"

    [[subscriptions]]
    name = "quiet-batches"
    handler = "my_handlers:seen_together"
    batch_size = 3
    side_effects = "live_only"

    [[subscriptions]]
    name = "counting"
    handler = "my_handlers:Counting"
"""
NAMES = ("loud", "quiet", "quiet-batches", "counting")


def append(event_store: EventStore, count: int) -> None:
    event_store.append_to_stream("a", "any_version", [EventData("Happened", {}) for _ in range(count)])


def said(project: Project, name: str) -> list[tuple[int, str]]:
    """Event and what the handler said of it, sorted."""
    return sorted((int(line[0]), line[4]) for line in calls(project, name))


def reset(project: Project, to: int) -> None:
    for name in NAMES:
        done = command("reset", name, "--to", str(to), cwd=project.folder)
        assert done.returncode == 0, done.stderr


def until_epoch(node: Node, before: dict[str, Any], at: int) -> None:
    """Waits until every subscription has begun anew, and has caught up."""
    for name in NAMES:
        wait_until(
            lambda name=name: (node.subscription(name).get("epoch") or 0) > before[name],
            f"{name} begins anew",
            lambda: node.log,
        )
    node.until_idle(*NAMES, at=at)


def test_a_reset_replays_with_fresh_workers_and_in_silence_where_that_is_wished(
    project: Project, event_store: EventStore
) -> None:
    project.handlers(REPLAYS)
    project.configure(SUBSCRIPTIONS.format(side_effects="always"))
    append(event_store, 3)
    node = project.start().until_ready()
    node.until_idle(*NAMES, at=3)
    append(event_store, 2)
    node.until_idle(*NAMES, at=5)
    live = [(4, "live"), (5, "live")]
    assert said(project, "loud") == [(1, "live"), (2, "live"), (3, "live"), *live]
    assert said(project, "quiet") == said(project, "quiet-batches") == live, "1 to 3 are older than the subscription"
    assert said(project, "counting") == [(number, str(number)) for number in range(1, 6)]

    before = {name: node.subscription(name)["epoch"] for name in NAMES}
    reset(project, 2)
    until_epoch(node, before, at=5)
    append(event_store, 1)
    node.until_idle(*NAMES, at=6)
    replayed = [(3, "replay"), (4, "replay"), (5, "replay"), (6, "live")]
    assert said(project, "loud") == sorted([(1, "live"), (2, "live"), (3, "live"), *live, *replayed])
    assert said(project, "quiet") == said(project, "quiet-batches") == [*live, (6, "live")]
    counts = [(3, "1"), (4, "2"), (5, "3"), (6, "4")]
    assert said(project, "counting") == sorted([*((n, str(n)) for n in range(1, 6)), *counts]), "memory began anew"

    # After SIGHUP the loud one is to be quiet, too; the others go on as they are.
    workers = node.children()
    project.configure(SUBSCRIPTIONS.format(side_effects="live_only"))
    node.signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in node.log, "the configuration was read anew", lambda: node.log)
    wait_until(
        lambda: node.children().get("worker:loud:0") not in (None, workers["worker:loud:0"]), "its worker is fresh"
    )
    node.until_idle(*NAMES, at=6)
    assert {name: pid for name, pid in node.children().items() if "loud" not in name} == {
        name: pid for name, pid in workers.items() if "loud" not in name
    }
    before = {name: node.subscription(name)["epoch"] for name in NAMES}
    spoken = said(project, "loud")
    reset(project, 0)
    until_epoch(node, before, at=6)
    append(event_store, 1)
    node.until_idle(*NAMES, at=7)
    assert said(project, "loud") == sorted([*spoken, (7, "live")])
    assert said(project, "quiet") == said(project, "quiet-batches") == [*live, (6, "live"), (7, "live")]
    assert node.terminate() == 0
