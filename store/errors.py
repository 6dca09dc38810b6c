"""Everything the store can raise, in one tree; callers catch `EventStoreError` or a branch of it.

    EventStoreError
    ├── ConfigurationError      the caller's argument, option or URL is wrong
    └── StoreError              the store refused or failed
        ├── StoreUnavailable, Conflict          retryable: the same call may work later
        ├── WrongExpectedVersion ── StreamExists, ExpectedStreamMissing
        ├── StreamNotFound ── ExpectedStreamMissing
        └── …                   one class for each way to fail

The message is built from the arguments, so an error survives pickling and crosses processes whole.
"""

# ruff: noqa: N818 - the names are the outcomes of commanded/eventstore, which say enough without a suffix.

from __future__ import annotations

import copy
from typing import TypeVar
from uuid import UUID


class EventStoreError(Exception):
    """Anything the event store, its handlers or its runtime report.

    Attributes:
        retryable: Whether the same call may succeed later without any change.
    """

    retryable: bool = False


_Error = TypeVar("_Error", bound=EventStoreError)


def copied(error: _Error) -> _Error:
    """Return the error for one more caller to raise: the traceback of an exception belongs to one thread or task."""
    another = copy.copy(error)
    another.__cause__ = error.__cause__
    return another


class ConfigurationError(EventStoreError):
    """A URL, option or argument is wrong; the message names it and says what to do."""


class StoreError(EventStoreError):
    """The store refused or failed; the message says why."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, is shutting down, or did not answer in time."""

    retryable = True


class Conflict(StoreError):
    """The database undid the work in favour of another transaction (deadlock, serialization failure, creation race)."""

    retryable = True


class WrongExpectedVersion(StoreError):
    """The stream is at another version than an append, link or delete expected. Mirrors `:wrong_expected_version`.

    Args:
        stream_uuid: The stream.
        expected: The expected version as the caller gave it.
        actual: The stream's version, 0 when it does not exist.
    """

    def __init__(self, stream_uuid: str, expected: int | str, actual: int) -> None:
        Exception.__init__(self, stream_uuid, expected, actual)
        self.stream_uuid = stream_uuid
        self.expected = expected
        self.actual = actual

    def __str__(self) -> str:
        return (
            f"stream {self.stream_uuid!r} is at version {self.actual}, but {self.expected} was expected: "
            "read the stream again and decide anew"
        )


class StreamExists(WrongExpectedVersion):
    """The append expected no stream, but there is one. Mirrors `:stream_exists`."""

    def __str__(self) -> str:
        return (
            f"stream {self.stream_uuid!r} exists already, at version {self.actual}, but none was expected: "
            "expect its version, or any_version"
        )


class StreamNotFound(StoreError):
    """There is no such stream. Mirrors `:stream_not_found`.

    Args:
        stream_uuid: The stream.
    """

    def __init__(self, stream_uuid: str) -> None:
        super().__init__(stream_uuid)
        self.stream_uuid = stream_uuid

    def __str__(self) -> str:
        return f"stream {self.stream_uuid!r} does not exist: check its name, or append to it first"


class ExpectedStreamMissing(WrongExpectedVersion, StreamNotFound):
    """The append expected a stream, but there is none. Mirrors `:stream_not_found` of an append."""

    def __init__(self, stream_uuid: str, expected: int | str = "stream_exists", actual: int = 0) -> None:
        WrongExpectedVersion.__init__(self, stream_uuid, expected, actual)

    def __str__(self) -> str:
        return (
            f"stream {self.stream_uuid!r} does not exist, but was expected to: "
            "check its name, or expect no_stream or any_version"
        )


class StreamDeleted(StoreError):
    """The stream was soft-deleted. Mirrors `:stream_deleted`.

    Args:
        stream_uuid: The stream.
    """

    def __init__(self, stream_uuid: str) -> None:
        super().__init__(stream_uuid)
        self.stream_uuid = stream_uuid

    def __str__(self) -> str:
        return f"stream {self.stream_uuid!r} was deleted: use another stream name"


