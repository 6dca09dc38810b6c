"""How far a persistent subscription is, told by its driver's thread and waited for by the user's threads."""

from __future__ import annotations

import threading

from ...store.errors import EventStoreError


class Progress:
    """Whether a subscription is owned, its checkpoint, and its end.

    Args:
        checkpoint: The checkpoint it begins with.
    """

    def __init__(self, checkpoint: int) -> None:
        self._changed = threading.Condition()
        self.checkpoint = checkpoint
        self.subscribed = False
        self.ended = False
        self.error: EventStoreError | None = None

    def own(self) -> None:
        """The lock is held, events are on their way."""
        with self._changed:
            self.subscribed = True
            self._changed.notify_all()

    def lose(self) -> None:
        """The lock is lost."""
        with self._changed:
            self.subscribed = False

    def save(self, position: int) -> None:
        """The database has the checkpoint."""
        with self._changed:
            self.checkpoint = position

    def end(self, error: EventStoreError | None) -> None:
        """Nothing more will happen."""
        with self._changed:
            self.subscribed, self.ended, self.error = False, True, error
            self._changed.notify_all()

    def wait_subscribed(self, timeout: float | None) -> bool:
        """Wait until the lock is held; False after the time-out, or when it ended in order.

        Raises:
            EventStoreError: It ended by this error.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.subscribed or self.ended, timeout)
            if self.error is not None:
                raise self.error
            return self.subscribed
