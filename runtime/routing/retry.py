"""How long an event waits for its next attempt. Pure: the random number is an argument."""

from __future__ import annotations

from .state import RoutingOptions


def retry_delay(attempt: int, options: RoutingOptions, jitter: float) -> float:
    """Seconds to wait after attempt number `attempt` failed.

    Exponential from `retry_backoff_min` to `retry_backoff_max`; jitter takes away up to a quarter, so
    that events that failed together do not come back together.

    Args:
        attempt: The attempt that failed, from 1.
        options: The subscription's options.
        jitter: A random number in [0, 1).
    """
    doubled: float = options.retry_backoff_min * 2.0 ** min(attempt - 1, 40)
    return min(doubled, options.retry_backoff_max) * (1.0 - 0.25 * jitter)
