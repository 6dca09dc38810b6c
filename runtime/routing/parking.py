"""Parked events of one subscription: what is set aside, which partitions wait behind it, what is handled again. Pure.

Owned by the machine. A parked event counts as finished once its row is stored. Where it was parked to hold its
partition, this is blocked while rows of it are left: each later event is stored behind it, and follows by itself, in
order, when an operator has the first one retried or discarded.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Literal

import msgspec

from ...store.delivery_types import ParkedRows
from .state import Entry, RoutingOptions


class Parking(msgspec.Struct, frozen=True):
    """One event to be stored as parked, or as held behind a parked one.

    Attributes:
        partition: The partition key as text, None without one.
        holds: Later events of its partition are to be held behind it.
    """

    entry: Entry
    partition: str | None
    state: Literal["parked", "held"]
    holds: bool
    attempts: int
    crashes: int
    reason: str


class ParkedEvents:
    """The parked events of one ownership.

    Args:
        options: The limits.
        count: Rows that are parked, held ones included.
        partitions: The partitions that have rows.
        known: Parked events that may be read again because the checkpoint has not passed them.
    """

    def __init__(
        self,
        options: RoutingOptions,
        count: int = 0,
        partitions: Mapping[str, ParkedRows] | None = None,
        known: Iterable[int] = (),
    ) -> None:
        self._options = options
        self._rows = {text: rows.count for text, rows in (partitions or {}).items()}
        self._blocked = {text for text, rows in (partitions or {}).items() if rows.blocks}
        self._known = set(known)
        self._saving: dict[int, Entry] = {}
        self._saving_again: set[int] = set()
        self._replaying: dict[int, str | None] = {}
        self._sent: set[int] = set()
        self._replayed = False
        self.count = count

    @property
    def saving(self) -> int:
        """Events that are finished once their row is confirmed."""
        return len(self._saving)

    @property
    def storing(self) -> bool:
        """True while rows are not confirmed, also of events that are parked again."""
        return bool(self._saving or self._saving_again)

    @property
    def replaying(self) -> Collection[int]:
        """Parked events that are being handled again, or removed."""
        return self._replaying

    @property
    def watchful(self) -> bool:
        """True where an event that is read may concern a parked one."""
        return bool(self._blocked or self._known)

    def is_known(self, number: int) -> bool:
        """True for an event that is parked already."""
        return number in self._known

    def is_blocked(self, key: Hashable) -> bool:
        """True where events of the key are held."""
        return key is not None and key_text(key) in self._blocked

    def is_replay(self, number: int) -> bool:
        """True for a parked event that is being handled again."""
        return number in self._replaying

    def limit(self, key: Hashable) -> str:
        """Why no further event of the key can be parked, in words; empty where one can.

        What operators have retried or discarded is on its way out, and does not count.
        """
        options, text = self._options, key_text(key)
        count = self.count - len(self._replaying)
        if count >= options.max_parked:
            return f"{count} events are parked, and max_parked = {options.max_parked}"
        held = self._rows.get(text, 0) if key is not None else 0
        if held >= (most := options.max_parked_per_partition):
            held -= sum(1 for leaving in self._replaying.values() if leaving == text)
            if held >= most:
                return f"{held} events of partition {text!r} are parked, and max_parked_per_partition = {most}"
        return ""

    def park(self, entry: Entry, *, holds: bool, attempts: int, crashes: int, reason: str) -> Parking:
        """Sets an event aside, anew or again after it was handled again in vain."""
        text = None if entry.key is None else key_text(entry.key)
        again = self._replaying.pop(entry.number, _NEVER) is not _NEVER
        holds = holds and text is not None
        if not again:
            self._add(text)
        if holds and text is not None:
            self._blocked.add(text)
        if again:
            self._saving_again.add(entry.number)
        else:
            self._saving[entry.number] = entry
        return Parking(entry, text, "parked", holds, attempts, crashes, reason)

    def hold(self, entry: Entry) -> Parking:
        """Sets an event aside behind a parked one of its partition."""
        text = key_text(entry.key)
        self._add(text)
        self._saving[entry.number] = entry
        return Parking(entry, text, "held", True, 0, 0, "held behind an earlier event of its partition")

    def _add(self, text: str | None) -> None:
        self.count += 1
        if text is not None:
            self._rows[text] = self._rows.get(text, 0) + 1

    def saved(self, numbers: Iterable[int]) -> list[Entry]:
        """Notes rows that were stored.

        Returns:
            Those that are finished by it as far as the checkpoint goes; one that was parked again is so already.
        """
        numbers = list(numbers)
        self._saving_again.difference_update(numbers)
        return [self._saving.pop(number) for number in numbers if number in self._saving]

    @property
    def looks_again(self) -> bool:
        """True where a row stored just now may be due at once, because what it was held behind is gone meanwhile."""
        return self._replayed and bool(self._blocked)

    def take(self, entries: Iterable[Entry]) -> list[Entry]:
        """Begins to handle parked events again; returns those that are not on their way already."""
        self._replayed = True
        busy = self._replaying.keys() | self._saving.keys() | self._saving_again
        fresh = [entry for entry in entries if entry.number not in busy]
        for entry in fresh:
            self._replaying[entry.number] = None if entry.key is None else key_text(entry.key)
        return fresh

    def drop(self, number: int) -> None:
        """Handles an event no more for now; its row is still there."""
        self._replaying.pop(number, None)

    def finish(self, numbers: Iterable[int]) -> list[int]:
        """Returns those whose rows are to be removed, because they are handled, or discarded."""
        leaving = [n for n in numbers if n in self._replaying and n not in self._sent]
        self._sent.update(leaving)
        return leaving

    def removed(self, numbers: Iterable[int]) -> bool:
        """Notes rows that were removed; True where others of their partitions are left."""
        left = False
        for number in numbers:
            self._sent.discard(number)
            text = self._replaying.pop(number, None)
            self.count = max(0, self.count - 1)
            if text is None or text not in self._rows:
                continue
            self._rows[text] -= 1
            if self._rows[text] > 0:
                left = left or text in self._blocked
            else:
                del self._rows[text]
                self._blocked.discard(text)
        return left


_NEVER = object()


def key_text(key: Hashable) -> str:
    """A partition key as text, fit for the database; keys that read alike are held together."""
    return str(key).replace("\0", "\\0").encode(errors="backslashreplace").decode()
