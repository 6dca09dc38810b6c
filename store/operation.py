"""The shape of every operation: a generator that yields queries and receives rows, and so does no I/O itself.

`append.py`, `read.py`, `streams.py`, `subscriptions.py` and `schema.py` are written in it; `connection.run` drives one
on a psycopg connection. An asynchronous driver can run the very same operations.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

from .rows import Row

Result = TypeVar("Result")


class Query(NamedTuple):
    """One statement to run.

    Attributes:
        sql: Its text, with `$1` binds.
        params: The binds.
        is_script: Whether the text may hold several statements, of which none has binds or is of interest for its rows.
    """

    sql: str
    params: tuple[Any, ...] = ()
    is_script: bool = False


#: Yields queries, is sent their rows (or has a translated error thrown in), and returns its result.
Operation = Generator[Query, list[Row], Result]
