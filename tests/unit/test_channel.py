"""Channels: frames over a socket pair, whole and in order, whatever the peer does."""

from __future__ import annotations

import os
import resource
import socket
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from eventstore.runtime.channel import Channel, socket_pair
from eventstore.runtime.messages import Attach, NodeReport, PeerExited, Stop, ToChild


class Ends:
    """A channel and the raw socket of its peer."""

    def __init__(self) -> None:
        ours, self.raw = socket_pair()
        self.channel: Channel[ToChild] = Channel(ours, ToChild)

    def close(self) -> None:
        self.channel.close()
        self.raw.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[Channel[ToChild], Channel[ToChild]]]:
    one, other = socket_pair()
    channels: tuple[Channel[ToChild], Channel[ToChild]] = (Channel(one, ToChild), Channel(other, ToChild))
    yield channels
    for channel in channels:
        channel.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def frame(message: ToChild) -> bytes:
    payload = msgspec.msgpack.encode(message)
    return struct.pack("!I", len(payload)) + payload


def drain(sender: Channel[Any], receiver: Channel[Any]) -> list[Any]:
    """Moves all that the sender still holds; neither side ever waits."""
    received = receiver.receive()
    while sender.has_unsent:
        sender.flush()
        received += receiver.receive()
    return received


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_messages_arrive_whole_and_in_order(pair: tuple[Channel[ToChild], Channel[ToChild]]) -> None:
    one, other = pair
    for message in (Stop(), PeerExited("worker:a:0"), Attach("listener", busy=True)):
        one.send(message)
    assert other.receive() == [Stop(), PeerExited("worker:a:0"), Attach("listener", busy=True)]
    assert other.receive() == []
    assert not other.closed


def test_both_directions_are_independent(pair: tuple[Channel[ToChild], Channel[ToChild]]) -> None:
    one, other = pair
    one.send(PeerExited("a"))
    other.send(PeerExited("b"))
    assert (one.receive(), other.receive()) == ([PeerExited("b")], [PeerExited("a")])


def test_a_frame_that_comes_byte_by_byte_is_given_once_it_is_whole(ends: Ends) -> None:
    data = frame(PeerExited("listener"))
    for index, byte in enumerate(data):
        assert ends.channel.receive() == []
        ends.raw.sendall(bytes([byte]))
        if index < len(data) - 1:
            assert ends.channel.receive() == []
    assert ends.channel.receive() == [PeerExited("listener")]


def test_the_beginning_of_the_next_frame_is_kept(ends: Ends) -> None:
    data = frame(PeerExited("a")) + frame(PeerExited("b"))
    ends.raw.sendall(data[:-3])
    assert ends.channel.receive() == [PeerExited("a")]
    ends.raw.sendall(data[-3:])
    assert ends.channel.receive() == [PeerExited("b")]


def test_thousands_of_messages_in_one_go_are_all_given(pair: tuple[Channel[ToChild], Channel[ToChild]]) -> None:
    one, other = pair
    sent = [PeerExited(f"worker:a:{n}") for n in range(5_000)]
    for message in sent:
        one.send(message)
    assert drain(one, other) == sent


def test_a_peer_that_does_not_read_makes_nobody_wait(pair: tuple[Channel[ToChild], Channel[ToChild]]) -> None:
    one, other = pair
    one.send(NodeReport(bytes(10_000_000)))
    assert one.has_unsent
    one.send(Stop())
    assert drain(one, other) == [NodeReport(bytes(10_000_000)), Stop()]
    assert not one.has_unsent


def test_what_was_sent_before_the_peer_went_is_received(ends: Ends) -> None:
    ends.raw.sendall(frame(PeerExited("a")) + frame(Stop()) + b"\0\0")
    ends.raw.close()
    received = ends.channel.receive()
    while not ends.channel.closed:
        received += ends.channel.receive()
    assert received == [PeerExited("a"), Stop()]
    assert ends.channel.receive() == []


def test_a_failed_send_does_not_lose_what_the_peer_sent_before_it_went(ends: Ends) -> None:
    ends.raw.sendall(frame(PeerExited("a")))
    ends.raw.close()
    descriptor = ends.channel.fileno()
    ends.channel.send(Stop())
    ends.channel.send(Stop())
    assert not ends.channel.has_unsent
    assert ends.channel.fileno() == descriptor, "still open, so that a loop that watches it sees the end"
    assert ends.channel.receive() == [PeerExited("a")]
    ends.channel.receive()
    assert ends.channel.closed


