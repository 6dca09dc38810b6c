"""Feeding the real store: every commit once, in order, whoever else feeds and wherever a run broke off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import pytest

from eventstore.runtime.demo.events import to_event
from eventstore.runtime.demo.feed import BATCH_SIZE, FeedResult, feed
from eventstore.runtime.demo.git_history import Commit
from eventstore.store import EventStore
from eventstore.store.errors import DuplicateEvent

LONG = "long" * 2_000


def history(count: int, authors: Iterable[str] = ("ann@x", "bob@x", "", "a,b@x", LONG)) -> list[Commit]:
    emails = list(authors)
    return [
        Commit(f"{n:040x}", emails[n % len(emails)], "Name", "2024-05-06T07:08:09+00:00", f"commit {n}", 1, n, 0)
        for n in range(count)
    ]


def stored(store: EventStore) -> dict[str, list[str]]:
    """The hashes in each stream, in the stream's order."""
    hashes = defaultdict(list)
    for event in store.read_all_streams_forward(count=10_000):
        hashes[event.stream_uuid].append(event.data["hash"])
    return dict(hashes)


def expected(commits: Iterable[Commit]) -> dict[str, list[str]]:
    hashes = defaultdict(list)
    for commit in commits:
        hashes[to_event(commit)[0]].append(commit.hash)
    return dict(hashes)


class Overtaken:
    """The real store, but right after the first question what is known, somebody else appends `theirs`."""

    def __init__(self, store: EventStore, theirs: list[Commit]) -> None:
        self._store = store
        self._theirs = theirs

    def known_event_ids(self, ids: list[UUID]) -> set[UUID]:
        known = self._store.known_event_ids(ids)
        theirs, self._theirs = self._theirs, []
        feed(self._store, theirs)
        return known

    def append_many(self, appends: Any) -> Any:
        return self._store.append_many(appends)


class Forgetful(Overtaken):
    """The real store, but it never knows an event."""

    def known_event_ids(self, ids: list[UUID]) -> set[UUID]:
        return set()


def test_every_commit_once_and_in_order(event_store: EventStore) -> None:
    commits = history(2 * BATCH_SIZE + 7)
    progress: list[tuple[int, int]] = []
    result = feed(event_store, commits, lambda *totals: progress.append(totals))
    assert result == FeedResult(appended=len(commits), skipped=0)
    assert progress == [(BATCH_SIZE, 0), (2 * BATCH_SIZE, 0), (2 * BATCH_SIZE + 7, 0)]
    assert stored(event_store) == expected(commits)


def test_a_second_run_appends_nothing(event_store: EventStore) -> None:
    commits = history(BATCH_SIZE + 1)
    feed(event_store, commits)
    assert feed(event_store, commits) == FeedResult(appended=0, skipped=len(commits))
    assert stored(event_store) == expected(commits)


def test_a_longer_history_appends_what_is_new(event_store: EventStore) -> None:
    feed(event_store, history(100))
    assert feed(event_store, history(130)) == FeedResult(appended=30, skipped=100)
    assert stored(event_store) == expected(history(130))


def test_an_empty_history(event_store: EventStore) -> None:
    assert feed(event_store, []) == FeedResult(0, 0)
    assert stored(event_store) == {}


def test_a_commit_given_twice_is_one_event(event_store: EventStore) -> None:
    commits = history(3)
    assert feed(event_store, commits + commits) == FeedResult(appended=3, skipped=3)


def test_a_history_that_breaks_off_goes_on_in_the_next_run(event_store: EventStore) -> None:
    commits = history(BATCH_SIZE + 100)

    def broken() -> Iterator[Commit]:
        yield from commits[: BATCH_SIZE + 50]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        feed(event_store, broken())
    assert feed(event_store, commits) == FeedResult(appended=100, skipped=BATCH_SIZE)
    assert stored(event_store) == expected(commits)


def test_another_feed_that_is_faster_with_a_part(event_store: EventStore) -> None:
    commits = history(100)
    overtaken: Any = Overtaken(event_store, commits[:40])
    assert feed(overtaken, commits) == FeedResult(appended=60, skipped=40)
    assert stored(event_store) == expected(commits)


def test_another_feed_that_is_faster_with_everything(event_store: EventStore) -> None:
    commits = history(100)
    overtaken: Any = Overtaken(event_store, commits)
    assert feed(overtaken, commits) == FeedResult(appended=0, skipped=100)
    assert stored(event_store) == expected(commits)


def test_a_duplicate_that_nobody_explains_is_an_error(event_store: EventStore) -> None:
    commits = history(10)
    feed(event_store, commits)
    forgetful: Any = Forgetful(event_store, [])
    with pytest.raises(DuplicateEvent):
        feed(forgetful, commits)
    assert stored(event_store) == expected(commits)
