"""Appends of several callers in one statement, as an operation without I/O; and which of those that wait go together.

`coalescing.py` and `async_coalescing.py` drive it. It has no error of its own to report: what was left out, or refused
as a whole, is appended again by `append.append_encoded` on its own, which knows why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from .append import EncodedAppend, merged, results
from .errors import StoreUnavailable
from .expected_version import ANY, EXISTS
from .operation import Operation, Query
from .sql import Statements
from .types import AppendResult

#: The most events in one statement. Beyond it a commit costs little for each event, and nobody should wait for more.
MOST_EVENTS = 1_000
#: The most bytes of their data and metadata. PostgreSQL takes no statement of 1 GB, and none of those who share one may
#: fail for the size of the others; what is as big as this is no faster for company either.
MOST_BYTES = 8 * 1_024 * 1_024


class Waiting(Protocol):
    """Somebody's append that waits for its turn."""

    @property
    def append(self) -> EncodedAppend:
        """What to append."""
        ...


Member = TypeVar("Member", bound=Waiting)


def append_combined(statements: Statements, appends: Sequence[EncodedAppend]) -> Operation[list[AppendResult | None]]:
    """Append to several streams, each for itself; the order in `$all` is the order given here.

    Args:
        statements: The statements of the schema.
        appends: What `next_group` found to go together.

    Returns:
        Where each landed, in the order given; None for those that were left out, because the expected version does not
        match or another writer creates the stream.

    Raises:
        EventStoreError: The database refused all of it, for example because of the id of one event.
    """
    rows = yield Query(statements["append_combined"], (*merged(appends), None))
    return results(appends, {row[0]: row[1] for row in rows}, rows[0][2] if rows else 0)


def is_combinable(append: EncodedAppend) -> bool:
    """Tell whether an append may share a statement with others: it is not empty, big, or of a given time."""
    return append.created_at is None and 0 < append.size < MOST_EVENTS and append.payload < MOST_BYTES


def next_group(queue: Sequence[Member]) -> tuple[list[Member], list[Member]]:
    """Return those of a queue that go into the next statement, none only of an empty queue; and those left in it.

    Whoever waits longest goes first. Who appends to the same stream as somebody before, and minds its version, waits
    for another turn, and so does everybody behind it on that stream.
    """
    group: list[Member] = []
    left: list[Member] = []
    streams: set[str] = set()
    held_back: set[str] = set()
    events = payload = 0
    for member in queue:
        append = member.append
        name = append.stream_uuid
        follows = name not in streams or append.bind in (ANY, EXISTS)
        fits = events + append.size <= MOST_EVENTS and payload + append.payload <= MOST_BYTES
        if follows and name not in held_back and (not group or fits):
            group.append(member)
            streams.add(name)
            events += append.size
            payload += append.payload
        else:
            left.append(member)
            held_back.add(name)
    return group, left


def interrupted() -> StoreUnavailable:
    """Return what somebody is told when the caller that wrote for a whole group was interrupted."""
    return StoreUnavailable(
        "the caller whose statement held this append as well was interrupted, so it may or may not be stored: "
        "read the stream, then decide whether to append again"
    )
