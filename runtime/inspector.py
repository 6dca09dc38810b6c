"""Resolves the declared handlers in a process of its own, before anything else starts.

The supervisor imports no user code, yet needs the options that handlers declare. A short-lived child imports
the handlers, settles every option, and answers with plain data, or with the one thing that is wrong.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from ..handlers.declaration import HandlerOptions
from ..handlers.resolve import Subscription, extend_path, resolve
from ..store.errors import ConfigurationError, EventStoreError
from .actor import die_with_parent, end_process, ignore_signals
from .channel import socket_pair
from .restart import ExitCode
from .serializers import load_serializer
from .spawn import start_process

_TRIES = 5


class DeclaredHandler(msgspec.Struct, frozen=True):
    """One `[[subscriptions]]` entry: where it stands, its handler, and the options given there."""

    where: str
    handler: str
    options: dict[str, Any]


class _Request(msgspec.Struct, frozen=True):
    python_path: tuple[str, ...]
    handlers: tuple[DeclaredHandler, ...]
    serializer: str = ""


class _Answer(msgspec.Struct, frozen=True):
    subscriptions: tuple[Subscription, ...] = ()
    problems: tuple[str, ...] = ()


def inspect_handlers(
    method: Literal["forkserver", "spawn"],
    python_path: Sequence[str],
    handlers: Sequence[DeclaredHandler],
    serializer: str = "",
) -> tuple[Subscription, ...]:
    """Imports the handlers in a child process and settles their options; looks whether the serializer can be had.

    Raises:
        ConfigurationError: One line for each handler that cannot run as configured, and for the serializer.
    """
    request = msgspec.msgpack.encode(_Request(tuple(python_path), tuple(handlers), serializer))
    ours, theirs = socket_pair()
    with ours:
        with theirs:
            process = _start(method, (request, theirs))
        try:
            answer = _read_all(ours)
        except BaseException:
            # Stopped by a signal: an import that hangs must not keep this process from ending.
            process.kill()
            raise
        finally:
            process.join()
    if not answer:
        raise ConfigurationError(
            f"importing the handlers ended the process that did it (exit code {process.exitcode}); "
            f"import them by hand to see why: {', '.join(h.handler for h in handlers)}"
        )
    return _settled(msgspec.msgpack.decode(answer, type=_Answer))


def _start(method: Literal["forkserver", "spawn"], arguments: tuple[bytes, socket.socket]) -> Any:
    """Starts the process; tries again where the system cannot make one at this moment."""
    for attempt in range(1, _TRIES + 1):
        try:
            return start_process(method, inspector_main, arguments, "inspector")
        except OSError as error:
            if attempt == _TRIES:
                raise EventStoreError(f"no process can be started ({error}): see what the system is short of") from None
            time.sleep(0.1 * attempt)
    raise AssertionError("unreachable")


def declared_subscriptions(python_path: Sequence[str], handlers: Sequence[DeclaredHandler]) -> tuple[Subscription, ...]:
    """Imports the handlers in this very process and settles their options; for a process that ends soon after.

    Raises:
        ConfigurationError: One line for each handler that cannot run as configured.
    """
    extend_path(python_path)
    return _settled(_inspect(_Request(tuple(python_path), tuple(handlers))))


def _settled(answer: _Answer) -> tuple[Subscription, ...]:
    if answer.problems:
        raise ConfigurationError("\n".join(answer.problems))
    return answer.subscriptions


def inspector_main(request_bytes: bytes, answer_to: socket.socket) -> None:
    """Runs in the child: answers with subscriptions or problems, as MessagePack, and ends."""
    ignore_signals()
    die_with_parent(answer_to)
    request = msgspec.msgpack.decode(request_bytes, type=_Request)
    extend_path(request.python_path)
    answer_to.sendall(msgspec.msgpack.encode(_inspect(request)))
    end_process(ExitCode.OK)


def _inspect(request: _Request) -> _Answer:
    subscriptions, problems = [], []
    try:
        load_serializer(request.serializer)
    except ConfigurationError as error:
        problems.append(str(error))
    for declared in request.handlers:
        try:
            options = HandlerOptions(**declared.options)
            subscriptions.append(resolve(declared.handler, options, where=declared.where))
        except ConfigurationError as error:
            problems.append(str(error))
    return _Answer(tuple(subscriptions), tuple(problems))


def _read_all(sock: socket.socket) -> bytes:
    chunks = []
    while chunk := sock.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)
