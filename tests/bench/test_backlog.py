"""The events that the server makes for itself are like appended ones."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from eventstore.bench.backlog import fill
from eventstore.bench.case import event
from eventstore.store import Connection, EventStore
from eventstore.tests.support.events import events


@pytest.mark.parametrize("number", [1, 7, 1_000])
def test_they_read_and_go_on_like_appended_ones(
    event_store: EventStore, open_connection: Callable[..., Connection], schema: str, number: int
) -> None:
    fill(open_connection(timeout=None), schema, number, 20)
    found = event_store.read_all_streams_forward(count=2_000)
    assert [one.event_number for one in found] == list(range(1, number + 1))
    assert [one.stream_uuid for one in found] == [f"account-{n % 20}" for n in range(number)]
    assert [one.stream_version for one in found] == [n // 20 + 1 for n in range(number)]
    like = event(0)
    assert {(one.event_type, one.data["amount"], one.data["note"]) for one in found} == {
        (like.event_type, like.data["amount"], like.data["note"])
    }
    assert all(one.data["account"] == one.stream_uuid and one.metadata == like.metadata for one in found)
    assert {(one.event_id.version, one.event_id.variant) for one in found} == {(7, uuid.RFC_4122)}
    head = event_store.stream_heads(["account-0"])["account-0"]
    assert [one.stream_version for one in event_store.read_stream_forward("account-0")] == list(range(1, head + 1))
    assert event_store.append_to_stream("account-0", head, events(1)).position == number + 1
    assert event_store.append_to_stream("new", "no_stream", events(1)).position == number + 2


def test_the_triggers_are_back_afterwards(
    event_store: EventStore, open_connection: Callable[..., Connection], schema: str
) -> None:
    conn = open_connection(timeout=None)
    fill(conn, schema, 3, 2)
    assert conn.execute("show session_replication_role").fetchone() == ("origin",)
