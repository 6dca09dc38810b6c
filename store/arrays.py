"""Lists that go to PostgreSQL as binary arrays, packed here rather than element by element by the driver.

`append.py` and `links.py` put them into their queries, where they are ordinary lists; `connection.fetch` has the driver
call `pack`. For a thousand events that takes a twelfth of the time, and it does not depend on what the owner of a
connection has registered for UUIDs. Pure.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar

_HEADER = struct.Struct(">iiiii").pack
_LENGTH = struct.Struct(">i").pack
_NULL = _LENGTH(-1)
_BIGINT = struct.Struct(">q").pack
_BIGINT_LENGTH = _LENGTH(8)
_UUID_LENGTH = _LENGTH(16)


class Array(list[Any]):
    """A list of one dimension whose elements are of one PostgreSQL type, or None."""

    element: ClassVar[int]
    """The type's object identifier, the same in every database."""

    def pack(self, encoding: str = "utf-8") -> bytes:
        """Return the list as PostgreSQL receives an array in binary.

        Args:
            encoding: The client encoding of the connection it goes to, by its name in Python.
        """
        if not self:
            return _HEADER(0, 0, self.element, 0, 1)[:12]
        # One dimension; whether there are nulls; the type; how many; the number of the first.
        return _HEADER(1, None in self, self.element, len(self), 1) + self._elements(encoding)

    def _elements(self, encoding: str) -> bytes:
        raise NotImplementedError


class Bigints(Array):
    """Of `int`, for `bigint[]`; none is None."""

    element = 20

    def _elements(self, encoding: str) -> bytes:
        return b"".join([_BIGINT_LENGTH + _BIGINT(number) for number in self])


class Bytes(Array):
    """Of `bytes`, for `bytea[]`."""

    element = 17

    def _elements(self, encoding: str) -> bytes:
        return _joined(self)


class Texts(Array):
    """Of `str`, for `text[]`."""

    element = 25

    def _elements(self, encoding: str) -> bytes:
        return _joined([None if text is None else text.encode(encoding) for text in self])


class Uuids(Array):
    """Of `uuid.UUID`, for `uuid[]`."""

    element = 2950

    def _elements(self, encoding: str) -> bytes:
        return b"".join([_NULL if identity is None else _UUID_LENGTH + identity.bytes for identity in self])


def _joined(values: list[Any]) -> bytes:
    parts = []
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts += (_LENGTH(len(value)), value)
    return b"".join(parts)
