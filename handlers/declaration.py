"""How a handler is declared: the `@handler` decorator, and the options it shares with `supervisor.toml`.

An option not given is None here; `resolve.py` lays the configuration's options over the decorator's and
fills in the defaults. The decorated function stays an ordinary function that a test can call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Literal, TypeVar

import msgspec

from ..store.types import RecordedEvent, StartFrom

HandlerFunction = Callable[..., Any]
KeyFunction = Callable[[RecordedEvent], Hashable]
F = TypeVar("F", bound=HandlerFunction)

_ATTRIBUTE = "__eventstore_handler__"


class HandlerOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Options of a subscription as one source gives them; None means "not given there".

    Attributes:
        name: The subscription's name, unique within its stream.
        stream: The stream to follow; "$all" (default) is every event.
        concurrency: Worker processes that share the subscription (default 1). Mirrors `concurrency_limit`.
        partition_by: What keeps events in order with several workers: "stream", "category", "correlation_id",
            "event_type", a path like "data.account_id", "module:function", or a function of the event.
            None (default): events go round-robin to whoever is free.
        start_from: Where a subscription that never ran begins: "origin" (default), "current", or an event number.
        transactional: The handler's writes through `context.connection` and the record that the event is done
            commit together: exactly-once effects in the same database (default False).
        transaction_size: Most events in one transaction of a transactional handler (default 100).
        buffer_size: Most events handed to one worker at once (default 100); a slow handler is handed fewer, so
            that none waits behind it while another worker is free.
        max_size: Most events held in memory and not finished, over all workers (default 5,000).
        checkpoint_threshold: Finished events after which a checkpoint is written at once (default 1,000).
        checkpoint_after: Seconds after which any finished event is checkpointed (default 0.1).
        max_attempts: Calls of the handler with one event before `on_exhausted` applies (default 10).
        retry_backoff_min: Seconds before the second attempt (default 0.5); doubles for each further one.
        retry_backoff_max: Longest wait between attempts in seconds (default 60).
        on_exhausted: "halt" stops the subscription at the event (default), "skip" goes on without it.
    """

    name: str | None = None
    stream: str | None = None
    concurrency: int | None = None
    partition_by: str | KeyFunction | None = None
    start_from: StartFrom | None = None
    transactional: bool | None = None
    transaction_size: int | None = None
    buffer_size: int | None = None
    max_size: int | None = None
    checkpoint_threshold: int | None = None
    checkpoint_after: float | None = None
    max_attempts: int | None = None
    retry_backoff_min: float | None = None
    retry_backoff_max: float | None = None
    on_exhausted: Literal["halt", "skip"] | None = None


def handler(
    *,
    name: str | None = None,
    stream: str | None = None,
    concurrency: int | None = None,
    partition_by: str | KeyFunction | None = None,
    start_from: StartFrom | None = None,
    transactional: bool | None = None,
    transaction_size: int | None = None,
    buffer_size: int | None = None,
    max_size: int | None = None,
    checkpoint_threshold: int | None = None,
    checkpoint_after: float | None = None,
    max_attempts: int | None = None,
    retry_backoff_min: float | None = None,
    retry_backoff_max: float | None = None,
    on_exhausted: Literal["halt", "skip"] | None = None,
) -> Callable[[F], F]:
    """Declares a function `(event: RecordedEvent, context: Context)` as the handler of a subscription.

    All options, with their defaults, are those of `HandlerOptions`; `supervisor.toml` may override each.

    Returns:
        A decorator that gives back the function itself.
    """
    options = HandlerOptions(
        name=name,
        stream=stream,
        concurrency=concurrency,
        partition_by=partition_by,
        start_from=start_from,
        transactional=transactional,
        transaction_size=transaction_size,
        buffer_size=buffer_size,
        max_size=max_size,
        checkpoint_threshold=checkpoint_threshold,
        checkpoint_after=checkpoint_after,
        max_attempts=max_attempts,
        retry_backoff_min=retry_backoff_min,
        retry_backoff_max=retry_backoff_max,
        on_exhausted=on_exhausted,
    )

    def declare(function: F) -> F:
        setattr(function, _ATTRIBUTE, options)
        return function

    return declare


def declared_options(function: HandlerFunction) -> HandlerOptions:
    """The options given to `@handler`, or none where the function is not decorated."""
    options = getattr(function, _ATTRIBUTE, None)
    return options if isinstance(options, HandlerOptions) else HandlerOptions()
