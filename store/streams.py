"""Streams as such, as operations without I/O: what is known about them, lists of them, and their deletion.

`append.py`, `links.py` and `read.py` ask here when the database did nothing, to say precisely why; `event_store.py`
drives the rest on a connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import get_args

from .errors import (
    CannotDeleteAllStream,
    ConfigurationError,
    Conflict,
    HardDeleteNotEnabled,
    StreamNotFound,
)
from .expected_version import mismatch, to_bind
from .operation import Operation, Query
from .rows import decode_stream
from .sql import Statements
from .types import (
    ALL_STREAM,
    DeleteType,
    Expected,
    ExpectedVersion,
    Page,
    SortBy,
    SortDirection,
    StreamInfo,
)

_BIGGEST = 2**63 - 1


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


def raise_mismatches(statements: Statements, expectations: Sequence[tuple[str, Expected]]) -> Operation[None]:
    """Raise the error of the first stream that does not meet its expected version; return when all do."""
    for stream_uuid, expected in expectations:
        info = yield from stream_info(statements, stream_uuid)
        error = mismatch(stream_uuid, info, expected)
        if error is not None:
            raise error


def paginate_streams(
    statements: Statements,
    *,
    page_size: int = 50,
    page_number: int = 1,
    search: str | None = None,
    sort_by: SortBy = "stream_id",
    sort_dir: SortDirection = "asc",
) -> Operation[Page]:
    """Return one page of the streams, `$all` and soft-deleted ones included. Mirrors `paginate_streams/1`.

    Args:
        statements: The statements of the schema.
        page_size: The most streams on a page.
        page_number: The page, from 1.
        search: Text that the stream's name holds, in which `%` stands for any text and `_` for any character (a
            backslash before them takes that away); None or "" for all streams.
        sort_by: The field to sort by: "stream_id" (order of creation), "stream_uuid" (by code point),
            "stream_version", "created_at" or "deleted_at" (streams that are not deleted come last).
        sort_dir: "asc" or "desc"; equals are sorted by stream_id in the same direction.

    Raises:
        ConfigurationError: An argument is out of range or not known.
    """
    _check_positive("page_size", page_size)
    _check_positive("page_number", page_number)
    _check_known("sort_by", sort_by, get_args(SortBy))
    _check_known("sort_dir", sort_dir, get_args(SortDirection))
    skipped = (page_number - 1) * page_size
    _check_positive("page_number times page_size", skipped + page_size)
    pattern = f"%{search}%" if search else None
    rows = yield Query(statements["paginate_streams"], (pattern, sort_by, sort_dir == "desc", skipped, page_size))
    total = rows[0][0]
    entries = [decode_stream(row[1:]) for row in rows if row[1] is not None]
    return Page(entries, page_number, page_size, total, -(-total // page_size))


def soft_delete_stream(statements: Statements, stream_uuid: str, expected: Expected) -> Operation[None]:
    """Mark a stream as deleted; its events stay in `$all` and where they are linked. Mirrors `delete_stream/4`.

    Raises:
        EventStoreError: As `hard_delete_stream`; `Conflict` when writers kept changing the stream.
    """
    bind = _check_deletion(stream_uuid, expected)
    rows = yield Query(statements["soft_delete_stream"], (stream_uuid, bind))
    if not rows:
        _raise_undeletable(stream_uuid, (yield from stream_info(statements, stream_uuid)), expected)
        raise Conflict(f"other writers changed {stream_uuid!r} at the same time: try the delete again")


def hard_delete_stream(
    statements: Statements, stream_uuid: str, expected: Expected, *, enabled: bool
) -> Operation[None]:
    """Remove a stream and its events, from `$all` and from every stream they are linked into, for good.

    The driver must run this in a transaction or savepoint. Events of other streams that are linked into this one stay;
    commanded/eventstore removes them too. Mirrors `delete_stream/4` with `:hard`.

    Args:
        statements: The statements of the schema.
        stream_uuid: The stream.
        expected: The expected version; "no_stream" is refused.
        enabled: Whether the store was opened with `enable_hard_deletes`.

    Raises:
        HardDeleteNotEnabled: It was not.
        StreamNotFound, StreamDeleted, WrongExpectedVersion: The stream is not as expected.
        CannotDeleteAllStream: It is `$all`.
        ConfigurationError: The expected version is of no use.
        Conflict: A link to one of the events came in between; the rolled back call can be repeated.
    """
    _check_deletion(stream_uuid, expected)
    if not enabled:
        raise HardDeleteNotEnabled(stream_uuid)
    rows = yield Query(statements["lock_stream"], (stream_uuid,))
    info = decode_stream(rows[0]) if rows else None
    stream_id = _raise_undeletable(stream_uuid, info, expected).stream_id
    yield Query(statements["allow_hard_deletes"], ("on",))
    yield Query(statements["hard_delete_stream"], (stream_id,))
    # The caller's transaction goes on, and shall be as protected as before.
    yield Query(statements["allow_hard_deletes"], ("off",))


def check_delete_type(delete_type: str) -> None:
    """Raise `ConfigurationError` unless a stream can be deleted in this way."""
    _check_known("type", delete_type, get_args(DeleteType))


def _check_deletion(stream_uuid: str, expected: Expected) -> int:
    bind = to_bind(expected)
    if stream_uuid == ALL_STREAM:
        raise CannotDeleteAllStream
    if expected == ExpectedVersion.NO_STREAM:
        raise ConfigurationError(
            "expected version 'no_stream' is of no use for a delete: give 'any_version', 'stream_exists' or the version"
        )
    return bind


def _raise_undeletable(stream_uuid: str, info: StreamInfo | None, expected: Expected) -> StreamInfo:
    if info is None:
        raise StreamNotFound(stream_uuid)
    error = mismatch(stream_uuid, info, expected)
    if error is not None:
        raise error
    return info


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _BIGGEST:
        raise ConfigurationError(f"{name} {value!r} is out of range: give a number of at least 1")


def _check_known(name: str, value: object, known: Sequence[str]) -> None:
    if value in known:
        return
    near = get_close_matches(str(value), known, 1, 0.5)
    remedy = f"did you mean {near[0]!r}?" if near else "give one of " + ", ".join(map(repr, known))
    raise ConfigurationError(f"{name} {value!r} is not known: {remedy}")
