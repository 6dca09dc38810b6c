"""A worker's side of its conversation with the listener, message by message, without processes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from eventstore.handlers.resolve import Subscription
from eventstore.runtime.at_hand import AtHand
from eventstore.runtime.channel import Channel, socket_pair
from eventstore.runtime.messages import (
    Acked,
    Deliver,
    Failed,
    Message,
    Recall,
    Recalled,
    Renew,
    Retiring,
    WorkerReady,
    WorkerToListener,
)
from eventstore.runtime.plan import NodePlan, StorePlan
from eventstore.runtime.restart import ExitCode
from eventstore.runtime.worker import Worker
from eventstore.tests.support.wait import wait_until

HANDLERS = """
    calls = []
    looks = []
    page = None

    def one(event, context):
        calls.append(event.event_number)
        looks.append(page.read()[:2] if page else None)

    def batch(events, context):
        calls.append([event.event_number for event in events])
        looks.append(page.read()[:2] if page else None)
        if any(event.data == "poison" for event in events):
            raise ValueError("poison")

    class Hooked:
        def __init__(self):
            calls.append("made")
        def start(self):
            calls.append("started")
        def handle(self, event, context):
            one(event, context)
        def stop(self):
            calls.append("stopped")
            raise RuntimeError("cannot stop")
"""


class Conversation:
    """A worker, and the listener's end of its channel."""

    def __init__(self, module: Any, stack: ExitStack, handler: str, **options: Any) -> None:
        self.module = module
        subscription = Subscription(name="s", handler=f"{module.__name__}:{handler}", **options)
        store = StorePlan(url="postgresql://nowhere", session_url="postgresql://nowhere")
        plan = NodePlan(node="n", store=store, subscriptions=(subscription,), heartbeat_interval=3600.0)
        ours, theirs = socket_pair()
        # Open to the end: a worker whose supervisor is gone ends its process.
        stack.callback(ours.close)
        self.worker = Worker("worker:s:0", plan, theirs)
        stack.callback(self.worker.loop.close)
        stack.callback(self.worker.close)
        self.worker.start()
        self.generation = 0
        self.stack = stack
        self.attach()

    def attach(self) -> None:
        mine, its = socket_pair()
        self.channel: Channel[WorkerToListener] = Channel(mine, WorkerToListener)
        self.stack.callback(self.channel.close)
        self.worker.on_attach("listener", its, busy=False)

    def deliver(self, *numbers: int, attempts: dict[int, int] | None = None, poison: int = 0) -> None:
        rows: list[Any] = [
            (n, "a", n, "T", bytes(16), None, None, b'"poison"' if n == poison else b"0", None, 0) for n in numbers
        ]
        self.channel.send(Deliver(1, 1, self.generation, attempts or {}, rows))

    def turn(self) -> None:
        """Lets the worker do all that is to be done now."""
        for _ in range(20):
            self.worker.loop.turn(0)

    def say(self, message: Message) -> Sequence[Any]:
        self.channel.send(message)
        return self.hear()

    def hear(self) -> Sequence[Any]:
        self.turn()
        heard: list[Any] = []
        # A message that comes with a descriptor is received for itself.
        while received := self.channel.receive():
            heard += received
        return heard

    @property
    def calls(self) -> list[Any]:
        return self.module.calls  # type: ignore[no-any-return]

    @property
    def ended(self) -> bool:
        return self.worker.loop._stopped


Talk = Callable[..., Conversation]


@pytest.fixture
def talk(module: Callable[..., str]) -> Iterator[Talk]:
    name = module(HANDLERS)
    with ExitStack() as stack, capture_logs():
        yield lambda handler, **options: Conversation(importlib.import_module(name), stack, handler, **options)


def acked(heard: Sequence[Any]) -> list[int]:
    return [number for message in heard if isinstance(message, Acked) for number in message.numbers]


def test_a_worker_introduces_itself_with_its_page(talk: Talk) -> None:
    with_worker = talk("one")
    assert with_worker.hear() == [WorkerReady(1)]
    page = AtHand(with_worker.channel.take_descriptor())
    with_worker.module.page = page
    assert page.read() is None
    with_worker.deliver(1, 2, 3)
    assert acked(with_worker.hear()) == [1, 2, 3]
    assert with_worker.module.looks == [(1, 1), (2, 2), (3, 3)]
    assert page.read() is None
    page.close()


def test_the_page_shows_a_batch_from_its_first_event_to_its_last(talk: Talk) -> None:
    with_worker = talk("batch", batch_size=3)
    assert with_worker.hear() == [WorkerReady(3)]
    with_worker.module.page = page = AtHand(with_worker.channel.take_descriptor())
    with_worker.deliver(1, 2, 3, 4)
    with_worker.hear()
    assert with_worker.module.looks == [(1, 3), (4, 4)]
    page.close()


def test_events_are_handled_in_the_order_of_their_delivery(talk: Talk) -> None:
    with_worker = talk("one")
    with_worker.deliver(7, 3, 5)
    with_worker.deliver(1)
    assert acked(with_worker.hear()) == [7, 3, 5, 1]
    assert with_worker.calls == [7, 3, 5, 1]


def test_what_was_tried_or_is_suspected_comes_alone(talk: Talk) -> None:
    with_worker = talk("batch", batch_size=10)
    with_worker.deliver(1, 2, 3, 4, 5, 6, attempts={3: 2, 4: 1})
    assert acked(with_worker.hear()) == [1, 2, 3, 4, 5, 6]
    assert with_worker.calls == [[1, 2], [3], [4], [5, 6]]


