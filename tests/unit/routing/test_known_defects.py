"""The defects found in commanded/eventstore, each as it was reproduced there, on this machine.

Those in SQL and connections are in `tests/faults/test_known_defects.py`.
"""

from __future__ import annotations

import sys
from collections import deque
from types import FrameType
from typing import Any

import pytest

from eventstore.runtime.routing import Entry, Phase, RoutingOptions, SubscriptionMachine, inputs
from eventstore.runtime.routing.effects import Deliver, Read
from eventstore.tests.unit.routing.simulation import Worker, world


def take_all(*workers: Worker) -> None:
    for worker in workers:
        while worker.inbox:
            worker.receive()


def buffered(*workers: Worker) -> list[list[int]]:
    return [[entry.number for entry in worker.buffer] for worker in workers]


def test_the_checkpoint_timer_neither_ends_the_catch_up_nor_skips_events() -> None:
    """There: 35 events, of which 11 to 35 were never delivered, since the timer left the catch-up."""
    made, (worker,) = world(*["a"] * 30, capacity=1, max_size=10, page_size=10, checkpoint_threshold=100)
    made.answer_read()
    for _ in range(10):
        take_all(worker)
        made.handle(worker)
        made.hear(worker)
        if made.checkpoint_timers:
            made.fire_checkpoint_timer()
        assert made.phase is Phase.CATCHING_UP
        if made.saves:
            made.answer_request()
    made.append(*["a"] * 5)
    made.notify()
    made.settle()
    assert made.calls == list(range(1, 36))
    assert made.stored == 35


def test_a_partition_stays_with_its_subscriber_though_that_has_others_in_flight_as_well() -> None:
    """There: A1 and C1 at the first one, B1 at the second, and A2 too, since only one key was remembered."""
    made, (first, second) = world("A", "B", "C", "A", workers=2, capacity=2)
    made.answer_read()
    take_all(first, second)
    assert buffered(first, second) == [[1, 3], [2]], "A2 waits, though the second one has room"
    made.handle(first)
    made.hear(first)
    take_all(first, second)
    assert [len(buffer) for buffer in buffered(first, second)].count(2) == 1, "A1 is done, so that A2 is free to go"
    made.settle()
    assert sorted(made.calls) == [1, 2, 3, 4]


def test_a_partition_stays_in_order_when_its_subscriber_dies() -> None:
    """There: what a dead subscriber had was given to the others without regard to partitions."""
    made, workers = world(*"ABCABCABC", workers=3, capacity=3)
    made.answer_read()
    take_all(*workers)
    made.handle(workers[0])
    made.kill(workers[0], unsent=1)
    made.settle()
    firsts = list(dict.fromkeys(made.calls))
    assert {key: [n for n in firsts if made.log[n] == key] for key in "ABC"} == {
        "A": [1, 4, 7],
        "B": [2, 5, 8],
        "C": [3, 6, 9],
    }


def test_one_slow_partition_does_not_stop_the_others() -> None:
    """There: 7 of 60 events of B were handled while A1 was not acked, since only an empty queue was refilled."""
    made, _ = world(*"AAA", *"B" * 60, workers=2, capacity=1, max_size=10, page_size=10)
    made.settle(stuck=frozenset("A"))
    assert made.calls == list(range(4, 64))


def test_a_hard_delete_at_the_tail_leads_to_no_busy_loop() -> None:
    """There: some 2,000 transactions a second, until the next append."""
    made, (worker,) = world(*"aaaaa", capacity=5)
    made.notify()
    reads = 0
    made.delete(5)
    while made.reads:
        reads += 1
        assert reads < 5, "it reads for ever"
        made.answer_read()
        take_all(worker)
        while worker.buffer:
            made.handle(worker)
            made.hear(worker)
    assert made.phase is Phase.LIVE
    made.settle()
    assert made.stored == 5
    assert not made.reads


def test_a_failed_read_while_catching_up_ends_nothing() -> None:
    """There: a database error during the catch-up killed the subscription."""
    made, _ = world(*"aaa", capacity=3)
    made.answer_read(fails=True)
    assert made.phase is Phase.CATCHING_UP
    made.notify()
    made.settle()
    assert made.calls == [1, 2, 3]


def test_a_later_checkpoint_is_never_overwritten_by_an_earlier_one() -> None:
    """There: the position was overwritten unconditionally; see also the statement's own test."""
    made, (worker,) = world(*"aaaa", capacity=4, checkpoint_threshold=1)
    made.answer_read()
    take_all(worker)
    for _ in range(4):
        made.handle(worker)
        made.hear(worker)
    assert [save.position for save in made.saves] == [1], "one at a time, so that none can overtake another"
    made.answer_request()
    assert [save.position for save in made.saves] == [4]
    made.settle()
    assert made.stored == 4


@pytest.mark.parametrize("keys", [[None], ["a"], [f"k{number}" for number in range(50)]], ids=["none", "one", "many"])
def test_the_cost_of_an_event_does_not_grow_with_the_buffer(keys: list[object]) -> None:
    """There: a buffer of 1,000 was six times slower than one of 100. Counted here are lines of code, not seconds."""
    small, large = (_lines_per_event(keys, capacity) for capacity in (100, 1_000))
    assert large < 1.1 * small


def _lines_per_event(keys: list[object], capacity: int) -> float:
    machine, lines = SubscriptionMachine(RoutingOptions()), 0
    log = [Entry(number, keys[number % len(keys)], None, 1) for number in range(1, 3_001)]
    inbox: deque[inputs.Input] = deque([inputs.Owned(1, None), inputs.Joined("w", capacity)])

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if "test" in frame.f_code.co_filename.rpartition("/")[2]:
            return None
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        while inbox:
            for effect in machine.step(inbox.popleft()):
                match effect:
                    case Deliver(entries=entries):
                        inbox.extend(inputs.Acked("w", [entry.number]) for entry in entries)
                    case Read(serial=serial, after=after, limit=limit):
                        page = log[after : after + limit]
                        inbox.append(inputs.PageRead(serial, page, after + len(page), complete=len(page) < limit))
    finally:
        sys.settrace(before)
    assert machine.finished_count == len(log)
    return lines / len(log)
