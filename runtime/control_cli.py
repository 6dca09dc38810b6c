"""The commands that steer subscriptions while nodes run: pause, resume, reset, skip, restart, and parked events.

Each stores what is wanted in one transaction and announces it; whoever owns the subscription does it, now or when it is
back. `delete` is for what no node runs. Options in, one operation, one line or a table out. `cli.py` adds them to the
command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..store import control
from ..store.connection import Connection, run, run_atomically
from ..store.delivery_types import ParkedRecord
from ..store.errors import ConfigurationError
from ..store.operation import Operation, Result
from ..store.read import page_stream
from ..store.schema import check
from ..store.serializer import JsonSerializer
from ..store.sql import Statements
from ..store.subscriptions import subscription_lags
from ..store.types import SubscriptionRecord
from . import commands
from .cli_options import SUBSCRIPTIONS, ConfigOption, JsonOption, positive_number, whole_number

Open = Callable[[Path | None], AbstractContextManager[tuple[Connection, str]]]
"""Opens the configured store: a connection and the schema."""

SubscriptionArgument = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="The subscription's name.")]
StreamOption = Annotated[
    str | None,
    typer.Option("--stream", metavar="STREAM", help="Its stream, where several have a subscription of that name."),
]
EventOption = Annotated[
    list[int] | None,
    typer.Option("--event", metavar="N", parser=whole_number, help="The event; may be repeated."),
]
PartitionOption = Annotated[str | None, typer.Option("--partition", metavar="KEY", help="All of this partition.")]
UntilOption = Annotated[
    int | None, typer.Option("--until", metavar="N", parser=whole_number, help="All up to this event.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All of the subscription.")]


class Chosen:
    """The subscription that a command is about, in the store that is configured."""

    def __init__(self, connection: Connection, schema: str, name: str, stream: str | None) -> None:
        self._connection = connection
        self._statements = Statements(schema, check(connection, schema))
        self.record: SubscriptionRecord = self.read(
            lambda statements: control.find_subscription(statements, name, stream)
        )

    def read(self, operation: Callable[[Statements], Operation[Result]]) -> Result:
        """Runs an operation that changes nothing."""
        return run(self._connection, operation(self._statements))

    def change(self, operation: Callable[[Statements], Operation[Result]]) -> Result:
        """Runs an operation in a transaction."""
        return run_atomically(self._connection, operation(self._statements))


@contextmanager
def _chosen(open_connection: Open, path: Path | None, name: str, stream: str | None) -> Iterator[Chosen]:
    with open_connection(path) as (connection, schema):
        yield Chosen(connection, schema, name, stream)


def add_commands(app: typer.Typer, open_connection: Open) -> None:
    """Adds the commands to the command line.

    Args:
        app: The command line.
        open_connection: How to open the store.
    """
    _add_pause_and_resume(app, open_connection)
    _add_moves(app, open_connection)
    _add_delete(app, open_connection)
    parked = typer.Typer(help="See parked events, and have them handled again or discarded.", no_args_is_help=True)
    _add_parked_views(parked, open_connection)
    _add_parked_decisions(parked, open_connection)
    app.add_typer(parked, name="parked", rich_help_panel=SUBSCRIPTIONS)


def _add_pause_and_resume(app: typer.Typer, open_connection: Open) -> None:
    @app.command(rich_help_panel=SUBSCRIPTIONS, epilog="Example: eventstore-runtime pause revenue")
    def pause(
        context: typer.Context,
        subscription: SubscriptionArgument,
        stream: StreamOption = None,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Pause a subscription: what is in flight is finished, nothing more is delivered; until it is resumed."""
        with _chosen(open_connection, config or context.obj, subscription, stream) as chosen:
            number = chosen.record.subscription_id
            changed = chosen.change(lambda statements: control.pause(statements, number))
        _say({"paused": subscription}, "paused" if changed else "was paused already", subscription, as_json)

    @app.command(rich_help_panel=SUBSCRIPTIONS, epilog="Example: eventstore-runtime resume revenue")
    def resume(
        context: typer.Context,
        subscription: SubscriptionArgument,
        stream: StreamOption = None,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Resume a subscription that is paused or halted; the event it halted at gets a fresh count of attempts."""
        with _chosen(open_connection, config or context.obj, subscription, stream) as chosen:
            number = chosen.record.subscription_id
            changed = chosen.change(lambda statements: control.resume(statements, number))
        _say({"resumed": subscription}, "resumed" if changed else "was running already", subscription, as_json)

    @app.command(rich_help_panel=SUBSCRIPTIONS, epilog="Example: eventstore-runtime restart revenue")
    def restart(
        context: typer.Context,
        subscription: SubscriptionArgument,
        stream: StreamOption = None,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Begin anew with fresh workers, from the checkpoint; a halted subscription tries again."""
        with _chosen(open_connection, config or context.obj, subscription, stream) as chosen:
            number = chosen.record.subscription_id
            chosen.change(lambda statements: control.restart(statements, number))
        _say({"restarted": subscription}, "begins anew", subscription, as_json)


def _add_moves(app: typer.Typer, open_connection: Open) -> None:
    @app.command(
        rich_help_panel=SUBSCRIPTIONS, epilog="Example: eventstore-runtime reset revenue --since 2026-01-01T00:00:00Z"
    )
    def reset(
        context: typer.Context,
        subscription: SubscriptionArgument,
        to: Annotated[
            int | None,
            typer.Option(
                "--to", metavar="N", parser=whole_number, help="The last event not to deliver; 0 is the origin."
            ),
        ] = None,
        since: Annotated[
            str | None, typer.Option("--since", metavar="TIME", help="Deliver what was created at this time or later.")
        ] = None,
        stream: StreamOption = None,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Move a subscription to another position, while nodes run: all after it is handled again."""
        if (to is None) == (since is None):
            raise ConfigurationError("reset needs a position: give either --to N or --since TIME")
        with _chosen(open_connection, config or context.obj, subscription, stream) as chosen:
            record = chosen.record
            where = _moment(since) if since is not None else to or 0
            target = chosen.change(lambda statements: control.reset(statements, record, where))
        said = {"reset": subscription, "to": target, "from": record.last_seen}
        _say(said, f"goes on after event {target:,}, it was at {record.last_seen or 0:,}", subscription, as_json)

    @app.command(rich_help_panel=SUBSCRIPTIONS, epilog="Example: eventstore-runtime skip revenue")
    def skip(
        context: typer.Context,
        subscription: SubscriptionArgument,
        event: Annotated[
            int | None,
            typer.Option("--event", metavar="N", parser=whole_number, help="The event; where it halted by default."),
        ] = None,
        stream: StreamOption = None,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Leave an event out for good; a subscription that halted at it goes on."""
        with _chosen(open_connection, config or context.obj, subscription, stream) as chosen:
            record = chosen.record
            target = chosen.change(lambda statements: control.skip(statements, record, event))
        _say({"skipped": target, "subscription": subscription}, f"skips event {target:,}", subscription, as_json)


def _add_delete(app: typer.Typer, open_connection: Open) -> None:
    @app.command(rich_help_panel=SUBSCRIPTIONS, epilog="Example: eventstore-runtime delete revenue")
    def delete(
        context: typer.Context,
        subscription: SubscriptionArgument,
        stream: StreamOption = None,
        force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Delete a subscription that no node runs any more, with its checkpoint and its parked events."""
        with _chosen(open_connection, config or context.obj, subscription, stream) as chosen:
            record = chosen.record
            if not force:
                typer.confirm(
                    f"Delete subscription {subscription!r} of stream {record.stream_uuid!r}, "
                    f"which is at event {record.last_seen or 0:,}?",
                    abort=True,
                )
            if not chosen.change(lambda statements: control.delete_unowned(statements, record.subscription_id)):
                raise ConfigurationError(
                    f"subscription {subscription!r} is being run by {_owner(chosen)}; take it out of the configuration "
                    "there, and reload or stop that node first"
                )
        _say({"deleted": subscription}, "is deleted", subscription, as_json)


def _owner(chosen: Chosen) -> str:
    lags = chosen.read(subscription_lags)
    node = next((lag.node for lag in lags if lag.subscription_id == chosen.record.subscription_id), None)
    return f"node {node!r}" if node else "somebody else"


def _add_parked_views(parked: typer.Typer, open_connection: Open) -> None:
    @parked.command(name="list", epilog="Example: eventstore-runtime parked list revenue --partition order-7")
    def list_parked(
        context: typer.Context,
        subscription: SubscriptionArgument,
        partition: PartitionOption = None,
        until: UntilOption = None,
        count: Annotated[int, typer.Option(metavar="N", parser=positive_number, help="Most events to show.")] = 100,
        stream: StreamOption = None,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """List the parked events of a subscription, in order."""
        with _chosen(open_connection, config or context.obj, subscription, stream) as chosen:
            number = chosen.record.subscription_id
            records = chosen.read(
                lambda s: control.list_parked(s, number, partition=partition, until=until, limit=count)
            )
        if as_json:
            for record in records:
                typer.echo(commands.as_json(record))
        else:
            commands.show(_table(records) if records else f"subscription {subscription!r} has no parked events")

    @parked.command(epilog="Example: eventstore-runtime parked show revenue --event 17")
    def show(
        context: typer.Context,
        subscription: SubscriptionArgument,
        event: Annotated[int, typer.Option("--event", metavar="N", parser=whole_number, help="The event.")],
        stream: StreamOption = None,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Show one parked event: why it was parked, and what it holds."""
        with _chosen(open_connection, config or context.obj, subscription, stream) as chosen:
            record = chosen.record
            found = chosen.read(lambda s: control.list_parked(s, record.subscription_id, numbers=[event]))
            if not found:
                raise ConfigurationError(f"event {event} of subscription {subscription!r} is not parked")
            rows = chosen.read(lambda s: page_stream(s, record.stream_uuid, event - 1, 1))
        shown: dict[str, Any] = msgspec.to_builtins(found[0])
        if rows and rows[0][0] == event:
            shown |= {"data": _payload(rows[0][7]), "metadata": _payload(rows[0][8])}
        if as_json:
            typer.echo(JsonSerializer().serialize(shown).decode())
            return
        for name, value in shown.items():
            typer.echo(f"{name:13}{value if isinstance(value, str) else JsonSerializer().serialize(value).decode()}")


def _add_parked_decisions(parked: typer.Typer, open_connection: Open) -> None:
    @parked.command(epilog="Example: eventstore-runtime parked retry revenue --all")
    def retry(
        context: typer.Context,
        subscription: SubscriptionArgument,
        event: EventOption = None,
        partition: PartitionOption = None,
        until: UntilOption = None,
        everything: AllOption = False,
        stream: StreamOption = None,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Have parked events handled again; what is held behind them follows in order."""
        _check_choice(event, partition, until, everything=everything)
        with _chosen(open_connection, config or context.obj, subscription, stream) as chosen:
            number = chosen.record.subscription_id
            numbers = chosen.change(
                lambda s: control.retry_parked(s, number, numbers=event, partition=partition, until=until)
            )
        said = f"handles {commands.describe_events(len(numbers))} again" if numbers else "has no such parked event"
        _say({"retried": numbers}, said, subscription, as_json)

    @parked.command(epilog="Example: eventstore-runtime parked discard revenue --event 17")
    def discard(
        context: typer.Context,
        subscription: SubscriptionArgument,
        event: EventOption = None,
        partition: PartitionOption = None,
        until: UntilOption = None,
        everything: AllOption = False,
        stream: StreamOption = None,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Leave parked events out for good; what is held behind them follows in order, unless it is discarded too."""
        _check_choice(event, partition, until, everything=everything)
        with _chosen(open_connection, config or context.obj, subscription, stream) as chosen:
            number = chosen.record.subscription_id
            numbers = chosen.change(
                lambda s: control.discard_parked(s, number, numbers=event, partition=partition, until=until)
            )
        said = f"leaves out {commands.describe_events(len(numbers))}" if numbers else "has no such parked event"
        _say({"discarded": numbers}, said, subscription, as_json)


def _check_choice(events: Sequence[int] | None, partition: str | None, until: int | None, *, everything: bool) -> None:
    chosen = bool(events or partition is not None or until is not None)
    if everything and chosen:
        raise ConfigurationError("--all is every parked event; give it alone, or leave it out")
    if not everything and not chosen:
        raise ConfigurationError("say which parked events: --event N, --partition KEY, --until N, or --all")


def _payload(stored: bytes | None) -> Any:
    """Data as JSON where it is, else as text: what cannot be decoded is often why the event is parked."""
    if stored is None:
        return None
    try:
        return msgspec.json.decode(stored)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return stored.decode(errors="backslashreplace")


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        example = datetime.now(UTC).isoformat(timespec="seconds")
        raise ConfigurationError(f"--since {text!r} is no time; write it like {example}") from None


def _say(answer: dict[str, Any], text: str, subscription: str, as_json: bool) -> None:
    typer.echo(commands.as_json(answer) if as_json else f"subscription {subscription!r} {text}")


def _table(records: Sequence[ParkedRecord]) -> RenderableType:
    """A table of what is short, and the reasons below it: a column of them would have no room on a terminal."""
    table = Table(box=box.SIMPLE)
    for heading in ("Event", "Attempts", "Crashes"):
        table.add_column(heading, justify="right")
    for heading in ("State", "Partition", "Type", "Stream", "Parked (UTC)"):
        table.add_column(heading, overflow="fold")
    for record in records:
        table.add_row(
            f"{record.number:,}",
            str(record.attempts),
            str(record.crashes),
            record.state,
            record.partition or "-",
            record.event_type or "(deleted)",
            record.stream_uuid or "(deleted)",
            f"{record.parked_at:%Y-%m-%d %H:%M:%S}",
        )
    return Group(table, *(Text(f"  {record.number:,}: {record.reason}") for record in records))
