"""Subscriptions in the database, as operations without I/O: rows, locks, epochs, checkpoints and the done-ledger.

The lock-holder drives locks, epochs and checkpoints on its session connection; workers record done events in the
transaction of their handler. Every write of an owner carries its epoch, so a former owner can change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from .errors import ConfigurationError, OwnershipLost, SubscriptionNotFound
from .notifications import check_stream_name, check_text
from .operation import Operation, Query
from .rows import decode_lag, decode_subscription
from .sql import Statements
from .types import CheckpointResult, Ownership, StartFrom, SubscriptionLag, SubscriptionRecord

_HEAD = -1


def get_subscription(statements: Statements, stream_uuid: str, name: str) -> Operation[SubscriptionRecord | None]:
    """Return a subscription, None when it does not exist."""
    rows = yield Query(statements["get_subscription"], (stream_uuid, name))
    return decode_subscription(rows[0]) if rows else None


def list_subscriptions(statements: Statements) -> Operation[list[SubscriptionRecord]]:
    """Return all subscriptions, in order of creation."""
    rows = yield Query(statements["list_subscriptions"])
    return [decode_subscription(row) for row in rows]


def create_subscription(
    statements: Statements, stream_uuid: str, name: str, start_from: StartFrom = "origin"
) -> Operation[SubscriptionRecord]:
    """Return the subscription, created if it does not exist; the start counts only for a new one.

    Args:
        statements: The statements of the schema.
        stream_uuid: The stream to read, `$all` for all; it need not exist yet.
        name: The subscription's name, unique for the stream.
        start_from: "origin" (default), "current" for what is appended from now on, or the last event number *not* to
            deliver, 0 or more.

    Raises:
        ConfigurationError: The start or a name is of no use.
    """
    check_stream_name(stream_uuid)
    check_text(name, "subscription name")
    bind = start_bind(start_from)
    while True:
        for row in (yield Query(statements["create_subscription"], (stream_uuid, name, bind))):
            return decode_subscription(row)
        existing = yield from get_subscription(statements, stream_uuid, name)
        # Gone again between the two statements only when somebody deletes it at this moment: then create it anew.
        if existing is not None:
            return existing


def start_bind(start_from: object) -> int | None:
    """Return the bind of `create_subscription.sql` for a start. Raises `ConfigurationError` for an unknown one."""
    if start_from == "origin":
        return None
    if start_from == "current":
        return _HEAD
    if isinstance(start_from, int) and not isinstance(start_from, bool) and start_from >= 0:
        return start_from
    raise ConfigurationError(f"start_from {start_from!r} is not known: give 'origin', 'current' or a number ≥ 0")


def delete_subscription(statements: Statements, stream_uuid: str, name: str) -> Operation[None]:
    """Delete a subscription, its checkpoint and what the runtime holds for it. Mirrors `delete_subscription/3`.

    Raises:
        SubscriptionNotFound: It does not exist.
    """
    rows = yield Query(statements["delete_subscription"], (stream_uuid, name))
    if not rows:
        raise SubscriptionNotFound(stream_uuid, name)


def try_locks(statements: Statements, subscription_ids: Iterable[int]) -> Operation[dict[int, bool]]:
    """Try to lock many subscriptions at once, without waiting. Mirrors `try_advisory_lock` of commanded/eventstore.

    The locks belong to the session: use a connection of its own, never a pool's. PostgreSQL counts them, so try only
    what this session does not hold yet.

    Returns:
        For each subscription id, whether this session now holds its lock.
    """
    rows = yield Query(statements["try_locks"], (list(dict.fromkeys(subscription_ids)),))
    return dict(rows)


def unlock(statements: Statements, subscription_ids: Iterable[int]) -> Operation[dict[int, bool]]:
    """Release the locks of many subscriptions; False where this session held none."""
    rows = yield Query(statements["unlock"], (list(dict.fromkeys(subscription_ids)),))
    return dict(rows)


def begin_epoch(
    statements: Statements, subscription_id: int, node: str, unit: int = 0, run: str = ""
) -> Operation[Ownership]:
    """Begin a new epoch of a unit: from here on, writes of any earlier owner are refused.

    Waits for a checkpoint or transactional handler of the former owner that is being committed at this moment. Call it
    when the lock is held.

    Args:
        statements: The statements of the schema.
        subscription_id: The subscription.
        node: The new owner's name, for `status`.
        unit: The unit of ownership, 0 while a subscription is one unit.
        run: Names one run of the node; within it, an ownership that ends without order tells nothing of the events.

    Raises:
        SubscriptionNotFound: The subscription was deleted.
    """
    rows = yield Query(statements["begin_epoch"], (subscription_id, unit, node, run))
    if not rows:
        raise SubscriptionNotFound("", f"#{subscription_id}")
    return Ownership(*rows[0])


def save_checkpoint(
    statements: Statements, subscription_id: int, epoch: int, last_seen: int, unit: int = 0
) -> Operation[CheckpointResult]:
    """Move the checkpoint forward if the epoch still owns the unit, and drop the ledger up to it.

    Unlike commanded/eventstore's, this write never moves a checkpoint back and is refused to a former owner.

    Args:
        statements: The statements of the schema.
        subscription_id: The subscription.
        epoch: The owner's epoch, from `begin_epoch`.
        last_seen: The last event number up to which everything is acknowledged.
        unit: The unit of ownership.
    """
    rows = yield Query(statements["save_checkpoint"], (subscription_id, unit, epoch, last_seen))
    return CheckpointResult(*rows[0])


def done_events(
    statements: Statements, subscription_id: int, event_numbers: Iterable[int], unit: int = 0
) -> Operation[set[int]]:
    """Return those of the given events whose transactional handler has committed already."""
    rows = yield Query(statements["done_events"], (subscription_id, unit, list(event_numbers)))
    return {row[0] for row in rows}


def record_done_events(
    statements: Statements, subscription_id: int, epoch: int, event_numbers: Iterable[int], unit: int = 0
) -> Operation[int]:
    """Record events as done, in the transaction of their handler.

    Returns:
        How many of them were not recorded before; fewer than given means that one was handled twice: roll back.

    Raises:
        OwnershipLost: The epoch no longer owns the unit: roll back.
    """
    rows = yield Query(statements["record_done_events"], (subscription_id, unit, epoch, list(event_numbers)))
    fence_held, recorded = rows[0]
    if not fence_held:
        raise OwnershipLost(subscription_id, unit, epoch)
    return int(recorded)


def notify(statements: Statements, channel: str, payload: str) -> Operation[None]:
    """Send a notification of less than 8,000 bytes."""
    yield Query(statements["notify"], (channel, payload))


def subscription_lags(statements: Statements) -> Operation[list[SubscriptionLag]]:
    """Return how far every subscription is behind, one element for each unit."""
    rows = yield Query(statements["subscription_lags"])
    return [decode_lag(row) for row in rows]
