"""Snapshots, as operations without I/O: one for each source, recorded, read and deleted.

`event_store.py` drives them on a connection; data and metadata go through the store's serializer.
"""

from __future__ import annotations

from .errors import ConfigurationError, SerializationFailed, SnapshotNotFound
from .notifications import check_text
from .operation import Operation, Query
from .rows import decode_snapshot
from .serializer import Serializer, serialized
from .sql import Statements
from .types import Snapshot

#: The longest source_uuid, in bytes of UTF-8: what an index entry of PostgreSQL holds.
MAX_SOURCE_BYTES = 2_600


def record_snapshot(statements: Statements, serializer: Serializer, snapshot: Snapshot) -> Operation[None]:
    """Record a snapshot over the one its source had. Mirrors `record_snapshot/2`.

    Raises:
        SerializationFailed: The data or metadata cannot be written.
        ConfigurationError: It is no snapshot, or one of its fields is of no use.
    """
    check_snapshot(snapshot)
    try:
        data, metadata = serialized(serializer, snapshot.source_type, snapshot.data, snapshot.metadata)
    except Exception as error:
        raise SerializationFailed(snapshot.source_type, f"{type(error).__name__}: {error}", "snapshot") from error
    yield Query(
        statements["record_snapshot"],
        (snapshot.source_uuid, snapshot.source_version, snapshot.source_type, data, metadata),
    )


def read_snapshot(statements: Statements, serializer: Serializer, source_uuid: str) -> Operation[Snapshot]:
    """Return the snapshot of a source. Mirrors `read_snapshot/2`.

    Raises:
        SnapshotNotFound: There is none.
        SnapshotUnreadable: Its data or metadata cannot be decoded.
    """
    rows = yield Query(statements["read_snapshot"], (source_uuid,))
    if not rows:
        raise SnapshotNotFound(source_uuid)
    return decode_snapshot(rows[0], serializer)


def delete_snapshot(statements: Statements, source_uuid: str) -> Operation[None]:
    """Delete the snapshot of a source, if there is one. Mirrors `delete_snapshot/2`."""
    yield Query(statements["delete_snapshot"], (source_uuid,))


def check_snapshot(snapshot: object) -> None:
    """Raise `ConfigurationError` unless this is a snapshot that can be recorded."""
    if not isinstance(snapshot, Snapshot):
        raise ConfigurationError(f"{snapshot!r} cannot be recorded: wrap it in a Snapshot")
    size = check_text(snapshot.source_uuid, "source_uuid")
    if size > MAX_SOURCE_BYTES:
        raise ConfigurationError(
            f"source_uuid {snapshot.source_uuid[:40] + '…'!r} has {size} bytes, "
            f"at most {MAX_SOURCE_BYTES} are allowed: shorten it, for example with a hash"
        )
    check_text(snapshot.source_type, "source_type")
    version: object = snapshot.source_version
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < 2**63:
        raise ConfigurationError(f"source_version {version!r} is out of range: give a number of at least 0")
