"""Every option of the runtime in one place: frozen models, and `load_config`, which fills them.

Values come, lowest first, from the defaults below, from a TOML file, and from environment variables named
`EVENTSTORE__SECTION__OPTION`. Nothing is read at import. Talks to `config_sources.py` (reads), `config_errors.py`
(says what is wrong) and `config_options.py` (kinds of values); the rest of the runtime only sees the models.
"""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ..store.errors import ConfigurationError
from ..store.settings import EMBEDDED
from .config_errors import explain, inconsistent, unknown_option
from .config_options import (
    ENV_DELIMITER,
    ENV_PREFIX,
    Count,
    Folders,
    Fraction,
    FunctionPath,
    ObjectPath,
    Option,
    Port,
    Position,
    PostgresUrl,
    Seconds,
    SecondsOrZero,
    StoreUrl,
    Text,
    Texts,
    Uses,
    Values,
    options_of,
)
from .config_sources import Sources, read_environment, read_toml


class _Table(BaseModel):
    """A `[table]` of the configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


with warnings.catch_warnings():
    # `schema` is the word of PostgreSQL and of commanded/eventstore; pydantic has a deprecated method of that name.
    warnings.filterwarnings("ignore", message='Field name "schema"')

    class StoreConfig(_Table):
        """`[store]`: the database. Mirrors the config of an Elixir `EventStore` module."""

        url: StoreUrl = Field(
            default="embedded:./.eventstore",
            description="The database: any PostgreSQL URL, or `embedded:FOLDER` for a PostgreSQL that starts with "
            "the runtime and keeps its data in that folder.",
        )
        schema: Text = Field(  # type: ignore[assignment]
            default="public", description="PostgreSQL schema that holds the event store's tables."
        )
        session_mode_url: PostgresUrl | None = Field(
            default=None,
            description="A second URL for the LISTEN and lock connections, for when `url` leads through a pooler in "
            "transaction mode. Not set: `url` serves all.",
        )
        pool_size: Count = Field(
            default=4,
            description="Most connections that a command such as `append` or `read` opens. The processes of a node "
            "have one or two each, whatever this says.",
        )
        timeout: Seconds = Field(
            default=15.0,
            description="Longest time for one statement, in seconds. A transactional worker that gets no answer for "
            "one and a half times as long, and a second, takes its connection for dead and starts afresh.",
        )
        column_data_type: Literal["bytea", "jsonb"] = Field(
            default="bytea",
            description="Column type of event data. Only `eventstore-runtime init` uses it, to create the tables.",
        )
        prepare_threshold: Uses = Field(
            default=5,
            description="Uses of a statement after which it is prepared on the server; `never` is for poolers that "
            "cannot do that.",
        )
        connect_timeout: Seconds = Field(default=10.0, description="Longest time to open a connection, in seconds.")
        serializer: ObjectPath | None = Field(
            default=None,
            description="What turns data and metadata of events into bytes and back: a class, a function that returns "
            "a serializer, or a serializer. Not set: JSON.",
        )
        default_database: Text | None = Field(
            default=None,
            description="The database that `create` and `drop --database` connect to meanwhile. Not set: `postgres`, "
            "or else `template1`.",
        )


class NodeConfig(_Table):
    """`[runtime]`: the processes of this node."""

    name: Text = Field(
        default_factory=socket.gethostname,
        description="This node's name, as `status`, logs and PostgreSQL's activity view show it.",
        json_schema_extra={"default": "the machine's host name"},
    )
    python_path: Folders = Field(
        default=[],
        description="Folders to import handlers from, besides the working directory. Relative ones start at the "
        "configuration file's folder.",
    )
    grace: Seconds = Field(
        default=15.0,
        description="Time to finish what is in flight after SIGTERM or Ctrl-C, in seconds; what runs longer is killed "
        "and its events come again at the next start.",
    )
    start_method: Literal["forkserver", "spawn"] = Field(
        default="forkserver",
        description="How processes start: from a preloaded template (fast), or each from scratch.",
    )
    heartbeat_interval: Seconds = Field(
        default=1.0, description="Time between two signs of life of each process, in seconds."
    )
    heartbeat_timeout: Seconds = Field(
        default=30.0,
        description="Silence after which the listener, the lock-holder or the monitor counts as hung and is restarted, "
        "in seconds. Workers may be busy in a handler for as long as they like.",
    )
    lock_retry_interval: Seconds = Field(
        default=2.0,
        description="Time between two tries for a lock that another node holds, in seconds. Mirrors "
        "`subscription_retry_interval`.",
    )
    poll_interval: Seconds = Field(
        default=5.0,
        description="Time between two looks for new events when no notification came, in seconds; bounds what a lost "
        "notification costs.",
    )
    canary_interval: Seconds = Field(
        default=5.0,
        description="Time between two notifications that the listener sends to itself, in seconds. While they do not "
        "come back, it says so, polls twice a second, and tries a new LISTEN connection now and then. The lock-holder "
        "asks its session for a sign of life as often.",
    )

    @model_validator(mode="after")
    def _timeout_after_interval(self) -> Self:
        if self.heartbeat_timeout <= self.heartbeat_interval:
            raise inconsistent(
                f"heartbeat_timeout = {self.heartbeat_timeout} is not longer than heartbeat_interval = "
                f"{self.heartbeat_interval}; give several times the interval",
                ("heartbeat_timeout",),
                ("heartbeat_interval",),
            )
        return self


class RestartConfig(_Table):
    """`[restart]`: how a process that died comes back. Mirrors the back-off of Elixir's monitored servers."""

    backoff_min: Seconds = Field(
        default=0.1, description="Wait before the first restart, in seconds; doubles for each further one."
    )
    backoff_max: Seconds = Field(
        default=20.0,
        description="Longest wait before a restart, in seconds. So long after an outage of the database, and the time "
        "of a start, the node is ready again at the latest.",
    )
    reset_after: Seconds = Field(
        default=60.0, description="Time a process must live for its next wait to start small again, in seconds."
    )
    jitter: Fraction = Field(
        default=0.2, description="Random share by which a wait varies, so that restarts do not come in step."
    )
    max_restarts: Count = Field(
        default=10,
        description="Restarts within `max_seconds` up to which a process counts as stable. Beyond, `status` and "
        "metrics call it unstable, and it waits `backoff_max` each time; it is never given up. Mirrors Elixir's "
        "option of that name.",
    )
    max_seconds: Seconds = Field(default=60.0, description="The time to which `max_restarts` applies, in seconds.")

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        _check_order("backoff_min", self.backoff_min, "backoff_max", self.backoff_max)
        return self


