"""Contract: reading forward, backward and lazily, and what is known without reading."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from eventstore.store import ConfigurationError, EventStore, StreamNotFound
from eventstore.tests.support.events import events


@pytest.fixture
def filled(store: EventStore) -> EventStore:
    """Stream a with 1, 2, 3, 5; b with 4, 6: the payload is the position."""
    for stream, data in (("a", (1, 2, 3)), ("b", (4,)), ("a", (5,)), ("b", (6,))):
        store.append_to_stream(stream, "any_version", events(*data))
    return store


def test_forward(filled: EventStore) -> None:
    reads: list[tuple[str, int, int, list[int]]] = [
        ("a", 0, 1000, [1, 2, 3, 5]),
        ("a", 2, 2, [2, 3]),
        ("a", 5, 10, []),
        ("$all", 3, 2, [3, 4]),
    ]
    for stream, start, count, expected in reads:
        assert [event.data for event in filled.read_stream_forward(stream, start, count)] == expected


def test_backward(filled: EventStore) -> None:
    reads: list[tuple[str, int, int, list[int]]] = [
        ("a", -1, 1000, [5, 3, 2, 1]),
        ("a", 2, 1000, [2, 1]),
        ("a", 9, 1, [5]),
        ("a", 0, 1, []),
        ("$all", -1, 2, [6, 5]),
    ]
    for stream, start, count, expected in reads:
        assert [event.data for event in filled.read_stream_backward(stream, start, count)] == expected


def test_all_streams(filled: EventStore) -> None:
    forward = filled.read_all_streams_forward()
    places = [(event.event_number, event.stream_uuid, event.stream_version) for event in forward]
    assert places == [(1, "a", 1), (2, "a", 2), (3, "a", 3), (4, "b", 1), (5, "a", 4), (6, "b", 2)]
    assert filled.read_all_streams_backward(5, 2) == forward[4:2:-1]


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 1000])
def test_lazily(filled: EventStore, batch: int) -> None:
    assert [event.data for event in filled.stream_forward("a", read_batch_size=batch)] == [1, 2, 3, 5]
    assert [event.data for event in filled.stream_backward("a", read_batch_size=batch)] == [5, 3, 2, 1]
    assert [event.data for event in filled.stream_all_forward(3, batch)] == [3, 4, 5, 6]
    assert [event.data for event in filled.stream_all_backward(4, batch)] == [4, 3, 2, 1]


def test_a_lazy_read_starts_when_it_is_iterated(store: EventStore) -> None:
    lazy = store.stream_forward("a")
    store.append_to_stream("a", "no_stream", events(1))
    assert [event.data for event in lazy] == [1]


def test_an_empty_store(store: EventStore) -> None:
    assert store.read_all_streams_forward() == store.read_all_streams_backward() == []
    assert [*store.stream_all_forward(), *store.stream_all_backward()] == []
    assert store.stream_heads(["$all"]) == {"$all": 0}


def test_an_unknown_stream(store: EventStore) -> None:
    for read in (store.read_stream_forward, store.read_stream_backward, store.stream_info):
        with pytest.raises(StreamNotFound, match="nowhere"):
            read("nowhere")
    for lazy in (store.stream_forward("nowhere"), store.stream_backward("nowhere")):
        with pytest.raises(StreamNotFound, match="nowhere"):
            next(lazy)


@pytest.mark.parametrize(
    ("read", "arguments"),
    [
        ("read_stream_forward", {"start_version": -1}),
        ("read_stream_backward", {"start_version": -2}),
        ("read_stream_forward", {"count": 0}),
    ],
)
def test_numbers_out_of_range(store: EventStore, read: str, arguments: Any) -> None:
    with pytest.raises(ConfigurationError, match="out of range"):
        getattr(store, read)("a", **arguments)


def test_what_is_known_of_streams(filled: EventStore) -> None:
    info = filled.stream_info("b")
    assert (info.stream_uuid, info.stream_id, info.stream_version, info.deleted_at) == ("b", 2, 2, None)
    assert filled.stream_info("$all").stream_version == 6
    assert filled.stream_heads(["a", "b", "none", "$all"]) == {"a": 4, "b": 2, "$all": 6}


def test_known_event_ids(filled: EventStore) -> None:
    known = {event.event_id for event in filled.read_stream_forward("a")}
    assert filled.known_event_ids([*known, uuid.uuid4()]) == known
    assert filled.known_event_ids([]) == set()


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_a_name_that_no_database_can_hold(store: EventStore, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.read_stream_forward(name),
        lambda: store.read_stream_backward(name),
        lambda: store.stream_info(name),
        lambda: store.stream_heads(["a", name]),
        lambda: store.paginate_streams(search=name),
        lambda: store.delete_stream(name, "any_version"),
        lambda: store.read_snapshot(name),
        lambda: store.delete_snapshot(name),
        lambda: store.subscription("$all", name),
        lambda: store.delete_subscription(name, "n"),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=r"remove|surrogates"):
            call()
