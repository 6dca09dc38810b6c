"""The command line: options in, one function call, an exit code out. Errors are one sentence, never a traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console

from ..handlers.resolve import extend_path
from ..store import migrations
from ..store.connection import Connection, connect
from ..store.errors import ConfigurationError, EventStoreError
from ..store.event_store import EventStore
from ..store.migrations import create_database, drop_database
from ..store.serializer import Serializer
from ..store.settings import EMBEDDED
from ..store.translate import redact
from . import commands
from .cli_options import EVENTS, NODE, STORE, SUBSCRIPTIONS, ConfigOption, JsonOption, positive_number, whole_number
from .config import RuntimeConfig, load_config
from .control_cli import add_commands
from .demo.run import run_demo
from .idle import is_idle, is_misconfigured, stuck
from .launch import open_store, plan_node, run_node
from .planner import planner
from .restart import ExitCode
from .serializers import load_serializer
from .spawn import end_fork_server
from .status import NodeStatus
from .version import version

DEFAULT_FILE = Path("supervisor.toml")

app = typer.Typer(
    name="eventstore-runtime",
    help="Run the subscriptions that [bold]supervisor.toml[/bold] declares, and look after their event store.",
    epilog="Examples:  [cyan]eventstore-runtime demo[/cyan] · [cyan]eventstore-runtime -c supervisor.toml[/cyan] · "
    "[cyan]eventstore-runtime read '$all' --count 10[/cyan]",
    rich_markup_mode="rich",
    no_args_is_help=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

UntilIdleOption = Annotated[bool, typer.Option("--until-idle", help="Exit 0 when every subscription has caught up.")]


def main() -> NoReturn:
    """The console script `eventstore-runtime`."""
    code = ExitCode.OK
    try:
        app()
    except ConfigurationError as error:
        code = _complain(error, ExitCode.USAGE)
    except EventStoreError as error:
        code = _complain(error, ExitCode.FAILED)
    finally:
        end_fork_server()
    sys.exit(int(code))


def _complain(error: Exception, code: ExitCode) -> ExitCode:
    for line in str(error).splitlines():
        typer.echo(f"error: {line}", err=True)
    return code


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eventstore-runtime {version()}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    config: ConfigOption = None,
    until_idle: UntilIdleOption = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Without a command: the same as [bold]run[/bold]."""
    context.obj = config
    if context.invoked_subcommand is None:
        run(context, config, until_idle)


@app.command(rich_help_panel=NODE, epilog="Example: eventstore-runtime run -c supervisor.toml --until-idle")
def run(context: typer.Context, config: ConfigOption = None, until_idle: UntilIdleOption = False) -> None:
    """Run this node until SIGTERM or Ctrl-C; a second one hurries it."""
    _stop_on_sigterm()
    settings = _load(config or context.obj, needed=True)
    problem, misconfigured = "", False

    def observe(status: NodeStatus, _: Any) -> bool:
        nonlocal problem, misconfigured
        problem, misconfigured = stuck(status), is_misconfigured(status)
        return until_idle and (bool(problem) or is_idle(status))

    with open_store(settings) as store:
        plan = plan_node(settings, store)
        code = run_node(plan, observe, start_planning=planner(_file(config or context.obj), plan))
    if until_idle and problem:
        typer.echo(f"error: {problem}", err=True)
        code = ExitCode.USAGE if misconfigured else ExitCode.FAILED
    raise typer.Exit(int(code))