class MonitorConfig(_Table):
    """`[monitor]`: the HTTP server for metrics, health and status."""

    enabled: bool = Field(default=True, description="Whether this node serves metrics, health and status.")
    host: Text = Field(
        default="127.0.0.1", description='Address to listen on; "0.0.0.0" lets other machines scrape it.'
    )
    port: Port = Field(default=9464, description="Port to listen on; 0 takes any free port and logs which.")
    token: Text | None = Field(
        default=None,
        description="A secret that `/status` then asks for: as bearer token, or as the password of basic auth with "
        "any user name. Health and metrics stay open; they name subscriptions and processes, and hold no data.",
    )


class LogConfig(_Table):
    """`[log]`: what is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important level that is still written."
    )
    format: Literal["console", "json"] = Field(
        default="console", description="`console` for people, `json` for log collectors: one object per line."
    )


class SubscriptionConfig(_Table):
    """One `[[subscriptions]]` entry; None means "not set here", so that the handler's own declaration holds."""

    name: Text | None = Field(
        default=None,
        description="The subscription's name; its position is stored under it. Needed here or in `@handler(...)`.",
    )
    handler: FunctionPath = Field(description="The function that handles its events.")
    stream: Text | None = Field(default=None, description="The stream to follow; `$all` is every event.")
    concurrency: Count | None = Field(
        default=None, description="Worker processes that share the subscription. Mirrors `concurrency_limit`."
    )
    partition_by: Text | None = Field(
        default=None,
        description="What keeps events in order when there are several workers: `stream`, `category`, "
        "`correlation_id`, `event_type`, a path such as `data.account_id`, or a `package.module:function` that takes "
        "the event and gives the key.",
    )
    placement: Literal["free", "pinned"] | None = Field(
        default=None,
        description="`free`: any worker goes on with a partition that has nothing in flight; `pinned`: the same worker "
        "as long as the workers stay the same, for handlers that cache.",
    )
    event_types: Texts | None = Field(
        default=None, description="Only events of these types; evaluated in the database, as the next three are."
    )
    category: Text | None = Field(
        default=None, description="Only events of streams of this category, what stands before the first `-`."
    )
    stream_prefix: Text | None = Field(default=None, description="Only events of streams whose name begins like this.")
    data_equals: Values | None = Field(
        default=None, description="Only events whose data has these values at these dotted paths."
    )
    selector: FunctionPath | None = Field(
        default=None,
        description="A function of the event; where it returns something false, the event is finished without the "
        "handler.",
    )
    mapper: FunctionPath | None = Field(
        default=None, description="A function of the event whose result the handler gets instead of the event."
    )
    start_from: Literal["origin", "current"] | Position | None = Field(
        default=None, description="Where a subscription that never ran begins; a number means after that event."
    )
    transactional: bool | None = Field(
        default=None,
        description="Whether the handler's writes and the record that the event is done commit together: "
        "exactly-once effects in the same database.",
    )
    transaction_size: Count | None = Field(
        default=None, description="Most events in one transaction of a transactional handler."
    )
    batch_size: Count | None = Field(
        default=None,
        description="Most events in one call of a handler that takes a list of events. Not set: one event at a time.",
    )
    batch_timeout: SecondsOrZero | None = Field(
        default=None, description="Longest wait for a batch to fill, in seconds; 0 handles what is there."
    )
    timeout: Seconds | None = Field(
        default=None,
        description="Time after which a call of the handler is ended by killing its process, in seconds. Not set: "
        "never.",
    )
    slow_after: Seconds | None = Field(
        default=None, description="Time after which a call of the handler is logged as slow, in seconds."
    )
    buffer_size: Count | None = Field(
        default=None,
        description="Most events in flight at one worker; one whose handler is slow gets fewer.",
    )
    max_size: Count | None = Field(
        default=None, description="Most unfinished events of the subscription held in memory, over all its workers."
    )
    max_bytes: Count | None = Field(
        default=None,
        description="Most bytes of unfinished events held in memory, over all its workers; one event may exceed it.",
    )
    checkpoint_threshold: Count | None = Field(
        default=None, description="Finished events after which a checkpoint is written at once."
    )
    checkpoint_after: SecondsOrZero | None = Field(
        default=None, description="Time after which finished events are checkpointed however few, in seconds."
    )
    max_attempts: Count | None = Field(
        default=None, description="Calls of the handler with one event before `on_exhausted` applies."
    )
    retry_backoff_min: SecondsOrZero | None = Field(
        default=None, description="Wait before the second attempt, in seconds; doubles for each further one."
    )
    retry_backoff_max: SecondsOrZero | None = Field(
        default=None, description="Longest wait between two attempts, in seconds."
    )
    max_crashes: Count | None = Field(
        default=None, description="Worker processes that may die of the same event before `on_exhausted` applies."
    )
    on_exhausted: Literal["halt", "park", "park_partition", "skip"] | None = Field(
        default=None,
        description="`halt` stops the subscription at the event; `park` sets the event aside and goes on; "
        "`park_partition` also holds later events of its partition behind it, in order; `skip` goes on without it.",
    )
    max_parked: Count | None = Field(
        default=None, description="Parked and held events of the subscription beyond which it halts."
    )
    max_parked_per_partition: Count | None = Field(default=None, description="The same for one partition.")
    max_events_per_worker: Count | None = Field(
        default=None,
        description="Events after which a worker process is replaced by a fresh one. Not set: never.",
    )
    max_rss: Count | None = Field(
        default=None,
        description="Resident memory beyond which a worker process is replaced by a fresh one, in MiB. Not set: never.",
    )
    side_effects: Literal["always", "live_only"] | None = Field(
        default=None,
        description="`live_only`: the handler is not called for events that were stored before the subscription began, "
        "or before it was reset.",
    )

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        if self.retry_backoff_min is not None and self.retry_backoff_max is not None:
            _check_order("retry_backoff_min", self.retry_backoff_min, "retry_backoff_max", self.retry_backoff_max)
        return self


