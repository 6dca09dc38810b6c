"""What a subscriber tells the driver, call by call, without a database."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from eventstore import Subscriber, UnexpectedAck
from eventstore.runtime.routing import Entry
from eventstore.tests.support.wait import LIMIT, wait_until


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def acked(self, subscriber: Subscriber, numbers: list[int]) -> None:
        self.told.append(numbers)

    def recalled(self, subscriber: Subscriber) -> None:
        self.told.append("recalled")

    def left(self, subscriber: Subscriber) -> None:
        self.told.append("left")


@pytest.fixture
def reports() -> Recorder:
    return Recorder()


@pytest.fixture
def subscriber(reports: Recorder) -> Subscriber:
    return Subscriber("s", reports)


def deliver(subscriber: Subscriber, *numbers: int) -> None:
    subscriber.deliver([Entry(number, None, f"event {number}") for number in numbers])


def test_an_ack_covers_what_was_received_before(subscriber: Subscriber, reports: Recorder) -> None:
    deliver(subscriber, 1, 2, 3, 4)
    assert subscriber.get() == ["event 1", "event 2", "event 3", "event 4"]
    subscriber.ack(2)
    subscriber.ack([3, 4])
    subscriber.ack([])
    assert reports.told == [[1, 2], [3, 4]]


def test_what_was_not_received_yet_is_not_acknowledged(subscriber: Subscriber, reports: Recorder) -> None:
    deliver(subscriber, 1, 2)
    subscriber.get()
    deliver(subscriber, 3)
    with pytest.raises(UnexpectedAck, match="event 3"):
        subscriber.ack([1, 3])
    assert reports.told == []


def test_an_idle_subscriber_is_recalled_at_once(subscriber: Subscriber) -> None:
    deliver(subscriber, 1)
    assert subscriber.recall()
    assert subscriber.get(timeout=0) == []


def test_a_busy_subscriber_is_recalled_when_it_asks_for_more(subscriber: Subscriber, reports: Recorder) -> None:
    deliver(subscriber, 1, 2)
    subscriber.get()
    deliver(subscriber, 3)
    assert not subscriber.recall()
    assert reports.told == []
    assert subscriber.get(timeout=0) == []
    assert reports.told == ["recalled"]


def test_a_busy_subscriber_is_recalled_by_its_last_ack(subscriber: Subscriber, reports: Recorder) -> None:
    deliver(subscriber, 1, 2)
    subscriber.get()
    assert not subscriber.recall()
    subscriber.ack(1)
    assert reports.told == []
    subscriber.ack(2)
    assert reports.told == ["recalled"]


def test_a_subscriber_that_waits_for_more_is_recalled_at_once(subscriber: Subscriber) -> None:
    deliver(subscriber, 1)
    subscriber.get()
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(subscriber.get(LIMIT)))
    thread.start()
    wait_until(lambda: subscriber._askers, "the thread waits")
    assert subscriber.recall()
    deliver(subscriber, 1)
    thread.join(LIMIT)
    assert got == [["event 1"]]


def test_a_late_ack_says_nothing_of_what_came_since(subscriber: Subscriber, reports: Recorder) -> None:
    deliver(subscriber, 5)
    subscriber.get()
    subscriber.recall()
    deliver(subscriber, 3)
    subscriber.get()
    subscriber.ack(5)
    assert reports.told == ["recalled"]
    subscriber.ack(3)
    assert reports.told == ["recalled", [3]]


def test_leaving_is_told_once(subscriber: Subscriber, reports: Recorder) -> None:
    deliver(subscriber, 1)
    with subscriber:
        pass
    subscriber.close()
    deliver(subscriber, 2)
    assert reports.told == ["left"]
    assert list(subscriber) == []
