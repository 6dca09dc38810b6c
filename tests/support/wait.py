"""Waiting for facts instead of for time: the one polling helper of the tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

# Far beyond what any fact needs, so that a slow machine fails no test.
LIMIT = 60.0


def wait_until(
    fact: Callable[[], Found], what: str, explain: Callable[[], str] = str, *, within: float = LIMIT
) -> Found:
    """Return the first truthy value of `fact`, asked again and again.

    Args:
        fact: Looks at the world and returns something truthy once the fact holds.
        what: The fact in words, for the failure.
        explain: What is the case instead, for the failure.
        within: When to give up, in seconds.
    """
    deadline = time.monotonic() + within
    while True:
        found = fact()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {within:g} s still not: {what}; last seen: {found!r}\n{explain()}")
        time.sleep(0.02)
