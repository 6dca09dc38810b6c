"""What errors say, fit for messages between processes, for the database and for the status. Pure.

A handler may raise anything: with texts that are no UTF-8, that the database refuses, that are longer than any page, or
that cannot even be had. None of that may harm whoever passes them on.
"""

from __future__ import annotations

_MOST = 2_000
"""Characters of a reason that are kept; the log has the first failure of an event in full."""


def told(error: BaseException) -> str:
    """An error in words: its type, and what it says where it can say something."""
    try:
        text = str(error)
    except Exception as broken:
        text = f"its text cannot be had ({type(broken).__name__})"
    return f"{type(error).__name__}: {text}"


def storable(text: str) -> str:
    """A text without what a message or the database refuses, and no longer than a reader may want; may be as it was."""
    if len(text) > _MOST:
        text = f"{text[:_MOST]} … ({len(text) - _MOST} characters more)"
    # A message is UTF-8, and PostgreSQL takes no NUL; texts of the operating system, or from JSON, may hold both.
    return text.replace("\0", "\\0").encode(errors="backslashreplace").decode()
