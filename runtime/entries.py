"""From what the database and the configuration say to what the routing machine takes: entries and options."""

from __future__ import annotations

from ..handlers.resolve import Subscription
from ..store.rows import Row
from .partition_keys import RowKey
from .reader import size_of
from .routing import Entry, RoutingOptions, inputs
from .wording import storable, told


def entries_of(rows: list[Row], key: RowKey | None) -> tuple[list[Entry], inputs.Halt | None]:
    """The rows as entries, up to the first whose partition key cannot be had, and what to say of that one."""
    if key is None:
        return [Entry(row[0], None, row, size_of(row)) for row in rows], None
    entries: list[Entry] = []
    for row in rows:
        try:
            found = key(row)
            hash(found)
        except BaseException as error:
            # Whatever it raises is this subscription's, and must not end the process that serves all of them.
            return entries, inputs.Halt(row[0], storable(f"partition_by failed with {told(error)}"))
        entries.append(Entry(row[0], found, row, size_of(row)))
    return entries, None


def routing_options(subscription: Subscription) -> RoutingOptions:
    """The part of a subscription's options that the routing machine needs."""
    return RoutingOptions(
        max_size=subscription.max_size,
        page_size=min(1_000, subscription.max_size),
        checkpoint_threshold=subscription.checkpoint_threshold,
        checkpoint_after=subscription.checkpoint_after,
        max_attempts=subscription.max_attempts,
        retry_backoff_min=subscription.retry_backoff_min,
        retry_backoff_max=subscription.retry_backoff_max,
        max_bytes=subscription.max_bytes,
        pinned=subscription.placement == "pinned",
        max_crashes=subscription.max_crashes,
        on_exhausted=subscription.on_exhausted,
        max_parked=subscription.max_parked,
        max_parked_per_partition=subscription.max_parked_per_partition,
    )
