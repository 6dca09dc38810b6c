"""Contract: streams by page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from eventstore.store import ConfigurationError, EventStore, Page
from eventstore.tests.support.events import events

NAMES = ["b-1", "a-2", "B-3", "ä_4", "a%5"]


@pytest.fixture
def filled(store: EventStore) -> EventStore:
    """Five streams; the first has three events, the next two, the others one."""
    for place, name in enumerate(NAMES):
        store.append_to_stream(name, "no_stream", events(*range(max(1, 3 - place))))
    store.delete_stream("B-3", "any_version")
    store.delete_stream("a-2", "any_version")
    return store


def names(page: Page) -> list[str]:
    return [entry.stream_uuid for entry in page.entries]


def test_one_page_holds_all(filled: EventStore) -> None:
    page = filled.paginate_streams()
    assert names(page) == ["$all", *NAMES]
    assert (page.page_number, page.page_size, page.total_entries, page.total_pages) == (1, 50, 6, 1)
    assert page.entries == [filled.stream_info(name) for name in names(page)]


@pytest.mark.parametrize(
    ("number", "expected"), [(1, ["$all", "b-1"]), (2, ["a-2", "B-3"]), (3, ["ä_4", "a%5"]), (4, []), (10**9, [])]
)
def test_pages(filled: EventStore, number: int, expected: list[str]) -> None:
    page = filled.paginate_streams(page_size=2, page_number=number)
    assert names(page) == expected
    assert (page.page_number, page.page_size, page.total_entries, page.total_pages) == (number, 2, 6, 3)


def test_the_last_page_may_be_shorter(filled: EventStore) -> None:
    page = filled.paginate_streams(page_size=4, page_number=2)
    assert (names(page), page.total_pages) == (["ä_4", "a%5"], 2)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("", ["$all", *NAMES]),
        ("-", ["b-1", "a-2", "B-3"]),
        ("b", ["b-1"]),
        ("a%2", ["a-2"]),
        ("_-_", ["b-1", "a-2", "B-3"]),
        (r"a\%", ["a%5"]),
        (r"\_", ["ä_4"]),
        ("nothing", []),
        ("'; drop table streams; --", []),
    ],
)
def test_search(filled: EventStore, search: str, expected: list[str]) -> None:
    page = filled.paginate_streams(search=search)
    assert (names(page), page.total_entries) == (expected, len(expected))
    assert page.total_pages == bool(expected)


def test_search_counts_over_all_pages(filled: EventStore) -> None:
    page = filled.paginate_streams(search="-", page_size=2, page_number=2)
    assert (names(page), page.total_entries, page.total_pages) == (["B-3"], 3, 2)


@pytest.mark.parametrize(
    ("key", "ascending"),
    [
        ("stream_id", ["$all", "b-1", "a-2", "B-3", "ä_4", "a%5"]),
        ("stream_uuid", ["$all", "B-3", "a%5", "a-2", "b-1", "ä_4"]),
        ("stream_version", ["B-3", "ä_4", "a%5", "a-2", "b-1", "$all"]),
        ("created_at", ["$all", "b-1", "a-2", "B-3", "ä_4", "a%5"]),
    ],
)
def test_sorted(filled: EventStore, key: Any, ascending: list[str]) -> None:
    assert names(filled.paginate_streams(sort_by=key)) == ascending
    assert names(filled.paginate_streams(sort_by=key, sort_dir="desc")) == ascending[::-1]
    second = filled.paginate_streams(sort_by=key, sort_dir="desc", page_size=2, page_number=2)
    assert names(second) == ascending[::-1][2:4]


def test_sorted_by_time_of_deletion_with_the_others_last(filled: EventStore) -> None:
    others = ["$all", "b-1", "ä_4", "a%5"]
    assert names(filled.paginate_streams(sort_by="deleted_at")) == ["B-3", "a-2", *others]
    assert names(filled.paginate_streams(sort_by="deleted_at", sort_dir="desc")) == ["a-2", "B-3", *others[::-1]]


def test_times_are_in_utc(filled: EventStore) -> None:
    for entry in filled.paginate_streams(search="B-3").entries:
        assert isinstance(entry.deleted_at, datetime)
        assert entry.created_at.tzinfo is entry.deleted_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"page_size": 0}, "page_size 0"),
        ({"page_number": 0}, "page_number 0"),
        ({"page_number": -1}, "page_number -1"),
        ({"page_size": True}, "page_size True"),
        ({"page_size": 2**62, "page_number": 3}, "times"),
        ({"sort_by": "stream_uid"}, "did you mean 'stream_uuid'"),
        ({"sort_by": "; drop table"}, "give one of 'stream_id'"),
        ({"sort_dir": "descending"}, "did you mean 'desc'"),
    ],
)
def test_what_is_refused(store: EventStore, arguments: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        store.paginate_streams(**arguments)
