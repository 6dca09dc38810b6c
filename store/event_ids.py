"""The ids of events that come without one: UUIDs of version 7, which begin with the time.

The ids of one moment lie side by side in the indexes of `events` and `stream_events`. Random ones would touch another
page for every event, and after a checkpoint each of those goes to the write-ahead log in full: docs/performance.md has
what that costs.
"""

from __future__ import annotations

import os
import time
from uuid import UUID

_VERSION_AND_VARIANT = (0b0111 << 76) | (0b10 << 62)
_RANDOM_BITS = ((2**12 - 1) << 64) | (2**62 - 1)


def new_event_id() -> UUID:
    """Return a UUID of version 7 (RFC 9562): the time in milliseconds, then 74 random bits."""
    drawn = int.from_bytes(os.urandom(10), "big")
    milliseconds = time.time_ns() // 1_000_000
    return UUID(int=(milliseconds << 80) | _VERSION_AND_VARIANT | (drawn & _RANDOM_BITS))