class EventNotFound(StoreError):
    """An event to link is not stored.

    Args:
        event_id: The id.
    """

    def __init__(self, event_id: UUID) -> None:
        super().__init__(event_id)
        self.event_id = event_id

    def __str__(self) -> str:
        return f"event {self.event_id} is not stored, nothing was linked: link events that were read from this store"


class DuplicateEvent(StoreError):
    """An event with this id is stored already, or is in the stream it is linked into. Mirrors `:duplicate_event`.

    Args:
        event_id: The id, None when the database did not name it.
        stream_uuid: The stream that a link found it in, None for an append.
    """

    def __init__(self, event_id: UUID | None = None, stream_uuid: str | None = None) -> None:
        super().__init__(event_id, stream_uuid)
        self.event_id = event_id
        self.stream_uuid = stream_uuid

    def __str__(self) -> str:
        which = f"event {self.event_id}"
        if self.stream_uuid is not None:
            which = "an event of this link" if self.event_id is None else which
            return f"{which} is in stream {self.stream_uuid!r} already, nothing was linked: link an event only once"
        which = "an event of this append" if self.event_id is None else which
        return f"{which} is stored already, nothing was appended: leave out the events that known_event_ids returns"


class CannotAppendToAllStream(StoreError):
    """`$all` holds what other streams hold. Mirrors `:cannot_append_to_all_stream`."""

    def __str__(self) -> str:
        return "events cannot be appended to stream '$all': append to a stream of their own, $all gets them by itself"


class CannotDeleteAllStream(StoreError):
    """`$all` cannot be deleted. Mirrors `:cannot_delete_all_stream`."""

    def __str__(self) -> str:
        return "stream '$all' cannot be deleted: delete the streams that hold the events, or drop the store"


class HardDeleteNotEnabled(StoreError):
    """The store was not opened for hard deletes. Mirrors `:not_supported` of a delete.

    Args:
        stream_uuid: The stream that was to be deleted.
    """

    def __init__(self, stream_uuid: str) -> None:
        super().__init__(stream_uuid)
        self.stream_uuid = stream_uuid

    def __str__(self) -> str:
        return (
            f"stream {self.stream_uuid!r} cannot be deleted for good, hard deletes are not enabled: "
            "open the store with enable_hard_deletes=True, or delete it softly"
        )


class StreamNameTooLong(StoreError):
    """The stream's name does not fit into the index and the notification.

    Args:
        stream_uuid: The name.
        size: Its size in bytes of UTF-8.
        limit: The greatest size in bytes.
    """

    def __init__(self, stream_uuid: str, size: int, limit: int) -> None:
        super().__init__(stream_uuid, size, limit)
        self.stream_uuid = stream_uuid
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"stream name {self.stream_uuid[:40] + '…'!r} has {self.size} bytes, at most {self.limit} are allowed: "
            "shorten it, for example with a hash"
        )


class SerializationFailed(StoreError):
    """The data or metadata of an event or snapshot cannot be written.

    Args:
        event_type: The event's type, or the snapshot's source_type; empty when the database refused it.
        reason: What the serializer or the database said.
        what: What it was: "event" or "snapshot".
    """

    def __init__(self, event_type: str, reason: str, what: str = "event") -> None:
        super().__init__(event_type, reason, what)
        self.event_type = event_type
        self.reason = reason
        self.what = what

    def __str__(self) -> str:
        article = "an" if self.what == "event" else "a"
        which = f"{article} {self.what} of type {self.event_type!r}" if self.event_type else f"{article} {self.what}"
        return f"{which} cannot be stored, {self.reason}: change its data, or use a serializer that takes it"


class DeserializationFailed(StoreError):
    """The data or metadata of a stored event cannot be read.

    Args:
        event_number: Its number in the stream it was read from.
        event_id: Its id.
        event_type: Its type.
        reason: What the serializer said.
        remedy: What to do about it.
    """

    def __init__(
        self,
        event_number: int,
        event_id: UUID,
        event_type: str,
        reason: str,
        remedy: str = "use the serializer it was written with",
    ) -> None:
        super().__init__(event_number, event_id, event_type, reason, remedy)
        self.event_number = event_number
        self.event_id = event_id
        self.event_type = event_type
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return (
            f"event {self.event_number} ({self.event_id}, type {self.event_type!r}) cannot be decoded, {self.reason}: "
            f"{self.remedy}"
        )


