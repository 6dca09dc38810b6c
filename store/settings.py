"""The options of a store, checked once and frozen.

`EventStore` builds one from its arguments; the runtime builds one from its configuration. Nothing is read from the
environment here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict, get_args

from .errors import ConfigurationError
from .notifications import check_schema_name
from .sql import DataType

#: What an embedded PostgreSQL's URL starts with; the path of its directory follows.
EMBEDDED = "embedded:"


# PostgreSQL counts a time limit in milliseconds of 31 bits.
_LONGEST = 2_147_483


class ConnectOptions(TypedDict, total=False):
    """The options of `connection.connect` that a store's settings give, described there."""

    timeout: float | None
    connect_timeout: float
    prepare_threshold: int | None
    parameters: Mapping[str, str | int] | None


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where the store is and how to talk to it. Mirrors the configuration of `EventStore` in commanded/eventstore.

    Attributes:
        url: A PostgreSQL URL or conninfo string, or "embedded:PATH" for a PostgreSQL of its own in that directory.
        schema: The schema that holds the tables; default "public".
        pool_size: The most connections at a time; default 10.
        timeout: How long to wait for each statement, in seconds; default 15.
        connect_timeout: How long to wait for a connection to open, in seconds; default 10.
        column_data_type: "bytea" (default) or "jsonb"; counts only when the schema is created, detected afterwards.
        prepare_threshold: Runs of a statement before it is prepared on the server; default 5, None for never, as
            needed behind a transaction-mode pooler without support for prepared statements.
        queue_timeout: How long to wait for a free connection, in seconds; None (default) for as long as `timeout`.
            Takes the place of `queue_target` and `queue_interval`.
        max_waiting: How many callers may wait for a free connection; one more is refused at once. Default 0, no limit.
        enable_hard_deletes: Whether `delete_stream` may remove events for good; default False.
        coalesce_appends: Whether appends that threads or tasks of this process call at the same time share one commit;
            default True.
        session_mode_url: Where to connect for LISTEN and advisory locks, when `url` leads through a pooler in
            transaction mode; None (default) for `url`.
        parameters: Further parameters of every connection, which win over those of the URLs: libpq's own, such as
            sslmode, sslrootcert or keepalives_idle, and settings of the server, such as work_mem. None for none.

    Raises:
        ConfigurationError: A value is out of range.
    """

    url: str
    schema: str = "public"
    pool_size: int = 10
    timeout: float = 15.0
    connect_timeout: float = 10.0
    column_data_type: DataType = "bytea"
    prepare_threshold: int | None = 5
    queue_timeout: float | None = None
    max_waiting: int = 0
    enable_hard_deletes: bool = False
    coalesce_appends: bool = True
    session_mode_url: str | None = None
    parameters: Mapping[str, str | int] | None = None

    def __post_init__(self) -> None:
        if not self.url:
            raise ConfigurationError("the store's url is empty: give a postgresql:// URL or 'embedded:PATH'")
        if self.session_mode_url is not None and (
            not self.session_mode_url or self.session_mode_url.startswith(EMBEDDED)
        ):
            raise ConfigurationError(
                f"session_mode_url {self.session_mode_url!r} names no running server: give a postgresql:// URL, or None"
            )
        check_schema_name(self.schema)
        check_data_type(self.column_data_type)
        limits = {
            "timeout": self.timeout,
            "connect_timeout": self.connect_timeout,
            "queue_timeout": self.longest_wait,
        }
        for name, value in limits.items():
            if not 0 < value <= _LONGEST:
                raise ConfigurationError(
                    f"{name} {value} is out of range: give seconds above 0 and up to {_LONGEST:,}, which are 24 days"
                )
        if self.pool_size < 1:
            raise ConfigurationError(f"pool_size {self.pool_size} is out of range: give at least 1")
        if self.prepare_threshold is not None and self.prepare_threshold < 0:
            raise ConfigurationError(f"prepare_threshold {self.prepare_threshold} is out of range: give 0 or more")
        if self.max_waiting < 0:
            raise ConfigurationError(f"max_waiting {self.max_waiting} is out of range: give 0 or more")

    @property
    def connect_options(self) -> ConnectOptions:
        """The options for each connection of the store."""
        return {
            "timeout": self.timeout,
            "connect_timeout": self.connect_timeout,
            "prepare_threshold": self.prepare_threshold,
            "parameters": self.parameters,
        }

    @property
    def longest_wait(self) -> float:
        """How long to wait for a free connection, in seconds."""
        return self.timeout if self.queue_timeout is None else self.queue_timeout


def configured(settings: StoreSettings, configure: Callable[[StoreSettings], StoreSettings] | None) -> StoreSettings:
    """Return the settings as the caller's hook leaves them. Mirrors the `init/1` callback.

    Raises:
        ConfigurationError: The hook returned something else, or a value is out of range.
    """
    if configure is None:
        return settings
    changed: object = configure(settings)
    if not isinstance(changed, StoreSettings):
        raise ConfigurationError(
            f"configure returned {type(changed).__name__}: return the settings, changed with dataclasses.replace"
        )
    return changed


def check_data_type(column_data_type: str) -> None:
    """Raise `ConfigurationError` unless the columns can be of this type."""
    if column_data_type not in get_args(DataType):
        raise ConfigurationError(f"column_data_type {column_data_type!r} is not known: give 'bytea' or 'jsonb'")
