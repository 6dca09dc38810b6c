"""Erlang terms, byte by byte as an Elixir node writes them, and as Python values."""

from __future__ import annotations

import sys
import zlib
from typing import Any

import pytest

from eventstore.store import (
    ConfigurationError,
    Connection,
    DeserializationFailed,
    ErlangTermSerializer,
    EventData,
    EventStore,
    SerializationFailed,
)


def atom(name: str) -> bytes:
    return b"w" + bytes([len(name.encode())]) + name.encode()


def binary(value: str | bytes) -> bytes:
    encoded = value.encode() if isinstance(value, str) else value
    return b"m" + len(encoded).to_bytes(4, "big") + encoded


def small(value: int) -> bytes:
    return b"a" + bytes([value])


def mapping(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"t" + len(pairs).to_bytes(4, "big") + b"".join(key + value for key, value in pairs)


def listing(*elements: bytes, tail: bytes = b"j") -> bytes:
    return b"l" + len(elements).to_bytes(4, "big") + b"".join(elements) + tail


PID = b"X" + atom("a@b") + bytes(12)
COMPRESSED = b"P" + (1005).to_bytes(4, "big") + zlib.compress(binary("x" * 1000))

TERMS: list[tuple[bytes, Any]] = [
    (small(7), 7),
    (b"b\xff\xff\xff\xff", -1),
    (b"n\x08\x00" + bytes([0, 0, 0, 0, 0, 0, 0, 128]), 2**63),
    (b"F\x3f\xf8" + bytes(6), 1.5),
    (atom("ok"), "ok"),
    (atom("größe"), "größe"),
    (b"d\x00\x03old", "old"),
    (b"s\x02\xe4h", "äh"),
    (atom("nil"), None),
    (atom("undefined"), None),
    (atom("true"), True),
    (atom("false"), False),
    (binary("äöü"), "äöü"),
    (binary(b"\xff\xfe"), b"\xff\xfe"),
    (binary(""), ""),
    (b"j", []),
    (b"k\x00\x03\x01\x02\x03", [1, 2, 3]),
    (listing(atom("a"), binary("b"), small(1)), ["a", "b", 1]),
    (b"h\x02" + atom("error") + listing(small(1)), ("error", [1])),
    (mapping((atom("amount"), small(12)), (binary("note"), atom("nil"))), {"amount": 12, "note": None}),
    (mapping((atom("__struct__"), atom("Elixir.Bank.Opened"))), {"__struct__": "Elixir.Bank.Opened"}),
    (mapping((b"h\x02" + small(1) + atom("a"), mapping((small(1), b"j")))), {(1, "a"): {1: []}}),
    (COMPRESSED, "x" * 1000),
]


@pytest.mark.parametrize(("term", "value"), TERMS)
def test_terms(term: bytes, value: Any) -> None:
    read = ErlangTermSerializer().deserialize(b"\x83" + term, "E")
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "it is no Erlang term"),
        (b'{"json": 1}', "it is no Erlang term"),
        (b"\x83m\x00\x00", "it is no Erlang term"),
        (b"\x83" + small(1) + b"more", "it is no Erlang term"),
        (b"\x83" + PID, "OtpErlangPid has no meaning outside Erlang"),
        (b"\x83" + listing(small(1), tail=small(2)), "OtpErlangList has no meaning"),
        (b"\x83M\x00\x00\x00\x01\x03\xe0", "bit string"),
        (b"\x83" + mapping((atom("a"), small(1)), (binary("a"), small(2))), "two keys that both become 'a'"),
        (b"\x83" + mapping((mapping(), small(1))), "the key {}"),
        (b"\x83" + mapping((listing(atom("a")), small(1))), r"the key \['a'\]"),
    ],
)
def test_what_cannot_be_read(payload: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ErlangTermSerializer().deserialize(payload, "E")


def test_a_store_that_elixir_wrote(event_store: EventStore, database_url: str, schema: str, conn: Connection) -> None:
    event_store.append_to_stream("account-1", "no_stream", [EventData("Elixir.Bank.Opened", 1), EventData("Bad", 2)])
    term = b"\x83" + mapping((atom("__struct__"), atom("Elixir.Bank.Opened")), (atom("owner"), binary("Ann")))
    facts = b"\x83" + mapping((binary("user"), binary("ann@example.com")))
    conn.execute("set session_replication_role = replica")
    change = f'update "{schema}".events set data = %s, metadata = %s where event_type like %s'
    conn.execute(change, (term, facts, "Elixir%"))
    with EventStore(database_url, schema=schema, serializer=ErlangTermSerializer()) as elixir:
        (read,) = elixir.read_stream_forward("account-1", 1, 1)
        assert read.data == {"__struct__": "Elixir.Bank.Opened", "owner": "Ann"}
        assert read.metadata == {"user": "ann@example.com"}
        with pytest.raises(DeserializationFailed, match=r"event 2 .*type 'Bad'.*it is no Erlang term"):
            elixir.read_stream_forward("account-1")
        with pytest.raises(SerializationFailed, match="only reads"):
            elixir.append_to_stream("account-1", "any_version", [EventData("E", {})])


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "erlang", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'eventstore-runtime\[erlang\]'"):
        ErlangTermSerializer()