class UpcastFailed(StoreError):
    """Data of an older version cannot be brought to the newest one. A read raises `DeserializationFailed` from it.

    Args:
        event_type: The event type.
        reason: What went wrong.
        remedy: What to do about it.
    """

    def __init__(self, event_type: str, reason: str, remedy: str) -> None:
        super().__init__(event_type, reason, remedy)
        self.event_type = event_type
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"data of event type {self.event_type!r} cannot be read, {self.reason}: {self.remedy}"


class SnapshotNotFound(StoreError):
    """There is no snapshot of this source. Mirrors `:snapshot_not_found`.

    Args:
        source_uuid: The source.
    """

    def __init__(self, source_uuid: str) -> None:
        super().__init__(source_uuid)
        self.source_uuid = source_uuid

    def __str__(self) -> str:
        return f"there is no snapshot of {self.source_uuid!r}: read its events, and record one with record_snapshot"


class SnapshotUnreadable(StoreError):
    """The data or metadata of a snapshot cannot be read.

    Args:
        source_uuid: Its source.
        source_type: Its type.
        reason: What the serializer said.
    """

    def __init__(self, source_uuid: str, source_type: str, reason: str) -> None:
        super().__init__(source_uuid, source_type, reason)
        self.source_uuid = source_uuid
        self.source_type = source_type
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"the snapshot of {self.source_uuid!r} (type {self.source_type!r}) cannot be decoded, {self.reason}: "
            "delete it and read the events instead"
        )


class SubscriptionNotFound(StoreError):
    """There is no such subscription. Mirrors `:subscription_not_found`.

    Args:
        stream_uuid: The stream it would read, empty when only its number is known.
        subscription_name: Its name, or `#` and its number.
    """

    def __init__(self, stream_uuid: str, subscription_name: str) -> None:
        super().__init__(stream_uuid, subscription_name)
        self.stream_uuid = stream_uuid
        self.subscription_name = subscription_name

    def __str__(self) -> str:
        where = f" to stream {self.stream_uuid!r}" if self.stream_uuid else ""
        return (
            f"subscription {self.subscription_name!r}{where} does not exist: "
            "`eventstore-runtime status` lists those that do"
        )


class SubscriptionAlreadyExists(StoreError):
    """This process runs that subscription already. Mirrors `:subscription_already_exists`.

    Args:
        stream_uuid: The stream it reads.
        subscription_name: Its name.
    """

    def __init__(self, stream_uuid: str, subscription_name: str) -> None:
        super().__init__(stream_uuid, subscription_name)
        self.stream_uuid = stream_uuid
        self.subscription_name = subscription_name

    def __str__(self) -> str:
        return (
            f"subscription {self.subscription_name!r} to stream {self.stream_uuid!r} runs in this process already: "
            "share it between subscribers with concurrency_limit, or close it first"
        )


class TooManySubscribers(StoreError):
    """The subscription has as many subscribers as it allows. Mirrors `:too_many_subscribers`.

    Args:
        subscription_name: Its name.
        limit: Its concurrency_limit.
    """

    def __init__(self, subscription_name: str, limit: int) -> None:
        super().__init__(subscription_name, limit)
        self.subscription_name = subscription_name
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"subscription {self.subscription_name!r} has {self.limit} subscribers already: "
            "close one, or subscribe with a higher concurrency_limit"
        )


class UnexpectedAck(StoreError):
    """An event was acknowledged that is not in flight at that subscriber. Mirrors `:unexpected_ack`.

    Args:
        subscription_name: The subscription.
        event_number: The event.
    """

    def __init__(self, subscription_name: str, event_number: int) -> None:
        super().__init__(subscription_name, event_number)
        self.subscription_name = subscription_name
        self.event_number = event_number

    def __str__(self) -> str:
        return (
            f"event {self.event_number} is not in flight at this subscriber of {self.subscription_name!r}: "
            "acknowledge each event once, where it was received"
        )


