"""From rows to what a subscriber gets: decoded, selected, mapped, with its partition key. No I/O.

Persistent and transient subscriptions prepare every page they read here, so that the user's functions run in one place
and their failures are told in one way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from ...store.errors import DeserializationFailed, SubscriptionHalted
from ...store.notifications import check_stream_name
from ...store.rows import Row, decode_event
from ...store.serializer import Serializer
from ...store.subscriptions import start_bind
from ...store.types import RecordedEvent, StartFrom
from ..routing import Entry
from ..wording import told
from .options import Mapper, Selector, check_function

Failure = SubscriptionHalted | DeserializationFailed
"""Why an event could not be prepared."""


@dataclass(frozen=True)
class Prepared:
    """A page as far as it could be prepared.

    Attributes:
        entries: The selected events, with what the subscriber gets as payload.
        scanned_to: The last event that was looked at without failure, left out ones included; None for none at all.
        failure: Why the next event could not be prepared; None when all were.
    """

    entries: list[Entry]
    scanned_to: int | None
    failure: Failure | None


@dataclass(frozen=True)
class Preparation:
    """What a subscription does with the events it reads, before anybody gets them.

    Attributes:
        stream_uuid: The stream, for messages.
        name: The subscription's name, for messages; empty for a transient one.
        serializer: Decodes data and metadata.
        selector: Tells which events are delivered; None for all.
        mapper: Returns what is delivered; None for the event itself.
        key: Returns the partition key; None for none.
    """

    stream_uuid: str
    name: str
    serializer: Serializer
    selector: Selector | None = None
    mapper: Mapper | None = None
    key: Callable[[RecordedEvent], Hashable] | None = None

    def prepare(self, rows: list[Row]) -> Prepared:
        """Prepare rows up to the first that fails."""
        entries: list[Entry] = []
        scanned_to: int | None = None
        for row in rows:
            try:
                entry = self._entry(row)
            except (SubscriptionHalted, DeserializationFailed) as failure:
                return Prepared(entries, scanned_to, failure)
            if entry is not None:
                entries.append(entry)
            scanned_to = row[0]
        return Prepared(entries, scanned_to, None)

    def _entry(self, row: Row) -> Entry | None:
        event = decode_event(row, self.serializer)
        step = "selector"
        try:
            if self.selector is not None and not self.selector(event):
                return None
            step = "partition_by"
            key = None if self.key is None else self.key(event)
            hash(key)
            step = "mapper"
            payload = event if self.mapper is None else self.mapper(event)
        except Exception as error:
            reason = f"{step} failed with {told(error)}"
            raise SubscriptionHalted(self.stream_uuid, self.name, event.event_number, reason) from error
        return Entry(event.event_number, key, payload)


def for_transient(
    serializer: Serializer, stream_uuid: str, selector: Selector | None, mapper: Mapper | None, start_from: StartFrom
) -> Preparation:
    """Return the preparation of a transient subscription, its arguments checked.

    Raises:
        ConfigurationError: One of them is of no use.
    """
    check_stream_name(stream_uuid)
    start_bind(start_from)
    check_function("selector", selector)
    check_function("mapper", mapper)
    return Preparation(stream_uuid, "", serializer, selector, mapper)
