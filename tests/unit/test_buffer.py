"""A worker's buffer keeps the order, and lets go together what may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventstore.runtime.buffer import Buffer, next_batch
from eventstore.runtime.results import Delivered, Results


def row(number: int) -> tuple[int]:
    return (number,)


@given(
    st.lists(st.integers(1, 50), unique=True, max_size=30),
    st.integers(1, 10),
    st.sets(st.integers(1, 50), max_size=10),
)
def test_batches_keep_the_order_and_part_what_comes_alone(numbers: list[int], most: int, alone: set[int]) -> None:
    buffer = [row(number) for number in numbers]
    taken: list[int] = []
    while buffer:
        rows, complete = next_batch(buffer, most, alone)
        batch = [one[0] for one in rows]
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or not alone.intersection(batch)
        rest = buffer[len(batch) :]
        can_grow = len(batch) < most and batch[0] not in alone and not (rest and rest[0][0] in alone)
        assert complete is not can_grow
        assert not (can_grow and rest), "nothing that could go with them is left behind"
        taken += batch
        buffer = rest
    assert taken == numbers


def filled(*numbers: int, timeout: float = 0.0, attempts: dict[int, int] | None = None) -> Buffer:
    buffer = Buffer(timeout)
    buffer.extend([row(number) for number in numbers], Delivered(1, 1, attempts or {}), 100.0)
    return buffer


def test_what_is_handled_next_stays_until_it_is_finished() -> None:
    buffer = filled(5, 3, 4)
    assert buffer.next(2, 100.0) == buffer.next(2, 100.0) == ([row(5), row(3)], 0.0)
    buffer.note([row(5), row(3)], Results([5]), 100.0)
    assert buffer.next(2, 100.0) == ([row(3), row(4)], 0.0)
    buffer.clear()
    assert (buffer.next(2, 100.0), len(buffer)) == (([], 0.0), 0)


def test_a_batch_waits_from_the_arrival_of_its_first_event() -> None:
    buffer = filled(1, timeout=2.0)
    buffer.extend([row(2)], Delivered(1, 1), 101.0)
    assert buffer.next(3, 101.5) == ([], 0.5)
    assert buffer.next(3, 102.0) == ([row(1), row(2)], 0.0)
    assert buffer.next(2, 100.0) == ([row(1), row(2)], 0.0), "it is full"
    buffer.note([row(1)], Results([1]), 103.0)
    assert buffer.next(3, 103.5) == ([], 1.5), "what is left waits from the last call on"


def test_events_that_failed_together_are_called_alone_from_then_on() -> None:
    buffer = filled(1, 2, 3, 4, timeout=9.0)
    rows, _ = buffer.next(3, 200.0)
    buffer.note(rows, Results([1], apart=True), 200.0)
    for number in (2, 3):
        assert buffer.next(3, 200.0) == ([row(number)], 0.0)
        buffer.note([row(number)], Results([number]), 200.0)
    assert buffer.next(3, 200.0) == ([], 9.0), "the fourth was not among them"
    assert buffer.delivered.attempts == {}, "what is finished is forgotten"


def test_attempts_of_later_deliveries_are_added_and_win() -> None:
    buffer = filled(1, 2, attempts={1: 2, 2: 3})
    newer = Delivered(1, 2, {2: 4, 3: 1}, replay_until=9)
    buffer.extend([row(3)], newer, 100.0)
    assert buffer.delivered == Delivered(1, 2, {1: 2, 2: 4, 3: 1}, replay_until=9)
    buffer.clear()
    buffer.extend([row(4)], Delivered(1, 2), 100.0)
    assert buffer.delivered.attempts == {}
