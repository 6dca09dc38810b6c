"""A handler on the bench: called as a worker calls it, on five real events, without a worker's process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import psycopg
import structlog
from psycopg.sql import SQL, Identifier

from eventstore.handlers import Context
from eventstore.handlers.resolve import Subscription
from eventstore.runtime.at_hand import AtHand
from eventstore.runtime.calls import BatchCalls, Calls, SingleCalls
from eventstore.runtime.execution import Execution, PlainExecution, TransactionalExecution
from eventstore.runtime.handler_session import AsyncSession, BlockingSession, HandlerSession
from eventstore.runtime.results import Delivered, Results
from eventstore.runtime.user_handler import UserHandler
from eventstore.runtime.watch import Watch
from eventstore.store import Connection, EventStore, RecordedEvent, Statements, connect, run
from eventstore.store.async_connection import aconnect
from eventstore.store.read import page_all
from eventstore.store.rows import Row
from eventstore.store.serializer import JsonSerializer
from eventstore.store.subscriptions import begin_epoch, create_subscription, done_events
from eventstore.tests.support.events import events

ONE_TO_FIVE = (1, 2, 3, 4, 5)


class Bench:
    """One owned subscription on a stream of five events, and a table for effects."""

    def __init__(self, url: str, schema: str, stack: ExitStack) -> None:
        self.url, self.schema, self._stack = url, schema, stack
        self.conn = stack.enter_context(connect(url, "test"))
        self.handler_conn = stack.enter_context(connect(url, "test"))
        self.page = AtHand.create()
        stack.callback(self.page.close)
        self.statements = Statements(schema)
        with EventStore(url, schema=schema, pool_size=1) as store:
            store.append_to_stream("a", 0, events(*ONE_TO_FIVE))
        self.rows = run(self.conn, page_all(self.statements, 0, 10))
        self.subscription_id = run(self.conn, create_subscription(self.statements, "$all", "s")).subscription_id
        self.delivered = self.own()
        self.table = SQL("{}.{}").format(Identifier(schema), Identifier("effects"))
        self.conn.execute(SQL("create table {} (n bigint primary key, twice bigint)").format(self.table))

    def own(self, **circumstances: Any) -> Delivered:
        """Begins a new epoch."""
        owned = run(self.conn, begin_epoch(self.statements, self.subscription_id, "me"))
        return Delivered(self.subscription_id, owned.epoch, **circumstances)

    def batch(self, *numbers: int) -> list[Row]:
        return [self.rows[number - 1] for number in numbers or ONE_TO_FIVE]

    def plain(self, handler: Any, /, **options: Any) -> PlainExecution:
        return PlainExecution(self._calls(Subscription(name="s", **{"handler": "m:f", **options}), handler)[0])

    def transactional(self, handler: Any, connection: Connection | None = None, **options: Any) -> Execution:
        subscription = Subscription(name="s", handler="m:f", transactional=True, transaction_size=7, **options)
        calls, made = self._calls(subscription, handler)
        session: HandlerSession = BlockingSession(connection or self.handler_conn)
        if made.is_async:
            session = AsyncSession(made.loop.run(aconnect(self.url, "test")), made.loop)
            self._stack.callback(session.close)
        return TransactionalExecution(calls, session, self.statements, subscription.transaction_size)

    def _calls(self, subscription: Subscription, handler: Any) -> tuple[Calls, UserHandler]:
        made = UserHandler(subscription, handler)
        self._stack.callback(made.close)
        watch = Watch(self.page, None, subscription.slow_after, structlog.get_logger())
        kind: type[Calls] = SingleCalls if subscription.batch_size is None else BatchCalls
        return kind(subscription, made, JsonSerializer(), self.schema, watch), made

    def execute(self, handler: Any, *numbers: int, **options: Any) -> Results:
        """Handles events in a transaction under the newest epoch."""
        return self.apart(self.transactional(handler, **options), self.batch(*numbers))

    def apart(self, execution: Execution, rows: list[Row]) -> Results:
        """Executes as a worker does: one by one where it is told to."""
        results = execution.execute(rows, self.delivered)
        finished = list(results.finished)
        if not results.apart:
            return results
        for row in rows[len(finished) :]:
            single = execution.execute([row], self.delivered)
            assert not single.apart
            finished += single.finished
            if single.failed is not None:
                return Results(finished, single.failed, undo=single.undo)
        return Results(finished)

    def note(self, event: RecordedEvent, context: Context) -> None:
        """The effect of an event."""
        context.connection.execute(SQL("insert into {} (n) values (%s)").format(self.table), (event.event_number,))

    def effects(self) -> list[int]:
        return [n for (n,) in self.conn.execute(SQL("select n from {} order by n").format(self.table))]

    def done(self) -> list[int]:
        return sorted(run(self.conn, done_events(self.statements, self.subscription_id, ONE_TO_FIVE)))

    def check(self, *numbers: int) -> None:
        """Effects and ledger hold exactly these events, and the connection is ready for the next batch."""
        assert (self.effects(), self.done()) == (list(numbers), list(numbers))
        assert self.handler_conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


Handler = Callable[[RecordedEvent, Context], Any]
