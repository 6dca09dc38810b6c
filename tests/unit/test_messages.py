"""Every message between processes, through a real channel and back."""

from __future__ import annotations

from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.runtime import messages
from eventstore.runtime.channel import Channel, socket_pair
from eventstore.runtime.messages import Message
from eventstore.store.delivery_types import Attempt, ParkedEvent, ParkedRows, Terms, Tried

TERMS = Terms(1, 2, True, 7, "it broke", 5, 6, 3, True)
ROW = (7, "account-1", 3, "Opened", bytes(16), bytes(range(16)), None, b'{"n": 1}', None, 1_700_000_000_000_000)
WAYS = {
    "to child": messages.ToChild,
    "to supervisor": messages.ToSupervisor,
    "to lock-holder": messages.ToLockHolder,
    "lock-holder to listener": messages.LockHolderToListener,
    "to worker": messages.ToWorker,
    "worker to listener": messages.WorkerToListener,
}
EXAMPLES: list[Message] = [
    messages.Attach("worker:a:0", busy=True),
    messages.PeerExited("listener"),
    messages.PeerExited("worker:a:0", "SIGKILL"),
    messages.Stop(),
    messages.NodeReport(b'{"node": "one"}'),
    messages.Ready(),
    messages.Ready("http://127.0.0.1:9464"),
    messages.Heartbeat(),
    messages.Heartbeat(b"\x80\xff"),
    messages.BootFailed("there is no module 'x'"),
    messages.Broken("the database is not available: try again"),
    messages.Drained(),
    messages.Reconfigure(b"plan"),
    messages.SubscriptionEnded("a"),
    messages.Acquire("a", "$all", "origin"),
    messages.Acquire("a", "account-1", 7),
    messages.SaveCheckpoint("a", 3, 2**62),
    messages.Release("a"),
    messages.Keep(["a", "b"]),
    messages.TryNow(),
    messages.Granted("a", 1, 2, None, TERMS),
    messages.Granted(
        "a", 1, 2, 0, TERMS, {7: Tried(2, 1, False, "it broke")}, [8], {"k": ParkedRows(2, True)}, unclean=1
    ),
    messages.TermsChanged("a", TERMS),
    messages.AttemptsSaved("a", 3, [7]),
    messages.EventsParked("a", 3, [7, 8]),
    messages.EventsUnparked("a", 3, []),
    messages.SaveAttempts("a", 3, [Attempt(7, 2, 0, "it broke ☃")]),
    messages.ParkEvents("a", 3, [ParkedEvent(7, UUID(int=7), None, "parked", False, 10, 0, "it broke")]),
    messages.UnparkEvents("a", 3, [7]),
    messages.SaveHalt("a", 3, 7, "it broke"),
    messages.Recheck(),
    messages.Standby("a", "node two", 9),
    messages.CheckpointSaved("a", 3, 17),
    messages.OwnershipLost("a", 3),
    messages.Deliver(1, 2, 3, {7: 4}, [ROW]),
    messages.Deliver(1, 2, 0, {}, [], 4, 5),
    messages.Recall(),
    messages.Renew(),
    messages.WorkerReady(100),
    messages.Acked([1, 2, 2**62], 7),
    messages.Failed(7, "error", "ValueError: out of temper ☃", None),
    messages.Failed(7, "retry", "later", 0.5),
    messages.Recalled(),
    messages.Retiring(),
]


def through(incoming: Any, *sent: Message) -> list[Any]:
    one, other = socket_pair()
    sender: Channel[Any] = Channel(one, incoming)
    receiver: Channel[Any] = Channel(other, incoming)
    try:
        for message in sent:
            sender.send(message)
        received = receiver.receive()
        while len(received) < len(sent):
            sender.flush()
            received += receiver.receive()
        return received
    finally:
        sender.close()
        receiver.close()


@pytest.mark.parametrize("way", WAYS)
def test_every_message_of_a_way_arrives_as_it_was_sent(way: str) -> None:
    kinds = get_args(WAYS[way])
    sent = [message for message in EXAMPLES if isinstance(message, kinds)]
    assert {type(message) for message in sent} == set(kinds), "an example for each"
    assert through(WAYS[way], *sent) == sent


def test_every_message_has_a_way() -> None:
    on_a_way = {kind for way in WAYS.values() for kind in get_args(way)}
    assert on_a_way == set(Message.__subclasses__())


def test_a_row_keeps_its_types() -> None:
    (deliver,) = through(messages.ToWorker, messages.Deliver(1, 2, 3, {7: 4}, [ROW]))
    (row,) = deliver.rows
    assert row == ROW
    assert [type(column) for column in row] == [type(column) for column in ROW]


def test_messages_are_frozen() -> None:
    with pytest.raises(AttributeError):
        messages.Acked([1], 1).numbers = [2]


words = st.text("aZ é☃😀\n\0'\\", max_size=40)
numbers = st.integers(0, 2**63 - 1)
columns = st.none() | st.binary(max_size=40) | numbers | words
delivers = st.builds(
    messages.Deliver,
    subscription_id=numbers,
    epoch=numbers,
    generation=numbers,
    attempts=st.dictionaries(numbers, numbers, max_size=5),
    rows=st.lists(st.lists(columns, max_size=10).map(tuple), max_size=5),
)
failures = st.builds(
    messages.Failed,
    number=numbers,
    verdict=st.sampled_from(["error", "retry", "skip", "stop"]),
    reason=words,
    after=st.none() | st.floats(0, allow_nan=False),
)


@given(st.lists(delivers, max_size=5))
def test_any_delivery_arrives(sent: list[messages.Deliver]) -> None:
    assert through(messages.ToWorker, *sent) == sent


@given(st.lists(failures | st.builds(messages.Acked, st.lists(numbers, max_size=50), numbers), max_size=5))
def test_any_result_arrives(sent: list[Message]) -> None:
    assert through(messages.WorkerToListener, *sent) == sent
