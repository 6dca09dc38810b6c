"""Typed events: registration, upcasters by table, and what a store gives back."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest
from pydantic import dataclasses as pydantic_dataclasses

from eventstore.store import (
    ConfigurationError,
    EventData,
    EventStore,
    EventTypes,
    InMemoryEventStore,
    SerializationFailed,
    Snapshot,
    TypedSerializer,
)
from eventstore.tests.support.database import fresh_schema


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Line:
    article: str
    price: Decimal


@dataclass(frozen=True, slots=True)
class OrderPlaced:
    order: UUID
    at: datetime
    on: date
    within: timedelta
    lines: tuple[Line, ...]
    colours: frozenset[Colour]
    raw: bytes
    stock: dict[int, float]
    note: str | None = None
    tags: list[str] = field(default_factory=list)


class StructPlaced(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    order_id: UUID
    placed_at: datetime
    total: Decimal = Decimal(0)


class ModelPlaced(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, frozen=True)

    order_id: UUID = pydantic.Field(alias="orderId")
    placed_at: datetime
    lines: tuple[Line, ...] = ()
    colour: Colour = Colour.RED


@pydantic_dataclasses.dataclass(frozen=True)
class Checked:
    count: int = pydantic.Field(ge=1)


@dataclass
class Opened:
    owner: str
    currency: str = "EUR"


AT = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
ID = UUID(int=7)
LINES = (Line("pen", Decimal("1.20")),)
OBJECTS = [
    OrderPlaced(ID, AT, AT.date(), timedelta(hours=36), LINES, frozenset({Colour.RED}), b"\xff", {1: 0.5}),
    StructPlaced(order_id=ID, placed_at=AT, total=Decimal("1.10")),
    ModelPlaced(orderId=ID, placed_at=AT, lines=LINES),
    Checked(count=2),
    Opened("Ünal"),
]


def registry(*, version: int = 1) -> EventTypes:
    types = EventTypes()
    for one in OBJECTS:
        types.register(type(one), version=version)
    return types


@pytest.fixture(params=["memory", "bytea", "jsonb"])
def typed(request: pytest.FixtureRequest) -> Iterator[EventStore]:
    """A store with all classes of this module registered."""
    serializer = TypedSerializer(registry())
    if request.param == "memory":
        with InMemoryEventStore(serializer=serializer) as store:
            yield store
        return
    url = request.getfixturevalue("database_url")
    with fresh_schema(url, request.param) as schema, EventStore(url, schema=schema, serializer=serializer) as store:
        yield store


def test_objects_come_back_as_objects(typed: EventStore) -> None:
    types = registry()
    typed.append_to_stream("a", "no_stream", [types.event_of(one, metadata={"by": "Ann"}) for one in OBJECTS])
    read = typed.read_stream_forward("a")
    assert [event.data for event in read] == OBJECTS
    assert [type(event.data) for event in read] == [type(one) for one in OBJECTS]
    assert [event.event_type for event in read] == [type(one).__name__ for one in OBJECTS]
    assert {str(event.metadata) for event in read} == {"{'by': 'Ann'}"}


def test_other_types_stay_plain(typed: EventStore) -> None:
    plain = [EventData("Unknown", {"owner": "Ann"}, {"event_version": "of another kind"}), EventData("List", [1])]
    typed.append_to_stream("a", "no_stream", plain)
    assert [event.data for event in typed.read_stream_forward("a")] == [{"owner": "Ann"}, [1]]


def test_plain_data_of_a_registered_type_comes_back_as_an_object(typed: EventStore) -> None:
    typed.append_to_stream("a", "no_stream", [EventData("Opened", {"owner": "Ann"})])
    assert typed.read_stream_forward("a")[0].data == Opened("Ann")


def test_snapshots_are_typed_too(typed: EventStore) -> None:
    typed.record_snapshot(Snapshot("account-1", 3, "Opened", Opened("Ann")))
    assert typed.read_snapshot("account-1").data == Opened("Ann")


def test_what_is_stored_is_json() -> None:
    payload = TypedSerializer(registry()).serialize(OBJECTS[1])
    expected = {"orderId": str(ID), "placedAt": "2024-02-29T12:30:15.123456Z", "total": "1.10"}
    assert msgspec.json.decode(payload) == expected


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Opened(12), "could not be read back"),  # type: ignore[arg-type]
        (Opened("Ann", currency=float("nan")), "could not be read back"),  # type: ignore[arg-type]
        (Opened(object()), "TypeError"),  # type: ignore[arg-type]
        (ModelPlaced.model_construct(order_id=1, placed_at=AT), "could not be read back.*orderId: "),
    ],
)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_what_could_not_be_read_back_is_not_appended(wrong: Any, reason: str) -> None:
    types = registry()
    with InMemoryEventStore(serializer=TypedSerializer(types)) as store:
        with pytest.raises(SerializationFailed, match=reason) as refused:
            store.append_to_stream("a", "no_stream", [types.event_of(wrong)])
        assert "\n" not in str(refused.value)
        assert store.read_all_streams_forward() == []


def test_an_object_goes_by_its_own_type_only() -> None:
    with InMemoryEventStore(serializer=TypedSerializer(registry())) as store:
        with pytest.raises(SerializationFailed, match="Opened is registered as 'Opened'"):
            store.append_to_stream("a", "no_stream", [EventData("Closed", Opened("Ann"))])
        with pytest.raises(SerializationFailed, match="a snapshot of type 'Closed'"):
            store.record_snapshot(Snapshot("a", 1, "Closed", Opened("Ann")))


def test_event_of_fills_in_the_event_type() -> None:
    types = EventTypes()
    types.register(Opened, "Elixir.Bank.Opened")
    opened = Opened("Ann")
    ids = {"event_id": UUID(int=1), "causation_id": UUID(int=2), "correlation_id": UUID(int=3)}
    event = types.event_of(opened, metadata={"a": 1}, **ids)
    assert event == EventData("Elixir.Bank.Opened", opened, {"a": 1}, **ids)
    assert types.event_type_of(Opened) == types.event_type_of(opened) == "Elixir.Bank.Opened"


def test_register_is_a_decorator() -> None:
    types = EventTypes()
    plain = types.register(Opened)
    named = types.register(event_type="checked", version=3)(Checked)
    assert (plain, named) == (Opened, Checked)
    assert (types.event_type_of(Checked), types.newest_version("checked")) == ("checked", 3)


def with_opened(**options: Any) -> EventTypes:
    types = EventTypes()
    types.register(Opened, **options)
    return types


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: EventTypes().register(dict), "<class 'dict'> cannot be registered"),
        (lambda: EventTypes().register(Opened("Ann")), "cannot be registered"),  # type: ignore[call-overload]
        (lambda: EventTypes().register(Opened, ""), "event type ''"),
        (lambda: EventTypes().register(Opened, version=0), "version 0"),
        (lambda: EventTypes().register(Opened, version=True), "version True"),
        (lambda: with_opened().register(Opened, "Other"), "Opened is registered already, as event type 'Opened'"),
        (lambda: with_opened().register(Checked, "Opened"), "'Opened' is registered already, for Opened"),
        (lambda: with_opened().upcaster("Opened", 1), "register the class with version=2"),
        (lambda: with_opened().upcaster("Other", 0), "from_version 0"),
        (lambda: with_opened().upcaster("", 1), "event type ''"),
        (lambda: with_opened().event_of({}), "dict is no registered event"),
        (lambda: with_opened().event_type_of(Checked), "Checked is no registered event"),
    ],
)
def test_what_is_refused(act: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        act()


def test_upcasters_and_class_must_fit_in_either_order() -> None:
    types = EventTypes()
    types.upcaster("Opened", from_version=2)(lambda data: data)
    with pytest.raises(ConfigurationError, match="register the class with version=3"):
        types.register(Opened, version=2)
    types.register(Opened, version=3)
    with pytest.raises(ConfigurationError, match="has an upcaster from version 2 already"):
        types.upcaster("Opened", from_version=2)(lambda data: data)


def test_version_1_adds_nothing_to_metadata() -> None:
    types = registry()
    with InMemoryEventStore(serializer=TypedSerializer(types)) as store:
        store.append_to_stream(
            "a", "no_stream", [types.event_of(Opened("Ann")), types.event_of(Opened("Bob"), metadata="m")]
        )
        assert [event.metadata for event in store.read_stream_forward("a")] == [None, "m"]
