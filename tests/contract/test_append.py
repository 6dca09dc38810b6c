"""Contract: appending, to one stream and to many."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from eventstore.store import (
    AppendResult,
    CannotAppendToAllStream,
    ConfigurationError,
    DuplicateEvent,
    EventData,
    EventStore,
    ExpectedStreamMissing,
    SerializationFailed,
    StreamExists,
    StreamNameTooLong,
    WrongExpectedVersion,
)
from eventstore.tests.support.events import events


@pytest.mark.parametrize("expected", ["any_version", "no_stream", 0])
def test_a_new_stream(store: EventStore, expected: Any) -> None:
    store.append_to_stream("other", "any_version", events(1))
    assert store.append_to_stream("new", expected, events(1, 2)) == AppendResult("new", 1, 2, 2, 3)


@pytest.mark.parametrize("expected", ["any_version", "stream_exists", 2])
def test_an_existing_stream(store: EventStore, expected: Any) -> None:
    store.append_to_stream("old", "no_stream", events(1, 2))
    assert store.append_to_stream("old", expected, events(3, 4, 5)) == AppendResult("old", 3, 5, 3, 5)


@pytest.mark.parametrize(
    ("stream", "expected", "error", "actual"),
    [
        ("new", "stream_exists", ExpectedStreamMissing, 0),
        ("new", 1, WrongExpectedVersion, 0),
        ("old", "no_stream", StreamExists, 2),
        ("old", 0, WrongExpectedVersion, 2),
        ("old", 3, WrongExpectedVersion, 2),
    ],
)
def test_another_version_than_expected(
    store: EventStore, stream: str, expected: Any, error: type[WrongExpectedVersion], actual: int
) -> None:
    store.append_to_stream("old", "no_stream", events(1, 2))
    for refused in (events(3), []):
        with pytest.raises(error) as raised:
            store.append_to_stream(stream, expected, refused)
        assert type(raised.value) is error
        assert (raised.value.stream_uuid, raised.value.expected, raised.value.actual) == (stream, expected, actual)
    assert store.stream_heads(["new", "old", "$all"]) == {"old": 2, "$all": 2}


@pytest.mark.parametrize(
    ("stream", "expected", "given", "error"),
    [
        ("a", "any", events(1), ConfigurationError),
        ("a", -1, events(1), ConfigurationError),
        ("", "any_version", events(1), ConfigurationError),
        ("a", "any_version", ["no event"], ConfigurationError),
        ("$all", "any_version", events(1), CannotAppendToAllStream),
        ("x" * 2601, "any_version", events(1), StreamNameTooLong),
        ("a", "any_version", events(object()), SerializationFailed),
    ],
)
def test_what_is_refused(store: EventStore, stream: str, expected: Any, given: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        store.append_to_stream(stream, expected, given)
    assert store.read_all_streams_forward() == []


def test_a_naive_time_is_refused(store: EventStore) -> None:
    with pytest.raises(ConfigurationError, match="no time zone"):
        store.append_to_stream("a", 0, events(1), created_at_override=datetime(2020, 1, 1))  # noqa: DTZ001


def test_an_id_is_stored_once(store: EventStore) -> None:
    twice = uuid.uuid4()
    event = EventData("E", 1, event_id=twice)
    store.append_to_stream("a", "no_stream", [event])
    for given in ([*events(2), event], [EventData("E", 3, event_id=UUID_), EventData("E", 4, event_id=UUID_)]):
        with pytest.raises(DuplicateEvent) as refused:
            store.append_to_stream("b", "any_version", given)
        assert refused.value.event_id in (twice, UUID_)
    assert store.stream_heads(["a", "b", "$all"]) == {"a": 1, "$all": 1}
    assert store.known_event_ids([twice, UUID_]) == {twice}


UUID_ = uuid.UUID(int=7)


def test_no_events(store: EventStore) -> None:
    store.append_to_stream("old", "no_stream", events(1))
    assert store.append_to_stream("new", "any_version", []) == AppendResult("new", 1, 0, 2, 1)
    assert store.append_to_stream("old", 1, []) == AppendResult("old", 2, 1, 2, 1)
    assert store.stream_heads(["new"]) == {}


def test_everything_of_an_event_is_stored(store: EventStore) -> None:
    one, two, three = (uuid.uuid4() for _ in range(3))
    at = datetime(2020, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
    event = EventData("E", {"a": [1, None], "t": (1, 2)}, {"m": "ü"}, one, two, three)
    store.append_to_stream("a, 'ü'", "no_stream", [event], created_at_override=at)
    (read,) = store.read_stream_forward("a, 'ü'")
    assert (read.event_number, read.stream_uuid, read.stream_version) == (1, "a, 'ü'", 1)
    assert (read.event_id, read.causation_id, read.correlation_id) == (one, two, three)
    assert (read.event_type, read.data, read.metadata) == ("E", {"a": [1, None], "t": [1, 2]}, {"m": "ü"})
    assert read.created_at == at


def test_time_and_id_are_given_where_the_caller_gives_none(store: EventStore) -> None:
    store.append_to_stream("a", "no_stream", events(1, 2))
    one, two = store.read_stream_forward("a")
    assert one.event_id != two.event_id
    assert one.created_at.tzinfo is UTC
    assert (one.metadata, one.causation_id, one.correlation_id) == (None, None, None)


def test_many_streams_at_once(store: EventStore) -> None:
    results = store.append_many(
        [("a", 0, events(1, 2)), ("b", "any_version", events(3)), ("a", "any_version", events(4))]
    )
    assert results == [AppendResult("a", 1, 2, 1, 2), AppendResult("b", 1, 1, 3, 3), AppendResult("a", 3, 3, 4, 4)]
    assert [event.data for event in store.read_all_streams_forward()] == [1, 2, 3, 4]
    assert store.append_many([]) == []


def test_many_streams_or_none(store: EventStore) -> None:
    store.append_to_stream("b", "no_stream", events(1))
    with pytest.raises(StreamExists):
        store.append_many([("a", 0, events(2)), ("b", "no_stream", events(3))])
    with pytest.raises(ConfigurationError, match="again"):
        store.append_many([("a", 0, events(2)), ("a", 1, events(3))])
    with pytest.raises(ConfigurationError, match="without events"):
        store.append_many([("a", 0, [])])
    assert store.stream_heads(["a", "b", "$all"]) == {"b": 1, "$all": 1}
