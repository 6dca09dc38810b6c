"""The lock-holder's side of its conversation with the listener, on a real server, without processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from eventstore.runtime.channel import Channel, socket_pair
from eventstore.runtime.lock_holder import LockHolder
from eventstore.runtime.messages import (
    Acquire,
    Granted,
    Keep,
    LockHolderToListener,
    Message,
    Release,
    Standby,
    TermsChanged,
    TryNow,
)
from eventstore.runtime.plan import NodePlan, StorePlan
from eventstore.store import Statements, connect, run
from eventstore.store.subscriptions import create_subscription, try_locks, unlock


class Conversation:
    """A lock-holder, the listener's end of its channel, and the session of another node."""

    def __init__(self, url: str, schema: str, stack: ExitStack) -> None:
        self.stack = stack
        self.statements = Statements(schema)
        self.other = stack.enter_context(connect(url, "other"))
        store = StorePlan(url=url, session_url=url, schema=schema)
        # No timer interferes: what happens follows from what is said.
        still: dict[str, Any] = {"heartbeat_interval": 3600.0, "lock_retry_interval": 3600.0, "poll_interval": 3600.0}
        plan = NodePlan(node="n", store=store, subscriptions=(), canary_interval=3600.0, **still)
        ours, theirs = socket_pair()
        stack.callback(ours.close)
        self.holder = LockHolder("lock-holder", plan, theirs)
        stack.callback(self.holder.loop.close)
        stack.callback(self.holder.close)
        self.holder.start()
        self.attach()

    def attach(self) -> None:
        """A new listener."""
        mine, its = socket_pair()
        self.channel: Channel[LockHolderToListener] = Channel(mine, LockHolderToListener)
        self.stack.callback(self.channel.close)
        self.holder.on_attach("listener", its, busy=False)

    def say(self, *messages: Message) -> list[Any]:
        """Says it all at once, and hears what is answered; what a timer has it say of the terms is left out."""
        for message in messages:
            self.channel.send(message)
        for _ in range(5):
            self.holder.loop.turn(0)
        return [answer for answer in self.channel.receive() if not isinstance(answer, TermsChanged)]

    def taken_elsewhere(self, *names: str) -> list[int]:
        """Has another node hold the locks of subscriptions."""
        made = [run(self.other, create_subscription(self.statements, "$all", name)) for name in names]
        numbers = [record.subscription_id for record in made]
        assert all(run(self.other, try_locks(self.statements, numbers)).values())
        return numbers

    def can_be_taken_elsewhere(self, number: int) -> bool:
        return run(self.other, try_locks(self.statements, [number]))[number]


@pytest.fixture
def talk(database_url: str, schema: str) -> Iterator[Conversation]:
    with ExitStack() as stack, capture_logs():
        yield Conversation(database_url, schema, stack)


def acquire(name: str) -> Acquire:
    return Acquire(name, "$all", "origin")


def test_a_lock_that_is_asked_for_more_than_once_at_a_time_is_granted_once(talk: Conversation) -> None:
    numbers = talk.taken_elsewhere("a", "b")
    assert {type(answer) for answer in talk.say(acquire("a"), acquire("b"))} == {Standby}
    run(talk.other, unlock(talk.statements, numbers))
    granted = talk.say(TryNow(), acquire("a"), TryNow(), TryNow())
    assert sorted((type(answer), answer.subscription, answer.epoch) for answer in granted) == [
        (Granted, "a", 1),
        (Granted, "b", 1),
    ]


def test_a_lock_that_is_given_back_at_once_is_not_taken(talk: Conversation) -> None:
    numbers = talk.taken_elsewhere("a")
    assert [type(answer) for answer in talk.say(acquire("a"))] == [Standby]
    run(talk.other, unlock(talk.statements, numbers))
    assert talk.say(TryNow(), Release("a")) == []
    assert talk.can_be_taken_elsewhere(numbers[0])


def test_a_new_listener_keeps_what_it_runs_and_nothing_else(talk: Conversation) -> None:
    numbers = talk.taken_elsewhere("kept", "left", "wanted")
    run(talk.other, unlock(talk.statements, numbers[:2]))
    answers = talk.say(acquire("kept"), acquire("left"), acquire("wanted"))
    assert [(type(answer), answer.subscription) for answer in answers] == [
        (Granted, "kept"),
        (Granted, "left"),
        (Standby, "wanted"),
    ]
    talk.attach()
    assert [(type(answer), answer.subscription) for answer in talk.say(Keep(["kept"]), acquire("kept"))] == [
        (Granted, "kept")
    ]
    assert talk.can_be_taken_elsewhere(numbers[1])
    assert not talk.can_be_taken_elsewhere(numbers[0])
    run(talk.other, unlock(talk.statements, numbers[2:]))
    assert talk.say(TryNow()) == []
    assert talk.can_be_taken_elsewhere(numbers[2])
