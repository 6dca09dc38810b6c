"""Whether and when a child starts again. Pure: time and random numbers are arguments.

The stop-backoff design of the monitored server: a child whose connection breaks stops; its supervisor
waits and starts a fresh one. Mirrors `EventStore.MonitoredServer`.
"""

from __future__ import annotations

from collections import deque
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


_ENDLESS = 1_000
"""So many failures in a row that the back-off is at its longest."""


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
        max_restarts: Restarts within `max_seconds` up to which a child counts as stable (default 10); beyond, it
            waits the longest back-off each time. It is never given up: an outage of the database looks the same.
        max_seconds: See there (default 60).
    """

    backoff: Backoff = Backoff()
    reset_after: float = 60.0
    max_restarts: int = 10
    max_seconds: float = 60.0


class ChildHistory:
    """What a supervisor remembers of one child over all its incarnations.

    Attributes:
        failures: Ends in a row without a healthy life between them.
        restarts: Restarts since the node started.
        last_exit: How the last incarnation ended, in words.
        worked: True once an incarnation has worked. What worked as configured may do so again, so that from then on
            no exit is final: a password that is being changed, or a database that fails over, comes right again.
    """

    __slots__ = ("_recent", "failures", "last_exit", "restarts", "worked")

    def __init__(self) -> None:
        self.failures = 0
        self.restarts = 0
        self.last_exit = ""
        self.worked = False
        self._recent: deque[float] = deque()

    def on_exit(
        self, policy: RestartPolicy, exit_code: int, *, lifetime: float, now: float, random: float
    ) -> Restart | GiveUp:
        """Decides what follows from an exit.

        Args:
            policy: The policy of this kind of child.
            exit_code: As `Process.exitcode` gives it: negative for a signal.
            lifetime: Seconds since the child was started.
            now: Seconds on the monotonic clock.
            random: A random number in [0, 1).
        """
        self.last_exit = describe_exit(exit_code)
        if exit_code == ExitCode.BOOT_FAILED and not self.worked:
            return GiveUp()
        if exit_code == ExitCode.RETIRED:
            return Restart(0.0)
        self.failures = 1 if lifetime >= policy.reset_after else self.failures + 1
        self.restarts += 1
        self._recent.append(now)
        failures = _ENDLESS if self.unstable(policy, now) else self.failures
        return Restart(policy.backoff.delay(failures, random))

    def recent_restarts(self, policy: RestartPolicy, now: float) -> int:
        """Restarts within the policy's `max_seconds` up to now."""
        while self._recent and now - self._recent[0] > policy.max_seconds:
            self._recent.popleft()
        return len(self._recent)

    def unstable(self, policy: RestartPolicy, now: float) -> bool:
        """True after more restarts within `max_seconds` than `max_restarts`."""
        return self.recent_restarts(policy, now) > policy.max_restarts


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
