"""Group commit for threads: appends that are called at the same time share one statement, and so one commit.

Every commit to a store waits for the one before, because of `$all`; what shares one does not. One thread leads at a
time. Whoever finds no leader leads at once with its own append alone; the others wait, and when the leader is done, the
first of them leads all that go together. Nobody waits for company. `event_store.py` uses it, `combined_append.py`
decides who goes together, and `async_coalescing.py` is the twin for asyncio.
"""

from __future__ import annotations

import threading

from .append import EncodedAppend, append_encoded
from .combined_append import append_combined, interrupted, is_combinable, take_group
from .connection import run
from .errors import EventStoreError, StoreUnavailable, copied
from .pool import StorePool
from .types import AppendResult


class _Member:
    """A thread's append, and what becomes of it; with neither result, error nor group it goes on alone."""

    def __init__(self, append: EncodedAppend) -> None:
        self.append = append
        self.result: AppendResult | None = None
        self.error: EventStoreError | None = None
        self.group: list[_Member] = []
        # A bare lock, taken from the start: waking by it costs a fraction of what an Event costs.
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wait(self) -> None:
        self._asleep.acquire()

    def wake(self) -> None:
        self._asleep.release()


class Coalescer:
    """The appends of one store.

    Args:
        pool: Where the connections are from; a group takes one.
    """

    def __init__(self, pool: StorePool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._led = False
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
        with self._lock:
            if self._led:
                self._queue.append(member)
            else:
                self._led = True
                member.group = [member]
        if not member.group:
            self._await_turn(member)
        if member.group:
            self._lead(member.group)
        if member.error is not None:
            raise member.error
        return self._append_alone(append) if member.result is None else member.result

    def _await_turn(self, member: _Member) -> None:
        try:
            member.wait()
        except BaseException:
            # Interrupted: as if it had never come. What another thread is writing for it stays written.
            with self._lock:
                if member in self._queue:
                    self._queue.remove(member)
                self._queue[:0] = member.group[1:]
            if member.group:
                self._hand_over()
            raise

    def _lead(self, group: list[_Member]) -> None:
        try:
            if len(group) == 1:
                group[0].result = self._append_alone(group[0].append)
            else:
                self._append_together(group)
        finally:
            self._hand_over()
            for follower in group[1:]:
                follower.wake()

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

    def _hand_over(self) -> None:
        with self._lock:
            group = take_group(self._queue)
            self._led = bool(group)
            if group:
                group[0].group = group
        if group:
            group[0].wake()

    def _append_alone(self, append: EncodedAppend) -> AppendResult:
        with self._pool.connection() as conn:
            return run(conn, append_encoded(self._pool.statements(conn), append))
