"""Everything that can happen to a database and to the network before it, while events are handled.

After each of them the node resumes by itself, nothing is lost, and effects are exactly once. One node lives through
all of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from eventstore.store import connect
from eventstore.tests.support.cluster import PASSWORD
from eventstore.tests.support.site import RESTART, SCHEMA, Site, new_site
from eventstore.tests.support.wait import wait_until

# How long the server is away in the one test that can wait, in seconds; the node then restarts as slowly as by default.
OUTAGE = float(os.environ.get("EVENTSTORE_TEST_OUTAGE") or 0)
WITH_A_SESSION = ("listener", "lock-holder", "worker:counter:0", "worker:counter:1")


@pytest.fixture(scope="module")
def everlasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site of all these tests."""
    with new_site(tmp_path_factory.mktemp("site"), restart="" if OUTAGE else RESTART) as site:
        yield site
        site.node.until_ready()
        assert site.node.terminate() == 0, site.node.log
        wait_until(lambda: not site.node.living(), "nobody is left", lambda: str(site.node.living()))
        assert "Traceback" not in site.node.log
        assert PASSWORD not in site.node.log


@pytest.fixture
def site(everlasting: Site) -> Iterator[Site]:
    """The site, with new work begun, and all of it done after the test."""
    everlasting.node.until_ready()
    everlasting.append()
    yield everlasting
    everlasting.append(each=2)
    everlasting.check()


@pytest.mark.parametrize("role", ["LISTEN", "listener", "lock-holder", "worker:counter:%"])
def test_a_session_of_any_kind_is_terminated(site: Site, role: str) -> None:
    ended = set(site.terminate(role))
    assert ended
    wait_until(lambda: site.backends(role) and not ended & set(site.backends(role)), "a new one is there")


def test_every_session_is_terminated_again_and_again(site: Site) -> None:
    for _ in range(5):
        wait_until(lambda: len(site.backends("%")) >= 3, "there are sessions", site.explain)
        site.terminate()


def test_one_event_that_comes_while_nobody_listens_is_handled(site: Site) -> None:
    """The poll is an hour away: only the read that follows LISTEN can find it."""
    site.check()
    for _ in range(3):
        wait_until(lambda: site.terminate("LISTEN"), "the listener listens")
        site.append(each=1)
        site.check()


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_the_server_is_restarted(site: Site, how: str) -> None:
    site.cluster.stop(how)
    site.until_not_ready()
    site.cluster.start()


def test_the_server_is_away_for_long_and_the_log_stays_short(site: Site) -> None:
    site.check()
    written = len(site.node.log)
    before = site.restarts()
    site.append(seconds=0.05)
    wait_until(lambda: site.backends("worker:counter:%", "idle in%"), "handlers are at work", site.explain)
    site.cluster.stop()
    site.until_not_ready("database is not available")
    plain = site.node.children()["worker:plain:0"]
    os.kill(plain, signal.SIGKILL)
    wait_until(
        lambda: site.node.children().get("worker:plain:0", plain) != plain, "a dead worker is replaced meanwhile"
    )
    wait_until(
        lambda: all(site.restarts()[name] >= before[name] + 8 for name in WITH_A_SESSION), "they try", site.explain
    )
    until = time.monotonic() + OUTAGE
    wait_until(
        lambda: _stays_not_ready(site) and time.monotonic() >= until, "it is over", site.explain, within=OUTAGE + 60
    )
    said = defaultdict(list)
    for line in site.log_lines(written):
        said[line.get("child") or line.get("subscription") or line.get("process")].append(line)
    # A short one may fall into the half minute of another test's line.
    assert said["listener"] or OUTAGE < 60
    said.pop("worker:plain:0", None)  # it was killed, and has come back, which are two things to say
    for lines in said.values():
        times = [datetime.fromisoformat(line["timestamp"]) for line in lines]
        assert all(later - sooner >= timedelta(seconds=29) for sooner, later in pairwise(times)), lines
    site.cluster.start()
    back = time.monotonic()
    wait_until(lambda: site.node.status().get("ready"), "it is ready again", site.explain, within=30)
    print(f"away for {OUTAGE:g} s, ready {time.monotonic() - back:.1f} s later")  # noqa: T201 - for a long run


def _stays_not_ready(site: Site) -> bool:
    assert site.node.get("/readyz")[0] == 503
    assert site.node.get("/healthz")[0] == 200
    return True


def test_there_are_too_many_connections(site: Site) -> None:
    with site.admin() as conn:
        conn.execute("alter role runtime connection limit 0")
        site.terminate()
        site.until_not_ready("too many connections")
        conn.execute("alter role runtime connection limit -1")


def test_the_password_is_refused(site: Site) -> None:
    """At the start that would be final; of a node that has worked it is an outage."""
    with site.admin() as conn:
        conn.execute("alter role runtime password 'another'")
        site.terminate()
        site.until_not_ready("password authentication failed")
        before = site.restarts()
        wait_until(lambda: site.restarts()["lock-holder"] > before["lock-holder"] + 1, "it goes on trying")
        conn.execute(f"alter role runtime password '{PASSWORD}'")


