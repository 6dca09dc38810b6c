"""Contract: links to stored events in further streams."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from eventstore.store import (
    AppendResult,
    CannotAppendToAllStream,
    ConfigurationError,
    DuplicateEvent,
    EventNotFound,
    EventStore,
    ExpectedStreamMissing,
    StreamDeleted,
    StreamExists,
    WrongExpectedVersion,
)
from eventstore.tests.support.events import events


@pytest.fixture
def source(store: EventStore) -> EventStore:
    """Stream a with 1, 2; b with 3; the payload is the position."""
    store.append_to_stream("a", "no_stream", events(1, 2))
    store.append_to_stream("b", "no_stream", events(3))
    return store


def places(store: EventStore, stream: str) -> list[tuple[int, str, int, Any]]:
    return [(e.event_number, e.stream_uuid, e.stream_version, e.data) for e in store.read_stream_forward(stream)]


def test_links_come_in_the_order_given_and_point_to_their_source(source: EventStore) -> None:
    one, two, three = source.read_all_streams_forward()
    assert source.link_to_stream("l", "no_stream", [three, one.event_id]) == AppendResult("l", 1, 2, 4, 3)
    assert places(source, "l") == [(1, "b", 1, 3), (2, "a", 1, 1)]
    assert source.link_to_stream("l", 2, [two]) == AppendResult("l", 3, 3, 4, 3)
    assert [event.data for event in source.stream_backward("l")] == [2, 1, 3]
    assert [event.data for event in source.read_all_streams_forward()] == [1, 2, 3]


def test_a_link_of_a_link_points_to_the_source_too(source: EventStore) -> None:
    source.link_to_stream("l", 0, source.read_stream_backward("a"))
    source.link_to_stream("m", 0, source.read_stream_forward("l"))
    assert places(source, "m") == [(1, "a", 2, 2), (2, "a", 1, 1)]


def test_links_and_events_mix(source: EventStore) -> None:
    source.link_to_stream("b", "stream_exists", source.read_stream_forward("a"))
    assert source.append_to_stream("b", 3, events(4)) == AppendResult("b", 4, 4, 4, 4)
    assert places(source, "b") == [(1, "b", 1, 3), (2, "a", 1, 1), (3, "a", 2, 2), (4, "b", 4, 4)]


@pytest.mark.parametrize(
    ("stream", "expected", "error"),
    [
        ("a", "no_stream", StreamExists),
        ("a", 1, WrongExpectedVersion),
        ("l", 1, WrongExpectedVersion),
        ("l", "stream_exists", ExpectedStreamMissing),
        ("l", "any", ConfigurationError),
        ("$all", "any_version", CannotAppendToAllStream),
        ("", "any_version", ConfigurationError),
    ],
)
@pytest.mark.parametrize("count", [0, 1])
def test_what_is_refused(source: EventStore, stream: str, expected: Any, error: type[Exception], count: int) -> None:
    with pytest.raises(error) as refused:
        source.link_to_stream(stream, expected, source.read_stream_forward("b")[:count])
    assert type(refused.value) is error
    assert source.stream_heads(["a", "b", "l", "$all"]) == {"a": 2, "b": 1, "$all": 3}


def test_an_unknown_event(source: EventStore) -> None:
    unknown = uuid.uuid4()
    for stream in ("l", "a"):
        with pytest.raises(EventNotFound, match=str(unknown)) as refused:
            source.link_to_stream(stream, "any_version", [source.read_stream_forward("b")[0], unknown])
        assert refused.value.event_id == unknown
    assert source.stream_heads(["a", "l"]) == {"a": 2}


def test_an_event_is_in_a_stream_once(source: EventStore) -> None:
    one, two = source.read_stream_forward("a")
    source.link_to_stream("l", "no_stream", [one])
    for stream, given in (("l", [two, one]), ("a", [two]), ("m", [two, two])):
        with pytest.raises(DuplicateEvent, match=f"{stream!r} already") as refused:
            source.link_to_stream(stream, "any_version", given)
        assert refused.value.event_id in (one.event_id, two.event_id)
    assert source.stream_heads(["a", "l", "m"]) == {"a": 2, "l": 1}


def test_what_is_no_event(source: EventStore) -> None:
    with pytest.raises(ConfigurationError, match="cannot be linked"):
        source.link_to_stream("l", "any_version", [str(uuid.uuid4())])  # type: ignore[list-item]


def test_no_links(source: EventStore) -> None:
    assert source.link_to_stream("l", "any_version", []) == AppendResult("l", 1, 0, 4, 3)
    assert source.stream_heads(["l"]) == {}


def test_many_links_at_once(store: EventStore) -> None:
    store.append_to_stream("a", "no_stream", events(*range(1_500)))
    linked = store.read_stream_backward("a", count=1_500)
    assert store.link_to_stream("l", 0, linked).stream_version == 1_500
    assert [event.data for event in store.stream_forward("l")] == list(reversed(range(1_500)))


def test_a_deleted_stream_takes_no_links_but_gives_them(source: EventStore) -> None:
    linked = source.read_stream_forward("a")
    source.delete_stream("a", "any_version")
    with pytest.raises(StreamDeleted, match="'a'"):
        source.link_to_stream("a", "any_version", source.read_stream_forward("b"))
    source.link_to_stream("l", "no_stream", linked)
    assert [event.data for event in source.read_stream_forward("l")] == [1, 2]
