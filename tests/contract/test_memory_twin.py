"""The in-memory store beside PostgreSQL: the same calls, drawn by hypothesis, must give the same answers to the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.store import (
    DuplicateEvent,
    EventData,
    EventStore,
    EventStoreError,
    InMemoryEventStore,
    Page,
    RecordedEvent,
    StreamInfo,
)
from eventstore.tests.support.database import fresh_schema

Call = Callable[[EventStore], Any]

# Few names, versions and ids, so that calls meet each other.
STREAMS = st.sampled_from(["a", "b", "ä%_c"])
EXPECTED: st.SearchStrategy[Any] = st.sampled_from(
    ["any_version", "any_version", "no_stream", "stream_exists", 0, 1, 2, 3]
)
IDS = st.integers(1, 25).map(lambda number: UUID(int=number))
EVENTS = st.lists(st.builds(lambda one: EventData("E", {"id": one.int}, None, one), IDS), max_size=3)


def append(stream: str, expected: Any, events: list[EventData]) -> Call:
    return lambda store: store.append_to_stream(stream, expected, events)


def append_many(appends: list[Any]) -> Call:
    return lambda store: store.append_many(appends)


def link(stream: str, expected: Any, ids: list[UUID]) -> Call:
    return lambda store: store.link_to_stream(stream, expected, ids)


def delete(stream: str, expected: Any, how: Any) -> Call:
    return lambda store: store.delete_stream(stream, expected, how)


def read(stream: str, start: int, count: int, name: str) -> Call:
    return lambda store: getattr(store, name)(stream, start, count)


def paginate(size: int, number: int, search: str | None, key: Any, direction: Any) -> Call:
    return lambda store: store.paginate_streams(
        page_size=size, page_number=number, search=search, sort_by=key, sort_dir=direction
    )


ANY_STREAM = st.one_of(STREAMS, st.just("$all"))
CALLS = st.one_of(
    st.builds(append, STREAMS, EXPECTED, EVENTS),
    st.builds(append, STREAMS, st.just("any_version"), EVENTS),
    st.builds(append_many, st.lists(st.tuples(STREAMS, EXPECTED, EVENTS), max_size=3)),
    st.builds(link, STREAMS, EXPECTED, st.lists(IDS, max_size=3)),
    st.builds(delete, ANY_STREAM, EXPECTED, st.sampled_from(["soft", "hard", "hard"])),
    st.builds(read, ANY_STREAM, st.integers(0, 8), st.integers(1, 4), st.just("read_stream_forward")),
    st.builds(read, ANY_STREAM, st.integers(-1, 8), st.integers(1, 4), st.just("read_stream_backward")),
    st.builds(
        paginate,
        st.integers(1, 3),
        st.integers(1, 3),
        st.sampled_from([None, "", "a", "%", r"\%", "_", r"\_", "\\", r"a\\", "$a_l"]),
        st.sampled_from(["stream_id", "stream_uuid", "stream_version", "created_at", "deleted_at"]),
        st.sampled_from(["asc", "desc"]),
    ),
)


def answer(store: EventStore, call: Call) -> Any:
    try:
        return comparable(call(store))
    except DuplicateEvent as error:
        # Of several duplicates PostgreSQL names the one it came upon first.
        return type(error), error.stream_uuid
    except EventStoreError as error:
        return type(error), str(error)


def comparable(value: Any) -> Any:
    """The value without times, and without stream ids, of which PostgreSQL skips some."""
    if isinstance(value, list):
        return [comparable(element) for element in value]
    if isinstance(value, Page):
        return [comparable(entry) for entry in value.entries], value.total_entries, value.total_pages
    if isinstance(value, StreamInfo):
        return value.stream_uuid, value.stream_version, value.deleted_at is None
    if isinstance(value, RecordedEvent):
        place = (value.event_number, value.stream_uuid, value.stream_version)
        return (*place, value.event_id, value.event_type, value.data, value.metadata)
    return value


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(CALLS, min_size=5, max_size=25))
def test_the_same_calls_give_the_same_answers(database_url: str, calls: list[Call]) -> None:
    calls = [*calls, *(read(name, 0, 100, "read_stream_forward") for name in ("a", "b", "ä%_c", "$all"))]
    with (
        fresh_schema(database_url) as schema,
        EventStore(database_url, schema=schema, enable_hard_deletes=True) as real,
    ):
        memory = InMemoryEventStore(enable_hard_deletes=True)
        for call in calls:
            assert answer(memory, call) == answer(real, call)