def test_the_server_takes_no_writes(site: Site) -> None:
    with site.admin() as conn:
        for value in ("on", "off"):
            conn.execute(f"alter system set default_transaction_read_only = {value}")
            conn.execute("select pg_reload_conf()")
            if value == "on":
                site.append(each=5)
                site.until_not_ready("read-only")


def test_statements_take_too_long(site: Site) -> None:
    before = site.restarts()
    with site.admin() as conn, conn.transaction():
        conn.execute("select set_config('search_path', quote_ident(%s), true)", (SCHEMA,))
        conn.execute("lock table subscriptions in access exclusive mode")
        wait_until(lambda: site.restarts()["lock-holder"] > before["lock-holder"], "it gave up waiting", site.explain)
        site.until_not_ready("did not answer in time")


def test_connections_are_cut(site: Site) -> None:
    site.proxy.cut()


def test_connections_are_refused(site: Site) -> None:
    site.proxy.refusing = True
    site.proxy.cut()
    site.until_not_ready()
    site.proxy.refusing = False


def test_the_network_is_a_black_hole(site: Site) -> None:
    before = site.restarts()
    site.proxy.stall()
    site.until_not_ready("no sign of life")
    wait_until(
        lambda: all(site.restarts()[name] > before[name] for name in ("listener", "lock-holder")),
        "who hangs is replaced",
        site.explain,
    )
    site.proxy.flow()


@pytest.mark.parametrize("role", ["LISTEN", "listener", "lock-holder"])
def test_a_session_is_lost_half_way(site: Site, role: str) -> None:
    """The server has closed it; the client's end looks alive for ever."""
    site.check()
    before = site.backends(role)
    assert site.proxy.vanish(role)
    wait_until(lambda: set(site.backends(role)) - set(before), "there is a new one", site.explain)


def test_notifications_do_not_come_through(site: Site) -> None:
    site.check()
    site.proxy.swallowing = True
    wait_until(lambda: site.node.status()["listener"]["listen_silent"], "it knows that it is deaf", site.explain)
    site.append()
    site.check()
    status = site.node.status()
    assert status["ready"], "polling does the work"
    assert "found by polling" in status["warnings"][0]
    assert b"eventstore_listen_silent 1.0" in site.node.get("/metrics")[1]
    site.proxy.swallowing = False
    wait_until(lambda: not site.node.status()["listener"]["listen_silent"], "it hears again", site.explain)
    assert not any("polling" in warning for warning in site.node.status()["warnings"])
    assert 0 < site.node.status()["listener"]["listen_round_trip"] < 60
    assert {line["event"] for line in site.log_lines()} >= {"listen_silent", "listen_works"}


def test_the_disk_is_full(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = site.cluster.data.parent / "small"
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        _fill_and_empty(site, folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill_and_empty(site: Site, folder: Path) -> None:
    table = '"' + SCHEMA.replace('"', '""') + '".effects'
    with site.admin() as conn:
        space = folder / "space"
        space.mkdir()
        space.chmod(0o777)
        subprocess.run(["chown", "--reference", str(site.cluster.data), str(space)], check=True)
        conn.execute(f"create tablespace small location '{space}'")
        site.check()
        conn.execute(f"alter table {table} set tablespace small")
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
        site.append(each=400, seconds=0.0)
        site.until_not_ready("No space left on device")
        filler.unlink()
        site.check()
        conn.execute(f"alter table {table} set tablespace pg_default")
        conn.execute("drop tablespace small")


def test_no_long_lived_session_is_ever_inside_a_transaction(site: Site) -> None:
    """A listener inside a transaction fills the server's queue of notifications; an open one holds up vacuum."""
    query = """
        select application_name, state from pg_stat_activity
         where application_name ~ '^eventstore-runtime (LISTEN|listener|lock-holder) @' and state like 'idle in%'
    """
    with connect(site.cluster.admin_url, "test") as conn:
        for _ in range(50):
            assert conn.execute(query).fetchall() == []
            site.node.status()


@pytest.mark.parametrize("away", ["stopped", "silent"])
def test_a_node_is_stopped_while_its_database_is_away(site: Site, away: str) -> None:
    """Within the grace time, whatever the database does; the other node is the owner and goes on afterwards."""
    other = site.project.start(name=f"leaving-{away}", **site.variables).until_ready()
    site.check()
    if away == "stopped":
        site.cluster.stop("immediate")
    else:
        site.proxy.stall()
    code = other.terminate()
    wait_until(lambda: not other.living(), "nobody is left", lambda: str(other.living()))
    assert code == 0 if away == "stopped" else code in (0, 1)
    assert "Traceback" not in other.log
    if away == "stopped":
        site.cluster.start()
    else:
        site.proxy.flow()
