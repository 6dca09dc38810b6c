"""SIGHUP: a changed supervisor.toml takes effect as a difference, while the rest goes on undisturbed."""

from __future__ import annotations

import signal

from eventstore.store import EventData, EventStore
from eventstore.tests.support.node import Node, Project
from eventstore.tests.support.recording import HANDLERS, calls
from eventstore.tests.support.wait import wait_until

ONE = """
[[subscriptions]]
name = "{name}"
handler = "my_handlers:{handler}"
concurrency = {concurrency}
"""


def subscriptions(**wanted: tuple[str, int]) -> str:
    return "".join(ONE.format(name=name, handler=handler, concurrency=n) for name, (handler, n) in wanted.items())


def reload(node: Node, word: str) -> None:
    """Sends SIGHUP and waits until the log says what came of it, once more than before."""
    before = node.log.count(word)
    node.signal(signal.SIGHUP)
    wait_until(lambda: node.log.count(word) > before, f"the node says {word}", lambda: node.log)


def handled(project: Project, name: str) -> list[int]:
    return sorted(int(line[0]) for line in calls(project, name))


def test_only_what_changed_is_touched(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure(subscriptions(kept=("plain", 1), changed=("plain", 1), removed=("plain", 1)))
    event_store.append_to_stream("a", 0, [EventData("E", {}) for _ in range(5)])
    node = project.start().until_ready()
    node.until_idle("kept", "changed", "removed", at=5)
    before = node.children()
    project.configure(subscriptions(kept=("plain", 1), changed=("plain", 2), added=("plain", 1)))
    reload(node, "reloaded")
    node.until_idle("kept", "changed", "added", at=5)
    wait_until(lambda: "worker:removed:0" not in node.children(), "the removed worker is gone", lambda: node.log)
    wait_until(lambda: node.subscription("changed").get("workers") == 2, "both workers are there", lambda: node.log)
    after = node.children()
    assert set(after) == {*before, "worker:added:0", "worker:changed:1"} - {"worker:removed:0"}
    untouched = {"listener", "lock-holder", "monitor", "worker:kept:0"}
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}
    assert after["worker:changed:0"] != before["worker:changed:0"]
    event_store.append_to_stream("a", 5, [EventData("E", {})])
    node.until_idle("kept", "changed", "added", at=6)
    assert handled(project, "kept") == handled(project, "changed") == handled(project, "added") == [1, 2, 3, 4, 5, 6]
    assert handled(project, "removed") == [1, 2, 3, 4, 5]
    assert node.terminate() == 0


def test_a_changed_subscription_finishes_what_it_is_at(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure(subscriptions(s=("slow", 1)))
    event_store.append_to_stream("a", 0, [EventData("E", {"seconds": 1.0}), EventData("E", {"seconds": 0})])
    node = project.start().until_ready()
    wait_until(lambda: calls(project, "s"), "the handler is at the first event", lambda: node.log)
    project.configure(subscriptions(s=("slow", 2)))
    reload(node, "reloaded")
    node.until_idle("s", at=2)
    done = sorted(int(line[0]) for line in calls(project, "s") if line[4] == "done")
    assert done == [1, 2], "each is handled once, the one at hand included"


def test_a_mistake_changes_nothing_and_is_said(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure(subscriptions(s=("plain", 1)))
    node = project.start().until_ready()
    before = node.children()
    project.configure(subscriptions(s=("plain", 1), other=("not_there", 1)))
    reload(node, "reload_failed")
    assert "has no 'not_there'" in node.log
    event_store.append_to_stream("a", 0, [EventData("E", {})])
    node.until_idle("s", at=1)
    assert node.children() == before
    project.configure(subscriptions(s=("plain", 1)), monitor="enabled = false")
    reload(node, "reload_needs_restart")
    assert node.status()["ready"]
