"""Appending to several streams in one transaction: all or none, in the order given, and never in a deadlock."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from eventstore.store import (
    AppendResult,
    CannotAppendToAllStream,
    ConfigurationError,
    Connection,
    DuplicateEvent,
    EventData,
    EventStore,
    EventStoreError,
    ExpectedStreamMissing,
    StreamExists,
    WrongExpectedVersion,
)
from eventstore.tests.support.events import events
from eventstore.tests.support.threads import together

pytestmark = pytest.mark.every_server


def positions(store: EventStore) -> list[tuple[int, str, int, Any]]:
    found = store.read_all_streams_forward(count=100_000)
    return [(event.event_number, event.stream_uuid, event.stream_version, event.data) for event in found]


def test_all_keeps_the_order_given(event_store: EventStore) -> None:
    event_store.append_to_stream("b", "no_stream", events("old"))
    results = event_store.append_many(
        [
            ("z", "no_stream", events(1, 2)),
            ("b", 1, events(3)),
            ("z", "any_version", events(4)),
            ("a", "any_version", events(5)),
            ("b", "stream_exists", events(6)),
        ]
    )
    assert results == [
        AppendResult("z", 1, 2, 2, 3),
        AppendResult("b", 2, 2, 4, 4),
        AppendResult("z", 3, 3, 5, 5),
        AppendResult("a", 1, 1, 6, 6),
        AppendResult("b", 3, 3, 7, 7),
    ]
    assert positions(event_store) == [
        (1, "b", 1, "old"),
        (2, "z", 1, 1),
        (3, "z", 2, 2),
        (4, "b", 2, 3),
        (5, "z", 3, 4),
        (6, "a", 1, 5),
        (7, "b", 3, 6),
    ]


def test_everything_of_the_events_is_stored(event_store: EventStore) -> None:
    one, two, three = (uuid.uuid4() for _ in range(3))
    event = EventData("E", [1], {"m": 2}, event_id=one, causation_id=two, correlation_id=three)
    event_store.append_many([("a", "any_version", [event])])
    (read,) = event_store.read_stream_forward("a")
    assert (read.event_id, read.causation_id, read.correlation_id) == (one, two, three)
    assert (read.event_type, read.data, read.metadata) == ("E", [1], {"m": 2})


@pytest.mark.parametrize(
    ("name", "expected", "error"),
    [
        ("old", "no_stream", StreamExists),
        ("old", 7, WrongExpectedVersion),
        ("new", 1, WrongExpectedVersion),
        ("new", "stream_exists", ExpectedStreamMissing),
    ],
)
def test_one_mismatch_stops_all(event_store: EventStore, name: str, expected: Any, error: type[Exception]) -> None:
    event_store.append_to_stream("old", "no_stream", events(1))
    event_store.append_to_stream("other", "no_stream", events(1))
    before = positions(event_store)
    with pytest.raises(error, match=name):
        event_store.append_many(
            [("fresh", "any_version", events(2)), (name, expected, events(3)), ("other", 1, events(4))]
        )
    assert positions(event_store) == before
    assert event_store.stream_heads(["fresh", "other", "$all"]) == {"other": 1, "$all": 2}


def test_a_duplicate_stops_all(event_store: EventStore) -> None:
    twice = uuid.uuid4()
    event_store.append_to_stream("a", "no_stream", [EventData("E", 1, event_id=twice)])
    with pytest.raises(DuplicateEvent):
        event_store.append_many(
            [("b", "any_version", events(1)), ("c", "any_version", [EventData("E", 1, event_id=twice)])]
        )
    assert event_store.stream_heads(["a", "b", "c", "$all"]) == {"a": 1, "$all": 1}


def test_a_mismatch_leaves_the_callers_transaction_usable(
    event_store: EventStore, open_connection: Callable[..., Connection]
) -> None:
    own = open_connection()
    with own.transaction():
        event_store.append_to_stream("a", "no_stream", events(1), conn=own)
        with pytest.raises(StreamExists):
            event_store.append_many([("b", 0, events(1)), ("a", "no_stream", events(2))], conn=own)
        event_store.append_many([("a", 1, events(3))], conn=own)
    assert [row[1:] for row in positions(event_store)] == [("a", 1, 1), ("a", 2, 3)]


@pytest.mark.parametrize(
    ("appends", "error", "message"),
    [
        ([("a", "any_version", [])], ConfigurationError, "without events"),
        ([("a", 0, events(1)), ("a", 1, events(1))], ConfigurationError, "names stream 'a' again"),
        ([("$all", "any_version", events(1))], CannotAppendToAllStream, "all"),
    ],
)
def test_what_is_refused(event_store: EventStore, appends: Any, error: type[EventStoreError], message: str) -> None:
    with pytest.raises(error, match=message):
        event_store.append_many(appends)
    assert positions(event_store) == []


def test_nothing_to_append(event_store: EventStore) -> None:
    assert event_store.append_many([]) == []


def test_writers_of_the_same_streams_in_any_order(event_store: EventStore) -> None:
    """Existing and new streams, appends of one and of many: no deadlock, no gap, nothing lost."""
    event_store.append_many([(f"s{n}", "no_stream", events("old")) for n in range(0, 12, 2)])

    def write(seed: int) -> int:
        choices = random.Random(seed)
        written = 0
        for _ in range(15):
            names = choices.sample([f"s{n}" for n in range(12)], 4)
            event_store.append_many([(name, "any_version", events(seed)) for name in names])
            event_store.append_to_stream(choices.choice(names), "any_version", events(seed))
            written += 5
        return written

    total = 6 + sum(together(write, range(6)))
    found = positions(event_store)
    assert [row[0] for row in found] == list(range(1, total + 1))
    versions: dict[str, list[int]] = {}
    for _, stream, version, _ in found:
        versions.setdefault(stream, []).append(version)
    assert all(given == list(range(1, len(given) + 1)) for given in versions.values())
