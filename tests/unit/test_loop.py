"""The event loop: descriptors, timers, and who may remove whom."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator

import pytest

from eventstore.runtime.channel import Channel, socket_pair
from eventstore.runtime.loop import Loop
from eventstore.runtime.messages import NodeReport, PeerExited, Stop, ToChild
from eventstore.runtime.poller import READ, WRITE, SelectorPoller, create_poller

# An upper bound for a turn that is expected to find something; reached only when a test fails.
LONG = 10.0


class Clocked(Loop):
    """A loop whose clock stands still until a test moves it."""

    time = 1_000.0

    def now(self) -> float:
        return self.time


class Spy(SelectorPoller):
    """Remembers what was asked of it, and has a clock that goes on by a microsecond a look, and by waiting in vain."""

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[int, int] = {}
        self.waits: list[float | None] = []
        self.time = 1_000.0

    def now(self) -> float:
        self.time += 0.000001
        return self.time

    def register(self, descriptor: int, events: int, /) -> None:
        super().register(descriptor, events)
        self.events[descriptor] = events

    def modify(self, descriptor: int, events: int, /) -> None:
        super().modify(descriptor, events)
        self.events[descriptor] = events

    def poll(self, seconds: float | None, /) -> list[tuple[int, int]]:
        self.waits.append(seconds)
        ready = super().poll(seconds)
        self.time += 0 if ready or seconds is None else seconds
        return ready


@pytest.fixture(params=[create_poller, SelectorPoller])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    """A loop, on the system's epoll and on what Python has everywhere."""
    made = Loop(request.param())
    yield made
    made.close()


@pytest.fixture
def spy() -> Spy:
    return Spy()