def test_a_poison_event_of_a_batch_is_found_and_the_rest_dropped(talk: Talk) -> None:
    with_worker = talk("batch", batch_size=5)
    with_worker.deliver(1, 2, 3, 4, 5, poison=3)
    heard = with_worker.hear()
    assert with_worker.calls == [[1, 2, 3, 4, 5], [1], [2], [3]]
    assert acked(heard) == [1, 2]
    assert heard[-1] == Failed(3, "error", "ValueError: poison", None)
    with_worker.deliver(4, 5)
    assert not with_worker.hear(), "sent before the listener knew"
    with_worker.generation = 1
    with_worker.deliver(4, 5)
    assert acked(with_worker.hear()) == [4, 5]
    assert with_worker.calls[-1] == [4, 5], "together again"


def test_a_batch_waits_to_fill(talk: Talk) -> None:
    with_worker = talk("batch", batch_size=3, batch_timeout=3600.0)
    with_worker.deliver(1)
    with_worker.hear()
    with_worker.deliver(2)
    with_worker.hear()
    assert not with_worker.calls
    wait = with_worker.worker.loop._wait(None)
    assert wait is not None
    assert wait > 60, "it does not turn meanwhile"
    with_worker.deliver(3, 4)
    assert acked(with_worker.hear()) == [1, 2, 3]
    assert with_worker.calls == [[1, 2, 3]], "the fourth waits for the next batch"
    with_worker.deliver(5, attempts={5: 2})
    assert acked(with_worker.hear()) == [4, 5]
    assert with_worker.calls[1:] == [[4], [5]], "with one behind it that comes alone, nothing can be waited for"


def test_a_batch_that_does_not_fill_is_handled_when_due(talk: Talk) -> None:
    with_worker = talk("batch", batch_size=3, batch_timeout=0.05)
    with_worker.deliver(1, 2)
    wait_until(lambda: acked(with_worker.hear()), "the batch is flushed")
    assert with_worker.calls == [[1, 2]]


def test_a_recall_empties_the_buffer_of_a_waiting_batch(talk: Talk) -> None:
    with_worker = talk("batch", batch_size=3, batch_timeout=3600.0)
    with_worker.deliver(1, 2)
    with_worker.hear()
    assert with_worker.say(Recall()) == [Recalled()]
    with_worker.deliver(1)
    with_worker.deliver(2, 3)
    assert acked(with_worker.hear()) == [1, 2, 3]
    assert with_worker.calls == [[1, 2, 3]]


# Retirement


def test_a_worker_retires_after_its_events_and_takes_nothing_new(talk: Talk) -> None:
    with_worker = talk("one", max_events_per_worker=4)
    with_worker.hear()
    with_worker.deliver(1, 2, 3)
    with_worker.deliver(4, 5, 6)
    heard = with_worker.hear()
    assert (acked(heard), heard[-1]) == ([1, 2, 3, 4], Retiring())
    with_worker.deliver(5, 6)
    assert not with_worker.say(Renew())
    assert not with_worker.ended
    assert with_worker.say(Recall()) == [Recalled()]
    assert with_worker.ended
    assert with_worker.calls == [1, 2, 3, 4]
    assert with_worker.worker.exit_code == ExitCode.RETIRED


def test_a_failure_is_told_before_the_worker_retires(talk: Talk) -> None:
    with_worker = talk("batch", batch_size=1, max_events_per_worker=2)
    with_worker.hear()
    with_worker.deliver(1, 2, 3, poison=2)
    heard = with_worker.hear()
    assert [type(message) for message in heard] == [Acked, Failed, Retiring]


@pytest.mark.parametrize("handled", [(), (1, 2)])
def test_a_worker_retires_when_asked_to(talk: Talk, handled: tuple[int, ...]) -> None:
    with_worker = talk("one")
    with_worker.hear()
    with_worker.deliver(*handled)
    assert acked(with_worker.hear()) == list(handled)
    assert with_worker.say(Renew()) == [Retiring()]
    assert with_worker.say(Recall()) == [Recalled()]
    assert (with_worker.ended, with_worker.worker.exit_code) == (True, ExitCode.RETIRED)


def test_a_worker_retires_when_it_has_grown(talk: Talk) -> None:
    with_worker = talk("one", max_rss=1)
    with_worker.hear()
    with_worker.deliver(1, 2)
    heard = with_worker.hear()
    assert heard[-1] == Retiring()
    assert acked(heard) == with_worker.calls


@pytest.mark.parametrize("how", ["exited", "closed", "replaced"])
def test_a_worker_that_waits_for_leave_ends_when_the_listener_does(talk: Talk, how: str) -> None:
    with_worker = talk("one")
    with_worker.hear()
    with_worker.say(Renew())
    if how == "exited":
        with_worker.worker.on_peer_exited("listener", "SIGKILL")
    elif how == "closed":
        with_worker.channel.close()
        with_worker.turn()
    else:
        with_worker.attach()
    assert (with_worker.ended, with_worker.worker.exit_code) == (True, ExitCode.RETIRED)


def test_hooks_run_around_the_work_and_a_stop_that_fails_changes_no_exit(talk: Talk) -> None:
    with_worker = talk("Hooked")
    with_worker.deliver(1)
    with_worker.hear()
    with_worker.worker.on_stop()
    with capture_logs() as logs:
        with_worker.worker._stop_handler()
    assert with_worker.calls == ["made", "started", 1, "stopped"]
    assert [line["event"] for line in logs] == ["handler_stop_failed"]
    assert with_worker.worker.exit_code == ExitCode.OK
