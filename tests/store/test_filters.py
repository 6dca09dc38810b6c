"""Filters: how options become one, and that the database passes exactly what they say, whatever names and data hold."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from math import inf, nan
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.store import ConfigurationError, Connection, EventData, EventStore, Statements, connect, run
from eventstore.store.filters import EventFilter
from eventstore.store.read import Page, read_page
from eventstore.store.rows import Row
from eventstore.store.sql import DataType
from eventstore.tests.support.database import fresh_schema

# How options become a filter


def test_options_that_pass_everything_are_no_filter() -> None:
    assert EventFilter.of() is None
    assert EventFilter.of([], None, "", {}) is None


def test_equal_options_are_the_same_filter() -> None:
    one = EventFilter.of(["b", "a", "b"], "c", "c-", {"x": 1, "y.z": "2"})
    other = EventFilter.of(["a", "b"], "c", "c-", {"y.z": "2", "x": 1})
    assert one == other
    assert hash(one) == hash(other)


def test_a_number_and_a_boolean_are_not_the_same_filter() -> None:
    assert EventFilter.of(data_equals={"x": 1}) != EventFilter.of(data_equals={"x": True})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_equals": {"a..b": 1}}, "'a..b'.*'account.currency'"),
        ({"data_equals": {"": 1}}, "''"),
        ({"data_equals": {"a": nan}}, "nan at 'a'"),
        ({"data_equals": {"a": inf}}, "inf at 'a'"),
        ({"data_equals": {"a": "x\0"}}, "'a' has 'x.x00'.*without the character"),
        ({"data_equals": {"a\0": 1}}, "data_equals has"),
        ({"event_types": ["a\0"]}, "event_types has"),
        ({"category": "\ud800"}, "category has .*surrogates"),
        ({"stream_prefix": "\0"}, "stream_prefix has"),
    ],
)
def test_what_no_event_can_have_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        EventFilter.of(**options)


# What the database passes


class Raw:
    """Stores bytes as they are, so that a test can store anything."""

    def serialize(self, value: bytes) -> bytes:
        return value

    def deserialize(self, payload: bytes, event_type: str) -> bytes:
        return payload


class Stored(NamedTuple):
    """A store, and a connection that reads as the listener does."""

    store: EventStore
    conn: Connection
    statements: Statements

    def append(self, stream: str, *data: bytes, event_type: str = "T") -> None:
        self.store.append_to_stream(stream, "any_version", [EventData(event_type, one, None) for one in data])

    def page(self, stream: str = "$all", after: int = 0, limit: int = 1_000, **options: Any) -> Page:
        return run(self.conn, read_page(self.statements, stream, after, limit, **options))

    def passing(self, after: int = 0, **options: Any) -> list[Any]:
        return [json.loads(row[7]) for row in self.page(after=after, filter=EventFilter.of(**options)).rows]


@pytest.fixture(params=["bytea", "jsonb"], scope="module")
def data_type(request: pytest.FixtureRequest) -> DataType:
    found: DataType = request.param
    return found


@pytest.fixture(scope="module")
def stored(database_url: str, data_type: DataType) -> Iterator[Stored]:
    """One schema of an odd name for all tests here; each looks only at what it appended itself."""
    with (
        fresh_schema(database_url, data_type, f'filter"s {{data}} {uuid.uuid4().hex[:8]}') as schema,
        EventStore(database_url, schema=schema, serializer=Raw()) as store,
        connect(database_url, "test", prefer_indexes=True) as conn,
    ):
        yield Stored(store, conn, Statements(schema, data_type))


def head(stored: Stored) -> int:
    return stored.store.stream_info("$all").stream_version


TYPES = ["Opened", "opened", "Op%", "Ö"]
STREAMS = [
    "acc-1",
    "acc-1-2",
    "acc",
    "accx-1",
    "Acc-1",
    "a_c-1",
    "a%c-1",
    "a\\c-1",
    "a'c-1",
    'a"c-1',
    "-x",
    "äcc-1",
    "ac",
]
NAMES = ["a", "b", "ü", "%", "_", "'", '"', "\\", "a b", "$"]
SCALARS: list[Any] = [
    1,
    1.0,
    0,
    -1,
    0.1,
    1e30,
    10**25,
    2**53 + 1,
    True,
    False,
    "1",
    "true",
    "",
    "x",
    "X",
    "%",
    "'",
    "\\",
    "é",
]

scalars = st.sampled_from(SCALARS)
values = st.recursive(
    scalars | st.none() | st.text(st.characters(exclude_characters="\0\ufffd", exclude_categories=["Cs"]), max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
documents = st.dictionaries(st.sampled_from(NAMES), values, max_size=3)
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2).map(".".join)
no_json = st.sampled_from(
    [b"", b"{", b"\xff\xfe", b"\x83t\x00\x00\x00\x00", b'{"a": 1} x', b"[" * 100_000, b'{"a": 1e400000}']
)
with_nul = documents.map(lambda data: json.dumps({**data, "n\0": "\\\0\\\\\0"}).encode())
filters: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    event_types=st.lists(st.sampled_from(TYPES), max_size=2),
    category=st.none() | st.sampled_from(sorted({stream.partition("-")[0] for stream in STREAMS})),
    stream_prefix=st.none() | st.sampled_from(sorted({stream[:n] for stream in STREAMS for n in range(1, 5)})),
    data_equals=st.dictionaries(paths, scalars, max_size=2),
)


def passes(row: Row, options: dict[str, Any]) -> bool:
    """The filter once more, in Python and by the words of its documentation."""
    if options["event_types"] and row[3] not in options["event_types"]:
        return False
    if options["category"] is not None and row[1].split("-")[0] != options["category"]:
        return False
    if options["stream_prefix"] is not None and not row[1].startswith(options["stream_prefix"]):
        return False
    if not options["data_equals"]:
        return True
    try:
        data = json.loads(row[7], parse_int=Decimal, parse_float=Decimal)
    except (ValueError, RecursionError):
        return False
    return all(_has(data, path.split("."), value) for path, value in options["data_equals"].items())


def _has(data: Any, names: list[str], wanted: Any) -> bool:
    for name in names:
        if not isinstance(data, dict) or name not in data:
            return False
        data = data[name]
    if isinstance(wanted, str | bool):
        return type(data) is type(wanted) and data == wanted
    return isinstance(data, Decimal) and data == Decimal(json.dumps(wanted))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_database_passes_what_the_words_say(stored: Stored, data_type: DataType, data: st.DataObject) -> None:
    payloads = documents.map(lambda one: json.dumps(one).encode()) | values.map(lambda one: json.dumps(one).encode())
    if data_type == "bytea":
        payloads = payloads | no_json | with_nul
    begins = head(stored)
    batch = st.tuples(st.sampled_from(STREAMS), st.sampled_from(TYPES), st.lists(payloads, min_size=1, max_size=4))
    for stream, event_type, some in data.draw(st.lists(batch, min_size=1, max_size=5)):
        stored.append(stream, *some, event_type=event_type)
    everything = stored.page(after=begins).rows
    for options in data.draw(st.lists(filters, min_size=1, max_size=5)):
        wanted = EventFilter.of(**options)
        expected = [row for row in everything if passes(row, options)]
        for max_bytes in (None, 1_000_000):
            page = stored.page(after=begins, filter=wanted, max_bytes=max_bytes)
            assert page == Page(expected, everything[-1][0], complete=True)


def test_all_that_is_given_must_hold(stored: Stored) -> None:
    begins = head(stored)
    for n, (stream, event_type, currency) in enumerate(
        [
            ("order-1", "Paid", "EUR"),
            ("order-2", "Paid", "USD"),
            ("order-1", "Sent", "EUR"),
            ("orders-1", "Paid", "EUR"),
        ]
    ):
        stored.append(stream, json.dumps({"n": n, "money": {"currency": currency}}).encode(), event_type=event_type)

    def passing(**options: Any) -> list[int]:
        return [data["n"] for data in stored.passing(begins, **options)]

    assert passing(event_types=["Paid"]) == [0, 1, 3]
    assert passing(category="order") == [0, 1, 2]
    assert passing(stream_prefix="order") == [0, 1, 2, 3]
    assert passing(stream_prefix="order-") == [0, 1, 2]
    assert passing(data_equals={"money.currency": "EUR"}) == [0, 2, 3]
    assert passing(data_equals={"money.currency": "EUR", "n": 2.0}) == [2]
    assert passing(data_equals={"money": "EUR"}) == []
    assert passing(data_equals={"money": "EUR", "money.currency": "EUR"}) == []
    assert passing(event_types=["Paid"], category="order", data_equals={"money.currency": "EUR"}) == [0]


def test_a_link_passes_by_the_stream_it_comes_from(stored: Stored) -> None:
    ids = [uuid.uuid4() for _ in range(2)]
    for stream, event_id in zip(("from-1", "elsewhere-1"), ids, strict=True):
        stored.store.append_to_stream(stream, "any_version", [EventData("T", b"{}", event_id=event_id)])
    stored.store.link_to_stream("links-1", "any_version", ids)
    assert [row[0] for row in stored.page("links-1", filter=EventFilter.of(category="from")).rows] == [1]
    assert stored.page("links-1", filter=EventFilter.of(category="links")) == Page([], 2, complete=True)
    assert stored.page("nowhere", after=5, filter=EventFilter.of(category="from")) == Page([], 5, complete=True)


def test_data_is_taken_for_json_only_where_the_rest_passes(stored: Stored, data_type: DataType) -> None:
    begins = head(stored)
    for n in range(50):
        stored.append(f"cheap-{n}", b'{"a": 1}', event_type="Rare" if n % 10 == 0 else "Often")
    count = "select coalesce(sum(calls), 0) from pg_stat_xact_user_functions where funcname = 'runtime_json'"
    with stored.conn.transaction():
        stored.conn.execute("set local track_functions = 'pl'")
        assert len(stored.passing(begins, event_types=["Rare"], data_equals={"a": 1})) == 5
        assert stored.conn.execute(count).fetchone() == (5 if data_type == "bytea" else 0,)
