"""Whether notifications come through: the listener sends some to itself and looks when they come back. Pure.

A LISTEN connection can be up and deaf: a pooler gave it another session, a proxy lost it half-way, somebody said
UNLISTEN. Nothing but a notification that comes back proves the contrary.
"""

from __future__ import annotations


class Canary:
    """The notifications of one listener to itself, one at a time.

    Args:
        sender: What tells this listener's notifications from those of others.
        patience: Seconds without an answer after which the connection counts as silent.
    """

    def __init__(self, sender: str, patience: float) -> None:
        self._sender = sender
        self._patience = patience
        self._number = 0
        self._sent_at: float | None = None
        self.round_trip: float | None = None
        """Seconds that the last one took to come back; None before the first."""
        self.silent = False
        """True from when one did not come back in time until one does."""

    def send(self, now: float) -> str | None:
        """The payload to send now; None while an earlier one is still awaited."""
        if self._sent_at is not None and now - self._sent_at < self._patience:
            return None
        if self._sent_at is not None:
            self.silent = True
        self._number += 1
        self._sent_at = now
        return f"{self._sender} {self._number}"

    def heard(self, payload: str, now: float) -> bool:
        """Takes a notification; True when it is the awaited one."""
        if self._sent_at is None or payload != f"{self._sender} {self._number}":
            return False
        self.round_trip = round(now - self._sent_at, 6)
        self._sent_at = None
        self.silent = False
        return True
