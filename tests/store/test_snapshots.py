"""Snapshots in both kinds of columns, and one that cannot be decoded."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

from eventstore.store import Connection, EventStore, SerializationFailed, Snapshot, SnapshotUnreadable
from eventstore.tests.support.database import fresh_schema

pytestmark = pytest.mark.every_server


@pytest.mark.parametrize("data_type", ["bytea", "jsonb"])
def test_both_kinds_of_columns(database_url: str, data_type: Any) -> None:
    with fresh_schema(database_url, data_type) as name, EventStore(database_url, schema=name) as store:
        for version, metadata in ((1, {"m": [1]}), (2, None)):
            store.record_snapshot(Snapshot("a", version, "T", {"n": version}, metadata))
            read = store.read_snapshot("a")
            assert (read.source_version, read.data, read.metadata) == (version, {"n": version}, metadata)


def test_what_jsonb_alone_refuses(database_url: str) -> None:
    with (
        fresh_schema(database_url, "jsonb") as name,
        EventStore(database_url, schema=name) as store,
        pytest.raises(SerializationFailed, match="Unicode"),
    ):
        store.record_snapshot(Snapshot("a", 1, "T", "\0"))


def test_a_snapshot_that_cannot_be_decoded_is_named(event_store: EventStore, conn: Connection, schema: str) -> None:
    event_store.record_snapshot(Snapshot("a", 1, "Account", 1))
    conn.execute(sql.SQL("update {}.snapshots set data = 'no json'").format(sql.Identifier(schema)))
    with pytest.raises(SnapshotUnreadable, match=r"snapshot of 'a' .type 'Account'") as failed:
        event_store.read_snapshot("a")
    assert failed.value.reason.startswith("JSONDecodeError")


def test_a_serializer_of_ones_own_gets_the_type(database_url: str, schema: str) -> None:
    class Typed:
        def serialize(self, value: Any) -> bytes:
            return str(value).encode()

        def deserialize(self, payload: bytes, event_type: str) -> Any:
            return f"{event_type}:{payload.decode()}"

    with EventStore(database_url, schema=schema, serializer=Typed()) as store:
        store.record_snapshot(Snapshot("a", 1, "Account", "x", "y"))
        read = store.read_snapshot("a")
        assert (read.data, read.metadata) == ("Account:x", "Account:y")


def test_in_the_callers_transaction(event_store: EventStore, conn: Connection) -> None:
    event_store.record_snapshot(Snapshot("a", 1, "T", 1))
    with conn.transaction(force_rollback=True):
        event_store.record_snapshot(Snapshot("a", 2, "T", 2), conn=conn)
        event_store.delete_snapshot("a", conn=conn)
    assert event_store.read_snapshot("a").source_version == 1