def test_a_descriptor_sent_to_a_peer_that_is_gone_is_no_error(ends: Ends, pipe: tuple[int, int]) -> None:
    ends.raw.close()
    ends.channel.send(Attach("a", busy=False), pipe[0])
    assert ends.channel.receive() == []
    assert ends.channel.closed


def test_buffered_messages_are_dropped_when_the_peer_goes(pair: tuple[Channel[ToChild], Channel[ToChild]]) -> None:
    one, other = pair
    one.send(NodeReport(bytes(10_000_000)))
    other.close()
    one.flush()
    assert not one.has_unsent
    one.receive()
    assert one.closed


def test_descriptors_come_with_their_messages(pair: tuple[Channel[ToChild], Channel[ToChild]]) -> None:
    one, other = pair
    pipes = [os.pipe() for _ in range(3)]
    one.send(Stop())
    for number, (reader, _) in enumerate(pipes):
        one.send(Attach(f"worker:a:{number}", busy=False), reader)
        one.send(PeerExited("x"))
    received: list[ToChild] = []
    while len(received) < 7:
        received += other.receive()
    peers = [message.peer for message in received if isinstance(message, Attach)]
    assert peers == ["worker:a:0", "worker:a:1", "worker:a:2"]
    for number, (reader, writer) in enumerate(pipes):
        os.write(writer, str(number).encode())
        taken = other.take_descriptor()
        assert taken != reader
        assert os.read(taken, 1) == str(number).encode()
        for descriptor in (taken, reader, writer):
            os.close(descriptor)


def test_a_received_descriptor_is_not_inherited(
    pair: tuple[Channel[ToChild], Channel[ToChild]], pipe: tuple[int, int]
) -> None:
    one, other = pair
    one.send(Attach("a", busy=False), pipe[0])
    other.receive()
    taken = other.take_descriptor()
    inheritable = os.get_inheritable(taken)
    os.close(taken)
    assert not inheritable


def test_a_descriptor_waits_behind_what_is_buffered_and_outlives_its_owner(
    pair: tuple[Channel[ToChild], Channel[ToChild]],
) -> None:
    one, other = pair
    reader, writer = os.pipe()
    big = NodeReport(bytes(3_000_000))
    one.send(big)
    one.send(Attach("a", busy=False), reader)
    assert one.has_unsent
    os.close(reader)
    assert drain(one, other) == [big, Attach("a", busy=False)]
    taken = other.take_descriptor()
    os.write(writer, b"x")
    assert os.read(taken, 1) == b"x"
    os.close(taken)
    os.close(writer)


def test_no_descriptor_is_left_open_when_the_peer_goes(
    pair: tuple[Channel[ToChild], Channel[ToChild]], pipe: tuple[int, int]
) -> None:
    one, other = pair
    one.send(NodeReport(bytes(3_000_000)))
    one.send(Attach("a", busy=False), pipe[0])
    held = one._unsent[-1][1]
    assert held is not None
    assert is_open(held)
    other.close()
    one.flush()
    assert not is_open(held)


def test_closing_ends_the_channel_for_both(
    pair: tuple[Channel[ToChild], Channel[ToChild]], pipe: tuple[int, int]
) -> None:
    one, other = pair
    other.send(Attach("a", busy=False), pipe[0])
    assert one.receive() == [Attach("a", busy=False)]
    left_behind = one._descriptors[0]
    one.close()
    one.close()
    assert not is_open(left_behind)
    one.send(Stop())
    assert (one.closed, one.has_unsent, one.receive()) == (True, False, [])
    assert other.receive() == []
    assert other.closed


def test_a_message_of_another_direction_is_refused(ends: Ends) -> None:
    payload = msgspec.msgpack.encode(["Acked", [1]])
    ends.raw.sendall(struct.pack("!I", len(payload)) + payload)
    with pytest.raises(msgspec.ValidationError):
        ends.channel.receive()


def test_a_socket_pair_is_connected() -> None:
    one, other = socket_pair()
    with one, other:
        one.sendall(b"x")
        assert other.recv(1) == b"x"
        assert one.family == socket.AF_UNIX


def test_a_descriptor_that_the_system_has_no_room_for_is_named(
    pair: tuple[Channel[ToChild], Channel[ToChild]], pipe: tuple[int, int]
) -> None:
    one, other = pair
    one.send(Attach("listener", busy=False), pipe[0])
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Those that are open stay open.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
    try:
        with pytest.raises(OSError, match="no descriptor is left for one that came with a message"):
            other.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
