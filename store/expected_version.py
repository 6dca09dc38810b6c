"""The expected version of an append: checked, turned into a bind, and compared when the database said no. Pure.

`append.py` calls it before the statement (which bind) and after a statement without effect (which error).
"""

from __future__ import annotations

from .errors import (
    ConfigurationError,
    ExpectedStreamMissing,
    StoreError,
    StreamDeleted,
    StreamExists,
    WrongExpectedVersion,
)
from .types import Expected, ExpectedVersion, StreamInfo

#: The bind for any_version.
ANY = -1
#: The bind for stream_exists.
EXISTS = -2

_BINDS = {ExpectedVersion.ANY_VERSION: ANY, ExpectedVersion.NO_STREAM: 0, ExpectedVersion.STREAM_EXISTS: EXISTS}


def to_bind(expected: Expected) -> int:
    """Return the number that stands for `expected` in the append statement.

    Raises:
        ConfigurationError: It is neither one of the three kinds nor an integer from 0 to 2⁶³ - 1.
    """
    if isinstance(expected, int) and not isinstance(expected, bool) and 0 <= expected < 2**63:
        return expected
    if isinstance(expected, str) and expected in _BINDS:
        return _BINDS[ExpectedVersion(expected)]
    raise ConfigurationError(
        f"expected version {expected!r} is not known: "
        "give 'any_version', 'no_stream', 'stream_exists' or a version of 0 or more"
    )


def mismatch(stream_uuid: str, info: StreamInfo | None, expected: Expected) -> StoreError | None:
    """Return why a stream in this state does not meet the expectation, None when it does.

    Args:
        stream_uuid: The stream's name.
        info: Its state, None when it does not exist.
        expected: The expected version, valid for `to_bind`.
    """
    bind = to_bind(expected)
    if info is None:
        return _mismatch_without_stream(stream_uuid, expected, bind)
    if info.deleted_at is not None:
        return StreamDeleted(stream_uuid)
    if bind < 0 or info.stream_version == bind:
        return None
    if expected == ExpectedVersion.NO_STREAM:
        return StreamExists(stream_uuid, str(expected), info.stream_version)
    return WrongExpectedVersion(stream_uuid, expected, info.stream_version)


def _mismatch_without_stream(stream_uuid: str, expected: Expected, bind: int) -> StoreError | None:
    if bind in (ANY, 0):
        return None
    if bind == EXISTS:
        return ExpectedStreamMissing(stream_uuid, str(expected), 0)
    return WrongExpectedVersion(stream_uuid, expected, 0)
