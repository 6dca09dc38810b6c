"""What a handler may answer. Pure data: the runtime decides what follows from it.

A handler that returns None has finished the event, as with `Ack()`. Any outcome may be returned or raised.
"""

from __future__ import annotations

from math import inf


class Outcome(Exception):  # noqa: N818 - an answer of the handler, not an error
    """Base of all outcomes; an exception so that it can be raised from deep inside a handler."""


class Ack(Outcome):
    """The event is finished. The same as returning None; mirrors `EventStore.ack/2`."""


class Retry(Outcome):
    """Call the handler with this event again later; only its own partition waits meanwhile.

    A retry that the handler asked for is never exhausted; `max_attempts` counts exceptions only.

    Args:
        after: Seconds to wait, 0 or more; None (default) takes the subscription's back-off.
        reason: One sentence for the log.
    """

    def __init__(self, after: float | None = None, reason: str = "the handler asked for a retry") -> None:
        super().__init__(after, reason)
        if after is not None and not 0 <= after < inf:
            raise ValueError(f"Retry(after={after}): the wait must be 0 seconds or more, and finite")
        self.after = None if after is None else float(after)
        self.reason = str(reason)


class Skip(Outcome):
    """Leave this event out for good; it is logged and counted.

    Args:
        reason: One sentence for the log.
    """

    def __init__(self, reason: str = "the handler skipped it") -> None:
        super().__init__(reason)
        self.reason = str(reason)


class Park(Outcome):
    """Set this event aside and go on.

    Later events of its partition wait behind it where the subscription has `on_exhausted = "park_partition"`.

    `eventstore-runtime parked` lists, shows, retries and discards parked events.

    Args:
        reason: One sentence for the log and the list of parked events.
    """

    def __init__(self, reason: str = "the handler parked it") -> None:
        super().__init__(reason)
        self.reason = str(reason)


class Stop(Outcome):
    """Halt the subscription at this event; other subscriptions run on. A restart of the runtime tries it again.

    Args:
        reason: One sentence for the log and the status.
    """

    def __init__(self, reason: str = "the handler asked to stop") -> None:
        super().__init__(reason)
        self.reason = str(reason)


class DoneUpTo(Outcome):
    """Of a batch, the first events are finished and the next one is not; all behind it come again.

    Only a handler with `batch_size` may answer this.

    Args:
        count: Events finished, from the first of the list that the handler was given; 0 for none, its length for all.
        then: What becomes of the event after them: `Retry`, `Skip`, `Park`, `Stop`, or an exception, which counts as a
            failed attempt. None (default): a failed attempt.
    """

    def __init__(self, count: int, then: Exception | None = None) -> None:
        super().__init__(count, then)
        given: object = count
        if isinstance(given, bool) or not isinstance(given, int) or given < 0:
            raise ValueError(f"DoneUpTo({count!r}): the count must be a whole number, 0 or more")
        follows: object = then
        if not isinstance(follows, Exception | None) or isinstance(follows, Ack | DoneUpTo):
            raise ValueError(f"DoneUpTo(then={then!r}): it must be Retry, Skip, Park, Stop, an exception or None")
        self.count = count
        self.then = then
