"""Group commit for threads: appends that are called at the same time share one statement, and so one commit.

Every commit to a store waits for the one before, because of `$all`; what shares one does not. One thread leads at a
time. Whoever finds no leader leads at once with its own append alone; the others wait, and when the leader is done, the
first of them leads all that go together. Nobody waits for company. `event_store.py` uses it, `combined_append.py`
decides who goes together, and `async_coalescing.py` is the twin for asyncio.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from .append import EncodedAppend, append_encoded
from .combined_append import append_combined, interrupted, is_combinable, next_group
from .connection import run
from .errors import EventStoreError, StoreUnavailable, copied
from .pool import StorePool
from .types import AppendResult


class _Member:
    """A thread's append, and what becomes of it; with neither result nor error it goes on alone."""

    def __init__(self, append: EncodedAppend) -> None:
        self.append = append
        self.result: AppendResult | None = None
        self.error: EventStoreError | None = None
        # Those it leads, itself first; empty while it leads nobody.
        self.group: list[_Member] = []
        # A bare lock, taken from the start: waking by it costs a fraction of what an Event costs.
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wait(self) -> None:
        self._asleep.acquire()

    def wake(self) -> None:
        # Where it is awake already, there is nothing to release.
        with suppress(RuntimeError):
            self._asleep.release()


class Coalescer:
    """The appends of one store.

    A signal's handler may raise anywhere in the main thread, and what it interrupts must not keep the others waiting.
    So each step leaves a state that `_leave` can clear up.

    Args:
        pool: Where the connections are from; a group takes one.
    """

    def __init__(self, pool: StorePool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._leader: _Member | None = None
        self._queue: list[_Member] = []

    def append(self, append: EncodedAppend) -> AppendResult:
        """Append, alone or together with others; returns and raises what `append_encoded` does for this append alone.

        Raises:
            StoreUnavailable: Also when the thread that wrote for this one was interrupted.
        """
        # Before anything of this object is touched: it says so in a forked child, where no leader will ever come.
        self._pool.statements()
        if not is_combinable(append):
            return self._append_alone(append)
        member = _Member(append)
        try:
            self._take_turn(member)
        except BaseException:
            self._leave(member)
            raise
        if member.error is not None:
            raise member.error
        return self._append_alone(append) if member.result is None else member.result

    def _take_turn(self, member: _Member) -> None:
        """Lead, or wait until somebody has written for this one."""
        with self._lock:
            self._queue.append(member)
            if self._leader is None:
                self._leader = member
        if self._leader is not member:
            member.wait()
        if self._leader is member:
            self._lead(member)

    def _lead(self, member: _Member) -> None:
        with self._lock:
            # In this order: in between, they are in both.
            member.group, left = next_group(self._queue)
            self._queue[:] = left
        if len(member.group) == 1:
            member.result = self._append_alone(member.append)
        else:
            self._append_together(member.group)
        self._hand_over(member)

    def _append_together(self, group: list[_Member]) -> None:
        """Gives everybody a result; or an error, where trying again alone could append twice; or neither."""
        for member in group:
            member.error = interrupted()
        try:
            with self._pool.connection() as conn:
                operation = append_combined(self._pool.statements(conn), [member.append for member in group])
                results = run(conn, operation)
        except StoreUnavailable as error:
            for member in group:
                member.error = copied(error)
        except EventStoreError:
            # One of them is to blame, and nothing was written: each finds out by itself.
            for member in group:
                member.error = None
        else:
            for member, result in zip(group, results, strict=True):
                member.error, member.result = None, result

    def _hand_over(self, member: _Member) -> None:
        """Let the first in the queue lead, and wake whoever waits for a result."""
        with self._lock:
            if self._leader is member:
                self._leader = self._queue[0] if self._queue else None
            leader = self._leader
        if leader is not None:
            leader.wake()
        for follower in member.group[1:]:
            follower.wake()

    def _leave(self, member: _Member) -> None:
        """As if it had never come, at whatever step it failed; those it was to write for go on alone, or got an error.

        What another thread is writing for it stays written.
        """
        with self._lock:
            gone = [member, *member.group]
            self._queue[:] = [one for one in self._queue if one not in gone]
        self._hand_over(member)

    def _append_alone(self, append: EncodedAppend) -> AppendResult:
        with self._pool.connection() as conn:
            return run(conn, append_encoded(self._pool.statements(conn), append))
