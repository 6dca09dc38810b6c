"""A PostgreSQL for the tests, and a schema of its own for each of them."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import sql

from eventstore.store import Connection, EmbeddedServer, connect, initialise
from eventstore.store.keeper import postmaster_pid
from eventstore.store.sql import DataType

from .wait import wait_until


@contextmanager
def running_server() -> Iterator[str]:
    """Give the URL of a PostgreSQL: EVENTSTORE_TEST_URL, or else an embedded one in a temporary directory."""
    given = os.environ.get("EVENTSTORE_TEST_URL")
    if given:
        yield given
        return
    with temporary_home() as home, EmbeddedServer.acquire(home) as server:
        with connect(server.url) as conn:
            # The data is thrown away, so no test has to wait for the disk.
            conn.execute("alter system set fsync = off")
            conn.execute("select pg_reload_conf()")
        yield server.url


@contextmanager
def temporary_home(name: str = "es") -> Iterator[Path]:
    """Give a directory for an embedded server; it is removed when the server in it has stopped.

    Not one of pytest's: as root the server runs as another user, who may not enter those.
    """
    base = Path(tempfile.mkdtemp(prefix="eventstore-test-"))
    home = base / name
    try:
        yield home
    finally:
        wait_until(lambda: postmaster_pid(home / "data") is None, "the embedded server has stopped")
        shutil.rmtree(base)


@contextmanager
def fresh_schema(url: str, data_type: DataType = "bytea", name: str | None = None) -> Iterator[str]:
    """Give a new schema with the store's tables; it is dropped in the end."""
    schema = name or f"test_{uuid.uuid4().hex[:12]}"
    with connect(url, "test") as conn:
        try:
            initialise(conn, schema, data_type)
            yield schema
        finally:
            drop_schema(conn, schema)


def drop_schema(conn: Connection, schema: str) -> None:
    """Drop a schema with all that is in it."""
    conn.execute("set lock_timeout = '10s'")
    conn.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema)))
