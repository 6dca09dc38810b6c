"""A child that does not read for long, since its handler takes long: what waits for it does not pile up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore.runtime.channel import Channel, socket_pair
from eventstore.runtime.child import Child
from eventstore.runtime.messages import Attach, PeerExited, ToChild, ToSupervisor
from eventstore.runtime.topology import process_tree
from eventstore.tests.support.reports import node_plan


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Watched:
    """A child, as the supervisor knows it, and the end of its control channel that its process has."""

    def __init__(self, name: str) -> None:
        self.child = Child(next(spec for spec in process_tree(node_plan("s")) if spec.name == name))
        ours, theirs = socket_pair()
        self.control = self.child.control = Channel(ours, ToSupervisor)
        self.its: Channel[ToChild] = Channel(theirs, ToChild)

    def listener_comes(self) -> int:
        """A listener starts, with a channel to the child; the inode by which its own end is known."""
        one, other = socket_pair()
        with one, other:
            self.child.attach("listener", other, busy=False)
            return os.fstat(other.fileno()).st_ino

    def reads(self) -> list[int]:
        """The process reads what it was told: the channels it gets, by inode."""
        inodes: list[int] = []
        while messages := self.its.receive():
            for message in messages:
                if isinstance(message, Attach):
                    descriptor = self.its.take_descriptor()
                    inodes.append(os.fstat(descriptor).st_ino)
                    os.close(descriptor)
            self.control.flush()
        return inodes

    def close(self) -> None:
        self.its.close()
        self.control.close()
        self.child.ended()


@pytest.fixture
def worker() -> Iterator[Watched]:
    made = Watched("worker:s:0")
    yield made
    made.close()


def test_a_worker_that_is_busy_while_the_listener_comes_and_goes_is_given_the_newest_channel(worker: Watched) -> None:
    first = worker.listener_comes()
    before = descriptors()
    for _ in range(2_000):
        worker.child.detach("listener", "SIGKILL")
        newest = worker.listener_comes()
    assert descriptors() <= before + 1
    assert worker.reads() == [first]
    worker.child.heard(1.0)
    assert worker.reads() == [newest]
    assert descriptors() == before


def test_no_channel_to_a_listener_that_is_gone_is_given(worker: Watched) -> None:
    worker.listener_comes()
    worker.listener_comes()
    worker.child.detach("listener", "")
    before = descriptors()
    worker.child.heard(1.0)
    assert worker.its.receive() == [Attach("listener", busy=False)]
    assert worker.its.receive() == [PeerExited("listener")]
    assert descriptors() == before + 1, "the one that has just arrived"


def test_what_waits_for_a_worker_goes_with_it(worker: Watched) -> None:
    worker.listener_comes()
    before = descriptors()
    worker.listener_comes()
    worker.child.ended()
    assert descriptors() == before


def test_a_child_that_must_read_is_told_at_once() -> None:
    lock_holder = Watched("lock-holder")
    assert lock_holder.reads() == []
    assert {lock_holder.listener_comes(), lock_holder.listener_comes()} == set(lock_holder.reads())
    lock_holder.close()
