"""How long a child waits for its next start. Pure: the random number is an argument."""

from __future__ import annotations

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential back-off with jitter.

    Attributes:
        minimum: Seconds before the first restart (default 0.1); doubles for each further one.
        maximum: Longest wait in seconds (default 20).
        jitter: Share of the wait, 0 to 1, that a random number may take away (default 0.2).
    """

    minimum: float = 0.1
    maximum: float = 20.0
    jitter: float = 0.2

    def delay(self, failures: int, random: float) -> float:
        """Seconds to wait after `failures` failures in a row (1 or more); `random` is in [0, 1)."""
        doubled: float = self.minimum * 2.0 ** min(failures - 1, 40)
        return min(doubled, self.maximum) * (1.0 - self.jitter * random)
