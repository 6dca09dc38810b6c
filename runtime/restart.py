"""Whether and when a child starts again. Pure: time and random numbers are arguments.

The stop-backoff design of the monitored server: a child whose connection breaks stops; its supervisor
waits and starts a fresh one. Mirrors `EventStore.MonitoredServer`.
"""

from __future__ import annotations

from enum import IntEnum
from signal import Signals

import msgspec

from .backoff import Backoff


class ExitCode(IntEnum):
    """How a process of this runtime ends; the numbers are part of the interface."""

    OK = 0
    FAILED = 1
    """Something broke; for a child: start it again after the back-off."""
    USAGE = 2
    """Wrong usage or configuration."""
    RETIRED = 75
    """A worker that ended in order to be replaced by a fresh process (sysexits' EX_TEMPFAIL)."""
    BOOT_FAILED = 78
    """It cannot start as configured (sysexits' EX_CONFIG); starting it again would not help."""


class Restart(msgspec.Struct, frozen=True):
    """Start the child again after `delay` seconds."""

    delay: float


class GiveUp(msgspec.Struct, frozen=True):
    """Do not start the child again: it cannot run as configured."""


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a child starts again.

    Attributes:
        backoff: The waits between restarts.
        reset_after: Seconds of healthy life after which the back-off begins anew (default 60).
    """

    backoff: Backoff = Backoff()
    reset_after: float = 60.0


class ChildHistory:
    """What a supervisor remembers of one child over all its incarnations."""

    __slots__ = ("failures", "last_exit", "restarts")

    def __init__(self) -> None:
        self.failures = 0
        self.restarts = 0
        self.last_exit = ""

    def on_exit(self, policy: RestartPolicy, exit_code: int, lifetime: float, random: float) -> Restart | GiveUp:
        """Decides what follows from an exit.

        Args:
            policy: The policy of this kind of child.
            exit_code: As `Process.exitcode` gives it: negative for a signal.
            lifetime: Seconds since the child was started.
            random: A random number in [0, 1).
        """
        self.last_exit = describe_exit(exit_code)
        if exit_code == ExitCode.BOOT_FAILED:
            return GiveUp()
        if exit_code == ExitCode.RETIRED:
            return Restart(0.0)
        self.failures = 1 if lifetime >= policy.reset_after else self.failures + 1
        self.restarts += 1
        return Restart(policy.backoff.delay(self.failures, random))


def describe_exit(exit_code: int) -> str:
    """An exit in words: "exit code 1", "SIGKILL", "retired"."""
    if exit_code == ExitCode.RETIRED:
        return "retired"
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"