class SubscriptionHalted(StoreError):
    """A function given to a subscription failed at an event, so that it cannot go on.

    Args:
        stream_uuid: The stream it reads.
        subscription_name: Its name, empty for a transient one.
        event_number: The event.
        reason: Which function failed, and how.
    """

    def __init__(self, stream_uuid: str, subscription_name: str, event_number: int, reason: str) -> None:
        super().__init__(stream_uuid, subscription_name, event_number, reason)
        self.stream_uuid = stream_uuid
        self.subscription_name = subscription_name
        self.event_number = event_number
        self.reason = reason

    def __str__(self) -> str:
        which = f"subscription {self.subscription_name!r}" if self.subscription_name else "the subscription"
        return (
            f"{which} to stream {self.stream_uuid!r} stopped at event {self.event_number}, {self.reason}: "
            "mend the function and subscribe again"
        )


class WaitTimeout(StoreError):
    """Subscriptions did not get as far as was waited for.

    Args:
        seconds: How long was waited.
        behind: Stream, name, checkpoint and wanted event number of each that is behind.
    """

    retryable = True

    def __init__(self, seconds: float, behind: tuple[tuple[str, str, int, int], ...]) -> None:
        super().__init__(seconds, behind)
        self.seconds = seconds
        self.behind = behind

    def __str__(self) -> str:
        shown = [
            f"{name!r} is at {checkpoint} of {wanted} ({wanted - checkpoint} behind)"
            for _, name, checkpoint, wanted in self.behind[:3]
        ]
        more = len(self.behind) - len(shown)
        others = [f"{more} more are behind"] if more else []
        return (
            f"after {self.seconds:g} s, {', '.join(shown + others)}: wait longer, or check that their subscribers run"
        )


class SchemaMissing(StoreError):
    """The database has no event store in this schema.

    Args:
        schema: The schema, empty when the database did not name it.
        missing: What is not there.
    """

    def __init__(self, schema: str, missing: str) -> None:
        super().__init__(schema, missing)
        self.schema = schema
        self.missing = missing

    def __str__(self) -> str:
        where = f"schema {self.schema!r}" if self.schema else "the database"
        return f"{where} holds no event store ({self.missing}): create it with `eventstore-runtime init`"


class SchemaMismatch(StoreError):
    """The schema holds something else than this release works with.

    Args:
        schema: The schema, empty when the database did not name it.
        problem: What is different, and the remedy.
    """

    def __init__(self, schema: str, problem: str) -> None:
        super().__init__(schema, problem)
        self.schema = schema
        self.problem = problem

    def __str__(self) -> str:
        where = f"schema {self.schema!r}" if self.schema else "the database"
        return f"{where} does not fit this release: {self.problem}"


class OwnershipLost(StoreError):
    """Another owner began a newer epoch, so this one may write nothing more.

    Args:
        subscription_id: The subscription.
        unit: Its unit of ownership.
        epoch: The epoch that was lost.
    """

    def __init__(self, subscription_id: int, unit: int, epoch: int) -> None:
        super().__init__(subscription_id, unit, epoch)
        self.subscription_id = subscription_id
        self.unit = unit
        self.epoch = epoch

    def __str__(self) -> str:
        return (
            f"unit {self.unit} of subscription {self.subscription_id} is no longer owned by epoch {self.epoch}: "
            "another node took it over, stop working on it"
        )


class InvalidNotification(StoreError, ValueError):
    """A notification's payload is not one of this schema's trigger.

    Args:
        payload: The payload as received.
    """

    def __init__(self, payload: str) -> None:
        super().__init__(payload)
        self.payload = payload

    def __str__(self) -> str:
        return (
            f"notification {self.payload[:80]!r} is not `stream_uuid,stream_id,first,last`: "
            "check who else notifies on this channel"
        )
