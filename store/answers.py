"""The longest wait for an answer of the server: who waits longer waits for ever.

Keepalives notice a network that swallows packets, and the server itself ends a statement that takes too long. Neither
notices a pooler or a load balancer that acknowledges every packet and has lost the server behind it. `connection.py`
and `async_connection.py` bound the waits of the connections that ask for it.
"""

from __future__ import annotations

import time

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq.abc import PGconn


def within(seconds: float, steps: PQGen[RV], pgconn: PGconn) -> PQGen[RV]:
    """Take the steps of a conversation with the server, and give the connection up when they take too long.

    The driver wakes a conversation every tenth of a second, whether or not there is anything to read. Costs less than
    a microsecond each time.

    Args:
        seconds: The longest time for all of it.
        steps: The conversation, as the driver describes it.
        pgconn: The connection, which is closed when the time is over.

    Raises:
        psycopg.OperationalError: The time is over.
    """
    until = time.monotonic() + seconds
    try:
        wanted = next(steps)
        while time.monotonic() < until:
            wanted = steps.send((yield wanted))
    except StopIteration as done:
        answer: RV = done.value
        return answer
    pgconn.finish()
    raise psycopg.OperationalError(f"no answer came within {seconds:g} s")
