"""What an option is: the kinds of values an option may take, and the walk over all options of a model.

Knows pydantic models in general and none in particular. `config.py` declares its fields with the kinds of this
file; error messages, environment variables and the reference page all read the options from here, so that they
say the same. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictBool, StrictFloat, StrictInt
from pydantic.fields import FieldInfo

ENV_PREFIX: Final = "EVENTSTORE__"
ENV_DELIMITER: Final = "__"
NOT_SET: Final = "not set"

Key = tuple[str | int, ...]
"""The place of an option in the configuration: ("store", "url"), or ("subscriptions", 0, "handler")."""


@dataclass(frozen=True)
class Kind:
    """Says in the reader's words what an option takes, so that "give …" reads well before it."""

    text: str


def _refuse_bool(value: object) -> object:
    """Python counts True as 1; a configuration should not."""
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


def _check_function_path(value: str) -> str:
    module, _, function = value.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), function]):
        raise ValueError("not a dotted path")
    return value


def _check_postgres_url(value: str) -> str:
    if not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("not a PostgreSQL URL")
    return value


def _check_store_url(value: str) -> str:
    scheme, _, folder = value.partition(":")
    return value if scheme == "embedded" and folder else _check_postgres_url(value)


def _never_to_none(value: object) -> object:
    """Neither TOML nor environment variables can say None."""
    return None if value == "never" else value


_Number = BeforeValidator(_refuse_bool)
_finite = Field(allow_inf_nan=False)
# NUL ends a text for PostgreSQL and for the operating system, which would cut a name short.
_TextPattern = Field(pattern=r"^[^\x00]+$")

Text = Annotated[str, _TextPattern, Kind("a text that is not empty")]
Folders = Annotated[list[Text], Kind('a list of folders, such as ["src"]')]
Texts = Annotated[list[Text], Kind('a list of texts, such as ["OrderPlaced"]')]
Scalar = Annotated[str | StrictBool | StrictInt | StrictFloat, Kind("a text, a number, true or false")]
Values = Annotated[dict[Text, Scalar], Kind('a table of paths and values, such as { "account.currency" = "EUR" }')]
StoreUrl = Annotated[
    str, _TextPattern, AfterValidator(_check_store_url), Kind('"embedded:FOLDER" or "postgresql://user@host/database"')
]
PostgresUrl = Annotated[
    str, _TextPattern, AfterValidator(_check_postgres_url), Kind('"postgresql://user@host/database"')
]
FunctionPath = Annotated[str, AfterValidator(_check_function_path), Kind('"package.module:function"')]
ObjectPath = Annotated[str, AfterValidator(_check_function_path), Kind('"package.module:name"')]
Count = Annotated[int, _Number, Field(ge=1), Kind("a whole number, 1 or more")]
Position = Annotated[int, _Number, Field(ge=0), Kind("an event number, 0 or more")]
Port = Annotated[int, _Number, Field(ge=0, le=65535), Kind("a port number from 0 to 65535")]
Uses = Annotated[
    Annotated[int, _Number, Field(ge=0)] | None,
    BeforeValidator(_never_to_none),
    Kind('a whole number, 0 or more, or "never"'),
]
Seconds = Annotated[float, _Number, _finite, Field(gt=0), Kind("seconds, more than 0")]
SecondsOrZero = Annotated[float, _Number, _finite, Field(ge=0), Kind("seconds, 0 or more")]
Fraction = Annotated[float, _Number, _finite, Field(ge=0, le=1), Kind("a number from 0 to 1")]


class Option(NamedTuple):
    """One option, described for readers.

    Attributes:
        key: Dotted name, "store.url"; "subscriptions[].name" for an option of every `[[subscriptions]]` entry.
        type: What it takes, in words.
        default: The default as TOML writes it, or in words; "required" or "not set" where there is none.
        description: What it does, with its unit.
    """

    key: str
    type: str
    default: str
    description: str

    @property
    def section(self) -> str:
        """The table it stands in: "store" or "subscriptions"."""
        return self.key.partition(".")[0].removesuffix("[]")

    @property
    def name(self) -> str:
        """Its name inside the table."""
        return self.key.rpartition(".")[2]

    @property
    def env(self) -> str:
        """The environment variable that sets it; for `[[subscriptions]]`, the one for the whole list."""
        key = self.key.partition("[]")[0]
        return ENV_PREFIX + key.replace(".", ENV_DELIMITER).upper()


def options_of(model: type[BaseModel], prefix: str = "") -> Iterator[Option]:
    """Yields every option of a model and of the tables in it, in the order of declaration."""
    for name, field in model.model_fields.items():
        table = table_of(field)
        if table is None:
            yield Option(prefix + name, kind_of(field), default_of(field), field.description or "")
        else:
            yield from options_of(table, f"{prefix}{name}{'[]' if is_list(field) else ''}.")


def table_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a `[table]` or of the entries of a `[[table]]`; None for a plain option."""
    candidate = get_args(field.annotation)[0] if is_list(field) else field.annotation
    return candidate if isinstance(candidate, type) and issubclass(candidate, BaseModel) else None


def is_list(field: FieldInfo) -> bool:
    """True for options that take a list, and for `[[tables]]`."""
    return get_origin(field.annotation) is list


def fields_at(model: type[BaseModel], key: Key) -> dict[str, FieldInfo]:
    """The fields that the table at `key` may hold; none where `key` is no table."""
    for part in key:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        table = table_of(field) if field else None
        if table is None:
            return {}
        model = table
    return model.model_fields


def kind_of(field: FieldInfo) -> str:
    """What a field takes, in words."""
    return _kind(field.annotation, field.metadata)


def default_of(field: FieldInfo) -> str:
    """A field's default as TOML writes it, or in words where TOML cannot."""
    if field.is_required():
        return "required"
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["default"])
    return NOT_SET if field.get_default() is None else as_toml(field.get_default(call_default_factory=True))


def as_toml(value: Any) -> str:
    """A plain value as TOML writes it."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _kind(annotation: Any, metadata: Sequence[object] = ()) -> str:
    kind = next((item.text for item in metadata if isinstance(item, Kind)), None)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if kind is not None:
        return kind
    if origin is Annotated:
        return _kind(arguments[0], arguments[1:])
    if origin is Literal:
        return " or ".join(as_toml(choice) for choice in arguments)
    if annotation is bool:
        return "true or false"
    return " or ".join(_kind(argument) for argument in arguments if argument is not NoneType)
