"""The database connection of a transactional handler, synchronous or not, behind one face.

The ledger's statements and the handler's own run on the same connection. A handler that is `async def` gets an
asynchronous one; what waits for it here waits on the handler's event loop, so that the logic of a transaction is
written once, in `execution.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from ..store.async_connection import AsyncConnection, arun
from ..store.connection import Connection, run
from ..store.errors import Conflict, StoreUnavailable
from ..store.operation import Operation, Result
from ..store.translate import translate
from .user_handler import EventLoop


class HandlerSession(ABC):
    """A connection in autocommit, on which the worker opens transactions."""

    @property
    @abstractmethod
    def connection(self) -> Connection | AsyncConnection:
        """What the handler gets."""

    @abstractmethod
    def run(self, operation: Operation[Result]) -> Result:
        """Runs an operation of the store. Raises what `store.connection.run` does."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """A transaction around the block, committed at its end, rolled back by an exception."""

    @abstractmethod
    def close(self) -> None:
        """Closes the connection; an open transaction is rolled back by the server."""

    def pass_on_trouble(self, error: BaseException) -> None:
        """Raises what is the database's trouble, not the event's fault: it must not count as an attempt.

        Raises:
            StoreError: `Conflict` or `StoreUnavailable`.
        """
        if isinstance(error, Conflict | StoreUnavailable):
            # Of a store that the handler used with conn=context.connection.
            raise error
        if not isinstance(error, psycopg.Error):
            return
        translated = translate(error)
        own_fault = isinstance(error, psycopg.errors.UniqueViolation | psycopg.errors.QueryCanceled)
        if self.connection.broken or (isinstance(translated, Conflict | StoreUnavailable) and not own_fault):
            raise translated from error

    def spoilt(self) -> str:
        """What a handler did to its transaction so that its work is not done; empty where it did nothing of the kind.

        Raises:
            StoreUnavailable: The connection was lost.
        """
        if self.connection.info.transaction_status is TransactionStatus.INTRANS:
            return ""
        if self.connection.broken:
            raise StoreUnavailable("the connection was lost while the handler ran: try again")
        return (
            "the handler returned with its transaction failed or ended; raise what fails, or put it into "
            "`with context.connection.transaction():`, and leave commit and rollback to the worker"
        )


class BlockingSession(HandlerSession):
    """For plain handlers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def connection(self) -> Connection:
        """What the handler gets."""
        return self._connection

    def run(self, operation: Operation[Result]) -> Result:
        """Runs an operation of the store."""
        return run(self._connection, operation)

    def transaction(self) -> AbstractContextManager[None]:
        """A transaction around the block."""
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._connection.transaction():
            yield

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


class AsyncSession(HandlerSession):
    """For `async def` handlers.

    Args:
        connection: Opened on the handler's loop.
        loop: That loop.
    """

    def __init__(self, connection: AsyncConnection, loop: EventLoop) -> None:
        self._connection = connection
        self._loop = loop

    @property
    def connection(self) -> AsyncConnection:
        """What the handler gets."""
        return self._connection

    def run(self, operation: Operation[Result]) -> Result:
        """Runs an operation of the store."""
        result: Result = self._loop.run(arun(self._connection, operation))
        return result

    def transaction(self) -> AbstractContextManager[None]:
        """A transaction around the block."""
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        transaction = self._connection.transaction()
        self._loop.run(transaction.__aenter__())
        try:
            yield
        except BaseException as error:
            self._loop.run(transaction.__aexit__(type(error), error, error.__traceback__))
            raise
        self._loop.run(transaction.__aexit__(None, None, None))

    def close(self) -> None:
        """Closes the connection."""
        self._loop.run(self._connection.close())
