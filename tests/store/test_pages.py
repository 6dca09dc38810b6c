"""Pages for subscriptions: bounded by events, by positions looked at and by bytes, and none of them loses an event."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.runtime.reader import PageReader, size_of
from eventstore.store import Connection, EventData, EventStore, Statements, connect, run
from eventstore.store.filters import EventFilter
from eventstore.store.read import Page, read_page
from eventstore.store.sql import DataType
from eventstore.tests.support.database import fresh_schema
from eventstore.tests.support.events import events

KIND = {False: "Odd", True: "Even"}


class Reading:
    """A store of 120 events of very different sizes, and a connection that reads as the listener does."""

    def __init__(self, store: EventStore, conn: Connection, data_type: DataType) -> None:
        self.statements = Statements(store.schema, data_type)
        self.conn = conn
        draw = random.Random(1)
        for n in range(1, 121):
            size = draw.choice([0, 10, 100, 1_900, 3_000, 20_000, 300_000])
            # What is random stays as long as it is, what repeats is compressed to a hundredth.
            text = draw.choice(["x" * size, draw.randbytes(size // 2).hex(), '"\\\n' * (size // 3)])
            metadata = draw.choice([None, {"user": "u"}, {"note": "y" * size}])
            store.append_to_stream(f"s-{n % 3}", "any_version", [EventData(KIND[n % 2 == 0], [n, text], metadata)])
        self.sizes = {row[0]: size_of(row) for row in self.page("$all", 0, 1_000).rows}

    def page(self, stream: str, after: int, limit: int, **options: Any) -> Page:
        return run(self.conn, read_page(self.statements, stream, after, limit, **options))


@pytest.fixture(params=["bytea", "jsonb"], scope="module")
def reading(request: pytest.FixtureRequest, database_url: str) -> Iterator[Reading]:
    with (
        fresh_schema(database_url, request.param, f"pages_{uuid.uuid4().hex[:8]}") as schema,
        EventStore(database_url, schema=schema) as store,
        connect(database_url, "test", prefer_indexes=True) as conn,
    ):
        yield Reading(store, conn, request.param)


filters = st.sampled_from([None, EventFilter.of(["Even"]), EventFilter.of(category="s"), EventFilter.of(["None"])])
bounds = st.none() | st.sampled_from([1, 500, 5_000, 50_000, 400_000, 5_000_000])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 130), bounds, filters, st.integers(1, 130))
def test_pages_bring_every_event_once_within_their_bounds(
    reading: Reading, limit: int, max_bytes: int | None, filter: EventFilter | None, window: int
) -> None:
    position, found = 0, []
    for _ in itertools.count():
        page = reading.page("$all", position, limit, max_bytes=max_bytes, filter=filter, window=window)
        assert len(page.rows) <= limit
        if max_bytes is not None and len(page.rows) > 1:
            assert sum(map(size_of, page.rows)) <= max_bytes
        assert page.complete or page.scanned_to > position
        assert not page.rows or page.scanned_to >= page.rows[-1][0]
        found += page.rows
        position = page.scanned_to
        if page.complete:
            break
    assert position == 120
    wanted = [n for n in range(1, 121) if not (filter and filter.event_types) or KIND[n % 2 == 0] in filter.event_types]
    assert [row[0] for row in found] == wanted
    assert all(size_of(row) == reading.sizes[row[0]] for row in found)


def test_a_page_is_as_full_as_its_bytes_allow(reading: Reading) -> None:
    """For bytea exactly; sizes in jsonb are estimated, and a page of compressed data may end early."""
    for max_bytes in (1_000, 30_000, 700_000):
        page = reading.page("$all", 0, 120, max_bytes=max_bytes)
        sums = list(itertools.accumulate(reading.sizes.values()))
        most = max(1, sum(total <= max_bytes for total in sums))
        assert 1 <= len(page.rows) <= most
        if reading.statements.data_type == "bytea":
            assert len(page.rows) == most


def test_a_stream_is_read_within_the_same_bounds(reading: Reading) -> None:
    whole = reading.page("s-1", 0, 1_000)
    assert [row[0] for row in whole.rows] == list(range(1, 41))
    assert whole == reading.page("s-1", 0, 1_000, max_bytes=10**9)
    first = reading.page("s-1", 0, 1_000, max_bytes=50_000)
    assert first.rows == whole.rows[: len(first.rows)]
    assert 1 <= len(first.rows) < 40
    assert not first.complete
    even = EventFilter.of(["Even"])
    assert reading.page("s-1", 0, 1_000, filter=even).rows == [row for row in whole.rows if row[3] == "Even"]


@pytest.mark.parametrize("data_type", ["bytea", "jsonb"])
def test_ten_megabytes_at_once_are_not_read_to_be_left_out(database_url: str, data_type: DataType) -> None:
    big = random.Random(2).randbytes(5_000_000).hex()
    with (
        fresh_schema(database_url, data_type) as schema,
        EventStore(database_url, schema=schema, timeout=60) as store,
        connect(database_url, "test", prefer_indexes=True) as conn,
    ):
        for _ in range(4):
            store.append_to_stream("big", "any_version", events("small", big, "small"))
        statements = Statements(schema, data_type)
        position, taken = 0, []
        while position < 12:
            page = run(conn, read_page(statements, "$all", position, 1_000, max_bytes=100_000))
            taken.append([row[0] for row in page.rows])
            position = page.scanned_to
        assert taken == [[1], [2], [3, 4], [5], [6, 7], [8], [9, 10], [11], [12]]
        two = run(conn, read_page(statements, "$all", 0, 1_000, max_bytes=25_000_000))
        assert [row[0] for row in two.rows] == [1, 2, 3, 4, 5, 6, 7]


def test_a_sparse_filter_over_200_000_events(event_store: EventStore, schema: str, conn: Connection) -> None:
    for _ in range(100):
        event_store.append_to_stream("many-1", "any_version", events(*[{"n": 0}] * 2_000))
    event_store.append_to_stream("few-1", 0, events({"n": 1}, event_type="Rare"))
    statements = Statements(schema)
    for options in (
        {"event_types": ["Rare"]},
        {"category": "few"},
        {"stream_prefix": "few-"},
        {"event_types": ["Happened", "Rare"], "data_equals": {"n": 1}},
        {"event_types": ["Never"]},
    ):
        wanted = EventFilter.of(**options)
        reader = PageReader(
            lambda stream, after, limit, **bounds: run(conn, read_page(statements, stream, after, limit, **bounds)),
            set(),
            clock=lambda: 0.0,
        )
        position, found, complete = 0, [], False
        while not complete:
            page = reader.read("$all", position, 1_000, 67_108_864, wanted)
            position, complete = page.scanned_to, page.complete
            found += [row[0] for row in page.rows]
        assert found == ([] if options == {"event_types": ["Never"]} else [200_001])
        assert position == 200_001
        assert reader.reads <= 10


def test_a_statement_that_is_cancelled_for_its_length_is_tried_with_less(
    event_store: EventStore, schema: str, open_connection: Callable[..., Connection]
) -> None:
    slow = """
        create or replace function "{schema}".runtime_json(payload bytea) returns jsonb language plpgsql as
        $function$ begin perform pg_sleep(0.05); return convert_from(payload, 'UTF8')::jsonb; end $function$
    """
    open_connection().execute(slow.replace("{schema}", schema).encode())
    event_store.append_to_stream("s", 0, events(*[{"n": n % 20} for n in range(60)]))
    conn, statements = open_connection(timeout=1.0), Statements(schema)
    reader = PageReader(
        lambda stream, after, limit, **bounds: run(conn, read_page(statements, stream, after, limit, **bounds)), set()
    )
    found, page = [], Page([], 0, complete=False)
    while not page.complete:
        page = reader.read("$all", page.scanned_to, 1_000, None, EventFilter.of(data_equals={"n": 7}))
        found += [row[0] for row in page.rows]
    assert (found, page.scanned_to) == ([8, 28, 48], 60)
    assert reader.reads > 4, "60 took too long at once"
