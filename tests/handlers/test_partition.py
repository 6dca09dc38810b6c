"""From `partition_by` to the key of an event, decoded or as it came from the database."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from eventstore.handlers.partition import BUILT_IN, is_path, key_function, path_function
from eventstore.handlers.resolve import Subscription
from eventstore.runtime.entries import entries_of
from eventstore.runtime.partition_keys import row_key
from eventstore.store import RecordedEvent
from eventstore.store.rows import Row
from eventstore.store.serializer import JsonSerializer

ID = UUID(int=5)


def event(data: Any = None, metadata: Any = None, stream: str = "account-7-x") -> RecordedEvent:
    return RecordedEvent(
        1, UUID(int=1), stream, 1, "Opened", ID, None, data, metadata, datetime(2024, 1, 1, tzinfo=UTC)
    )


def row(number: int = 1, data: bytes = b'{"id": 7}', stream: str = "account-7") -> Row:
    return (number, stream, 1, "Opened", bytes(16), ID.bytes, None, data, None, 0)


def refuse(path: str) -> Callable[..., Any]:
    raise AssertionError(f"{path} needs no import")


@pytest.mark.parametrize(
    ("option", "key"),
    [("stream", "account-7-x"), ("category", "account"), ("correlation_id", ID), ("event_type", "Opened")],
)
def test_keys_by_name(option: str, key: Hashable) -> None:
    function = key_function(option, refuse)
    assert function is not None
    assert function(event()) == key


def test_the_category_of_a_stream_without_a_dash_is_the_stream() -> None:
    assert BUILT_IN["category"](event(stream="orders")) == "orders"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("data.id", 7),
        ("data.owner.name", "Ann"),
        ("data.owner.nothing", None),
        ("data.nothing.at.all", None),
        ("data.id.deeper", None),
        ("data.tags", "['a', 'b']"),
        ("metadata.tenant", "t"),
    ],
)
def test_keys_by_path(path: str, key: Hashable) -> None:
    given = event({"id": 7, "owner": {"name": "Ann"}, "tags": ["a", "b"]}, {"tenant": "t"})
    assert path_function(path)(given) == key


def test_a_path_leads_into_objects_too() -> None:
    assert path_function("data.owner.name")(event(SimpleNamespace(owner={"name": "Ann"}))) == "Ann"


@pytest.mark.parametrize("path", ["data.id", "data.a.b", "metadata.tenant"])
def test_paths(path: str) -> None:
    assert is_path(path)


@pytest.mark.parametrize("no_path", ["data", "data.", "data..id", "stream", "event.id", "", ".id", "module:function"])
def test_no_paths(no_path: str) -> None:
    assert not is_path(no_path)


def test_functions_are_taken_as_they_are_or_loaded_by_name() -> None:
    assert key_function(None, refuse) is None
    assert key_function(len, refuse) is len  # type: ignore[arg-type]
    assert key_function("app:key", {"app:key": len}.__getitem__) is len


def key_of(partition_by: str | None, handler: str = "nowhere:handle") -> Callable[[Row], Hashable] | None:
    return row_key(Subscription(name="s", handler=handler, partition_by=partition_by), JsonSerializer())


@pytest.mark.parametrize("option", sorted(BUILT_IN))
def test_built_in_keys_of_rows_need_no_decoding(option: str) -> None:
    key = key_of(option)
    assert key is not None
    one, same, other = key(row(data=b"\xff")), key(row(2, data=b"\xff")), key(row(data=b"\xff", stream="b-1"))
    assert one == same
    assert (one == other) is (option in ("correlation_id", "event_type"))
    assert hash(one) == hash(same)


def test_no_partitions_no_key() -> None:
    assert key_of(None) is None
    assert entries_of([row(3), row(4)], None)[0] == [(3, None, row(3), 9), (4, None, row(4), 9)]


def test_a_path_of_a_row_is_read_from_its_data() -> None:
    key = key_of("data.id")
    assert key is not None
    assert key(row()) == 7


def test_a_function_by_name_and_one_of_the_decorator(module: Callable[..., str]) -> None:
    name = module("""
        from eventstore.handlers import handler

        def by_id(event):
            return event.data["id"]

        @handler(name="s", partition_by=lambda event: -event.data["id"])
        def handle(event, context):
            pass

        def bare(event, context):
            pass
    """)
    by_name, declared = key_of(f"{name}:by_id"), key_of("@handler", f"{name}:handle")
    assert by_name is not None
    assert declared is not None
    assert (by_name(row()), declared(row())) == (7, -7)
    assert key_of("@handler", f"{name}:bare") is None


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (lambda row: {}[row[0]], "partition_by failed with KeyError: 2"),
        (lambda row: [row[0]], "partition_by failed with TypeError: unhashable type: 'list'"),
        (lambda row: ([],), "partition_by failed with TypeError: unhashable type: 'list'"),
    ],
)
def test_a_key_that_cannot_be_had_halts_at_its_event(key: Callable[[Row], Hashable], reason: str) -> None:
    entries, halt = entries_of([row(1), row(2), row(3)], lambda one: "k" if one[0] == 1 else key(one))
    assert [(entry.number, entry.key) for entry in entries] == [(1, "k")]
    assert halt is not None
    assert (halt.number, halt.reason) == (2, reason)


def test_an_event_that_cannot_be_decoded_has_a_partition_of_its_own() -> None:
    """Its worker fails at it, under the subscription's policy; whatever its key would be, it holds up no other."""
    rows = [row(1, b"no json"), row(2, b'{"id": 7}'), row(3, b"no json")]
    entries, halt = entries_of(rows, key_of("data.id"))
    assert halt is None
    keys = [entry.key for entry in entries]
    assert keys[0] == keys[2] != keys[1] == 7


def test_a_tuple_that_holds_a_list_is_a_key_like_the_list() -> None:
    key = key_function("data.pair", refuse)
    assert key is not None
    assert key(event({"pair": ("a", [1])})) == "('a', [1])"
    assert key(event({"pair": ("a", 1)})) == ("a", 1)
