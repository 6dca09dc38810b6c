"""SIGHUP: a changed supervisor.toml takes effect as a difference, while the rest goes on undisturbed."""

from __future__ import annotations

import os
import signal

from eventstore.runtime.in_process import subscribe_to_all_streams
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


PATIENT = """
    import os
    import time
    from pathlib import Path

    GO = Path(__file__).with_name("go")
    CALLS = Path(__file__).with_name("calls")
    CALLS.mkdir(exist_ok=True)


    def patient(event, context):
        (CALLS / f"{context.subscription}.begun").write_text(str(os.getpid()))
        while not GO.exists():
            time.sleep(0.01)
        with (CALLS / context.subscription).open("a") as file:
            file.write(f"{event.event_number}\\n")
"""

# As clients of message brokers and of metrics do it; whoever ends in order waits for it.
THREAD = """
    import threading

    threading.Thread(target=threading.Event().wait).start()
"""


def at_work(project: Project, event_store: EventStore, **wanted: tuple[str, int]) -> Node:
    """A node whose subscriptions are in the middle of an event, until a file named "go" is there."""
    project.handlers(PATIENT)
    project.configure(subscriptions(**wanted))
    event_store.append_to_stream("a", 0, [EventData("E", {})])
    node = project.start().until_ready()
    for name in wanted:
        wait_until(lambda name=name: busy(project, name), f"{name} is at its event", lambda: node.log)
    return node


def busy(project: Project, name: str) -> int:
    """The pid of the worker that is at the event; 0 while none is."""
    file = project.folder / "calls" / f"{name}.begun"
    return int(file.read_text() or 0) if file.exists() else 0


def reload(node: Node, word: str) -> None:
    """Sends SIGHUP and waits until the log says what came of it, once more than before."""
    before = node.log.count(word)
    node.signal(signal.SIGHUP)
    wait_until(lambda: node.log.count(word) > before, f"the node says {word}", lambda: node.log)


def restarts(node: Node) -> dict[str, int]:
    return {child["name"]: child["restarts"] for child in node.status().get("children", ())}


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


def test_workers_that_are_new_wait_for_the_end_of_what_was_before(project: Project, event_store: EventStore) -> None:
    node = at_work(project, event_store, s=("patient", 1))
    project.configure(subscriptions(s=("patient", 2)))
    reload(node, "reloaded")
    assert set(node.children()) == {"lock-holder", "listener", "monitor", "worker:s:0"}
    (project.folder / "go").touch()
    wait_until(lambda: node.subscription("s").get("workers") == 2, "both workers are there", lambda: node.log)
    node.until_idle("s", at=1)
    assert (project.folder / "calls" / "s").read_text() == "1\n"
    assert node.terminate() == 0


def test_a_worker_that_dies_while_its_subscription_ends_comes_back_for_the_next(
    project: Project, event_store: EventStore
) -> None:
    node = at_work(project, event_store, s=("patient", 2))
    before = node.children()
    idle = next(name for name in ("worker:s:0", "worker:s:1") if before[name] != busy(project, "s"))
    project.configure(subscriptions(s=("patient", 2)) + "buffer_size = 7\n")
    reload(node, "reloaded")
    os.kill(before[idle], signal.SIGKILL)
    wait_until(lambda: idle not in node.children(), "it is gone", lambda: node.log)
    (project.folder / "go").touch()
    old = {before["worker:s:0"], before["worker:s:1"]}
    wait_until(lambda: not old & set(node.children().values()), "the old workers are gone", lambda: node.log)
    wait_until(lambda: node.subscription("s").get("workers") == 2, "both workers are there", lambda: node.log)
    assert node.terminate() == 0


def kill_while_one_ends(project: Project, event_store: EventStore, child: str) -> Node:
    """A node that goes on with `other`, after a child was killed while a reload was ending `s`."""
    node = at_work(project, event_store, s=("patient", 1), other=("patient", 1))
    project.configure(subscriptions(other=("patient", 1)))
    reload(node, "reloaded")
    os.kill(node.children()[child], signal.SIGKILL)
    wait_until(lambda: restarts(node)[child] == 1, "it comes back", lambda: node.log)
    (project.folder / "go").touch()
    node.until_idle("other", at=1)
    return node


def test_a_lock_holder_that_dies_while_a_subscription_ends_harms_no_other(
    project: Project, event_store: EventStore
) -> None:
    node = kill_while_one_ends(project, event_store, "lock-holder")
    assert restarts(node)["listener"] == 0
    wait_until(lambda: "worker:s:0" not in node.children(), "the removed worker is gone", lambda: node.log)
    assert node.terminate() == 0


def test_a_listener_that_dies_while_a_subscription_ends_keeps_no_lock_of_it(
    project: Project, event_store: EventStore
) -> None:
    node = kill_while_one_ends(project, event_store, "listener")
    with subscribe_to_all_streams(event_store, "s") as subscription:
        wait_until(lambda: subscription.subscribed, "its lock is free for others", lambda: node.log)
    assert node.terminate() == 0


def test_a_module_that_starts_threads_holds_up_neither_start_nor_reload(
    project: Project, event_store: EventStore
) -> None:
    project.handlers(HANDLERS + THREAD)
    project.configure(subscriptions(s=("plain", 1)))
    event_store.append_to_stream("a", 0, [EventData("E", {})])
    node = project.start().until_ready()
    project.configure(subscriptions(s=("plain", 1), added=("plain", 1)))
    reload(node, "reloaded")
    node.until_idle("s", "added", at=1)
    assert node.terminate() == 0
