"""What notifications tell a subscription. Pure; a session collects them, synchronous or not."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from ...store.errors import InvalidNotification
from ...store.notifications import parse, runtime_channel


class Heard(NamedTuple):
    """What some notifications say.

    Attributes:
        head: The newest event number of the stream, 0 when none of them is about it.
        released: Some process gave a lock back.
    """

    head: int
    released: bool


def understood(notifications: Iterable[tuple[str, str]], schema: str, stream_uuid: str) -> Heard:
    """Return what notifications, as channel and payload, say about a stream; others' payloads are ignored."""
    head, released = 0, False
    for channel, payload in notifications:
        if channel == runtime_channel(schema):
            released = True
            continue
        with suppress(InvalidNotification):
            notification = parse(payload)
            if notification.stream_uuid == stream_uuid:
                head = max(head, notification.last_version)
    return Heard(head, released)
