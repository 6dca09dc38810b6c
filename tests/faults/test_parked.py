"""Events that fail: each policy, each outcome, and what operators do with parked events, with exact counts."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.sql import SQL, Identifier

from eventstore.store import Connection, EventData, EventStore
from eventstore.tests.support.node import Project, command
from eventstore.tests.support.poison import (
    NODE,
    OTHERS,
    POISON,
    POISONED,
    append_all,
    begun,
    configure,
    done,
    effects,
    parked,
    remembered,
    steer,
    subscription,
    table,
    until_parked,
)
from eventstore.tests.support.wait import wait_until

# Exceptions and outcomes


def test_each_policy_follows_when_attempts_are_used_up_and_each_outcome_does_what_it_says(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    configure(
        project,
        conn,
        subscription("recovers", max_attempts=3),
        subscription("raise-halt", max_attempts=3),
        subscription("raise-park", max_attempts=3, on_exhausted="park"),
        subscription("raise-hold", max_attempts=2, on_exhausted="park_partition"),
        subscription("raise-skip", max_attempts=4, on_exhausted="skip"),
        subscription("memory", max_attempts=2, on_exhausted="park"),
        subscription("retry", max_attempts=1),
        subscription("skip", "transaction"),
        subscription("park", "transaction"),
        subscription("stop", "transaction"),
    )
    append_all(event_store)
    node = project.start()
    schema = project.schema
    node.until_idle("recovers", "raise-park", "raise-hold", "raise-skip", "memory", "retry", "skip", "park", at=9)
    assert begun(project, "recovers") == {**OTHERS, POISON: 3}
    assert begun(project, "raise-park") == {**OTHERS, POISON: 3}
    assert begun(project, "raise-skip") == {**OTHERS, POISON: 4}
    assert begun(project, "memory") == {**OTHERS, POISON: 2}
    assert begun(project, "retry") == {**OTHERS, POISON: 4}, "what a handler asks for is never used up"
    assert begun(project, "raise-hold") == {n: 2 if n == POISON else 1 for n in range(1, 10) if n != 7}
    assert parked(conn, schema, "raise-park") == [(4, "parked", 3, 0, "ValueError: poison (attempt 3, the last one)")]
    assert [row[:4] for row in parked(conn, schema, "raise-hold")] == [(4, "parked", 2, 0), (7, "held", 0, 0)]
    assert parked(conn, schema, "memory")[0][4].startswith("MemoryError")
    assert effects(conn, schema, "skip") == effects(conn, schema, "park") == sorted(OTHERS)
    assert parked(conn, schema, "park") == [(4, "parked", 1, 0, "a person must look at it")]
    for name in ("recovers", "raise-skip", "retry", "skip"):
        assert parked(conn, schema, name) == remembered(conn, schema, name) == done(conn, schema, name) == []
    assert node.subscription("raise-skip")["skipped"] == node.subscription("skip")["skipped"] == 1
    assert "(attempt 3, the last one)" in node.until_state("raise-halt", "halted")["reason"]
    assert begun(project, "raise-halt")[POISON] == 3
    assert node.until_state("stop", "halted")["reason"] == "halted at event 4: no further"
    node.until_idle("raise-halt", "stop", at=3)
    assert POISON not in effects(conn, schema, "stop")
    assert table(conn, schema, "runtime_subscriptions", "halted_at, halted_reason", "stop") == [(4, "no further")]


# Parked events


MENDABLE = (
    POISONED
    + '''
    def mendable(event, context):
        """Works for the streams that somebody has mended; says in which order it did."""
        note(event, context, "begun")
        if not Path(__file__).with_name(f"mended-{event.stream_uuid}").exists():
            raise ValueError(f"{event.stream_uuid} is out of order")
        with Path(__file__).with_name(f"order-{context.subscription}").open("a") as file:
            file.write(f"{event.event_number} ")
'''
)


def order(project: Project, name: str) -> list[int]:
    """The events that were handled, in order."""
    file = project.folder / f"order-{name}"
    return [int(number) for number in file.read_text().split()] if file.exists() else []


def test_operators_work_off_what_is_parked(project: Project, event_store: EventStore, conn: Connection) -> None:
    """By event, by partition, up to an event, and all; what is held follows in order."""
    configure(project, conn)
    project.handlers(MENDABLE)
    hold = subscription("hold", on_exhausted="park_partition", max_attempts=1, concurrency=2)
    single = subscription("single", on_exhausted="park", max_attempts=1)
    project.configure((hold + single).replace("my_handlers:one", "my_handlers:mendable"), **NODE)
    append_all(event_store)
    node = project.start()
    node.until_idle("hold", "single", at=9)
    until_parked(conn, project, "hold", "1 2 3 (4) (5) (6) (7) (8) (9)")
    until_parked(conn, project, "single", "1 2 3 4 5 6 7 8 9")
    listed = steer(project, "parked", "list", "hold", "--partition", "b")
    assert [(one["number"], one["state"]) for one in listed] == [(2, "parked"), (5, "held"), (8, "held")]
    (shown,) = steer(project, "parked", "show", "hold", "--event", "4")
    assert (shown["data"], shown["reason"]) == ("poison", "held behind an earlier event of its partition")
    printed = command("parked", "list", "hold", "--until", "4", cwd=project.folder).stdout.splitlines()
    assert [line.split()[:5] for line in printed if "parked" in line] == [
        [str(number), "1", "0", "parked", key] for number, key in ((1, "a"), (2, "b"), (3, "c"))
    ]
    assert "  4: held behind an earlier event of its partition" in printed
    # Tried in vain: it is parked again, and nothing overtakes it.
    assert steer(project, "parked", "retry", "hold", "--event", "1") == [{"retried": [1]}]
    wait_until(lambda: begun(project, "hold")[1] == 2, "it was tried again", lambda: node.log)
    until_parked(conn, project, "hold", "1 2 3 (4) (5) (6) (7) (8) (9)")
    assert begun(project, "hold") == {1: 2, 2: 1, 3: 1}
    # By partition, and events that come meanwhile stay behind.
    (project.folder / "mended-a").touch()
    event_store.append_to_stream("a", 3, [EventData("Happened", 4)])
    until_parked(conn, project, "hold", "1 2 3 (4) (5) (6) (7) (8) (9) (10)")
    steer(project, "parked", "retry", "hold", "--partition", "a")
    until_parked(conn, project, "hold", "2 3 (5) (6) (8) (9)")
    assert order(project, "hold") == [1, 4, 7, 10]
    # Discarded by event: what is held behind it follows.
    (project.folder / "mended-b").touch()
    assert steer(project, "parked", "discard", "hold", "--event", "2") == [{"discarded": [2]}]
    until_parked(conn, project, "hold", "3 (6) (9)")
    assert order(project, "hold") == [1, 4, 7, 10, 5, 8]
    assert steer(project, "parked", "discard", "hold", "--all") == [{"discarded": [3, 6, 9]}]
    until_parked(conn, project, "hold", "")
    (project.folder / "mended-c").touch()
    event_store.append_to_stream("c", 3, [EventData("Happened", 4)])
    node.until_idle("hold", "single", at=11)
    assert order(project, "hold") == [1, 4, 7, 10, 5, 8, 11], "the partition is open again"
    # Up to an event, several by number, and all.
    assert steer(project, "parked", "retry", "single", "--until", "3") == [{"retried": [1, 2, 3]}]
    until_parked(conn, project, "single", "4 5 6 7 8 9")
    assert steer(project, "parked", "discard", "single", "--event", "5", "--event", "9") == [{"discarded": [5, 9]}]
    until_parked(conn, project, "single", "4 6 7 8")
    assert len(steer(project, "parked", "list", "single", "--until", "6")) == 2
    assert steer(project, "parked", "retry", "single", "--all") == [{"retried": [4, 6, 7, 8]}]
    until_parked(conn, project, "single", "")
    assert sorted(order(project, "single")) == [1, 2, 3, 4, 6, 7, 8, 10, 11]
    assert remembered(conn, project.schema, "hold") == []
    assert node.subscription("hold")["state"] == "live"
    assert node.terminate() == 0


EDGES = (
    POISONED
    + '''
    BROKEN = Path(__file__).with_name("broken")


    def key(event):
        """The stream, where the function works."""
        if BROKEN.exists():
            raise LookupError("no key today")
        return event.stream_uuid


    def failing(event, context):
        note(event, context, "begun")
        raise ValueError("never")
'''
)


def edge(name: str, **options: Any) -> str:
    """A subscription of its own stream, whose handler always fails and parks at once."""
    given = {"stream": name, "on_exhausted": "park", "max_attempts": 1, "partition_by": "stream", **options}
    return subscription(name, **given).replace("my_handlers:one", "my_handlers:failing")


def test_a_full_park_halts_instead_of_dropping(project: Project, event_store: EventStore, conn: Connection) -> None:
    configure(project, conn)
    project.handlers(EDGES)
    project.configure(
        edge("all", max_parked=2) + edge("key", on_exhausted="park_partition", max_parked_per_partition=2)
    )
    for stream in ("all", "key"):
        event_store.append_to_stream(stream, 0, [EventData("Happened", 1)] * 4)
    node = project.start()
    for name in ("all", "key"):
        assert node.until_state(name, "halted")["reason"].startswith("halted at event 3: ")
        node.until_idle(name, at=2)
    assert "2 events are parked, and max_parked = 2" in node.subscription("all")["reason"]
    assert "held behind a parked event: 2 events of partition 'key' are parked" in node.subscription("key")["reason"]
    until_parked(conn, project, "all", "1 2")
    until_parked(conn, project, "key", "1 (2)")
    assert (begun(project, "all"), begun(project, "key")) == ({1: 1, 2: 1, 3: 1}, {1: 1})
    for name in ("all", "key"):
        steer(project, "parked", "discard", name, "--all")
        steer(project, "resume", name)
    # Where there was room for two there is room for two again.
    until_parked(conn, project, "all", "3 4")
    until_parked(conn, project, "key", "3 (4)")
    assert event_store.subscription("all", "all").subscription_name == "all"
    assert node.until_state("all", "live")["parked"] == 2


def test_parked_events_that_were_deleted_for_good_or_have_no_key_any_more(
    project: Project, event_store: EventStore, conn: Connection, database_url: str
) -> None:
    configure(project, conn)
    project.handlers(EDGES)
    project.configure(
        edge("gone", on_exhausted="park_partition") + edge("keyless", partition_by="my_handlers:key"), **NODE
    )
    for stream in ("gone", "keyless"):
        event_store.append_to_stream(stream, 0, [EventData("Happened", 1)] * 2)
    node = project.start().until_ready()
    until_parked(conn, project, "gone", "1 (2)")
    until_parked(conn, project, "keyless", "1 2")
    listener = node.children()["listener"]
    with EventStore(database_url, schema=project.schema, enable_hard_deletes=True) as store:
        store.delete_stream("gone", "any_version", "hard")
    (first, _) = steer(project, "parked", "list", "gone")
    assert (first["event_type"], first["stream_uuid"]) == (None, None)
    (shown,) = steer(project, "parked", "show", "gone", "--event", "1")
    assert "data" not in shown
    assert steer(project, "parked", "retry", "gone", "--all") == [{"retried": [1]}]
    until_parked(conn, project, "gone", "")
    assert begun(project, "gone") == {1: 1}, "there is nothing to handle"
    # A function that fails halts its subscription, and the event can still be discarded.
    (project.folder / "broken").touch()
    steer(project, "parked", "retry", "keyless", "--event", "1")
    reason = node.until_state("keyless", "halted")["reason"]
    assert reason == "halted at event 1: partition_by failed with LookupError: no key today"
    steer(project, "parked", "discard", "keyless", "--event", "1")
    steer(project, "resume", "keyless")
    until_parked(conn, project, "keyless", "2")
    (project.folder / "broken").unlink()
    steer(project, "parked", "retry", "keyless", "--all")
    wait_until(lambda: begun(project, "keyless") == {1: 1, 2: 2}, "it is tried again", lambda: node.log)
    until_parked(conn, project, "keyless", "2")
    assert node.children()["listener"] == listener, "nothing of this ends the listener"


def test_a_reset_forgets_what_is_parked_behind_it_and_nothing_before(
    project: Project, event_store: EventStore, conn: Connection
) -> None:
    configure(project, conn)
    project.handlers(EDGES)
    project.configure(edge("s", on_exhausted="park_partition", partition_by="data.key"), **NODE)
    event_store.append_to_stream("s", 0, [EventData("Happened", {"key": key}) for key in "aabb"])
    node = project.start()
    node.until_idle("s", at=4)
    until_parked(conn, project, "s", "1 (2) 3 (4)")
    steer(project, "reset", "s", "--to", "2")
    wait_until(lambda: begun(project, "s") == {1: 1, 3: 2}, "the later partition is handled again", lambda: node.log)
    until_parked(conn, project, "s", "1 (2) 3 (4)")
    event_store.append_to_stream("s", 4, [EventData("Happened", {"key": "a"})])
    until_parked(conn, project, "s", "1 (2) 3 (4) (5)")
    steer(project, "parked", "discard", "s", "--until", "2")
    wait_until(lambda: begun(project, "s") == {1: 1, 3: 2, 5: 1}, "what was held follows", lambda: node.log)
    until_parked(conn, project, "s", "3 (4) 5")


@pytest.mark.parametrize("partition_by", ["stream", "data.key"])
def test_events_that_cannot_be_decoded_are_parked_and_shown(
    project: Project, event_store: EventStore, conn: Connection, partition_by: str
) -> None:
    configure(project, conn)
    project.configure(
        subscription("s", on_exhausted="park_partition", max_attempts=2, partition_by=partition_by), **NODE
    )
    event_store.append_to_stream("a", 0, [EventData("Happened", {"key": "a"})] * 2)
    event_store.append_to_stream("b", 0, [EventData("Happened", {"key": "b"})] * 2)
    table_name = Identifier(project.schema, "events")
    conn.execute(SQL("alter table {} disable trigger user").format(table_name))
    ids = [event.event_id for event in event_store.read_stream_forward("a")]
    broken = SQL("update {} set data = %s where event_id = any (%s)").format(table_name)
    conn.execute(broken, [b"{", ids])
    node = project.start()
    node.until_idle("s", at=4)
    until_parked(conn, project, "s", "1 (2)")
    assert begun(project, "s") == {3: 1, 4: 1}
    key = "a" if partition_by == "stream" else "undecodable events of a"
    shown, _ = steer(project, "parked", "list", "s", "--partition", key)
    assert shown["attempts"] == 2
    assert shown["reason"].startswith(f"DeserializationFailed: event 1 ({ids[0]}")
    assert steer(project, "parked", "show", "s", "--event", "1")[0]["data"] == "{"
    # The next node finds the partition by the same key.
    assert node.terminate() == 0
    event_store.append_to_stream("a", 2, [EventData("Happened", {"key": "a"})])
    ids.append(event_store.read_stream_forward("a", 3)[0].event_id)
    conn.execute(broken, [b"{", ids])
    again = project.start()
    until_parked(conn, project, "s", "1 (2) (5)")
    conn.execute(broken, [b'{"key": "a"}', ids])
    steer(project, "parked", "retry", "s", "--all")
    until_parked(conn, project, "s", "")
    again.until_idle("s", at=5)
    assert begun(project, "s") == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
