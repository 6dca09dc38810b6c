"""A PostgreSQL of a test's own, on a TCP port: started and stopped in every way, copied as a standby, promoted."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from eventstore.store import Connection, connect, embedded
from eventstore.store.keeper import postmaster_pid

from .database import temporary_home
from .network import Network
from .node import free_port

PASSWORD = "c4nary-p4ssword"
"""Of the role `runtime`; whoever finds it in a log or a message has found a leak."""

_ACCESS = """
local all all trust
host replication all 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
host all all 198.18.0.0/15 scram-sha-256
"""
_SETTINGS = "fsync = off\nlisten_addresses = '{host}'\nmax_connections = 60\nlog_min_messages = fatal\n"


class Cluster:
    """A server that may run or not. Connections over TCP need the role `runtime` and its password.

    Args:
        data: Its directory.
        network: The network in which it runs, None for this machine's.
    """

    def __init__(self, data: Path, network: Network | None = None) -> None:
        self.data = data
        self.network = network
        self.host = network.there if network else "127.0.0.1"
        self.port = free_port()
        self._pgserver = embedded._cluster(embedded._pgserver(), data)

    @property
    def admin_url(self) -> str:
        """As superuser, through the socket."""
        return f"postgresql://postgres@/postgres?host={quote(str(self.data), safe='')}&port={self.port}"

    def url(self, port: int | None = None) -> str:
        """As the role `runtime` with its password, over TCP; by way of another port where one is given."""
        return f"postgresql://runtime:{PASSWORD}@{self.host}:{port or self.port}/postgres?sslmode=disable"

    def create(self) -> None:
        """Makes the data directory."""
        self._pgserver.ensure_pgdata_inited()
        self._write("pg_hba.conf", _ACCESS)
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS.format(host=self.host))

    def _write(self, name: str, text: str) -> None:
        (self.data / name).write_text(text)

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        options = f"-p {self.port} -k {self.data}"
        self._command("pg_ctl", "-w", "-s", "-D", ".", "-l", "log", "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        """Stops it, "fast" or "immediate", and waits until it is gone."""
        self._command("pg_ctl", "-w", "-s", "-D", ".", "-m", how, "stop")

    def promote(self) -> None:
        """Makes a standby the primary."""
        self._command("pg_ctl", "-w", "-s", "-D", ".", "promote")

    def copy_to(self, standby: Cluster) -> None:
        """Makes another cluster a streaming standby of this one."""
        standby.data.mkdir(exist_ok=True)
        standby.data.chmod(0o700)
        if self._pgserver.system_user is not None:
            shutil.chown(standby.data, self._pgserver.system_user)
        source = f"host=127.0.0.1 port={self.port} user=postgres"
        self._command("pg_basebackup", "-D", str(standby.data), "-d", source, "-R", "-X", "stream", "-c", "fast")

    def running(self) -> bool:
        """True while there is a server."""
        return postmaster_pid(self.data) is not None

    def _command(self, name: str, *arguments: str) -> None:
        user: str | None = self._pgserver.system_user
        folder = self.data if self.data.exists() else self.data.parent
        # Into a file: the server inherits the output, so a pipe would never end.
        with tempfile.TemporaryFile("w+") as output:
            command = [str(self._pgserver.bin_path / name), *arguments]
            if self.network is not None and user is not None:
                # Only root may enter a network, and only another user may run a server.
                command = [*self.network.command, "setpriv", f"--reuid={user}", "--clear-groups", *command]
                user = None
            done = subprocess.run(command, user=user, cwd=folder, stdout=output, stderr=output, timeout=60)
            output.seek(0)
            assert done.returncode == 0, output.read()


@contextmanager
def new_cluster(network: Network | None = None) -> Iterator[Cluster]:
    """Gives a running server with the role `runtime`, who owns the database; it is gone in the end."""
    with temporary_home() as home:
        home.mkdir()
        cluster = Cluster(home / "data", network)
        cluster.create()
        cluster.start()
        try:
            with connect(cluster.admin_url, "test") as conn:
                create_role(conn)
            yield cluster
        finally:
            if cluster.running():
                cluster.stop("immediate")


def create_role(conn: Connection) -> None:
    """Makes the role `runtime`, which may create schemas."""
    conn.execute(f"create role runtime login password '{PASSWORD}'")
    conn.execute("grant create on database postgres to runtime")
    conn.execute("grant create on schema public to runtime")
