"""How a child process comes into being: by a fork server that has no threads and no connections, or afresh.

Never a fork of the supervisor. Children get a function of this package, bytes and a socket; the user's
`__main__` is not imported into them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import multiprocess
from multiprocess import forkserver, resource_tracker

_POLL = 0.005
_MOST_DESCRIPTORS = 65_536
_PRELOAD = [f"{__package__}.preload"]


def start_process(method: str, target: Callable[..., None], arguments: tuple[Any, ...], name: str) -> Any:
    """Starts a child process.

    Args:
        method: "forkserver" or "spawn".
        target: A function at module level of this package.
        arguments: Strings, bytes and sockets only.
        name: For process listings of multiprocess.

    Returns:
        The `multiprocess.Process`, started.

    Raises:
        OSError: No process could be made now.
    """
    _allow_descriptors()
    context = multiprocess.get_context(method)
    if method == "forkserver":
        _prepare_fork_server()
    process = context.Process(target=target, args=arguments, name=name)
    with _main_hidden():
        try:
            process.start()
        except EOFError:
            raise OSError("the fork server ended while it made the process") from None
    return process


def fork_server() -> int:
    """Starts the fork server where none runs.

    Returns:
        Its pid. When that changes, the one before has died, and with it every child that it had made.
    """
    _allow_descriptors()
    _prepare_fork_server()
    with _main_hidden():
        forkserver.ensure_running()
    pid: int = forkserver._forkserver._forkserver_pid  # noqa: SLF001 - nothing else tells it
    return pid


@functools.cache
def _allow_descriptors() -> None:
    """Lets this process and its children have as many descriptors as they may need: once, at the first child.

    Supervisor and listener need three for each worker, so the usual 1,024 would be too few for some hundred workers.
    """
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _MOST_DESCRIPTORS)
    if now != resource.RLIM_INFINITY and now < wanted:
        with contextlib.suppress(OSError, ValueError):
            # Where the system names no limit it may have one all the same.
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _prepare_fork_server() -> None:
    """What the next fork server needs, where one is to be started."""
    multiprocess.get_context("forkserver").set_forkserver_preload(_PRELOAD)
    config = multiprocess.process.current_process()._config  # noqa: SLF001 - where multiprocess remembers its folder
    folder = config.get("tempdir")
    if folder is not None and not Path(folder).is_dir():
        # One that ended by an error of its own has removed it; a fresh name, since anybody may have taken the old one.
        config["tempdir"] = None


def end_fork_server(patience: float = 1.0) -> None:
    """Ends the fork server and multiprocess' resource tracker, where they run, and waits for both.

    They would follow this process by themselves, a moment after it; but a service manager that finds them then
    takes them for left behind, and kills them. For when no child is needed any more; the next one starts them anew.

    Args:
        patience: Seconds to wait for the tracker, which stays as long as a process that a handler has left behind
            holds on to it (default 1).
    """
    server = forkserver._forkserver  # noqa: SLF001 - nothing else ends it
    if server._forkserver_pid is not None:  # noqa: SLF001
        # One that has gone by itself may have taken its folder with it; this process ends in order all the same.
        with contextlib.suppress(OSError):
            # One that hangs must not hold up the end.
            os.kill(server._forkserver_pid, signal.SIGKILL)  # noqa: SLF001
            server._stop()  # noqa: SLF001
    tracker = resource_tracker._resource_tracker  # noqa: SLF001
    descriptor, pid, tracker._fd, tracker._pid = tracker._fd, tracker._pid, None, None  # noqa: SLF001
    if descriptor is not None:
        os.close(descriptor)
        deadline = time.monotonic() + patience
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
                # By `select`, which needs no clock that somebody may have replaced.
                select.select([], [], [], _POLL)


@contextlib.contextmanager
def _main_hidden() -> Iterator[None]:
    """Keeps multiprocess from importing the program's main module into the child.

    A child needs nothing of it, and a main module without an `if __name__` guard would start a second node.
    """
    main = vars(sys.modules["__main__"])
    saved: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        del main["__spec__"]
        main.update(saved)
