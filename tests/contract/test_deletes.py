"""Contract: soft and hard deletes, and what is left after them."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore.store import (
    AppendResult,
    CannotDeleteAllStream,
    ConfigurationError,
    EventStore,
    StreamDeleted,
    StreamNotFound,
    WrongExpectedVersion,
)
from eventstore.tests.support.events import events

TYPES: list[Any] = ["soft", "hard"]


@pytest.fixture
def filled(store: EventStore) -> EventStore:
    """Stream a with 1, 3; b with 2, 4 and a link to 1: the payload is the position."""
    for stream, data in (("a", 1), ("b", 2), ("a", 3), ("b", 4)):
        store.append_to_stream(stream, "any_version", events(data))
    store.link_to_stream("b", 2, store.read_stream_forward("a", 1, 1))
    return store


def data(store: EventStore, stream: str) -> list[Any]:
    return [event.data for event in store.read_stream_forward(stream)]


@pytest.mark.parametrize("expected", ["any_version", "stream_exists", 2])
def test_a_soft_deleted_stream(filled: EventStore, expected: Any) -> None:
    filled.delete_stream("a", expected)
    for call in (
        lambda: filled.read_stream_forward("a"),
        lambda: filled.read_stream_backward("a"),
        lambda: next(filled.stream_forward("a")),
        lambda: filled.append_to_stream("a", "any_version", events(5)),
        lambda: filled.append_many([("a", "any_version", events(5))]),
        lambda: filled.append_to_stream("a", "no_stream", []),
        lambda: filled.delete_stream("a", "any_version"),
        lambda: filled.delete_stream("a", "any_version", "hard"),
    ):
        with pytest.raises(StreamDeleted, match="'a'"):
            call()
    info = filled.stream_info("a")
    assert info.deleted_at is not None
    assert info.deleted_at >= info.created_at
    assert info.stream_version == 2
    assert data(filled, "$all") == [1, 2, 3, 4]
    assert data(filled, "b") == [2, 4, 1]


@pytest.mark.parametrize("expected", ["any_version", "stream_exists", 2])
def test_a_hard_deleted_stream(filled: EventStore, expected: Any) -> None:
    gone = {event.event_id for event in filled.read_stream_forward("a")}
    filled.delete_stream("a", expected, "hard")
    for call in (filled.read_stream_forward, filled.stream_info):
        with pytest.raises(StreamNotFound, match="'a'"):
            call("a")
    assert filled.known_event_ids(gone) == set()
    assert data(filled, "b") == [2, 4]
    assert [(event.event_number, event.data) for event in filled.read_all_streams_forward()] == [(2, 2), (4, 4)]
    assert [event.data for event in filled.stream_all_backward(read_batch_size=1)] == [4, 2]
    assert filled.stream_heads(["$all", "b"]) == {"$all": 4, "b": 3}


def test_after_a_hard_delete_positions_go_on_and_versions_start_anew(filled: EventStore) -> None:
    filled.delete_stream("a", 2, "hard")
    assert filled.append_to_stream("a", "no_stream", events(5)) == AppendResult("a", 1, 1, 5, 5)
    assert filled.append_to_stream("b", 3, events(6)) == AppendResult("b", 4, 4, 6, 6)
    assert data(filled, "a") == [5]


def test_a_hard_deleted_stream_leaves_what_it_only_linked(filled: EventStore) -> None:
    filled.delete_stream("b", "any_version", "hard")
    assert data(filled, "a") == [1, 3]
    assert data(filled, "$all") == [1, 3]


@pytest.mark.parametrize("how", TYPES)
@pytest.mark.parametrize(
    ("stream", "expected", "error"),
    [
        ("a", 1, WrongExpectedVersion),
        ("a", 0, WrongExpectedVersion),
        ("a", "no_stream", ConfigurationError),
        ("a", "any", ConfigurationError),
        ("nowhere", "any_version", StreamNotFound),
        ("nowhere", "stream_exists", StreamNotFound),
        ("nowhere", 0, StreamNotFound),
        ("nowhere", 3, StreamNotFound),
        ("$all", "any_version", CannotDeleteAllStream),
    ],
)
def test_what_is_refused(filled: EventStore, how: Any, stream: str, expected: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        filled.delete_stream(stream, expected, how)
    assert type(refused.value) is error
    assert data(filled, "a") == [1, 3]


def test_an_unknown_type(filled: EventStore) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'hard'"):
        filled.delete_stream("a", "any_version", "Hard")  # type: ignore[arg-type]
