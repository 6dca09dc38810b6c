"""Where configuration values come from: a TOML file, laid under environment variables.

Reads both into plain values and remembers which value came from where, so that an error can name the file and
line or the variable. Checks names of variables, but leaves the values to the models of `config.py`.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from pydantic_settings import BaseSettings, EnvSettingsSource

from ..store.errors import ConfigurationError
from .config_options import ENV_DELIMITER, ENV_PREFIX, Key, is_list, options_of, table_of

Values = dict[str, Any]

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([\w.-]+)\s*\]")
_ENTRY: Final = re.compile(r"""\s*["']?([\w.-]+)["']?\s*=""")
_POSITION: Final = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


@dataclass(frozen=True)
class TomlFile:
    """A TOML file as read.

    Attributes:
        path: The path as the user gave it.
        text: The text, for line numbers.
        values: What the text says.
    """

    path: Path
    text: str
    values: Values


@dataclass(frozen=True)
class Sources:
    """The values of one configuration and where each came from.

    Attributes:
        file: The TOML file; None where none was given.
        environment: Values from environment variables, nested like the file's; they win.
    """

    file: TomlFile | None
    environment: Values

    def values(self) -> Values:
        """File and environment as one: tables are merged key by key, a list from the environment replaces."""
        return _merged(self.file.values if self.file else {}, self.environment)

    def gives(self, key: Key) -> bool:
        """True when a source gives a value at `key`."""
        return _holds(self.values(), key)

    def place(self, key: Key) -> str:
        """The place of the value at `key`, for the start of an error message."""
        if _holds(self.environment, _up_to_list(key)):
            return f"environment variable {variable(key)}"
        if self.file is None:
            return "configuration"
        line = line_of(self.file.text, key)
        return f"{self.file.path}, line {line}" if line else str(self.file.path)


def read_toml(path: Path) -> TomlFile:
    """Reads a TOML file.

    Raises:
        ConfigurationError: The file cannot be read, or is not TOML; the message names line and column.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return TomlFile(path, text, tomllib.loads(text))
    except FileNotFoundError:
        remedy = "give the path of a configuration file with -c FILE"
        raise ConfigurationError(f"{path}: there is no such file; {remedy}") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigurationError(f"{path}: cannot be read ({reason}); give a readable file with -c FILE") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}, line {line}: is not UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(_syntax_problem(path, str(error))) from None


def read_environment(model: type[BaseSettings], environ: Mapping[str, str]) -> tuple[Values, list[str]]:
    """Reads the variables that start with `EVENTSTORE__`.

    Args:
        model: The configuration model.
        environ: All environment variables.

    Returns:
        The values, nested by section, and one sentence for each variable that cannot be one of the model's.
    """
    known = {option.env: _takes_json(model, option.env) for option in options_of(model)}
    given = {name: value for name, value in environ.items() if name.upper().startswith(ENV_PREFIX) and value}
    problems = {name: _variable_problem(name, value, known) for name, value in given.items()}
    source = EnvSettingsSource(model, case_sensitive=False)
    # The source reads os.environ by itself; the caller decides which environment counts.
    source.env_vars = {name.lower(): value for name, value in given.items() if problems[name] is None}
    return source(), [problem for problem in problems.values() if problem]


def line_of(text: str, key: Key) -> int | None:
    """The line, from 1, that gives the value at `key`, or else the nearest table around it; None where neither is."""
    found: dict[Key, int] = {}
    for number, at in _entries(text):
        found.setdefault(at, number)
    prefixes = (key[:length] for length in range(len(key), 0, -1))
    return next((found[prefix] for prefix in prefixes if prefix in found), None)


def variable(key: Key) -> str:
    """The environment variable that gives the value at `key`; for a list, the one of the whole list."""
    return ENV_PREFIX + ENV_DELIMITER.join(str(part).upper() for part in _up_to_list(key))


def _up_to_list(key: Key) -> Key:
    """The key of the list that holds the value at `key`, or else `key` itself."""
    return (*takewhile(lambda part: isinstance(part, str), key),)


def _entries(text: str) -> Iterator[tuple[int, Key]]:
    """Line and key of every table header and every `key = value` line."""
    table: Key = ()
    count: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            name = header[2]
            table = (*name.split("."),)
            if header[1] == "[[":
                table = (name, count.setdefault(name, 0))
                count[name] += 1
            yield number, table
        elif entry := _ENTRY.match(line):
            yield number, (*table, *entry[1].split("."))


def _syntax_problem(path: Path, message: str) -> str:
    match = _POSITION.fullmatch(message)
    if match is None:
        return f"{path}: is not valid TOML: {message}"
    place = f"{path}, line {match[2]}, column {match[3]}" if match[2] else f"{path}, end of file"
    return f"{place}: is not valid TOML: {match[1]}; correct that place (texts need double quotes)"


def _takes_json(model: type[BaseSettings], env: str) -> bool:
    key = env.removeprefix(ENV_PREFIX).lower().split(ENV_DELIMITER)
    field = model.model_fields[key[0]]
    table = table_of(field)
    return is_list(field) or (table is not None and is_list(table.model_fields[key[1]]))


def _variable_problem(name: str, value: str, known: Mapping[str, bool]) -> str | None:
    place = f"environment variable {name}"
    takes_json = known.get(name.upper())
    if takes_json is None:
        return f"{place}: there is no such option; {_nearest_variable(name.upper(), known)}"
    if takes_json and not _is_json_list(value):
        return f"{place}: is not a JSON list; write it like {name}='[\"…\"]'"
    return None


def _nearest_variable(name: str, known: Mapping[str, bool]) -> str:
    for env in known:
        if name.startswith(env + ENV_DELIMITER):
            return f"give the whole list as JSON in {env}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near else f"variables are named {ENV_PREFIX}SECTION{ENV_DELIMITER}OPTION"


def _is_json_list(value: str) -> bool:
    try:
        return isinstance(json.loads(value), list)
    except ValueError:
        return False


def _merged(low: Values, high: Values) -> Values:
    merged = dict(low)
    for name, value in high.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _holds(values: Any, key: Key) -> bool:
    for part in key:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True
