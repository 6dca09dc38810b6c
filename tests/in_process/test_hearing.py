"""What notifications tell, and that none is lost between two statements."""

from __future__ import annotations

from eventstore import EventStore
from eventstore.runtime.in_process.hearing import Heard, understood
from eventstore.runtime.in_process.session import Session
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import wait_until


def test_the_newest_number_of_the_stream_counts() -> None:
    heard = [("s.events", "a,1,1,4"), ("s.events", "b,2,1,9"), ("s.events", "a,1,5,6"), ("s.events", "a,1,2,3")]
    assert understood(heard, "s", "a") == Heard(6, released=False)
    assert understood(heard, "s", "c") == Heard(0, released=False)


def test_what_is_no_notification_of_the_schema_is_left_out() -> None:
    assert understood([("s.events", "nonsense"), ("s.events", "a,1,1,2")], "s", "a") == Heard(2, released=False)


def test_a_released_lock_is_told() -> None:
    assert understood([("s.runtime", "released")], "s", "a") == Heard(0, released=True)


def test_what_comes_with_the_answer_to_a_statement_is_kept(event_store: EventStore) -> None:
    session = Session(event_store, "a")
    try:
        for number in range(1, 21):
            event_store.append_to_stream("a", "any_version", events(number))
            assert session.head() == number
            wait_until(lambda: session.heard().head == number, "the notification was heard")  # noqa: B023
    finally:
        session.close()
