"""What watches over a call of the handler: the page that outlives the process, the time limit, the slow ones.

Every call is framed by `begin` and `end`. The cost is below a microsecond, plus one for the two system calls of a
time limit where there is one.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import time
from typing import Final

import structlog.typing

from .at_hand import AtHand

SLOW_EVERY: Final = 30.0
"""Seconds in which at most one slow call is logged."""


class SlowLog:
    """Logs slow calls, at most one in `SLOW_EVERY` seconds, with how many it left out.

    Args:
        log: Where to.
    """

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        self._log = log
        self._not_before = float("-inf")
        self._left_out = 0

    def note(self, number: int, seconds: float, now: float) -> None:
        """A call took so long.

        Args:
            number: The event, or the first one of a batch.
            seconds: How long the handler took.
            now: Seconds on the monotonic clock.
        """
        if now < self._not_before:
            self._left_out += 1
            return
        left_out = {"more_since_last": self._left_out} if self._left_out else {}
        self._log.warning("handler_slow", event_number=number, seconds=round(seconds, 3), **left_out)
        self._not_before = now + SLOW_EVERY
        self._left_out = 0


class Watch:
    """Frames the calls of one worker's handler.

    Args:
        page: Where others see what is at hand.
        timeout: Seconds after which a call ends this process by SIGALRM, with the traceback of every thread on
            standard error; None for no limit. Must be made in the main thread where there is one.
        slow_after: Seconds after which a call counts as slow.
        log: Where slow calls are logged.
    """

    def __init__(
        self, page: AtHand, timeout: float | None, slow_after: float, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        self._page = page
        self._timeout = timeout
        self._slow_after = slow_after
        self._slow_log = SlowLog(log)
        self._first = 0
        self._begun = 0.0
        self.ended = 0.0
        """When the last call ended, in seconds on the monotonic clock."""
        if timeout is not None:
            _end_by_alarm()

    def begin(self, first: int, last: int) -> None:
        """The handler is about to be called with these events; also what decodes and prepares them counts."""
        self._first = first
        self._begun = now = time.monotonic()
        self._page.begin(first, last, now)
        if self._timeout is not None:
            signal.setitimer(signal.ITIMER_REAL, self._timeout)

    def end(self) -> None:
        """The handler has returned or raised."""
        if self._timeout is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._page.end()
        self.ended = now = time.monotonic()
        if now - self._begun > self._slow_after:
            self._slow_log.note(self._first, now - self._begun, now)


def end_process_after(seconds: float) -> None:
    """Gives this process so many seconds to end by itself; then SIGALRM ends it, and it says where it was."""
    _end_by_alarm()
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _end_by_alarm() -> None:
    """Lets SIGALRM write where every thread is, and end the process; works inside C code too."""
    # Both may be inherited, and either would keep the process alive.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    faulthandler.register(signal.SIGALRM, file=sys.stderr, all_threads=True, chain=True)