class RuntimeConfig(BaseSettings):
    """The whole configuration of one node. Build it with `load_config`; built directly it reads no environment."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
    )

    store: StoreConfig = Field(default_factory=StoreConfig, description="The database.")
    runtime: NodeConfig = Field(default_factory=NodeConfig, description="The processes of this node.")
    restart: RestartConfig = Field(default_factory=RestartConfig, description="How a process that died comes back.")
    monitor: MonitorConfig = Field(default_factory=MonitorConfig, description="Metrics, health and status over HTTP.")
    log: LogConfig = Field(default_factory=LogConfig, description="What is written to standard error.")
    subscriptions: list[SubscriptionConfig] = Field(
        default=[],
        description="One entry for each subscription. An option that is not set here is the one of the handler's "
        "`@handler(...)`, or else the default.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leaves the environment to `load_config`, which is told which one to read."""
        return (init_settings,)

    @field_validator("subscriptions")
    @classmethod
    def _names_differ(cls, subscriptions: list[SubscriptionConfig]) -> list[SubscriptionConfig]:
        names = [subscription.name for subscription in subscriptions]
        for index, name in enumerate(names):
            if name is not None and name in names[:index]:
                raise inconsistent(
                    f'name = "{name}" is taken by an earlier entry; give each subscription its own name',
                    (index, "name"),
                )
        return subscriptions