@app.command(
    rich_help_panel=STORE,
    epilog="Example: EVENTSTORE__STORE__URL=postgresql://localhost/app eventstore-runtime init",
)
def init(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Create the schema's tables where they are missing; safe to run again, and from many nodes at once."""
    with _store(config or context.obj, create=False) as store:
        done = msgspec.structs.asdict(store.init())
        typer.echo(commands.as_json(done) if as_json else commands.describe_changes(done, store.schema))


@app.command(
    rich_help_panel=STORE,
    epilog="Example: EVENTSTORE__STORE__URL=postgresql://localhost/app eventstore-runtime create",
)
def create(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Create the database and the schema's tables, where they are missing."""
    settings = _load(config or context.obj)
    url, default_database = settings.store.url, settings.store.default_database
    created = False if url.startswith(EMBEDDED) else create_database(url, default_database=default_database)
    with _store(config or context.obj, create=False) as store:
        done = store.init()
        answer = {"created_database": created, **msgspec.structs.asdict(done)}
        typer.echo(commands.as_json(answer) if as_json else commands.describe_changes(answer, store.schema))


@app.command(rich_help_panel=STORE, epilog="Example: eventstore-runtime migrate --json")
def migrate(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Bring the schema of an older commanded/eventstore (1.2.0 or newer) to the version this release works with."""
    with _connection(config or context.obj) as (connection, schema):
        reached = migrations.migrate(connection, schema)
        typer.echo(
            commands.as_json({"migrated_to": reached}) if as_json else commands.describe_migrate(reached, schema)
        )


@app.command(name="migrations", rich_help_panel=STORE, epilog="Example: eventstore-runtime migrations")
def list_migrations(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the versions the schema has been through, and those it lacks."""
    with _connection(config or context.obj) as (connection, schema):
        for migration in migrations.migrations(connection, schema):
            typer.echo(commands.as_json(migration) if as_json else f"{migration.version}  {migration.state}")


@app.command(rich_help_panel=STORE, epilog="Example: eventstore-runtime drop --force")
def drop(
    context: typer.Context,
    config: ConfigOption = None,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
    database: Annotated[
        bool, typer.Option("--database", help="Drop the whole database, other tables included.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Drop the store's tables, with all events and checkpoints; the database and other tables stay."""
    if database:
        _drop_database(_load(config or context.obj), force=force, as_json=as_json)
        return
    with _connection(config or context.obj) as (connection, schema):
        if not force:
            events = commands.describe_events(commands.count_events(connection, schema))
            typer.confirm(f"Drop the event store in schema {schema!r} with {events}?", abort=True)
        dropped = migrations.drop(connection, schema)
        text = f"schema {schema!r}: dropped" if dropped else f"schema {schema!r} held no event store"
        typer.echo(commands.as_json({"dropped": dropped}) if as_json else text)


@app.command(rich_help_panel=NODE, epilog="Example: eventstore-runtime demo --git ~/src/project --until-idle")
def demo(
    git: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The repository; the one you stand in by default.")
    ] = None,
    until_idle: UntilIdleOption = False,
    as_json: JsonOption = False,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the embedded store; in your cache by default.")
    ] = None,
) -> None:
    """Turn a git history into events and run the full runtime on them."""
    _stop_on_sigterm()
    console = Console(stderr=as_json, soft_wrap=False)
    code = run_demo(git, until_idle=until_idle or as_json, as_json=as_json, data_dir=data_dir, console=console)
    raise typer.Exit(int(code))


@app.command(rich_help_panel=SUBSCRIPTIONS, epilog="Example: eventstore-runtime status --json")
def status(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every subscription: checkpoint, head, lag and owner, as the database knows them."""
    with _store(config or context.obj) as store:
        lags = store.subscription_lags()
    if as_json:
        typer.echo(commands.as_json(lags))
    else:
        commands.show(commands.lag_table(lags) if lags else "no subscription has run on this store yet")


@app.command(
    rich_help_panel=EVENTS,
    epilog='Example: echo \'{"event_type": "Opened", "data": {"n": 1}}\' | eventstore-runtime append account-1',
)
def append(
    context: typer.Context,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream to append to.")],
    source: Annotated[
        str, typer.Option("--from", metavar="FILE.jsonl|-", help="One event a line; - is standard input.")
    ] = "-",
    expected: Annotated[
        str, typer.Option(metavar="VERSION", help="any_version, no_stream, stream_exists, or a number.")
    ] = "any_version",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Append events to a stream, all or none. A line: {"event_type": …, "data": …, "metadata": …, "event_id": …}."""
    version, events = commands.expected_version(expected), commands.read_events(source)
    with _store(config or context.obj) as store:
        result = store.append_to_stream(stream, version, events)
    typer.echo(commands.as_json(result) if as_json else commands.describe_append(result, len(events)))


@app.command(rich_help_panel=EVENTS, epilog="Example: eventstore-runtime read account-1 --backward --count 5 --json")
def read(
    context: typer.Context,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream, or $all.")],
    start: Annotated[
        int | None,
        typer.Option(
            "--start",
            metavar="N",
            parser=whole_number,
            help="First version to read; default: 1, or the end backward.",
        ),
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", parser=positive_number, help="Most events to read.")] = 1_000,
    backward: Annotated[bool, typer.Option("--backward", help="Newest first.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a stream's events, times in UTC; with --json one object a line, fit for `append`."""
    if start is not None and start < (-1 if backward else 0):
        raise ConfigurationError(f"--start {start} is out of range; give a version such as 1")
    with _store(config or context.obj) as store:
        if backward:
            events = store.read_stream_backward(stream, -1 if start is None else start, count)
        else:
            events = store.read_stream_forward(stream, start or 0, count)
    describe = commands.event_json if as_json else commands.event_line
    for event in events:
        typer.echo(describe(event, store.serializer))


def _drop_database(config: RuntimeConfig, *, force: bool, as_json: bool) -> None:
    url = config.store.url
    if url.startswith(EMBEDDED):
        raise ConfigurationError(f"url {url!r} is an embedded PostgreSQL: remove its folder instead")
    if not force:
        typer.confirm(f"Drop the whole database of {redact(url)}, with everything in it?", abort=True)
    dropped = drop_database(url, default_database=config.store.default_database)
    text = "the database is dropped" if dropped else "there was no such database"
    typer.echo(commands.as_json({"dropped_database": dropped}) if as_json else text)


@app.command(
    rich_help_panel=STORE,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: eventstore-runtime bench --quick --only append",
)
def bench(context: typer.Context) -> None:
    """Measure events per second, latency and cost on the configured database; [bold]bench --help[/bold] tells more."""
    # A program of its own, which brings much that no other command needs; the URL stays out of its arguments.
    where = ["--configured"] if context.obj is None else ["--config", str(context.obj)]
    os.execv(sys.executable, [sys.executable, "-m", "eventstore.bench", *where, *context.args])  # noqa: S606


def _stop_on_sigterm() -> None:
    """A node that is stopped while it still starts has nothing to drain: it ends at once, and in order."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(ExitCode.OK)))


def _file(path: Path | None) -> Path | None:
    """The configuration file, given or found."""
    return DEFAULT_FILE if path is None and DEFAULT_FILE.exists() else path


def _load(path: Path | None, *, needed: bool = False) -> RuntimeConfig:
    path = _file(path)
    if path is None and needed:
        raise ConfigurationError(
            f"there is no {DEFAULT_FILE} in {Path.cwd()}; give one with -c FILE, or try `eventstore-runtime demo`"
        )
    return load_config(path, os.environ)


def _load_to_open(path: Path | None) -> RuntimeConfig:
    """The configuration, and a word where nobody said which store and a new one is made.

    In the wrong folder a command would do that in silence, and show nothing of the store that is meant.
    """
    config = _load(path)
    url = config.store.url
    folder = Path(url.removeprefix(EMBEDDED))
    said = _file(path) is not None or bool(os.environ.get("EVENTSTORE__STORE__URL"))
    if not said and url.startswith(EMBEDDED) and not folder.exists():
        where = f"there is no {DEFAULT_FILE} in {Path.cwd()}; give one with -c FILE, or set EVENTSTORE__STORE__URL"
        typer.echo(f"note: a new, empty store begins in {folder}, since {where}", err=True)
    return config


def _serializer(config: RuntimeConfig) -> Serializer:
    extend_path(config.runtime.python_path)
    return load_serializer(config.store.serializer or "")


@contextmanager
def _connection(path: Path | None) -> Iterator[tuple[Connection, str]]:
    """A connection to the configured store, and its schema; nothing is created. Tasks may take any time."""
    config = _load_to_open(path)
    with (
        open_store(config, create=False) as plan,
        connect(plan.url, "command", timeout=None, prepare_threshold=plan.prepare_threshold) as connection,
    ):
        yield connection, plan.schema


@contextmanager
def _store(path: Path | None, *, create: bool = True) -> Iterator[EventStore]:
    """The configured store, ready for use; an embedded one is started, and created where it is new."""
    config = _load_to_open(path)
    with open_store(config, create=create) as plan:
        store = EventStore(
            plan.url,
            schema=plan.schema,
            pool_size=config.store.pool_size,
            timeout=plan.timeout,
            connect_timeout=plan.connect_timeout,
            prepare_threshold=plan.prepare_threshold,
            column_data_type=config.store.column_data_type,
            serializer=_serializer(config),
        )
        with store:
            yield store


add_commands(app, _connection)
