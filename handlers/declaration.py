"""How a handler is declared: the `@handler` decorator, and the options it shares with `supervisor.toml`.

An option not given is None here; `resolve.py` lays the configuration's options over the decorator's and
fills in the defaults. What is decorated, a function or a class, stays what it is, so that a test can call it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from ..store.types import RecordedEvent, StartFrom

HandlerFunction = Callable[..., Any]
KeyFunction = Callable[[RecordedEvent], Hashable]
EventFunction = Callable[[RecordedEvent], Any]
Placement = Literal["free", "pinned"]
OnExhausted = Literal["halt", "park", "park_partition", "skip"]
SideEffects = Literal["always", "live_only"]
Scalar = str | int | float | bool
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
        placement: "free" (default) lets any worker go on with a partition that has nothing in flight; "pinned" gives
            a partition to the same worker as long as the workers stay the same, for handlers that cache.
        event_types: Only events of these types; evaluated in the database. Default: all.
        category: Only events of streams of this category, what stands before the first "-". Default: all.
        stream_prefix: Only events of streams whose name begins like this. Default: all.
        data_equals: Only events whose data has these values at these dotted paths, such as
            {"account.currency": "EUR"}. Default: all.
        selector: A function of the event, or its "module:function"; where it returns something false, the event is
            finished without the handler. Runs in the worker. Default: none.
        mapper: A function of the event, or its "module:function", whose result the handler gets instead of the event.
            Runs in the worker. Default: none.
        start_from: Where a subscription that never ran begins: "origin" (default), "current", or an event number.
        transactional: The handler's writes through `context.connection` and the record that the event is done
            commit together: exactly-once effects in the same database (default False).
        transaction_size: Most events in one transaction of a transactional handler (default 100).
        batch_size: Most events in one call of a handler that takes a list of events; None (default): the handler takes
            one event at a time.
        batch_timeout: Seconds to wait for a batch to fill (default 0: handle what is there).
        timeout: Seconds after which a call of the handler is ended by killing its process; None (default): never.
        slow_after: Seconds after which a call of the handler is logged as slow (default 5).
        buffer_size: Most events handed to one worker at once (default 100); a slow handler is handed fewer, so
            that none waits behind it while another worker is free.
        max_size: Most events held in memory and not finished, over all workers (default 5,000).
        max_bytes: Most bytes of data and metadata held in memory and not finished, over all workers (default 64 MiB);
            one event may exceed it.
        checkpoint_threshold: Finished events after which a checkpoint is written at once (default 1,000).
        checkpoint_after: Seconds after which any finished event is checkpointed (default 0.1).
        max_attempts: Calls of the handler with one event before `on_exhausted` applies (default 10).
        retry_backoff_min: Seconds before the second attempt (default 0.5); doubles for each further one.
        retry_backoff_max: Longest wait between attempts in seconds (default 60).
        max_crashes: Worker processes that may die of the same event before `on_exhausted` applies (default 2).
        on_exhausted: "halt" stops the subscription at the event (default); "park" sets the event aside and goes on;
            "park_partition" also holds later events of its partition behind it, in order; "skip" goes on without it.
        max_parked: Parked and held events of the subscription beyond which it halts (default 10,000).
        max_parked_per_partition: The same for one partition (default 1,000).
        max_events_per_worker: Events after which a worker process is replaced by a fresh one; None (default): never.
        max_rss: MiB of resident memory beyond which a worker process is replaced; None (default): never.
        side_effects: "always" (default), or "live_only": the handler is not called for events that were stored before
            the subscription began, or before it was reset.
    """

    name: str | None = None
    stream: str | None = None
    concurrency: int | None = None
    partition_by: str | KeyFunction | None = None
    placement: Placement | None = None
    event_types: Sequence[str] | None = None
    category: str | None = None
    stream_prefix: str | None = None
    data_equals: Mapping[str, Scalar] | None = None
    selector: str | EventFunction | None = None
    mapper: str | EventFunction | None = None
    start_from: StartFrom | None = None
    transactional: bool | None = None
    transaction_size: int | None = None
    batch_size: int | None = None
    batch_timeout: float | None = None
    timeout: float | None = None
    slow_after: float | None = None
    buffer_size: int | None = None
    max_size: int | None = None
    max_bytes: int | None = None
    checkpoint_threshold: int | None = None
    checkpoint_after: float | None = None
    max_attempts: int | None = None
    retry_backoff_min: float | None = None
    retry_backoff_max: float | None = None
    max_crashes: int | None = None
    on_exhausted: OnExhausted | None = None
    max_parked: int | None = None
    max_parked_per_partition: int | None = None
    max_events_per_worker: int | None = None
    max_rss: int | None = None
    side_effects: SideEffects | None = None


