"""What is known about streams, as operations without I/O.

`append.py` and `read.py` ask here when the database did nothing, to say precisely why.
"""

from __future__ import annotations

from collections.abc import Iterable

from .operation import Operation, Query
from .rows import decode_stream
from .sql import Statements
from .types import StreamInfo


def stream_info(statements: Statements, stream_uuid: str) -> Operation[StreamInfo | None]:
    """Return what is known about a stream, also a soft-deleted one; None when it does not exist."""
    rows = yield Query(statements["stream_info"], (stream_uuid,))
    return decode_stream(rows[0]) if rows else None


def stream_heads(statements: Statements, names: Iterable[str]) -> Operation[dict[str, int]]:
    """Return the versions of those of the given streams that exist; `$all` gives the newest position."""
    wanted = list(names)
    if not wanted:
        return {}
    rows = yield Query(statements["stream_heads"], (wanted,))
    return dict(rows)
