"""What is wrong with a configuration, in sentences for its author.

Turns pydantic's findings into one line each: the place, the option, the value, the remedy; nothing of pydantic
shows. Passwords in URLs are masked. Pure.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from ..store.translate import redact
from .config_options import Key, as_toml, default_of, fields_at, is_list, kind_of, table_of
from .config_sources import Sources

_INCONSISTENT: Final = "inconsistent"
_PASSWORD_IN_URL: Final = re.compile(r"(//[^:/@\s]*|^[^:/@\s]*):(?!//).*@", re.DOTALL)


def inconsistent(problem: str, *options: Key) -> PydanticCustomError:
    """The error for options that are fine alone and not together.

    Args:
        problem: The rest of a sentence that starts with the table's name.
        options: The options involved, relative to the validated value; the first that is given is the place.
    """
    # The braces keep pydantic from reading the problem itself as a template.
    return PydanticCustomError(_INCONSISTENT, "{problem}", {"problem": problem, "options": options})


def explain(error: ValidationError, model: type[BaseModel], sources: Sources) -> list[str]:
    """One sentence for each option that is wrong, in the order of the configuration."""
    sentences: dict[Key, str] = {}
    for details in error.errors(include_url=False):
        key = _option_key(details["loc"], model)
        sentences.setdefault(key, _sentence(details, key, model, sources))
    return list(sentences.values())


def unknown_option(key: Key, model: type[BaseModel], sources: Sources) -> str:
    """The sentence for a key that is none of the model's; its value is left out, as it may be a secret."""
    return f"{sources.place(key)}: {_label(key, sources)} is not an option; {_nearest(key, model)}"


def redacted(text: str) -> str:
    """A text with the password of the URL in it masked, also where the URL is malformed."""
    return redact(_PASSWORD_IN_URL.sub(r"\1:***@", text))


def _sentence(details: ErrorDetails, key: Key, model: type[BaseModel], sources: Sources) -> str:
    if details["type"] == _INCONSISTENT:
        return _inconsistency(details["ctx"], key, sources)
    place, label = sources.place(key), _label(key, sources)
    if details["type"] == "extra_forbidden":
        return unknown_option(key, model, sources)
    field = fields_at(model, key[:-1])[str(key[-1])] if isinstance(key[-1], str) else None
    if details["type"] == "missing" and field:
        return f"{place}: {label} is missing; add {key[-1]} = {_example(kind_of(field))}"
    if field is None or table_of(field):
        return f"{place}: {label} {_not_a_table(key, model)}"
    default = "" if field.is_required() or field.get_default() is None else f" (default: {default_of(field)})"
    value = _shown(_value_at(sources.values(), key))
    return f"{place}: {label} = {value} is not valid; give {kind_of(field)}{default}"


def _inconsistency(context: dict[str, Any], table: Key, sources: Sources) -> str:
    keys = [(*table, *option) for option in context["options"]]
    key = next((key for key in keys if sources.gives(key)), keys[0])
    return f"{sources.place(key)}: {_label(key[:-1], sources)} {context['problem']}"


def _option_key(location: Key, model: type[BaseModel]) -> Key:
    """Cuts off what pydantic appends for members of a union and items of a list."""
    for length in range(1, len(location)):
        name, fields = location[length - 1], fields_at(model, location[: length - 1])
        if isinstance(name, str) and (name not in fields or table_of(fields[name]) is None):
            return location[:length]
    return location


def _label(key: Key, sources: Sources) -> str:
    """Table and option as a reader of TOML knows them: `[store] url`, `[[subscriptions]] "orders" stream`."""
    table, *rest = key
    if not rest:
        return f"[{table}]" if isinstance(_value_at(sources.values(), key), dict | None) else str(table)
    if isinstance(rest[0], int):
        name = _value_at(sources.values(), (table, rest[0], "name"))
        entry = as_toml(name) if isinstance(name, str) and name else f"number {rest[0] + 1}"
        return " ".join([f"[[{table}]]", entry, *map(str, rest[1:])])
    return " ".join([f"[{table}]", *map(str, rest)])


def _nearest(key: Key, model: type[BaseModel]) -> str:
    """The remedy for an unknown name: the nearest one here, the table that has it, or all names here."""
    table, name = key[:-1], str(key[-1])
    here = {option: _header(option, field) for option, field in fields_at(model, table).items()}
    if near := difflib.get_close_matches(name, here, n=1):
        return f"did you mean {here[near[0]]}?"
    tables = {_header(other, field): fields_at(model, (other,)) for other, field in model.model_fields.items()}
    if elsewhere := [header for header, fields in tables.items() if name in fields]:
        return f"it belongs under {' or '.join(elsewhere)}"
    return f"known here: {', '.join(here.values())}"


def _header(name: str, field: FieldInfo) -> str:
    """A name as it is written in TOML: with the brackets of its table header, if it is a table."""
    if table_of(field) is None:
        return name
    return f"[[{name}]]" if is_list(field) else f"[{name}]"


def _not_a_table(key: Key, model: type[BaseModel]) -> str:
    name = str(key[0])
    if is_list(model.model_fields[name]):
        what = "a list of tables" if len(key) == 1 else "a table"
        return f"is not {what}; start each entry with a line [[{name}]] in double brackets"
    return f"is not a table; write a line [{name}] and its options below it"


def _example(kind: str) -> str:
    return kind if kind.startswith('"') else '"…"'


def _value_at(values: Any, key: Key) -> Any:
    for part in key:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _shown(value: Any) -> str:
    return redacted(as_toml(value))
