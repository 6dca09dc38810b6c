"""Pinned partitions and large events on real workers, and both changed by SIGHUP."""

from __future__ import annotations

import os
import signal

from eventstore.store import EventData, EventStore
from eventstore.tests.support.node import Node, Project
from eventstore.tests.support.recording import HANDLERS
from eventstore.tests.support.wait import wait_until

STREAMS = [f"stream-{number}" for number in range(40)]
PINNED = """
    [[subscriptions]]
    name = "s"
    handler = "my_handlers:plain"
    partition_by = "stream"
    placement = "pinned"
    concurrency = {concurrency}
"""


def append_round(event_store: EventStore, node: Node, head: int) -> int:
    for stream in STREAMS:
        event_store.append_to_stream(stream, "any_version", [EventData("Happened", {}), EventData("Happened", {})])
    node.until_idle("s", at=head + 2 * len(STREAMS))
    return head + 2 * len(STREAMS)


def homes(project: Project, node: Node, workers: int) -> dict[str, str]:
    """By stream, which of the running workers has handled events of it; those of others are left out."""
    wait_until(lambda: node.subscription("s").get("workers") == workers, "all workers are there", lambda: node.log)
    found: dict[str, str] = {}
    for name, pid in node.children().items():
        file = project.folder / "calls" / f"s.{pid}"
        lines = file.read_text().splitlines() if file.exists() else []
        for stream in {line.split()[1] for line in lines}:
            assert stream not in found, f"{stream} was at two workers"
            found[stream] = name
    return found


def test_a_pinned_partition_stays_with_its_place(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure(PINNED.format(concurrency=3), restart="backoff_min = 0.01\nbackoff_max = 0.05")
    node = project.start().until_ready()
    homes(project, node, 3)
    head = append_round(event_store, node, 0)
    first = homes(project, node, 3)
    assert set(first) == set(STREAMS)
    assert len(set(first.values())) == 3, "each worker has its share"
    head = append_round(event_store, node, head)
    assert homes(project, node, 3) == first
    # Its successor takes the place of a worker that died: where it was at home, it is again.
    victim = first[STREAMS[0]]
    pid = node.children()[victim]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: node.children().get(victim) not in (None, pid), "it has a successor", lambda: node.log)
    homes(project, node, 3)
    append_round(event_store, node, head)
    assert homes(project, node, 3) == first
    # One place more: partitions move to it, and none between the others.
    project.configure(PINNED.format(concurrency=4), restart="backoff_min = 0.01\nbackoff_max = 0.05")
    before = set(node.children().values())
    node.signal(signal.SIGHUP)
    wait_until(
        lambda: (
            len({name for name in node.children() if "worker" in name} - {"worker:s"}) == 4
            and not {pid for name, pid in node.children().items() if "worker" in name} & before
        ),
        "four fresh workers",
        lambda: node.log,
    )
    homes(project, node, 4)
    append_round(event_store, node, head + 2 * len(STREAMS))
    moved = {stream: home for stream, home in homes(project, node, 4).items() if home != first[stream]}
    assert set(moved.values()) <= {"worker:s:3"}
    assert node.terminate() == 0


LARGE = (
    HANDLERS
    + '''
    def gated(event, context):
        """Waits until somebody opens the gate."""
        while not Path(__file__).with_name("open").exists():
            time.sleep(0.01)
        assert len(event.data) == 1_000_000
        note(event, context)
'''
)
BOUNDED = """
    [[subscriptions]]
    name = "large"
    handler = "my_handlers:gated"
    max_bytes = {max_bytes}
"""


def test_large_events_are_held_in_memory_up_to_their_bytes(project: Project, event_store: EventStore) -> None:
    project.handlers(LARGE)
    project.configure(BOUNDED.format(max_bytes=3_500_000))
    for version in range(12):
        event_store.append_to_stream("a", version, [EventData("Happened", "x" * 1_000_000)])
    node = project.start().until_ready()
    buffered = wait_until(lambda: node.subscription("large").get("buffered"), "it has begun to read", lambda: node.log)
    assert buffered == 3, "a fourth would go beyond max_bytes"
    project.configure(BOUNDED.format(max_bytes=6_500_000))
    node.signal(signal.SIGHUP)
    wait_until(lambda: "reloading" in node.log, "the configuration is read anew", lambda: node.log)
    (project.folder / "open").touch()
    wait_until(lambda: "reloaded" in node.log, "the new one holds", lambda: node.log)
    node.until_idle("large", at=12)
    files = list((project.folder / "calls").glob("large.*"))
    handled = sorted(int(line.split()[0]) for file in files for line in file.read_text().splitlines())
    assert handled == list(range(1, 13)), "each once, the one at hand at SIGHUP included"
    assert node.terminate() == 0
