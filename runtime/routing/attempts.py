"""How often each unfinished event was tried, and what follows from a failure: the retry policy. Pure.

Owned by the machine. Attempts are stored before an event is delivered again, so that an event which kills its
process, or the whole node, is counted all the same; `saved` confirms that. The random number is an argument.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from ...store.delivery_types import Attempt, Tried
from .inputs import Verdict
from .retry import retry_delay
from .state import RoutingOptions


class Again(msgspec.Struct, frozen=True):
    """Try the event again after so many seconds."""

    delay: float


class GiveUp(msgspec.Struct, frozen=True):
    """Try it no more: the policy `on_exhausted` applies."""

    reason: str


class Attempts:
    """The attempts of one ownership's unfinished events.

    Args:
        options: The retry policy.
        tried: What earlier owners remembered, by event number.
    """

    def __init__(self, options: RoutingOptions, tried: Mapping[int, Tried] | None = None) -> None:
        self._options = options
        tried = tried or {}
        self._next = {number: t.attempts for number, t in tried.items() if not t.skip}
        self._crashes = {number: t.crashes for number, t in tried.items() if t.crashes}
        self._reasons = {number: t.reason for number, t in tried.items()}
        self._skipped = {number for number, t in tried.items() if t.skip}
        self._doomed = {n for n, crashes in self._crashes.items() if crashes >= options.max_crashes}
        self._unsaved: set[int] = set()
        self._due: set[int] = set()

    @property
    def retrying(self) -> dict[int, int]:
        """The attempt that comes next, of the events that failed and are not finished."""
        return {number: attempt for number, attempt in self._next.items() if attempt > 1}

    @property
    def doomed(self) -> Collection[int]:
        """Events that killed too many processes to be delivered again."""
        return self._doomed

    @property
    def unsaved(self) -> bool:
        """True while something is not stored yet."""
        return bool(self._unsaved)

    def alone(self, numbers: Iterable[int]) -> dict[int, int]:
        """Those of the given events that a subscriber must call alone, with the attempt this is."""
        known = self._next
        return {number: known[number] for number in numbers if number in known} if known else {}

    @property
    def skips(self) -> bool:
        """True where some event is to be left out."""
        return bool(self._skipped)

    def is_skipped(self, number: int) -> bool:
        """True for an event that an operator wants to be left out."""
        return number in self._skipped

    def count(self, number: int) -> tuple[int, int]:
        """The attempt of an event that comes next, and the processes that died of it."""
        return self._next.get(number, 1), self._crashes.get(number, 0)

    def reason(self, number: int) -> str:
        """Why its last attempt failed."""
        return self._reasons.get(number, "")

    def called(self, number: int) -> int:
        """The handler was called with an event and did not finish it; returns which attempt that was."""
        attempt = self._next.get(number, 1)
        self._next[number] = attempt + 1
        return attempt

    def failed(self, number: int, verdict: Verdict, reason: str, after: float | None, jitter: float) -> Again | GiveUp:
        """A handler did not finish an event: by an exception, or by asking for a retry, which never runs out."""
        attempt = self.called(number)
        if verdict == "error":
            self._reasons[number] = reason
            if attempt >= self._options.max_attempts:
                return GiveUp(f"{reason} (attempt {attempt}, the last one)")
            self._unsaved.add(number)
        return Again(retry_delay(attempt, self._options, jitter) if after is None else after)

    def died(self, number: int, reason: str, jitter: float) -> Again | GiveUp:
        """A process died of an event."""
        crashes = self._crashes.get(number, 0)
        self.called(number)
        self._crashes[number] = crashes + 1
        self._reasons[number] = reason
        self._unsaved.add(number)
        if crashes + 1 >= self._options.max_crashes:
            return GiveUp(f"{reason} ({crashes + 1} processes died of it)")
        return Again(retry_delay(crashes + 1, self._options, jitter))

    def suspect(self, numbers: Iterable[int]) -> None:
        """A process died of one of these: from now on each is called alone, so that the guilty one shows itself."""
        for number in numbers:
            self._next.setdefault(number, 1)

    def begin_carefully(self, number: int) -> None:
        """Counts a delivery as a crash until it is finished, for events that may kill the whole node."""
        attempt, crashes = self.count(number)
        self._next[number] = attempt
        self._crashes[number] = crashes + 1
        self._reasons[number] = "the node ended while it was handled"
        self._unsaved.add(number)

    def survived(self, number: int) -> None:
        """Takes back the crash that `begin_carefully` counted ahead."""
        self._crashes[number] -= 1
        self._unsaved.add(number)

    def unstored(self, number: int, *, begins: bool = False) -> Attempt:
        """What is to be stored of an event.

        Args:
            number: The event.
            begins: It is about to be delivered; should nobody live to say what came of it, that was an attempt.
        """
        attempt, crashes = self.count(number)
        return Attempt(number, attempt + begins, crashes, self._reasons.get(number, ""))

    def saved(self, numbers: Iterable[int]) -> list[int]:
        """Notes what was stored; returns the events whose wait was over before."""
        released = []
        for number in numbers:
            self._unsaved.discard(number)
            if number in self._due:
                self._due.remove(number)
                released.append(number)
        return released

    def due(self, number: int) -> bool:
        """The wait of an event is over; False while its attempt is not stored yet."""
        if number not in self._unsaved:
            return True
        self._due.add(number)
        return False

    def forget(self, numbers: Iterable[int]) -> None:
        """Drops what is known of events that are finished, or begin anew."""
        if not (self._next or self._skipped):
            return
        for number in numbers:
            self._next.pop(number, None)
            self._crashes.pop(number, None)
            self._reasons.pop(number, None)
            self._skipped.discard(number)
            self._doomed.discard(number)
            self._unsaved.discard(number)
            self._due.discard(number)