@pytest.fixture
def spied(spy: Spy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    made = Loop(spy)
    monkeypatch.setattr(made, "now", spy.now)
    yield made
    made.close()


@pytest.fixture
def clocked() -> Iterator[Clocked]:
    made = Clocked()
    yield made
    made.close()


@pytest.fixture
def sockets() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    pairs = [socket_pair() for _ in range(2)]
    yield pairs
    for one, other in pairs:
        one.close()
        other.close()


def test_timers_run_in_the_order_they_are_due(clocked: Clocked) -> None:
    ran: list[str] = []
    clocked.call_later(3, lambda: ran.append("third"))
    clocked.call_later(1, lambda: ran.append("first"))
    clocked.call_later(1, lambda: ran.append("second"))
    clocked.turn(0)
    assert ran == []
    clocked.time += 2
    clocked.turn(0)
    assert ran == ["first", "second"]
    clocked.time += 2
    clocked.turn(0)
    assert ran == ["first", "second", "third"]


def test_a_cancelled_timer_never_runs(clocked: Clocked) -> None:
    ran: list[str] = []
    timer = clocked.call_later(1, lambda: ran.append("cancelled"))
    clocked.call_later(2, timer.cancel)
    other = clocked.call_later(3, lambda: ran.append("cancelled by a timer of the same turn"))
    clocked.call_later(2, other.cancel)
    timer.cancel()
    clocked.time += 5
    clocked.turn(0)
    assert ran == []
    assert clocked._wait(None) is None


def test_the_wait_ends_when_the_next_timer_is_due(clocked: Clocked) -> None:
    assert clocked._wait(None) is None
    assert clocked._wait(7) == 7
    clocked.call_later(5, lambda: None)
    assert (clocked._wait(None), clocked._wait(7), clocked._wait(2)) == (5, 5, 2)
    clocked.time += 6
    assert clocked._wait(None) == 0


@pytest.mark.parametrize("seconds", [30 * 86_400.0, 1e300, math.inf])
def test_a_timer_far_away_does_not_break_the_selector(loop: Loop, seconds: float) -> None:
    ran: list[str] = []
    loop.call_later(seconds, lambda: ran.append("far"))
    one, other = socket_pair()
    with one, other:
        loop.watch(one, loop.stop)
        other.sendall(b"x")
        loop.run()
    assert ran == []


def test_call_every_runs_at_once_and_makes_up_for_nothing(clocked: Clocked) -> None:
    ran: list[float] = []
    clocked.call_every(1, lambda: ran.append(clocked.time))
    clocked.turn(0)
    clocked.time += 10
    clocked.turn(0)
    clocked.turn(0)
    assert ran == [1_000.0, 1_010.0]
    clocked.time += 1
    clocked.turn(0)
    assert ran == [1_000.0, 1_010.0, 1_011.0]


def test_timers_that_were_cancelled_do_not_pile_up(loop: Loop) -> None:
    ran: list[int] = []
    for number in range(10_000):
        loop.call_later(3_600, lambda: ran.append(-1)).cancel()
        if number % 1_000 == 0:
            loop.call_later(0, lambda number=number: ran.append(number))
    assert len(loop._timers) < 500
    cancelled = loop.call_later(0, lambda: ran.append(-1))
    cancelled.cancel()
    cancelled.cancel()
    loop.turn(LONG)
    assert ran == list(range(0, 10_000, 1_000))


def test_to_cancel_a_timer_that_has_run_changes_nothing(loop: Loop) -> None:
    timers = [loop.call_later(0, lambda: None) for _ in range(1_000)]
    loop.turn(LONG)
    for timer in timers:
        timer.cancel()
    kept = [loop.call_later(3_600, lambda: None) for _ in range(3)]
    assert len(loop._timers) == len(kept)
    assert loop._void_timers == 0


def test_stop_ends_the_run_after_the_callback_at_hand(loop: Loop) -> None:
    ran: list[str] = []
    loop.call_later(0, lambda: ran.append("before"))
    loop.call_later(0, loop.stop)
    loop.call_later(0, lambda: ran.append("after"))
    loop.run()
    assert ran == ["before"]


def test_stop_in_a_callback_leaves_the_other_descriptors_alone(
    loop: Loop, sockets: list[tuple[socket.socket, socket.socket]]
) -> None:
    ran: list[str] = []

    def stop() -> None:
        ran.append("one")
        loop.stop()

    for ours, theirs in sockets:
        loop.watch(ours, stop)
        theirs.sendall(b"x")
    loop.run()
    assert ran == ["one"]


def test_a_callback_may_remove_another_source_of_the_same_turn(
    loop: Loop, sockets: list[tuple[socket.socket, socket.socket]]
) -> None:
    (a, to_a), (b, to_b) = sockets
    ran: list[str] = []

    def take(name: str, other: socket.socket) -> None:
        ran.append(name)
        loop.unwatch(other)

    loop.watch(a, lambda: take("a", b))
    loop.watch(b, lambda: take("b", a))
    to_a.sendall(b"x")
    to_b.sendall(b"x")
    loop.turn(LONG)
    assert len(ran) == 1


def test_a_descriptor_number_reused_in_the_same_turn_is_another_source(
    loop: Loop, sockets: list[tuple[socket.socket, socket.socket]]
) -> None:
    (a, to_a), (b, to_b) = sockets
    ran: list[str] = []

    def take(name: str, other: socket.socket) -> None:
        ran.append(name)
        loop.unwatch(other)
        loop.watch(other, lambda: ran.append("new"))

    loop.watch(a, lambda: take("a", b))
    loop.watch(b, lambda: take("b", a))
    to_a.sendall(b"x")
    to_b.sendall(b"x")
    loop.turn(LONG)
    assert ran in (["a"], ["b"])


def test_unwatching_twice_or_a_closed_socket_is_no_error(
    loop: Loop, sockets: list[tuple[socket.socket, socket.socket]]
) -> None:
    (a, _), (b, _) = sockets
    loop.watch(a, lambda: None)
    loop.unwatch(a)
    loop.unwatch(a)
    descriptor = b.fileno()
    loop.watch(b, lambda: None)
    b.close()
    loop.unwatch(b)
    loop.unwatch(descriptor)
    assert not loop._sources


def test_a_channel_is_watched_for_writing_only_while_something_is_unsent(spied: Loop, spy: Spy) -> None:
    ours, theirs = socket_pair()
    channel: Channel[ToChild] = Channel(ours, ToChild)
    peer: Channel[ToChild] = Channel(theirs, ToChild)
    received: list[ToChild] = []
    spied.add_channel(channel, lambda: None)
    spied.add_channel(peer, lambda: received.extend(peer.receive()))
    assert spy.events[channel.fileno()] == READ
    channel.send(NodeReport(bytes(3_000_000)))
    assert spy.events[channel.fileno()] == READ | WRITE
    while not received:
        spied.turn(LONG)
    assert received == [NodeReport(bytes(3_000_000))]
    assert spy.events[channel.fileno()] == READ


def test_what_a_channel_could_not_send_before_it_was_watched_is_sent_too(loop: Loop) -> None:
    ours, theirs = socket_pair()
    channel: Channel[ToChild] = Channel(ours, ToChild)
    peer: Channel[ToChild] = Channel(theirs, ToChild)
    received: list[ToChild] = []
    channel.send(NodeReport(bytes(3_000_000)))
    loop.add_channel(channel, lambda: None)
    loop.add_channel(peer, lambda: received.extend(peer.receive()))
    while not received:
        loop.turn(LONG)
    assert received == [NodeReport(bytes(3_000_000))]


def test_the_end_of_a_peer_is_told_after_its_last_messages_also_when_sending_failed(loop: Loop) -> None:
    ours, theirs = socket_pair()
    channel: Channel[ToChild] = Channel(ours, ToChild)
    peer: Channel[ToChild] = Channel(theirs, ToChild)
    received: list[ToChild] = []

    def read() -> None:
        received.extend(channel.receive())
        if channel.closed:
            loop.remove_channel(channel)
            loop.stop()

    loop.add_channel(channel, read)
    channel.send(NodeReport(bytes(3_000_000)))
    loop.turn(0)
    peer.send(PeerExited("a"))
    peer.close()
    channel.send(Stop())
    loop.run()
    assert received == [PeerExited("a")]
    assert not loop._sources


def test_a_channel_closed_by_its_owner_does_not_disturb_the_loop(loop: Loop) -> None:
    ours, theirs = socket_pair()
    channel: Channel[ToChild] = Channel(ours, ToChild)
    with theirs:
        loop.add_channel(channel, lambda: None)
        channel.send(NodeReport(bytes(3_000_000)))
        loop.turn(0)
        channel.close()
        ran: list[str] = []
        loop.call_later(0, lambda: ran.append("timer"))
        loop.turn(LONG)
        assert ran == ["timer"]
        loop.remove_channel(channel)
        assert not loop._sources


def test_closing_the_loop_closes_its_channels() -> None:
    loop = Loop()
    ours, theirs = socket_pair()
    with theirs:
        channel: Channel[ToChild] = Channel(ours, ToChild)
        loop.add_channel(channel, lambda: None)
        loop.close()
        assert channel.closed
        assert theirs.recv(1) == b""


def test_a_loop_stays_awake_only_where_answers_come_at_once(spied: Loop, spy: Spy) -> None:
    one, other = socket.socketpair()
    with one, other:

        def take() -> None:
            one.recv(1)

        def wait_in_vain() -> list[float | None]:
            spy.waits.clear()
            spied.turn(0.001)
            return spy.waits

        spied.watch(one, take)
        assert wait_in_vain() == [0.001], "it sleeps at once"
        for _ in range(200):
            other.send(b"x")
            spied.turn()
        awake = wait_in_vain()
        assert (awake[0], awake[-1]) == (0, 0.001), "what came at once was worth it"
        assert wait_in_vain()[0] == 0, "nor is it put off by one that did not"
        assert wait_in_vain() == [0.001], "where nothing comes it sleeps"
