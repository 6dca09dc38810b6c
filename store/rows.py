"""Rows as the statements return them, turned into the public types. Pure.

Event rows come in wire form (numbers, text, bytes), so that they do not depend on the loaders for UUIDs, JSON and times
that a caller may have registered on its connection; `decode_event` is the one place that knows their column order.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from .errors import DeserializationFailed, SnapshotUnreadable, UpcastFailed
from .serializer import Serializer, deserialized
from .types import RecordedEvent, Snapshot, StreamInfo, SubscriptionLag, SubscriptionRecord

#: A row of any statement.
Row = tuple[Any, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decode_event(row: Row, serializer: Serializer) -> RecordedEvent:
    """Return the event of a row of `read_forward`, `read_backward`, `page_all` or `page_stream`.

    Raises:
        DeserializationFailed: The serializer cannot read the data or metadata.
    """
    number, stream_uuid, stream_version, event_type, event_id, correlation_id, causation_id, data, metadata, at = row
    identity = _uuid(event_id)
    try:
        payload, facts = deserialized(serializer, event_type, data, metadata)
    except UpcastFailed as error:
        raise DeserializationFailed(number, identity, event_type, error.reason, error.remedy) from error
    except Exception as error:
        raise DeserializationFailed(number, identity, event_type, _reason(error)) from error
    return RecordedEvent(
        event_number=number,
        event_id=identity,
        stream_uuid=stream_uuid,
        stream_version=stream_version,
        event_type=event_type,
        correlation_id=None if correlation_id is None else _uuid(correlation_id),
        causation_id=None if causation_id is None else _uuid(causation_id),
        data=payload,
        metadata=facts,
        # Split here rather than by timedelta, which takes its time over large numbers of microseconds.
        created_at=_EPOCH + timedelta(0, at // 1_000_000, at % 1_000_000),
    )


def decode_stream(row: Row) -> StreamInfo:
    """Return the stream of a row of `stream_info`, `lock_stream` or `paginate_streams` (after the number)."""
    stream_uuid, stream_id, stream_version, created_at, deleted_at = row
    return StreamInfo(
        stream_uuid, stream_id, stream_version, _utc(created_at), None if deleted_at is None else _utc(deleted_at)
    )


def decode_snapshot(row: Row, serializer: Serializer) -> Snapshot:
    """Return the snapshot of a row of `read_snapshot`.

    Raises:
        SnapshotUnreadable: The serializer cannot read the data or metadata.
    """
    source_uuid, source_version, source_type, data, metadata, at = row
    try:
        state, facts = deserialized(serializer, source_type, data, metadata)
    except UpcastFailed as error:
        raise SnapshotUnreadable(source_uuid, source_type, error.reason) from error
    except Exception as error:
        raise SnapshotUnreadable(source_uuid, source_type, _reason(error)) from error
    created_at = _EPOCH + timedelta(microseconds=at)
    return Snapshot(source_uuid, source_version, source_type, state, facts, created_at)


def decode_subscription(row: Row) -> SubscriptionRecord:
    """Return the subscription of a row of `get_subscription`, `list_subscriptions` or `create_subscription`."""
    subscription_id, stream_uuid, subscription_name, last_seen, created_at = row
    return SubscriptionRecord(subscription_id, stream_uuid, subscription_name, last_seen, _utc(created_at))


def decode_lag(row: Row) -> SubscriptionLag:
    """Return the lag of a row of `subscription_lags`."""
    return SubscriptionLag(*row)


def _uuid(payload: bytes) -> UUID:
    # Half the time that UUID's constructor takes, which would be most of what an event costs here.
    return msgspec.convert(bytes(payload), UUID)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
