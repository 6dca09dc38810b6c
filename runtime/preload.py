"""Loaded once by the fork server, so that children share these modules and start in milliseconds.

Imports no user code and opens nothing. Also keeps a SIGTERM or SIGHUP that is sent to the whole process group from
killing the fork server, and with it every child, in the middle of an orderly stop.
"""

import signal

import msgspec
import psycopg
import structlog

from ..store import connection, serializer, sql
from . import actor, inspector, listener, lock_holder, worker

__all__ = [
    "actor",
    "connection",
    "inspector",
    "listener",
    "lock_holder",
    "msgspec",
    "psycopg",
    "serializer",
    "sql",
    "structlog",
    "worker",
]

for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
