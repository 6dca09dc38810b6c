"""Signals: an orderly stop finishes what is begun, saves what is finished, and leaves nobody behind."""

from __future__ import annotations

import itertools
import os
import signal

import pytest

from eventstore.store import EventData, EventStore
from eventstore.tests.support.node import Node, Project
from eventstore.tests.support.recording import HANDLERS, calls
from eventstore.tests.support.wait import wait_until

SLOW = """
    [[subscriptions]]
    name = "slow"
    handler = "my_handlers:slow"
    concurrency = 2
    buffer_size = 10
    checkpoint_after = 3600.0
"""


def slow_node(project: Project, event_store: EventStore, seconds: float, grace: float = 15.0) -> Node:
    """A node whose two workers are both inside a handler."""
    project.handlers(HANDLERS)
    project.configure(SLOW, runtime=f"heartbeat_interval = 0.1\ngrace = {grace}")
    event_store.append_to_stream("a", 0, [EventData("Happened", {"seconds": seconds}) for _ in range(40)])
    node = project.start()
    wait_until(lambda: len(begun(project)) >= 2, "both workers are busy", lambda: node.log)
    return node


def begun(project: Project) -> list[int]:
    return [int(line[0]) for line in calls(project, "slow") if line[4] == "begun"]


def done(project: Project) -> list[int]:
    return [int(line[0]) for line in calls(project, "slow") if line[4] == "done"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("to_group", [False, True])
def test_a_stop_finishes_the_event_at_hand_and_saves_the_checkpoint(
    project: Project, event_store: EventStore, number: signal.Signals, to_group: bool
) -> None:
    node = slow_node(project, event_store, 0.3)
    if to_group:
        os.killpg(node.process.pid, number)
    else:
        node.signal(number)
    assert node.wait() == 0
    finished = sorted(done(project))
    assert sorted(begun(project)) == finished, "no handler was cut off"
    assert len(finished) < 40, "what was only buffered is left for the next start"
    before_first_gap = next(n for n in itertools.count(1) if n not in finished) - 1
    assert event_store.subscription("$all", "slow").last_seen == before_first_gap
    assert not node.living()
    assert "Traceback" not in node.log


def test_a_handler_longer_than_the_grace_is_cut_off_and_comes_again(project: Project, event_store: EventStore) -> None:
    node = slow_node(project, event_store, 600.0, grace=0.5)
    assert node.terminate() == 1, "it had to kill"
    assert not node.living()
    assert "the grace time is over" in node.log
    assert not done(project)
    assert event_store.subscription("$all", "slow").last_seen is None


def test_a_second_signal_hurries(project: Project, event_store: EventStore) -> None:
    node = slow_node(project, event_store, 600.0, grace=600.0)
    node.signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in node.log, "the first signal was heard")
    node.signal(signal.SIGTERM)
    assert node.wait() == 1
    assert not node.living()


def test_a_stop_during_the_start_leaves_nobody(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure(SLOW)
    for _ in range(3):
        node = project.start()
        wait_until(lambda node=node: "starting" in node.log, "it has begun to start", lambda node=node: node.log)
        assert node.terminate() == 0
        assert not node.living()


def test_a_stop_while_the_handlers_are_being_imported_is_no_failure(project: Project, event_store: EventStore) -> None:
    (project.folder / "sluggish.py").write_text(
        "from pathlib import Path\nimport time\nPath('importing').touch()\ntime.sleep(3600)\n"
    )
    project.configure('[[subscriptions]]\nname = "s"\nhandler = "sluggish:handle"')
    node = project.start()
    wait_until((project.folder / "importing").exists, "the handlers are being imported", lambda: node.log)
    node.family()
    assert node.terminate() == 0
    wait_until(lambda: not node.living(), "nobody is left", lambda: str(node.living()))
    assert "Traceback" not in node.log


def test_a_stop_during_catch_up_loses_and_doubles_nothing(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure('[[subscriptions]]\nname = "slow"\nhandler = "my_handlers:slow"\nbuffer_size = 10')
    event_store.append_to_stream("a", 0, [EventData("Happened", {"seconds": 0.002})] * 1_000)
    for _ in range(3):
        known = len(done(project))
        node = project.start()
        wait_until(lambda known=known: len(done(project)) > known + 50, "it catches up", lambda node=node: node.log)
        assert node.terminate() == 0
    assert project.start("--until-idle").wait() == 0
    assert sorted(done(project)) == list(range(1, 1_001))
