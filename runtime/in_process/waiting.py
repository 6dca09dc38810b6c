"""`wait_for`: return when subscriptions have acknowledged an append, whichever process runs them.

Decides in `missing`, which looks at the subscriptions' rows; the two loops around it only ask for them, at growing
intervals and with one statement for all. Works with any store that has `subscriptions()`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from ...store.errors import ConfigurationError, SubscriptionNotFound, WaitTimeout
from ...store.types import ALL_STREAM, AppendResult, SubscriptionRecord

Named = str | tuple[str, str]
"""A subscription by its name, or by its stream and name where several streams have one of that name."""

Behind = tuple[str, str, int, int]
"""Stream, name, checkpoint and wanted event number of a subscription."""

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.25


class HasSubscriptions(Protocol):
    """A store, as far as it is needed here."""

    def subscriptions(self) -> list[SubscriptionRecord]:
        """All subscriptions."""
        ...


class HasSubscriptionsAsync(Protocol):
    """A store for asyncio, as far as it is needed here."""

    async def subscriptions(self) -> list[SubscriptionRecord]:
        """All subscriptions."""
        ...


def wait_for(
    store: HasSubscriptions, what: AppendResult | int, subscriptions: Sequence[Named], timeout: float = 5.0
) -> None:
    """Wait until subscriptions have checkpointed an append, so that what they write can be read.

    Checkpoints follow acks: a runtime's handler after `checkpoint_after`, a subscription in a user's process at once
    unless its options say otherwise.

    Args:
        store: The store.
        what: What the append returned: subscriptions to `$all` are waited for up to its position, those to its stream
            up to its version. Or an event number, in the stream that each subscription reads.
        subscriptions: Names, or pairs of stream and name.
        timeout: How long to wait, in seconds; default 5.

    Raises:
        WaitTimeout: Some of them are not that far; the message says which and by how much.
        SubscriptionNotFound: There is no such subscription, or it was deleted meanwhile.
        ConfigurationError: A name is not unique, or its subscription reads another stream than the append was to.
    """
    _check_names(subscriptions)
    deadline = time.monotonic() + timeout
    for pause in _pauses():
        behind = missing(what, subscriptions, store.subscriptions())
        left = deadline - time.monotonic()
        if not behind:
            return
        if left <= 0:
            raise WaitTimeout(timeout, behind)
        time.sleep(min(pause, left))


async def wait_for_async(
    store: HasSubscriptionsAsync, what: AppendResult | int, subscriptions: Sequence[Named], timeout: float = 5.0
) -> None:
    """Wait like `wait_for`, with a store for asyncio; the event loop goes on meanwhile."""
    _check_names(subscriptions)
    deadline = time.monotonic() + timeout
    for pause in _pauses():
        behind = missing(what, subscriptions, await store.subscriptions())
        left = deadline - time.monotonic()
        if not behind:
            return
        if left <= 0:
            raise WaitTimeout(timeout, behind)
        await asyncio.sleep(min(pause, left))


def missing(
    what: AppendResult | int, subscriptions: Sequence[Named], records: Sequence[SubscriptionRecord]
) -> tuple[Behind, ...]:
    """Return those of the subscriptions that are not that far yet.

    Raises:
        SubscriptionNotFound, ConfigurationError: As `wait_for`.
    """
    found = [_find(named, records) for named in subscriptions]
    places = [(record, record.last_seen or 0, _wanted(what, record)) for record in found]
    return tuple(
        (record.stream_uuid, record.subscription_name, checkpoint, wanted)
        for record, checkpoint, wanted in places
        if checkpoint < wanted
    )


def _find(named: Named, records: Sequence[SubscriptionRecord]) -> SubscriptionRecord:
    stream_uuid, name = ("", named) if isinstance(named, str) else named
    found = [r for r in records if r.subscription_name == name and stream_uuid in ("", r.stream_uuid)]
    if not found:
        raise SubscriptionNotFound(stream_uuid, name)
    if len(found) > 1:
        streams = ", ".join(repr(record.stream_uuid) for record in found[:3])
        raise ConfigurationError(
            f"subscription {name!r} exists for several streams ({streams}): name it as a pair of stream and name"
        )
    return found[0]


def _wanted(what: AppendResult | int, record: SubscriptionRecord) -> int:
    if isinstance(what, int):
        return what
    if record.stream_uuid == ALL_STREAM:
        return what.position
    if record.stream_uuid == what.stream_uuid:
        return what.stream_version
    raise ConfigurationError(
        f"subscription {record.subscription_name!r} reads stream {record.stream_uuid!r}, but the append was to "
        f"{what.stream_uuid!r}: leave it out, it will not get these events"
    )


def _check_names(subscriptions: Sequence[Named]) -> None:
    if isinstance(subscriptions, str):
        raise ConfigurationError(f"subscriptions is the text {subscriptions!r}: give a list of names")


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.5, _LONGEST_PAUSE)
