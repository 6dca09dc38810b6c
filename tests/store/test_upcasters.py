"""Upcasters by table, and what a store gives back of events that older code wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from eventstore.store import (
    Connection,
    DeserializationFailed,
    EventData,
    EventStore,
    EventTypes,
    InMemoryEventStore,
    RecordedEvent,
    SerializationFailed,
    Snapshot,
    SnapshotUnreadable,
    TypedSerializer,
    UpcastFailed,
)


@dataclass
class Opened:
    owner: str
    currency: str = "EUR"


@dataclass
class Facts:
    count: int


@pytest.fixture
def chained() -> EventTypes:
    """Opened at version 3: 1 had `name`, 2 has `owner`, 3 has `currency`."""
    types = EventTypes()
    types.register(Opened, version=3)

    @types.upcaster("Opened", from_version=1)
    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        data["owner"] = data.pop("name")
        return data

    @types.upcaster("Opened", from_version=2)
    def with_currency(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "currency": "DEM" if data["owner"] == "Ann" else "EUR"}

    return types


@pytest.mark.parametrize(
    ("version", "data", "expected"),
    [
        (1, {"name": "Ann"}, {"owner": "Ann", "currency": "DEM"}),
        (1, {"name": "Bob"}, {"owner": "Bob", "currency": "EUR"}),
        (2, {"owner": "Bob"}, {"owner": "Bob", "currency": "EUR"}),
        (3, {"owner": "Ann", "currency": "CHF"}, {"owner": "Ann", "currency": "CHF"}),
    ],
)
def test_the_chain_of_upcasters(chained: EventTypes, version: int, data: Any, expected: Any) -> None:
    assert chained.upcast("Opened", data, version) == expected


def test_types_without_class_have_upcasters_too(chained: EventTypes) -> None:
    chained.upcaster("Closed", from_version=1)(lambda data: {**data, "reason": "unknown"})
    assert chained.newest_version("Closed") == 2
    assert chained.upcast("Closed", {"a": 1}) == {"a": 1, "reason": "unknown"}
    assert chained.upcast("Unknown", [1], version=9) == [1]
    assert chained.newest_version("Unknown") == 1


@pytest.mark.parametrize(
    ("version", "data", "reason"),
    [
        (1, {}, "the upcaster from version 1 raised KeyError: 'name': mend the upcaster"),
        (1, [1], "the upcaster from version 1 raised TypeError"),
        (4, {}, "it is of version 4, this code knows 3: deploy the code that wrote it"),
    ],
)
def test_what_cannot_be_upcast(chained: EventTypes, version: int, data: Any, reason: str) -> None:
    with pytest.raises(UpcastFailed, match=reason):
        chained.upcast("Opened", data, version)


def test_an_upcaster_that_returns_nothing_or_is_missing() -> None:
    types = EventTypes()
    types.upcaster("E", from_version=3)(lambda data: None)  # type: ignore[type-var]
    with pytest.raises(UpcastFailed, match="no upcaster takes that: register one with from_version=1"):
        types.upcast("E", {})
    with pytest.raises(UpcastFailed, match="from version 3 returned NoneType, not a dict"):
        types.upcast("E", {}, 3)


def test_an_upcaster_that_raises_what_looks_like_pydantics() -> None:
    class OddError(Exception):
        errors = 3

    def fail(data: dict[str, Any]) -> dict[str, Any]:
        raise OddError("two\n  lines")

    types = EventTypes()
    types.upcaster("E", from_version=1)(fail)
    with pytest.raises(UpcastFailed, match="raised OddError: two lines: mend"):
        types.upcast("E", {})


def stored_then_read(types: EventTypes, database_url: str, schema: str, event: EventData) -> RecordedEvent:
    """Append with plain JSON, as older code did, and read with the types of today."""
    with EventStore(database_url, schema=schema) as old:
        old.append_to_stream("a", "any_version", [event])
    with EventStore(database_url, schema=schema, serializer=TypedSerializer(types)) as new:
        return new.read_stream_backward("a", count=1)[0]


def test_older_events_are_read_as_todays(chained: EventTypes, database_url: str, schema: str) -> None:
    first = stored_then_read(chained, database_url, schema, EventData("Opened", {"name": "Ann"}))
    assert (first.data, first.metadata) == (Opened("Ann", "DEM"), None)
    second = stored_then_read(
        chained, database_url, schema, EventData("Opened", {"owner": "Ann"}, {"event_version": 2})
    )
    assert (second.data, second.metadata) == (Opened("Ann", "DEM"), {"event_version": 2})


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (EventData("Opened", {}), "upcaster from version 1 raised KeyError: 'name': mend the upcaster"),
        (EventData("Opened", {}, {"event_version": 9}), "version 9, this code knows 3: deploy"),
        (EventData("Opened", {}, {"event_version": "2"}), "event_version '2', which is no number"),
        (EventData("Opened", {"owner": 1}, {"event_version": 3}), "does not fit Opened.*register an upcaster"),
    ],
)
def test_an_event_that_cannot_be_upcast_is_named_and_stops_no_other(
    chained: EventTypes, database_url: str, schema: str, event: EventData, reason: str
) -> None:
    with pytest.raises(DeserializationFailed, match=f"event 1 .*type 'Opened'.*{reason}") as failed:
        stored_then_read(chained, database_url, schema, event)
    assert failed.value.event_number == 1
    with EventStore(database_url, schema=schema, serializer=TypedSerializer(chained)) as store:
        store.append_to_stream("b", "no_stream", [chained.event_of(Opened("Bob"))])
        assert store.read_stream_forward("b")[0].data == Opened("Bob")
        assert store.read_all_streams_forward(2)[0].data == Opened("Bob")


def test_an_old_snapshot_that_cannot_be_upcast(chained: EventTypes, database_url: str, schema: str) -> None:
    with EventStore(database_url, schema=schema) as old:
        old.record_snapshot(Snapshot("a", 1, "Opened", {"name": "Ann"}))
        old.record_snapshot(Snapshot("b", 1, "Opened", {}))
    with EventStore(database_url, schema=schema, serializer=TypedSerializer(chained)) as new:
        assert new.read_snapshot("a").data == Opened("Ann", "DEM")
        with pytest.raises(SnapshotUnreadable, match="raised KeyError"):
            new.read_snapshot("b")


@pytest.mark.parametrize(
    ("metadata", "stored"),
    [
        (None, {"event_version": 3}),
        ({}, {"event_version": 3}),
        ({"by": "Ann"}, {"by": "Ann", "event_version": 3}),
        ({"event_version": 1}, {"event_version": 3}),
        (Facts(count=1), {"count": 1, "event_version": 3}),
    ],
)
def test_the_version_is_stored_with_an_object(chained: EventTypes, metadata: Any, stored: Any) -> None:
    with InMemoryEventStore(serializer=TypedSerializer(chained)) as store:
        store.append_to_stream("a", "no_stream", [chained.event_of(Opened("Ann", "CHF"), metadata=metadata)])
        (read,) = store.read_stream_forward("a")
    assert (read.data, read.metadata) == (Opened("Ann", "CHF"), stored)


def test_plain_data_is_of_the_version_its_metadata_names(chained: EventTypes) -> None:
    given = [
        EventData("Opened", {"name": "Ann"}, {"event_version": 1}),
        EventData("Opened", {"owner": "Ann", "currency": "CHF"}),
    ]
    with InMemoryEventStore(serializer=TypedSerializer(chained)) as store:
        store.append_to_stream("a", "no_stream", given)
        old, new = store.read_stream_forward("a")
    assert (old.data, old.metadata) == (Opened("Ann", "DEM"), {"event_version": 1})
    assert (new.data, new.metadata) == (Opened("Ann", "CHF"), {"event_version": 3})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [("text", "metadata of type str cannot hold 'event_version'"), ({"event_version": 0}, "event_version 0")],
)
def test_metadata_that_cannot_hold_the_version(chained: EventTypes, metadata: Any, message: str) -> None:
    event = EventData("Opened", {"owner": "Ann"}, metadata)
    with (
        InMemoryEventStore(serializer=TypedSerializer(chained)) as store,
        pytest.raises(SerializationFailed, match=message),
    ):
        store.append_to_stream("a", "no_stream", [event])


def test_bytes_that_are_no_json_are_named(
    database_url: str, schema: str, conn: Connection, chained: EventTypes
) -> None:
    with EventStore(database_url, schema=schema, serializer=TypedSerializer(chained)) as store:
        store.append_to_stream("a", "no_stream", [chained.event_of(Opened("Ann"))])
        conn.execute("set session_replication_role = replica")
        conn.execute(f"update \"{schema}\".events set data = 'no json'")
        with pytest.raises(DeserializationFailed, match="use the serializer it was written with"):
            store.read_stream_forward("a")
