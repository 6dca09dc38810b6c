"""The listener's reader: every range once for all who follow a stream, and never a false end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.runtime.reader import PageReader, next_window, size_of
from eventstore.store.errors import StoreUnavailable
from eventstore.store.filters import EventFilter
from eventstore.store.read import Page
from eventstore.store.rows import Row

EVENS = EventFilter.of(["even"])


def row(number: int, size: int = 10) -> Row:
    return (number, "s", number, "even" if number % 2 == 0 else "odd", b"", b"", b"", b"x" * size, None, 0)


class Streams:
    """Streams in memory, in place of the database; notes who reads what. The one filter passes even numbers."""

    def __init__(self, size: int = 10, **streams: list[int]) -> None:
        self.numbers = streams
        self.size = size
        self.reads: list[tuple[str, int, int]] = []
        self.windows: list[int | None] = []

    def read(
        self,
        stream: str,
        after: int,
        limit: int,
        *,
        max_bytes: int | None,
        filter: EventFilter | None,
        window: int | None,
    ) -> Page:
        self.reads.append((stream, after, limit))
        self.windows.append(window)
        most = limit if max_bytes is None else min(limit, max(1, max_bytes // self.size))
        looked_at = [number for number in self.numbers[stream] if number > after][: window or limit]
        passing = [number for number in looked_at if filter is None or number % 2 == 0]
        found = [row(number, self.size) for number in passing[:most]]
        if len(found) < len(passing):
            return Page(found, found[-1][0], complete=False)
        return Page(found, looked_at[-1] if looked_at else after, len(looked_at) < (window or limit))


def numbers(page: Page) -> list[int]:
    return [row[0] for row in page.rows]


def follow(reader: PageReader, stream: str, limit: int, after: int = 0) -> list[int]:
    """Reads until the end of the stream, as a subscription that catches up."""
    found: list[int] = []
    while True:
        page = reader.read(stream, after, limit)
        found += numbers(page)
        after = page.scanned_to
        if page.complete:
            return found


def test_a_page_tells_how_far_it_looked_and_whether_that_was_the_end() -> None:
    reader = PageReader(Streams(a=[1, 2, 5, 9]).read, set())
    page = reader.read("a", 0, 3)
    assert (numbers(page), page.scanned_to, page.complete) == ([1, 2, 5], 5, False)
    page = reader.read("a", 5, 3)
    assert (numbers(page), page.scanned_to, page.complete) == ([9], 9, True)
    page = reader.read("a", 9, 3)
    assert (numbers(page), page.scanned_to, page.complete) == ([], 9, True)
    assert (reader.reads, reader.events_read) == (3, 4)


def test_followers_of_a_shared_stream_read_each_range_once() -> None:
    streams = Streams(a=list(range(1, 31)))
    reader = PageReader(streams.read, {("a", None)})
    ranges = [reader.read("a", after, 10) for after in (0, 0, 0, 10, 10, 20, 20)]
    assert [numbers(page)[0] for page in ranges] == [1, 1, 1, 11, 11, 21, 21]
    assert streams.reads == [("a", 0, 10), ("a", 10, 10), ("a", 20, 10)]
    assert reader.events_read == 30


def test_a_stream_of_one_follower_is_not_kept() -> None:
    streams = Streams(a=[1, 2], b=[1, 2])
    reader = PageReader(streams.read, {("b", None)})
    for stream in ("a", "a", "b", "b"):
        assert numbers(reader.read(stream, 0, 10)) == [1, 2]
    assert streams.reads == [("a", 0, 10), ("a", 0, 10), ("b", 0, 10)]


def test_a_page_from_memory_is_never_the_end() -> None:
    streams = Streams(a=[1, 2, 3])
    reader = PageReader(streams.read, {("a", None)})
    assert reader.read("a", 0, 10).complete
    page = reader.read("a", 0, 10)
    assert (numbers(page), page.complete) == ([1, 2, 3], False)
    streams.numbers["a"].append(4)
    assert (numbers(reader.read("a", 3, 10)), len(streams.reads)) == ([4], 2)


def test_a_follower_in_the_middle_of_a_page_gets_its_rest() -> None:
    streams = Streams(a=[1, 2, 5, 9, 10])
    reader = PageReader(streams.read, {("a", None)})
    reader.read("a", 0, 4)
    page = reader.read("a", 3, 4)
    assert (numbers(page), page.scanned_to) == ([5, 9], 9)
    page = reader.read("a", 1, 2)
    assert (numbers(page), page.scanned_to) == ([2, 5], 5)
    assert len(streams.reads) == 1
    assert numbers(reader.read("a", 9, 4)) == [10]


def test_an_empty_page_is_not_kept() -> None:
    streams = Streams(a=[])
    reader = PageReader(streams.read, {("a", None)})
    for _ in range(2):
        page = reader.read("a", 7, 10)
        assert (page.rows, page.scanned_to, page.complete) == ([], 7, True)
    assert len(streams.reads) == 2


def test_the_page_used_least_is_forgotten_first() -> None:
    streams = Streams(a=list(range(1, 41)))
    reader = PageReader(streams.read, {("a", None)}, pages_kept=2)
    for after in (0, 10, 0, 20):
        reader.read("a", after, 10)
    assert len(reader._pages) == 2
    streams.reads.clear()
    reader.read("a", 0, 10)
    assert streams.reads == []
    reader.read("a", 10, 10)
    assert streams.reads == [("a", 10, 10)]


gapped = st.lists(st.integers(1, 3), max_size=40).map(lambda steps: [sum(steps[: i + 1]) for i in range(len(steps))])
requests = st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(1, 12))
appends = st.tuples(st.sampled_from("ab"), st.integers(1, 3))


@given(gapped, gapped, st.sets(st.sampled_from("ab")), st.integers(1, 4), st.lists(requests | appends, max_size=60))
def test_every_page_is_what_a_plain_list_gives(
    a: list[int],
    b: list[int],
    shared: set[str],
    pages_kept: int,
    steps: list[tuple[str, int, int] | tuple[str, int]],
) -> None:
    streams = Streams(a=list(a), b=list(b))
    reader = PageReader(streams.read, {(stream, None) for stream in shared}, pages_kept)
    for step in steps:
        if len(step) == 2:
            stream, gap = step
            numbers_of = streams.numbers[stream]
            numbers_of.append((numbers_of or [0])[-1] + gap)
            continue
        stream, after, limit = step
        page = reader.read(stream, after, limit)
        rest = [number for number in streams.numbers[stream] if number > after]
        assert numbers(page) == rest[: len(page.rows)]
        assert len(page.rows) <= limit
        assert page.rows or not rest, "an empty page only where nothing is left"
        assert page.scanned_to == (page.rows[-1][0] if page.rows else after)
        if page.complete:
            assert len(page.rows) == len(rest)
        assert len(reader._pages) <= pages_kept


@given(gapped, st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=4))
def test_every_follower_sees_every_event_once_in_order(a: list[int], followers: list[tuple[int, int]]) -> None:
    reader = PageReader(Streams(a=a).read, {("a", None)}, pages_kept=2)
    for after, limit in followers:
        assert follow(reader, "a", limit, after) == [number for number in a if number > after]


def test_a_page_from_memory_is_the_end_where_nobody_has_heard_of_more() -> None:
    streams = Streams(a=[1, 2, 3])
    reader = PageReader(streams.read, {("a", None)})
    reader.read("a", 0, 10, head=3)
    assert reader.read("a", 0, 10, head=3).complete
    assert not reader.read("a", 0, 2, head=3).complete, "there is more in the page"
    assert not reader.read("a", 0, 10, head=4).complete, "there is more in the stream"
    reader.read("a", 0, 3, head=3)
    full = PageReader(streams.read, {("a", None)})
    assert not full.read("a", 0, 3, head=3).complete
    assert not full.read("a", 0, 3, head=3).complete, "it was not known as it was read"


def test_ten_live_followers_read_each_append_once() -> None:
    streams = Streams(a=[])
    reader = PageReader(streams.read, {("a", None)})
    positions = [0] * 10
    for head in range(1, 101):
        streams.numbers["a"].append(head)
        for follower, after in enumerate(positions):
            page = reader.read("a", after, 100, head=head)
            assert page.complete
            positions[follower] = page.scanned_to
    assert positions == [100] * 10
    assert len(streams.reads) == 100


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 300)), max_size=300))
def test_followers_of_any_speed_and_limit_read_each_event_once(steps: list[tuple[int, int]]) -> None:
    streams = Streams(a=list(range(1, 5_001)))
    reader = PageReader(streams.read, {("a", None)}, pages_kept=1_000)
    positions = [0] * 10
    for follower, limit in steps:
        page = reader.read("a", positions[follower], limit)
        assert numbers(page) == list(range(positions[follower] + 1, page.scanned_to + 1))
        positions[follower] = page.scanned_to
    assert reader.events_read == max(positions)


def test_what_is_kept_is_bounded_by_bytes() -> None:
    streams = Streams(size=1_000_000, a=list(range(1, 101)))
    reader = PageReader(streams.read, {("a", None)}, bytes_kept=10_000_000)
    follow(reader, "a", 3)
    assert 2 <= len(reader._pages) <= 3
    reader.read("a", 0, 50)
    assert [page.scanned_to for page, _ in reader._pages.values()] == [50], "the newest stays, whatever its size"
    assert reader._bytes == 50 * 1_000_700
    assert numbers(reader.read("a", 49, 1)) == [50]
    reader.read("a", 0, 50)
    assert reader._bytes == 50 * 1_000_700


def test_bytes_are_bounded_from_memory_as_from_the_database() -> None:
    streams = Streams(size=1_000, a=list(range(1, 21)))
    reader = PageReader(streams.read, {("a", None)})
    assert len(reader.read("a", 0, 20).rows) == 20
    for max_bytes, most in ((5_000, 5), (5_999, 5), (999, 1), (20_000, 20)):
        page = reader.read("a", 0, 20, max_bytes)
        assert (len(page.rows), page.scanned_to, page.complete) == (most, most, False)
    assert len(streams.reads) == 1
    assert sum(map(size_of, PageReader(streams.read, set()).read("a", 0, 20, 5_500).rows)) == 5_000


def test_followers_share_what_the_same_filter_passes() -> None:
    streams = Streams(a=list(range(1, 3_001)))
    reader = PageReader(streams.read, {("a", EVENS)})
    first = reader.read("a", 0, 100, filter=EVENS)
    assert numbers(first) == list(range(2, 202, 2))
    assert first.scanned_to == 200
    assert numbers(reader.read("a", 0, 100, filter=EventFilter.of(["even"]))) == numbers(first)
    assert len(streams.reads) == 1
    assert numbers(reader.read("a", 0, 3)) == [1, 2, 3], "without a filter it is another page"
    assert numbers(reader.read("a", 100, 3, filter=EVENS)) == [102, 104, 106]
    assert len(streams.reads) == 2


def test_the_position_moves_over_what_does_not_pass() -> None:
    streams = Streams(a=[1, 3, 5, 7])
    reader = PageReader(streams.read, {("a", EVENS)})
    for _ in range(2):
        page = reader.read("a", 0, 10, filter=EVENS, head=7)
        assert (page.rows, page.scanned_to, page.complete) == ([], 7, True)
    assert len(streams.reads) == 1


def test_a_sparse_filter_takes_few_reads() -> None:
    streams = Streams(a=[*range(1, 2_000_000, 2), 2_000_000])
    reader = PageReader(streams.read, set(), clock=lambda: 0.0)
    page = Page([], 0, complete=False)
    while not page.complete:
        page = reader.read("a", page.scanned_to, 1_000, filter=EVENS)
    assert (numbers(page), page.scanned_to) == ([2_000_000], 2_000_000)
    assert streams.windows[:7] == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 50_000]
    assert set(streams.windows[6:]) == {50_000}
    assert len(streams.reads) < 30


@given(st.integers(1, 50_000), st.integers(0, 1_000), st.integers(1, 1_000), st.floats(0, 20))
def test_a_window_stays_in_its_bounds(window: int, found: int, limit: int, seconds: float) -> None:
    following = next_window(window, min(found, limit), limit, seconds)
    assert 1 <= following <= 50_000
    assert following <= 2 * window
    if seconds > 1.0:
        assert following < window or window == 1
    elif found >= limit:
        assert following <= window
        assert following >= min(window, 1_000)


class TooSlowError(Exception):
    sqlstate = "57014"


def timeout(cause: Exception) -> StoreUnavailable:
    error = StoreUnavailable("the database did not answer in time")
    error.__cause__ = cause
    return error


def test_a_filtered_read_that_takes_too_long_is_tried_again_with_less() -> None:
    streams = Streams(a=[2, 4, 6])

    def read(stream: str, after: int, limit: int, **options: Any) -> Page:
        if options["window"] is None or options["window"] > 100:
            streams.windows.append(options["window"])
            raise timeout(TooSlowError())
        return streams.read(stream, after, limit, **options)

    reader = PageReader(read, {("a", EVENS)}, clock=lambda: 0.0)
    pages = [reader.read("a", 0, 10, filter=EVENS) for _ in range(3)]
    assert [(page.scanned_to, page.complete) for page in pages] == [(0, False), (0, False), (6, True)]
    assert streams.windows == [1_000, 125, 15]
    with pytest.raises(StoreUnavailable):
        reader.read("a", 0, 10)


def test_a_filtered_read_fails_with_its_connection_and_when_one_event_takes_too_long() -> None:
    causes: list[Exception] = [OSError("gone"), *[TooSlowError()] * 4]

    def read(stream: str, after: int, limit: int, **options: Any) -> Page:
        raise timeout(causes.pop(0))

    reader = PageReader(read, set())
    with pytest.raises(StoreUnavailable):
        reader.read("a", 0, 10, filter=EVENS)
    for _ in range(3):
        assert not reader.read("a", 0, 10, filter=EVENS).complete
    with pytest.raises(StoreUnavailable):
        reader.read("a", 0, 10, filter=EVENS)
