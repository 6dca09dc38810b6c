"""The options of a subscription in a user's own process, checked once and frozen. Pure.

`persistent.py` builds them from its arguments; `routing_options` is the part that the routing machine needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from ...handlers.partition import key_function
from ...store.errors import ConfigurationError
from ...store.subscriptions import start_bind
from ...store.types import RecordedEvent, StartFrom
from ..routing import RoutingOptions

Selector = Callable[[RecordedEvent], object]
"""Tells by a true value whether the subscriber gets an event."""

Mapper = Callable[[RecordedEvent], Any]
"""Returns what the subscriber gets in place of an event."""

PartitionBy = str | Callable[[RecordedEvent], Hashable]
"""Returns an event's partition key; the common ones have names, see `subscribe_to_stream`."""

PAGE_SIZE = 1_000
"""Most events in one read."""

# With a checkpoint for every ack, only the progress past events that the selector left out waits for a timer.
_LEFT_OUT_CHECKPOINT_AFTER = 0.1


@dataclass(frozen=True, kw_only=True)
class SubscriptionOptions:
    """What `subscribe_to_stream` takes, described there.

    Raises:
        ConfigurationError: A value is out of range.
    """

    start_from: StartFrom = "origin"
    buffer_size: int = 1
    concurrency_limit: int = 1
    partition_by: PartitionBy | None = None
    selector: Selector | None = None
    mapper: Mapper | None = None
    max_size: int = 1_000
    checkpoint_threshold: int = 1
    checkpoint_after: float = 0.0

    def __post_init__(self) -> None:
        start_bind(self.start_from)
        for name in ("buffer_size", "concurrency_limit", "max_size", "checkpoint_threshold"):
            _check_positive(name, getattr(self, name))
        if not 0 <= self.checkpoint_after < math.inf:
            raise ConfigurationError(
                f"checkpoint_after {self.checkpoint_after!r} is out of range: give seconds, 0 for no time limit"
            )
        for name in ("selector", "mapper"):
            check_function(name, getattr(self, name))
        self.partition_key()

    def partition_key(self) -> Callable[[RecordedEvent], Hashable] | None:
        """The function that gives an event its partition key, None where events have none."""
        return key_function(self.partition_by, _unknown_key)


def routing_options(options: SubscriptionOptions) -> RoutingOptions:
    """The part of the options that the routing machine needs.

    Without `checkpoint_after`, acks alone lead to checkpoints, as in commanded/eventstore. Where each of them does,
    what the selector left out is checkpointed soon by time, so that nobody waits for it.
    """
    after = options.checkpoint_after
    if after == 0:
        after = _LEFT_OUT_CHECKPOINT_AFTER if options.checkpoint_threshold == 1 else math.inf
    return RoutingOptions(
        max_size=options.max_size,
        page_size=min(PAGE_SIZE, options.max_size),
        checkpoint_threshold=options.checkpoint_threshold,
        checkpoint_after=after,
    )


def check_function(name: str, function: object) -> None:
    """Raise `ConfigurationError` unless it is a function or None."""
    if function is not None and not callable(function):
        raise ConfigurationError(f"{name} {function!r} is no function: give one that takes a RecordedEvent")


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} {value!r} is out of range: give a number of at least 1")


def _unknown_key(partition_by: str) -> Callable[..., Any]:
    raise ConfigurationError(
        f"partition_by {partition_by!r} is not known: give 'stream', 'category', 'event_type', 'correlation_id', "
        "a path like 'data.account_id', or a function"
    )
