"""PostgreSQL servers of the tests' own: every version that this machine has, and PgBouncer in front of one.

Started as plain child processes, as another user where the tests run as root, which neither program accepts.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

from eventstore.store import EventStoreError, connect

from .wait import wait_until

#: The server that `database_url` gives by default: EVENTSTORE_TEST_URL, or else the embedded one.
DEFAULT = "default"

_INSTALLED = Path("/usr/lib/postgresql")


def installed() -> dict[str, Path]:
    """The folders of the programs of each PostgreSQL that a package installed, by major version."""
    found = {path.parent.parent.name: path.parent for path in _INSTALLED.glob("*/bin/postgres")}
    return dict(sorted(found.items(), key=lambda item: float(item[0])))


def every_server() -> list[str]:
    """The names of the servers that tests of the contract run on; only the given one where a URL is given."""
    return [DEFAULT] if os.environ.get("EVENTSTORE_TEST_URL") else [DEFAULT, *installed()]


@contextmanager
def postgres(
    programs: Path,
    settings: Mapping[str, str | int] | None = None,
    hba: str = "",
    files: Mapping[str, bytes] | None = None,
) -> Iterator[Path]:
    """Run a fresh server; give the folder of its socket, in which everybody may log in without a password.

    Args:
        programs: The folder of `postgres` and `initdb`.
        settings: Settings of the server.
        hba: Further lines for pg_hba.conf.
        files: Files for its data folder, which only the server may read.
    """
    with _folder(_service_user()) as (home, identity):
        data = home / "data"
        create: list[Any] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]
        subprocess.run(create, check=True, capture_output=True, cwd=home, **identity)
        (data / "pg_hba.conf").write_text(f"local all all trust\n{hba}\n")
        for name, content in (files or {}).items():
            _give(data / name, content, identity)
        # The data is thrown away, so no test has to wait for the disk.
        given = {"listen_addresses": "", "unix_socket_directories": str(home), "fsync": "off", **(settings or {})}
        options = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        url = f"{socket_url(home)}&port={given.get('port', 5432)}"
        with _running([programs / "postgres", "-D", data, *options], home, identity, url):
            yield home


@contextmanager
def pgbouncer(database_url: str, databases: Mapping[str, str], *settings: str) -> Iterator[dict[str, str]]:
    """Run a PgBouncer in front of a server; give the URL of each of its databases.

    Args:
        database_url: The server.
        databases: Options of each database, for example {"shared": "pool_mode=transaction pool_size=3"}.
        settings: Further lines of its configuration.
    """
    server = conninfo_to_dict(database_url)
    host, user = str(server.get("host", "localhost")), str(server.get("user", "postgres"))
    known = {"host": host, "port": server.get("port", 5432), "dbname": server.get("dbname", user), "user": user}
    if "password" in server:
        known["password"] = server["password"]
    place = " ".join(f"{name}='{str(value).replace(chr(39), chr(39) * 2)}'" for name, value in known.items())
    with _folder(_owner_of(host)) as (home, identity):
        lines = [f"{name} = {place} {more}" for name, more in databases.items()]
        (home / "users").write_text(f'"{user}" ""\n')
        (home / "pgbouncer.ini").write_text(
            "\n".join(
                [
                    "[databases]",
                    *lines,
                    "[pgbouncer]",
                    f"unix_socket_dir = {home}",
                    "auth_type = trust",
                    f"auth_file = {home / 'users'}",
                    f"admin_users = {user}",
                    f"logfile = {home / 'log'}",
                    *settings,
                ]
            )
        )
        program = pgbouncer_program()
        assert program is not None
        urls = {name: f"postgresql://{user}@/{name}?host={quote(str(home), safe='')}&port=6432" for name in databases}
        with _running([program, home / "pgbouncer.ini"], home, identity, next(iter(urls.values()))):
            yield urls


def pgbouncer_program() -> str | None:
    """Where PgBouncer is; None where it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def pgbouncer_version() -> tuple[int, ...]:
    """Its version, such as (1, 18, 0)."""
    program = pgbouncer_program()
    assert program is not None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+(\.\d+)+", said)
    assert found, said
    return tuple(map(int, found[0].split(".")))


def socket_url(folder: Path, database: str = "postgres") -> str:
    """The URL of a server by the folder of its socket."""
    return f"postgresql://postgres@/{database}?host={quote(str(folder), safe='')}"


def _service_user() -> pwd.struct_passwd | None:
    """Who a server runs as; None for whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def _owner_of(host: str) -> pwd.struct_passwd | None:
    """Who may enter the folder of a server's socket; None for whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    return pwd.getpwuid(Path(host).stat().st_uid) if host.startswith("/") else _service_user()


@contextmanager
def _folder(user: pwd.struct_passwd | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give a folder of a user's, with a path short enough for sockets, and the arguments that make a process theirs."""
    home = Path(tempfile.mkdtemp(prefix="eventstore-test-"))
    try:
        if user is None:
            yield home, {}
        else:
            os.chown(home, user.pw_uid, user.pw_gid)
            yield home, {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    finally:
        shutil.rmtree(home)


def _give(path: Path, content: bytes, identity: Mapping[str, Any]) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    if identity:
        os.chown(path, identity["user"], identity["group"])


@contextmanager
def _running(command: list[Any], home: Path, identity: dict[str, Any], url: str) -> Iterator[None]:
    output = home / "output"
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, **identity)
    try:
        wait_until(lambda: process.poll() is not None or _answers(url), f"{command[0]} answers", output.read_text)
        assert process.poll() is None, output.read_text()
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def _answers(url: str) -> bool:
    try:
        connect(url, "probe").close()
    except EventStoreError:
        return False
    return True
