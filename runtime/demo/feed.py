"""Appends commits to the event store, each exactly once however often and from however many places it is run.

Talks to the store's public API only. A batch is one question (which of these events are known?) and one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from uuid import UUID

import msgspec

from ...store.errors import DuplicateEvent
from ...store.event_store import EventStore
from ...store.types import EventData, ExpectedVersion
from .events import to_event
from .git_history import Commit

BATCH_SIZE = 500
"""Commits per transaction."""

_Unknown = dict[UUID, tuple[str, EventData]]


class FeedResult(msgspec.Struct, frozen=True):
    """What a feed did.

    Attributes:
        appended: Commits that became new events.
        skipped: Commits whose events the store already held.
    """

    appended: int = 0
    skipped: int = 0


def feed(
    store: EventStore, commits: Iterable[Commit], on_progress: Callable[[int, int], None] = lambda *_: None
) -> FeedResult:
    """Append the commits whose events the store does not hold yet, in order within each author's stream.

    Args:
        store: An open event store.
        commits: The commits, oldest first; read in batches of `BATCH_SIZE`, never as a whole.
        on_progress: Called after each batch with the totals so far: appended, skipped.

    Returns:
        The totals.

    Raises:
        StoreError: The store refused an append; batches before it stay appended, so a second run goes on from there.
        StoreUnavailable: The database cannot be reached; retryable.
        Conflict: Another writer won a race; retryable.
    """
    result = FeedResult()
    for batch in _batches(commits):
        appended = _append_unknown(store, batch)
        result = FeedResult(result.appended + appended, result.skipped + len(batch) - appended)
        on_progress(result.appended, result.skipped)
    return result


def _batches(commits: Iterable[Commit]) -> Iterator[list[Commit]]:
    remaining = iter(commits)
    while batch := list(islice(remaining, BATCH_SIZE)):
        yield batch


def _append_unknown(store: EventStore, batch: list[Commit]) -> int:
    """Append the unknown events of a batch in one transaction and return their number."""
    unknown = _without_known(store, _by_event_id(batch))
    while unknown:
        try:
            store.append_many(_by_stream(unknown))
        except DuplicateEvent:
            # Another feed was faster with some of them; if that is not it, asking again would never end.
            remaining = _without_known(store, unknown)
            if len(remaining) == len(unknown):
                raise
            unknown = remaining
        else:
            break
    return len(unknown)


def _by_event_id(batch: list[Commit]) -> _Unknown:
    events: _Unknown = {}
    for commit in batch:
        stream_uuid, event = to_event(commit)
        assert event.event_id is not None
        events[event.event_id] = (stream_uuid, event)
    return events


def _without_known(store: EventStore, events: _Unknown) -> _Unknown:
    known = store.known_event_ids(list(events))
    return {event_id: event for event_id, event in events.items() if event_id not in known}


def _by_stream(events: _Unknown) -> list[tuple[str, ExpectedVersion, list[EventData]]]:
    streams: dict[str, list[EventData]] = {}
    for stream_uuid, event in events.values():
        streams.setdefault(stream_uuid, []).append(event)
    return [(stream_uuid, ExpectedVersion.ANY_VERSION, group) for stream_uuid, group in streams.items()]
