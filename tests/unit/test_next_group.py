"""Which waiting appends go together: the oldest first, never one too many, never out of order on a stream."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from eventstore.store import EventData, JsonSerializer
from eventstore.store.append import EncodedAppend, encode_append
from eventstore.store.combined_append import MOST_BYTES, MOST_EVENTS, is_combinable, next_group

EVENT = EventData("E", 1)
OWN_WORDS = ("any_version", "stream_exists")


class Waiting(NamedTuple):
    number: int
    append: EncodedAppend


def waiting(*appends: tuple[str, Any, int]) -> list[Waiting]:
    serializer = JsonSerializer()
    return [
        Waiting(number, encode_append(serializer, stream, expected, [EVENT] * size))
        for number, (stream, expected, size) in enumerate(appends)
    ]


def taken(queue: list[Waiting]) -> list[int]:
    group, queue[:] = next_group(queue)
    return [member.number for member in group]


def test_nobody_goes_alone_who_can_go_together() -> None:
    queue = waiting(("a", 0, 1), ("b", "any_version", 2), ("c", 7, 3))
    assert taken(queue) == [0, 1, 2]
    assert queue == []
    assert taken(queue) == []


def test_one_stream_takes_one_that_minds_its_version_and_any_number_that_do_not() -> None:
    queue = waiting(("a", 0, 1), ("a", "any_version", 1), ("a", 2, 1), ("b", 0, 1), ("a", "stream_exists", 1))
    assert taken(queue) == [0, 1, 3]
    assert taken(queue) == [2, 4]


def test_what_is_too_much_goes_next() -> None:
    queue = waiting(("a", 0, MOST_EVENTS - 1), ("b", 0, 2), ("c", 0, 1))
    assert taken(queue) == [0, 2]
    assert taken(queue) == [1]


def test_what_has_too_many_bytes_goes_next() -> None:
    half = [EventData("E", "x", metadata="y" * (MOST_BYTES // 2))]
    queue = [
        Waiting(number, encode_append(JsonSerializer(), str(number), 0, given))
        for number, given in enumerate([[EVENT], half, half, [EVENT]])
    ]
    assert taken(queue) == [0, 1, 3]
    assert taken(queue) == [2]


def test_what_is_big_by_itself_goes_alone() -> None:
    sizes = {"few": 10, "many": MOST_BYTES}
    found = {
        name: is_combinable(encode_append(JsonSerializer(), "a", 0, [EventData("E", "x" * size)]))
        for name, size in sizes.items()
    }
    assert found == {"few": True, "many": False}


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1, *OWN_WORDS]), st.sampled_from([1, 400, 999])),
        max_size=12,
    )
)
def test_every_append_goes_once_and_in_the_order_of_its_stream(appends: list[tuple[str, Any, int]]) -> None:
    queue = waiting(*appends)
    groups: list[list[int]] = []
    while queue:
        oldest = queue[0].number
        groups.append(taken(queue))
        assert groups[-1][0] == oldest
    assert sorted(number for group in groups for number in group) == list(range(len(appends)))
    for group in groups:
        assert len(group) == 1 or sum(appends[number][2] for number in group) <= MOST_EVENTS
        seen: set[str] = set()
        for number in group:
            stream, expected, _ = appends[number]
            assert stream not in seen or expected in OWN_WORDS
            seen.add(stream)
    for stream in "abc":
        order = [number for group in groups for number in group if appends[number][0] == stream]
        assert order == sorted(order)
