"""The keeper of an embedded PostgreSQL: a small process that stops the server when its last user is gone.

Started by `embedded.py` as a script of its own, so that it imports nothing but the standard library. It waits for an
exclusive lock on the users' file, which every user holds shared; the kernel releases a user's lock however it ends,
`kill -9` included. While it stops the server it keeps the lock, so that a new user waits and then starts afresh.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

# How long a fast shutdown may take before the server is stopped the hard way, in seconds.
_FAST_SHUTDOWN = 30.0
_POLL = 0.02


def postmaster_pid(data: Path) -> int | None:
    """Return the pid of the server that runs on a data directory, None when there is none.

    A server changes into its data directory, so a pid that now belongs to another program is told apart: after a crash
    or a container's restart the file often names one.
    """
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        return pid if Path(f"/proc/{pid}/cwd").samefile(data) else None
    except (OSError, ValueError):
        return None


def socket_directory(data: Path) -> Path | None:
    """Return the directory of a server's socket as its lock file names it, None when it has none."""
    try:
        named = (data / "postmaster.pid").read_text().splitlines()[4]
    except (OSError, IndexError):
        return None
    return Path(named) if named else None


def stop(data: Path) -> None:
    """Stop the server on a data directory and wait until it is gone; without a server, return at once."""
    pid = postmaster_pid(data)
    if pid is None:
        return
    for how, patience in ((signal.SIGINT, _FAST_SHUTDOWN), (signal.SIGQUIT, _FAST_SHUTDOWN), (signal.SIGKILL, 1.0)):
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if postmaster_pid(data) != pid:
                return
            time.sleep(_POLL)


def keep(users_file: Path, data: Path, keeper_lock: int) -> None:
    """Wait until nobody uses the server any more, stop it, and return still holding the users' lock.

    Args:
        users_file: The file that every user locks.
        data: The server's data directory.
        keeper_lock: The descriptor whose lock says that a keeper is there; released before the users' lock is.
    """
    users = os.open(users_file, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(users, fcntl.LOCK_EX)
    if _is_same_file(users, users_file):
        sockets = socket_directory(data)
        stop(data)
        if sockets is not None and sockets != data:
            with suppress(OSError):
                sockets.rmdir()
    os.close(keeper_lock)


def _is_same_file(descriptor: int, path: Path) -> bool:
    # The directory may have been deleted and made anew; then its server belongs to another keeper.
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def main(arguments: list[str]) -> None:
    """Detach from whoever started this, then keep. Arguments: users file, data directory, keeper lock descriptor."""
    users_file, data, keeper_lock = arguments
    if os.fork():
        os._exit(0)
    keep(Path(users_file), Path(data), int(keeper_lock))


if __name__ == "__main__":
    main(sys.argv[1:])