def load_config(path: Path | None, environ: Mapping[str, str]) -> RuntimeConfig:
    """Reads, checks and freezes the configuration.

    Args:
        path: The TOML file; None for defaults and environment only.
        environ: The environment variables, usually `os.environ`. An empty value counts as not set.

    Returns:
        The configuration; embedded store folder and python_path are absolute, starting at the file's folder (at the
        working directory where there is no file).

    Raises:
        ConfigurationError: Something is wrong; its message has one line for each problem, with the place, the value
            and the remedy.
    """
    file = read_toml(path) if path else None
    environment, problems = read_environment(RuntimeConfig, environ)
    sources = Sources(file, environment)
    # BaseSettings takes keys such as `_env_file` as arguments to itself.
    reserved = {name for name in sources.values() if name.startswith("_")}
    problems += [unknown_option((name,), RuntimeConfig, sources) for name in sorted(reserved)]
    try:
        config = RuntimeConfig.model_validate({k: v for k, v in sources.values().items() if k not in reserved})
    except ValidationError as error:
        problems += explain(error, RuntimeConfig, sources)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return _with_absolute_paths(config, path.absolute().parent if path else Path.cwd())


def iter_options() -> Iterator[Option]:
    """Yields every option as (key, type, default, description), in the order of the models above."""
    return options_of(RuntimeConfig)


def _check_order(low_name: str, low: float, high_name: str, high: float) -> None:
    if low > high:
        raise inconsistent(
            f"{low_name} = {low} is more than {high_name} = {high}; lower the first or raise the second",
            (low_name,),
            (high_name,),
        )


def _with_absolute_paths(config: RuntimeConfig, folder: Path) -> RuntimeConfig:
    store, node = config.store, config.runtime
    if store.url.startswith(EMBEDDED):
        url = EMBEDDED + _absolute(store.url.removeprefix(EMBEDDED), folder)
        store = store.model_copy(update={"url": url})
    node = node.model_copy(update={"python_path": [_absolute(entry, folder) for entry in node.python_path]})
    return config.model_copy(update={"store": store, "runtime": node})


def _absolute(entry: str, folder: Path) -> str:
    try:
        return str(folder / Path(entry).expanduser())
    except RuntimeError:
        raise ConfigurationError(
            f'the home folder that "{entry}" stands for is not known; write the full path'
        ) from None
