"""Snapshots and subscriptions in memory: what the statements of `sql/` do to those two tables.

Written like `memory_events.py`, which it asks for the heads of streams; `memory.py` calls both under its lock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from .memory_events import EventTables, microseconds
from .rows import Row
from .types import SubscriptionRecord


class SnapshotTable:
    """The table `snapshots`.

    Args:
        now: The clock, in UTC.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._rows: dict[str, Row] = {}

    def record_snapshot(
        self, source_uuid: str, source_version: int, source_type: str, data: bytes, metadata: bytes | None
    ) -> list[Row]:
        """Record the snapshot of a source over the one it had."""
        at = microseconds(self._now())
        self._rows[source_uuid] = (source_uuid, source_version, source_type, data, metadata, at)
        return []

    def read_snapshot(self, source_uuid: str) -> list[Row]:
        """Read the snapshot of a source."""
        return [self._rows[source_uuid]] if source_uuid in self._rows else []

    def delete_snapshot(self, source_uuid: str) -> list[Row]:
        """Delete the snapshot of a source, if there is one."""
        self._rows.pop(source_uuid, None)
        return []


class SubscriptionTable:
    """The table `subscriptions`. Nothing runs them here, so they have no owner and no lock.

    Args:
        now: The clock, in UTC.
        events: Knows the heads of the streams.
    """

    def __init__(self, now: Callable[[], datetime], events: EventTables) -> None:
        self._now = now
        self._events = events
        self._records: dict[tuple[str, str], SubscriptionRecord] = {}
        self._last_id = 0

    def create_subscription(self, stream_uuid: str, name: str, start: int | None) -> list[Row]:
        """Create a subscription unless it exists; then no row comes back."""
        if (stream_uuid, name) in self._records:
            return []
        self._last_id += 1
        # Below 0 stands for the stream's head, as in the statement.
        last_seen = self._events.head(stream_uuid) if start is not None and start < 0 else start
        record = SubscriptionRecord(self._last_id, stream_uuid, name, last_seen, self._now())
        self._records[stream_uuid, name] = record
        return [_row(record)]

    def get_subscription(self, stream_uuid: str, name: str) -> list[Row]:
        """Find one subscription."""
        record = self._records.get((stream_uuid, name))
        return [] if record is None else [_row(record)]

    def list_subscriptions(self) -> list[Row]:
        """List all subscriptions in order of creation."""
        return [_row(record) for record in self._records.values()]

    def delete_subscription(self, stream_uuid: str, name: str) -> list[Row]:
        """Delete a subscription."""
        record = self._records.pop((stream_uuid, name), None)
        return [] if record is None else [(record.subscription_id,)]

    def subscription_lags(self) -> list[Row]:
        """Tell how far every subscription is behind."""
        return [self._lag(record) for record in self._records.values()]

    def _lag(self, record: SubscriptionRecord) -> Row:
        head = self._events.head(record.stream_uuid)
        lag = max(head - (record.last_seen or 0), 0)
        place = (record.subscription_id, record.subscription_name, record.stream_uuid, record.last_seen)
        return (*place, head, lag, None, None, None, False)


def _row(record: SubscriptionRecord) -> Row:
    return (
        record.subscription_id,
        record.stream_uuid,
        record.subscription_name,
        record.last_seen,
        record.created_at,
    )
