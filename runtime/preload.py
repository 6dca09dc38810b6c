"""Loaded once by the fork server, so that children share these modules and start in milliseconds.

Imports no user code and opens nothing. Also keeps a SIGTERM or SIGHUP that is sent to the whole process group from
killing the fork server, and with it every child, in the middle of an orderly stop; and removes the fork server's socket
when a killed supervisor cannot.
"""

import atexit
import contextlib
import gc
import os
import signal
import socket
from pathlib import Path

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


def _listening_at() -> Path | None:
    """The socket file on which this process takes requests for new children, if it does."""
    folder = Path("/proc/self/fd")
    for descriptor in [int(path.name) for path in folder.iterdir()] if folder.exists() else []:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as sock:
            address = sock.getsockname()
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and isinstance(address, str) and address:
                return Path(address)
    return None


def _remove(address: Path) -> None:
    # The folder was made by the supervisor for this file alone; in an orderly end it has removed both already.
    with contextlib.suppress(OSError):
        address.unlink()
        address.parent.rmdir()


_address = _listening_at()
if _address is not None:
    # Children leave by os._exit, so this runs in the fork server only.
    atexit.register(_remove, _address)

# Children share the memory of what is here, as long as nobody writes to it: their collectors leave it alone.
gc.collect()
gc.freeze()
