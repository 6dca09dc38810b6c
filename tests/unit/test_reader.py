"""The listener's reader: every range once for all who follow a stream, and never a false end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventstore.runtime.reader import Page, PageReader
from eventstore.store.rows import Row


class Streams:
    """Streams in memory, in place of the database; counts who reads what."""

    def __init__(self, **streams: list[int]) -> None:
        self.numbers = streams
        self.reads: list[tuple[str, int, int]] = []

    def read(self, stream: str, after: int, limit: int) -> list[Row]:
        self.reads.append((stream, after, limit))
        return [(number, stream) for number in self.numbers[stream] if number > after][:limit]


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
    reader = PageReader(streams.read, {"a"})
    ranges = [reader.read("a", after, 10) for after in (0, 0, 0, 10, 10, 20, 20)]
    assert [numbers(page)[0] for page in ranges] == [1, 1, 1, 11, 11, 21, 21]
    assert streams.reads == [("a", 0, 10), ("a", 10, 10), ("a", 20, 10)]
    assert reader.events_read == 30


def test_a_stream_of_one_follower_is_not_kept() -> None:
    streams = Streams(a=[1, 2], b=[1, 2])
    reader = PageReader(streams.read, {"b"})
    for stream in ("a", "a", "b", "b"):
        assert numbers(reader.read(stream, 0, 10)) == [1, 2]
    assert streams.reads == [("a", 0, 10), ("a", 0, 10), ("b", 0, 10)]


def test_a_page_from_memory_is_never_the_end() -> None:
    streams = Streams(a=[1, 2, 3])
    reader = PageReader(streams.read, {"a"})
    assert reader.read("a", 0, 10).complete
    page = reader.read("a", 0, 10)
    assert (numbers(page), page.complete) == ([1, 2, 3], False)
    streams.numbers["a"].append(4)
    assert (numbers(reader.read("a", 3, 10)), len(streams.reads)) == ([4], 2)


def test_a_follower_in_the_middle_of_a_page_gets_its_rest() -> None:
    streams = Streams(a=[1, 2, 5, 9, 10])
    reader = PageReader(streams.read, {"a"})
    reader.read("a", 0, 4)
    page = reader.read("a", 3, 4)
    assert (numbers(page), page.scanned_to) == ([5, 9], 9)
    page = reader.read("a", 1, 2)
    assert (numbers(page), page.scanned_to) == ([2, 5], 5)
    assert len(streams.reads) == 1
    assert numbers(reader.read("a", 9, 4)) == [10]


def test_an_empty_page_is_not_kept() -> None:
    streams = Streams(a=[])
    reader = PageReader(streams.read, {"a"})
    for _ in range(2):
        page = reader.read("a", 7, 10)
        assert (page.rows, page.scanned_to, page.complete) == ([], 7, True)
    assert len(streams.reads) == 2


def test_the_page_used_least_is_forgotten_first() -> None:
    streams = Streams(a=list(range(1, 41)))
    reader = PageReader(streams.read, {"a"}, pages_kept=2)
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
    reader = PageReader(streams.read, shared, pages_kept)
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
    reader = PageReader(Streams(a=a).read, {"a"}, pages_kept=2)
    for after, limit in followers:
        assert follow(reader, "a", limit, after) == [number for number in a if number > after]
