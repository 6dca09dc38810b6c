"""How a child process comes into being: by a fork server that has no threads and no connections, or afresh.

Never a fork of the supervisor. Children get a function of this package, bytes and a socket; the user's
`__main__` is not imported into them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import multiprocess
from multiprocess import forkserver

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
    context = multiprocess.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(_PRELOAD)
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
    multiprocess.get_context("forkserver").set_forkserver_preload(_PRELOAD)
    with _main_hidden():
        forkserver.ensure_running()
    pid: int = forkserver._forkserver._forkserver_pid  # noqa: SLF001 - nothing else tells it
    return pid


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
