"""The public data of the store: what is appended, what is read back, and what is said about streams and subscriptions.

Frozen values without behaviour or I/O; every other module of the package may import this one. All of them pickle and
encode with msgspec, so they can cross process boundaries.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

import msgspec

#: The stream that holds every event of the store, in commit order.
ALL_STREAM = "$all"


class ExpectedVersion(StrEnum):
    """What an append expects of its stream, besides an exact version. The plain strings work just as well.

    Mirrors `:any_version`, `:no_stream` and `:stream_exists` of commanded/eventstore.
    """

    ANY_VERSION = "any_version"
    NO_STREAM = "no_stream"
    STREAM_EXISTS = "stream_exists"


#: An expected version as callers write it: a kind, its plain string, or an exact version (0 = a new stream).
Expected = ExpectedVersion | Literal["any_version", "no_stream", "stream_exists"] | int

#: What the streams of `paginate_streams` can be sorted by.
SortBy = Literal["stream_id", "stream_uuid", "stream_version", "created_at", "deleted_at"]

#: The direction they are sorted in.
SortDirection = Literal["asc", "desc"]

#: How a stream is deleted: marked only, or removed with its events.
DeleteType = Literal["soft", "hard"]

#: Where a new subscription starts: the first event, after the newest one, or after the given event number.
StartFrom = Literal["origin", "current"] | int


class EventData(msgspec.Struct, frozen=True):
    """An event to append. Mirrors `EventStore.EventData`.

    Attributes:
        event_type: What happened, for example "CommitMade"; not empty.
        data: The payload, anything the serializer takes.
        metadata: Facts about the event, stored apart from the payload; None for none.
        event_id: The event's identity; None draws one, a UUID of version 7, whose beginning is the time and which keeps
            the indexes small. Appending an id twice raises `DuplicateEvent`.
        causation_id: The event or command that caused this one.
        correlation_id: What this event belongs to together with others.
    """

    event_type: str
    data: Any
    metadata: Any = None
    event_id: UUID | None = None
    causation_id: UUID | None = None
    correlation_id: UUID | None = None


class RecordedEvent(msgspec.Struct, frozen=True):
    """An event as stored. Mirrors `EventStore.RecordedEvent`.

    Attributes:
        event_number: Its number in the stream it was read from; within `$all`, its position.
        event_id: Its identity.
        stream_uuid: The stream it was appended to.
        stream_version: Its version in that stream.
        event_type: What happened.
        correlation_id: What it belongs to, or None.
        causation_id: What caused it, or None.
        data: The payload, decoded.
        metadata: Facts about it, decoded, or None.
        created_at: When it was appended, in UTC.
    """

    event_number: int
    event_id: UUID
    stream_uuid: str
    stream_version: int
    event_type: str
    correlation_id: UUID | None
    causation_id: UUID | None
    data: Any
    metadata: Any
    created_at: datetime


class StreamInfo(msgspec.Struct, frozen=True):
    """What is known about a stream. Mirrors `EventStore.Streams.StreamInfo`.

    Attributes:
        stream_uuid: Its name.
        stream_id: Its number in the database; 0 is `$all`.
        stream_version: The version of its newest event, 0 when it has none.
        created_at: When it was created, in UTC.
        deleted_at: When it was soft-deleted, in UTC, or None.
    """

    stream_uuid: str
    stream_id: int
    stream_version: int
    created_at: datetime
    deleted_at: datetime | None


class Page(msgspec.Struct, frozen=True):
    """One page of the store's streams. Mirrors `EventStore.Page`.

    Attributes:
        entries: The streams on this page, none when it lies beyond the last.
        page_number: Its number, from 1.
        page_size: The most streams a page holds.
        total_entries: The streams on all pages.
        total_pages: The pages there are, 0 without streams.
    """

    entries: list[StreamInfo]
    page_number: int
    page_size: int
    total_entries: int
    total_pages: int


class Snapshot(msgspec.Struct, frozen=True):
    """The state of something built from events, recorded to save reading them all. Mirrors `SnapshotData`.

    Attributes:
        source_uuid: What it is a snapshot of, most often a stream's name; there is one snapshot for each.
        source_version: The version of the source that the state includes.
        source_type: What kind of state it is; the serializer gets it like an event's type.
        data: The state, anything the serializer takes.
        metadata: Facts about it, stored apart; None for none.
        created_at: When it was recorded, in UTC. Set by reading; `record_snapshot` stores the database's clock.
    """

    source_uuid: str
    source_version: int
    source_type: str
    data: Any
    metadata: Any = None
    created_at: datetime | None = None


class AppendResult(msgspec.Struct, frozen=True):
    """Where an append landed: all that is needed to wait until somebody has seen it.

    Where nothing was added, the first number is one above the last: to both without events, and to `$all` by a link.

    Attributes:
        stream_uuid: The stream.
        first_version: The version of the first event in the stream.
        stream_version: The version of the last event, now the stream's version.
        first_position: The position of the first event in `$all`.
        position: The position of the last event in `$all`; of a link, `$all`'s newest position.
    """

    stream_uuid: str
    first_version: int
    stream_version: int
    first_position: int
    position: int


class SubscriptionRecord(msgspec.Struct, frozen=True):
    """A subscription's row. Mirrors `EventStore.Subscriptions.Subscription`.

    Attributes:
        subscription_id: Its number, from which the lock's key follows.
        stream_uuid: The stream it reads; `$all` for all streams.
        subscription_name: Its name, unique for the stream.
        last_seen: The checkpoint: the last acknowledged event number, None at the origin.
        created_at: When it was created, in UTC.
    """

    subscription_id: int
    stream_uuid: str
    subscription_name: str
    last_seen: int | None
    created_at: datetime


class Ownership(msgspec.Struct, frozen=True):
    """What a new owner of a unit gets.

    Attributes:
        epoch: Its number in the row of owners; every write of the owner carries it.
        last_seen: The checkpoint to go on from, None at the origin.
        unclean: How many owners in a row ended without order and without any progress.
        released: The last owner ended in order, or there was none.
    """

    epoch: int
    last_seen: int | None
    unclean: int = 0
    released: bool = True


class CheckpointResult(msgspec.Struct, frozen=True):
    """What became of a checkpoint.

    Attributes:
        fence_held: The epoch still owns the unit. False means: stop, somebody else owns it.
        moved: `last_seen` was changed. False with the fence held means that it was there already.
    """

    fence_held: bool
    moved: bool


class SubscriptionLag(msgspec.Struct, frozen=True):
    """How far a subscription, or one unit of it, is behind its stream.

    Attributes:
        subscription_id: Its number.
        subscription_name: Its name.
        stream_uuid: The stream it reads.
        last_seen: The checkpoint, None at the origin.
        head: The stream's newest event number.
        lag: Events between the two.
        unit: The unit of ownership, None when no runtime ever owned it.
        node: The unit's last owner, or None.
        epoch: The last owner's epoch, or None.
        is_locked: Some node, of either language, holds the subscription's lock at this moment.
        paused: An operator paused it.
        halted_at: The event number it halted at, None when it did not.
        halted_reason: Why it halted, in one sentence, or None.
        parked: Its parked events, held ones included.
    """

    subscription_id: int
    subscription_name: str
    stream_uuid: str
    last_seen: int | None
    head: int
    lag: int
    unit: int | None
    node: str | None
    epoch: int | None
    is_locked: bool
    paused: bool = False
    halted_at: int | None = None
    halted_reason: str | None = None
    parked: int = 0
