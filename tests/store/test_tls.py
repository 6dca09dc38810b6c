"""Encrypted connections, passwords and sockets, with a real server that insists on them."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from eventstore.store import (
    AsyncEventStore,
    ConfigurationError,
    Connection,
    EventStore,
    connect,
    initialise,
)
from eventstore.store.connection import fetch
from eventstore.store.migrations import create_database, drop_database, migrations
from eventstore.store.operation import Query
from eventstore.tests.support.events import events
from eventstore.tests.support.node import free_port
from eventstore.tests.support.servers import installed, postgres, socket_url

PASSWORD = "p@ss#w/ord%:?& '\\ü"


@dataclass(frozen=True)
class Guarded:
    """A server on TCP that takes encrypted connections with a password only."""

    port: int
    certificate: str
    other_certificate: str
    folder: Path

    def url(self, password: str = PASSWORD, **query: str) -> str:
        more = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return f"postgresql://ann:{quote(password, safe='')}@localhost:{self.port}/postgres?{more}"


def certify(folder: Path, name: str) -> Path:
    """A certificate for localhost, signed by itself; its key is beside it."""
    certificate = folder / f"{name}.crt"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", folder / f"{name}.key", "-out", certificate]
    command: list[Any] = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    (folder / f"{name}.key").chmod(0o600)
    return certificate


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    programs = next(iter(installed().values()), None)
    if programs is None or shutil.which("openssl") is None:
        pytest.skip("needs openssl and a PostgreSQL with SSL: apt-get install openssl postgresql")
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    own, other = certify(folder, "server"), certify(folder, "other")
    settings: dict[str, str | int] = {
        "listen_addresses": "localhost",
        "port": port,
        "ssl": "on",
        "ssl_cert_file": "server.crt",
        "ssl_key_file": "server.key",
    }
    files = {name: (folder / name).read_bytes() for name in ("server.crt", "server.key")}
    with postgres(programs, settings, "hostssl all ann localhost scram-sha-256", files) as home:
        with connect(f"{socket_url(home)}&port={port}") as conn:
            conn.execute(f"create role ann superuser login password {sql_text(PASSWORD)}")
            initialise(conn, "guarded")
        yield Guarded(port, str(own), str(other), home)


def sql_text(text: str) -> str:
    return " E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def answered(conn: Connection, statement: str) -> Any:
    return fetch(conn, Query(statement))[0][0]


ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


def test_a_password_with_every_awkward_character(guarded: Guarded) -> None:
    with connect(guarded.url(sslmode="require")) as conn:
        assert answered(conn, ENCRYPTED) is True
    with pytest.raises(ConfigurationError, match="authentication failed") as refused:
        connect(guarded.url(PASSWORD[:-1], sslmode="require"))
    assert PASSWORD[:4] not in str(refused.value)


def test_a_certificate_is_verified_by_the_url(guarded: Guarded) -> None:
    url = guarded.url(sslmode="verify-full", sslrootcert=guarded.certificate)
    with EventStore(url, schema="guarded") as store:
        assert store.append_to_stream("url", 0, events(1)).stream_version == 1
    with pytest.raises(ConfigurationError, match="certificate"):
        connect(guarded.url(sslmode="verify-full", sslrootcert=guarded.other_certificate))


def test_a_certificate_is_verified_by_parameters(guarded: Guarded) -> None:
    """They win over the URL, and hold for the pool, for sessions and for asyncio."""
    parameters = {"sslmode": "verify-full", "sslrootcert": guarded.certificate, "work_mem": "7MB"}
    with EventStore(guarded.url(sslmode="disable"), schema="guarded", parameters=parameters) as store:
        store.append_to_stream("parameters", 0, events(1))
        with store._pool.connection() as own, store.open_session("test") as session:
            for conn in (own, session):
                assert answered(conn, ENCRYPTED) is True
                assert answered(conn, "show work_mem") == "7MB"

    async def read() -> int:
        async with AsyncEventStore(guarded.url(), schema="guarded", parameters=parameters) as reading:
            return len(await reading.read_stream_forward("parameters"))

    assert asyncio.run(read()) == 1
    wrong = {**parameters, "sslrootcert": guarded.other_certificate}
    with (
        EventStore(guarded.url(), schema="guarded", parameters=wrong) as store,
        pytest.raises(ConfigurationError, match="certificate"),
    ):
        store.stream_heads(["a"])


def test_tasks_are_encrypted_too(guarded: Guarded) -> None:
    url = guarded.url(sslmode="verify-full", sslrootcert=guarded.certificate).replace("/postgres?", "/made?")
    assert create_database(url)
    with connect(url) as conn:
        assert initialise(conn).created_tables
        assert answered(conn, ENCRYPTED) is True
        assert [migration.state for migration in migrations(conn)] == ["completed"]
    assert drop_database(url)


def test_without_encryption_the_server_refuses(guarded: Guarded) -> None:
    with pytest.raises(ConfigurationError, match="no pg_hba"):
        connect(guarded.url(sslmode="disable"))


@pytest.mark.parametrize("form", ["query", "host", "conninfo"])
def test_a_unix_socket(guarded: Guarded, form: str) -> None:
    folder = str(guarded.folder)
    url = {
        "query": f"postgresql:///postgres?user=postgres&host={quote(folder)}&port={guarded.port}",
        "host": f"postgresql://postgres@{quote(folder, safe='')}:{guarded.port}/postgres",
        "conninfo": f"host={folder} port={guarded.port} user=postgres dbname=postgres",
    }[form]
    with connect(url) as conn:
        assert answered(conn, "select inet_server_addr() is null") is True


def test_a_server_without_encryption_is_refused_where_it_is_wanted() -> None:
    """Something on TCP that answers an SSL request with "no"."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def refuse() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(8)
                peer.sendall(b"N")

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(ConfigurationError, match="does not support SSL"):
            connect(f"postgresql://ann@127.0.0.1:{port}/shop?sslmode=require")
        thread.join()
