"""Contract: one snapshot for each source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from eventstore.store import ConfigurationError, EventStore, SerializationFailed, Snapshot, SnapshotNotFound

ANCIENT = datetime(2000, 1, 1, tzinfo=UTC)


def test_recorded_and_read(store: EventStore) -> None:
    store.record_snapshot(Snapshot("account-1", 7, "Account", {"balance": 12, "of": (1, 2)}, {"by": "ü"}, ANCIENT))
    read = store.read_snapshot("account-1")
    assert (read.source_uuid, read.source_version, read.source_type) == ("account-1", 7, "Account")
    assert (read.data, read.metadata) == ({"balance": 12, "of": [1, 2]}, {"by": "ü"})
    assert read.created_at is not None
    assert read.created_at > ANCIENT
    assert read.created_at.tzinfo is UTC


def test_the_newest_replaces_the_others(store: EventStore) -> None:
    store.record_snapshot(Snapshot("a", 7, "Account", 1, {"m": 1}))
    store.record_snapshot(Snapshot("b", 1, "Account", 2))
    first = store.read_snapshot("a")
    store.record_snapshot(Snapshot("a", 5, "Renamed", 3))
    second = store.read_snapshot("a")
    assert (second.source_version, second.source_type, second.data, second.metadata) == (5, "Renamed", 3, None)
    assert first.created_at is not None
    assert second.created_at is not None
    assert second.created_at > first.created_at
    assert store.read_snapshot("b").data == 2


def test_deleted(store: EventStore) -> None:
    for source in ("a", "b"):
        store.record_snapshot(Snapshot(source, 1, "Account", source))
    store.delete_snapshot("a")
    store.delete_snapshot("a")
    with pytest.raises(SnapshotNotFound, match="'a'"):
        store.read_snapshot("a")
    assert store.read_snapshot("b").data == "b"


@pytest.mark.parametrize(
    ("snapshot", "error", "message"),
    [
        ({"source_uuid": "a"}, ConfigurationError, "wrap it in a Snapshot"),
        (Snapshot("", 1, "T", 1), ConfigurationError, "source_uuid"),
        (Snapshot("x" * 2_601, 1, "T", 1), ConfigurationError, "2601 bytes"),
        (Snapshot("a", 1, "", 1), ConfigurationError, "source_type"),
        (Snapshot("a", -1, "T", 1), ConfigurationError, "source_version -1"),
        (Snapshot("a", 1, "T", object()), SerializationFailed, "a snapshot of type 'T'"),
        (Snapshot("a", 1, "T", 1, object()), SerializationFailed, "a snapshot of type 'T'"),
    ],
)
def test_what_is_refused(store: EventStore, snapshot: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        store.record_snapshot(snapshot)
    with pytest.raises(SnapshotNotFound):
        store.read_snapshot("a")