def handler(
    *,
    name: str | None = None,
    stream: str | None = None,
    concurrency: int | None = None,
    partition_by: str | KeyFunction | None = None,
    placement: Placement | None = None,
    event_types: Sequence[str] | None = None,
    category: str | None = None,
    stream_prefix: str | None = None,
    data_equals: Mapping[str, Scalar] | None = None,
    selector: str | EventFunction | None = None,
    mapper: str | EventFunction | None = None,
    start_from: StartFrom | None = None,
    transactional: bool | None = None,
    transaction_size: int | None = None,
    batch_size: int | None = None,
    batch_timeout: float | None = None,
    timeout: float | None = None,
    slow_after: float | None = None,
    buffer_size: int | None = None,
    max_size: int | None = None,
    max_bytes: int | None = None,
    checkpoint_threshold: int | None = None,
    checkpoint_after: float | None = None,
    max_attempts: int | None = None,
    retry_backoff_min: float | None = None,
    retry_backoff_max: float | None = None,
    max_crashes: int | None = None,
    on_exhausted: OnExhausted | None = None,
    max_parked: int | None = None,
    max_parked_per_partition: int | None = None,
    max_events_per_worker: int | None = None,
    max_rss: int | None = None,
    side_effects: SideEffects | None = None,
) -> Callable[[F], F]:
    """Declares the handler of a subscription.

    A handler is a function `(event: RecordedEvent, context: Context)`, plain or `async def`; with `batch_size` it takes
    a list of events; or a class that is made once in each worker, with a method `handle` of this form and, if it likes,
    `start` and `stop` without arguments.

    All options, with their defaults, are those of `HandlerOptions`; `supervisor.toml` may override each.

    Returns:
        A decorator that gives back the function or class itself.
    """
    options = HandlerOptions(
        name=name,
        stream=stream,
        concurrency=concurrency,
        partition_by=partition_by,
        placement=placement,
        event_types=event_types,
        category=category,
        stream_prefix=stream_prefix,
        data_equals=data_equals,
        selector=selector,
        mapper=mapper,
        start_from=start_from,
        transactional=transactional,
        transaction_size=transaction_size,
        batch_size=batch_size,
        batch_timeout=batch_timeout,
        timeout=timeout,
        slow_after=slow_after,
        buffer_size=buffer_size,
        max_size=max_size,
        max_bytes=max_bytes,
        checkpoint_threshold=checkpoint_threshold,
        checkpoint_after=checkpoint_after,
        max_attempts=max_attempts,
        retry_backoff_min=retry_backoff_min,
        retry_backoff_max=retry_backoff_max,
        max_crashes=max_crashes,
        on_exhausted=on_exhausted,
        max_parked=max_parked,
        max_parked_per_partition=max_parked_per_partition,
        max_events_per_worker=max_events_per_worker,
        max_rss=max_rss,
        side_effects=side_effects,
    )

    def declare(handler: F) -> F:
        setattr(handler, _ATTRIBUTE, options)
        return handler

    return declare


def declared_options(handler: object) -> HandlerOptions:
    """The options given to `@handler`, or none where neither the handler nor its class is decorated."""
    options = getattr(handler, _ATTRIBUTE, None)
    return options if isinstance(options, HandlerOptions) else HandlerOptions()
