"""Arrays as the store packs them, read back by PostgreSQL itself; and the ids that it draws."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from psycopg.types.uuid import UUIDDumper

from eventstore.store import ConfigurationError, Connection, EventData, EventStore
from eventstore.store.arrays import Array, Bigints, Bytes, Texts, Uuids
from eventstore.store.connection import fetch
from eventstore.store.event_ids import new_event_id
from eventstore.store.operation import Query

ONE, TWO = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)


@pytest.mark.parametrize(
    ("array", "type_name"),
    [
        (Bigints([0, -1, 2**63 - 1, -(2**63)]), "bigint[]"),
        (Bytes([b"", None, b"\x00\xff", b"x" * 70_000]), "bytea[]"),
        (Texts(["", "a,b{}\"\\'", None, "ü😀"]), "text[]"),
        (Uuids([ONE, TWO, None]), "uuid[]"),
        *((kind(), name) for kind, name in ((Bigints, "bigint[]"), (Texts, "text[]"), (Uuids, "uuid[]"))),
        (Uuids([None, None]), "uuid[]"),
    ],
)
def test_the_server_reads_what_was_packed(conn: Connection, array: Array, type_name: str) -> None:
    query = Query(f"select v from unnest($1::{type_name}) with ordinality as a (v, n) order by n", (array,))
    assert [row[0] for row in fetch(conn, query)] == list(array)
    assert fetch(conn, Query(f"select cardinality($1::{type_name}), array_ndims($1)", (array,))) == [
        (len(array), 1 if array else None)
    ]


def test_the_caller_may_have_registered_its_own_way_to_write_uuids(event_store: EventStore, conn: Connection) -> None:
    class Refused(UUIDDumper):
        def dump(self, obj: Any) -> bytes:
            raise AssertionError(f"{obj} was given to the driver")

    conn.adapters.register_dumper(uuid.UUID, Refused)
    event_store.append_to_stream("a", "no_stream", [EventData("E", 1, event_id=ONE, causation_id=TWO)], conn=conn)
    (event,) = event_store.read_stream_forward("a")
    assert (event.event_id, event.causation_id) == (ONE, TWO)


def test_an_expected_version_that_no_stream_can_have(event_store: EventStore) -> None:
    with pytest.raises(ConfigurationError, match=str(2**63)):
        event_store.append_many([("a", 2**63, [EventData("E", 1)])])


def test_drawn_ids_are_uuids_of_version_7_of_the_time_of_drawing() -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_event_id() for _ in range(10_000)]
    after = time.time_ns() // 1_000_000
    assert len(set(ids)) == len(ids)
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    times = [one.int >> 80 for one in ids]
    assert before <= min(times)
    assert max(times) <= after
    # Every bit that is neither time, version nor variant is drawn.
    seen_set, seen_clear = 0, 0
    for one in ids:
        seen_set |= one.int
        seen_clear |= ~one.int
    drawn = ((2**12 - 1) << 64) | (2**62 - 1)
    assert seen_set & seen_clear & drawn == drawn
