"""The shell of every child process: signals, control channel, heartbeat, and the way it ends.

`child_main` is the only function a child process starts in. It guards against outliving the supervisor,
sets up logging, builds the actor of its role and turns the loop. Actors know messages, never each other.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import signal
import socket
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec
import multiprocess.forkserver
import setproctitle
import structlog

from ..store.errors import ConfigurationError, SchemaMismatch, SchemaMissing, StoreError
from .channel import Channel
from .logs import configure_logging
from .loop import Loop
from .messages import Attach, BootFailed, Broken, Heartbeat, PeerExited, Ready, Stop, ToChild
from .plan import NodePlan
from .restart import ExitCode
from .wording import storable, told

_PR_SET_PDEATHSIG = 1
SHOW_STACKS = signal.SIGUSR1
"""Makes a child write the stacks of its threads to standard error."""
FINAL_ERRORS = (ConfigurationError, SchemaMissing, SchemaMismatch)
"""Errors that a restart would only repeat."""


class Actor(ABC):
    """Base of the children: owns the loop and the control channel to the supervisor.

    Args:
        name: The child's name, "listener", "worker:NAME:SLOT" and so on.
        plan: What the node runs.
        control: The socket to the supervisor.
    """

    def __init__(self, name: str, plan: NodePlan, control: socket.socket) -> None:
        self.name = name
        self.plan = plan
        self.loop = Loop()
        self.log = structlog.get_logger(process=name)
        self.control: Channel[ToChild] = Channel(control, ToChild)
        self.loop.add_channel(self.control, self.read_control)
        self.exit_code = ExitCode.OK
        """How the process ends when the loop has stopped in order."""

    @abstractmethod
    def start(self) -> str:
        """Opens what the actor needs; its answer goes with `Ready`.

        Raises:
            ConfigurationError: It can never work as configured.
            StoreError: It cannot work now; the process stops and comes back after the back-off.
        """

    def on_attach(self, peer: str, channel_socket: socket.socket, busy: bool) -> None:  # noqa: B027
        """A fresh channel to a peer (after_restart)."""

    def on_peer_exited(self, peer: str, died: str) -> None:  # noqa: B027
        """A peer's process is gone (after_exit); `died` says how it died, empty when it ended as it should."""

    def on_message(self, message: ToChild) -> None:  # noqa: B027
        """Any other control message."""

    def on_stop(self) -> None:
        """The supervisor asks for the end; by default at once."""
        self.loop.stop()

    def report(self) -> msgspec.Struct | None:
        """What goes with the heartbeat into the status."""
        return None

    def close(self) -> None:  # noqa: B027
        """Closes what `start` opened; called in every case."""

    def run(self) -> None:
        """Starts, reports ready, and turns until stopped."""
        detail = self.start()
        # What is there now stays for good; the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        self.control.send(Ready(detail))
        self.loop.call_every(self.plan.heartbeat_interval, self.beat)
        self.loop.run()

    def beat(self) -> None:
        """Tells the supervisor that the loop turns."""
        report = self.report()
        self.control.send(Heartbeat(b"" if report is None else msgspec.msgpack.encode(report)))

    def read_control(self) -> None:
        """Reads what the supervisor sent; ends at once when it is gone."""
        for message in self.control.receive():
            match message:
                case Attach(peer=peer, busy=busy):
                    self.on_attach(peer, socket.socket(fileno=self.control.take_descriptor()), busy)
                case PeerExited(peer=peer, died=died):
                    self.on_peer_exited(peer, died)
                case Stop():
                    self.on_stop()
                case _:
                    self.on_message(message)
        if self.control.closed:
            # The supervisor is gone, kill -9 included: whatever this process still does is nobody's.
            os._exit(ExitCode.FAILED)


def child_main(
    build: Callable[[str, NodePlan, socket.socket], Actor], name: str, plan_bytes: bytes, control: socket.socket
) -> None:
    """Runs one child process from its first instruction to its exit code.

    Args:
        build: Makes the actor; a function at module level, imported by name in the child.
        name: The child's name.
        plan_bytes: The encoded `NodePlan`.
        control: This child's end of the control channel.
    """
    ignore_signals()
    die_with_parent(control)
    plan = NodePlan.decode(plan_bytes)
    configure_logging(plan.log)
    faulthandler.enable()
    # Where a process hangs is written before it is killed for it; works inside C code that holds the interpreter too.
    faulthandler.register(SHOW_STACKS, all_threads=True)
    setproctitle.setproctitle(f"eventstore-runtime: {plan.node} {name}")
    end_process(_run(build, name, plan, control))


def end_process(code: ExitCode) -> NoReturn:
    """Ends this process past atexit hooks and non-daemon threads of user code, which could hang."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(build: Callable[[str, NodePlan, socket.socket], Actor], name: str, plan: NodePlan, control: Any) -> ExitCode:
    actor: Actor | None = None
    try:
        actor = build(name, plan, control)
        actor.run()
        return actor.exit_code
    except FINAL_ERRORS as error:
        if actor is not None:
            actor.control.send(BootFailed(storable(str(error))))
        return ExitCode.BOOT_FAILED
    except StoreError as error:
        # Said by the supervisor, which knows how often it has said so already.
        _tell_why(actor, str(error))
        return ExitCode.FAILED
    except BaseException as error:
        # Also what user code calls `sys.exit` with: the exit codes have meanings of their own here.
        structlog.get_logger(process=name).exception("process_crashed")
        _tell_why(actor, told(error))
        return ExitCode.FAILED
    finally:
        if actor is not None:
            actor.close()


def _tell_why(actor: Actor | None, reason: str) -> None:
    if actor is not None:
        actor.control.send(Broken(storable(reason)))


def ignore_signals() -> None:
    """Leaves Ctrl-C and SIGTERM to the supervisor, whose message alone stops a child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def die_with_parent(control: socket.socket) -> None:
    """Sees to it that this process ends when its parent does, also in the middle of a handler.

    On Linux the kernel kills it. Elsewhere a thread waits for the end of the control channel, which the
    supervisor alone holds open.
    """
    _let_fork_server_end()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_exit_at_end_of, args=(control,), daemon=True, name="parent-guard").start()
    if _ended(control):
        # The supervisor died before the guard stood.
        os._exit(ExitCode.FAILED)


def _let_fork_server_end() -> None:
    """Closes the descriptor with which multiprocess keeps the fork server alive while any child of it lives.

    The fork server must end with the supervisor: its end is what makes the kernel kill a child that is busy.
    """
    server = multiprocess.forkserver._forkserver  # noqa: SLF001 - there is no other way to it
    descriptor = getattr(server, "_forkserver_alive_fd", None)
    if descriptor is not None:
        os.close(descriptor)
        server._forkserver_alive_fd = None  # noqa: SLF001


def _ended(control: socket.socket) -> bool:
    try:
        return control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def _exit_at_end_of(control: socket.socket) -> None:
    while not _ended(control):
        threading.Event().wait(0.5)
    os._exit(ExitCode.FAILED)
