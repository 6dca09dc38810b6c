"""The unit of `deploy/` under a real systemd: start, reload, stop, crash, hang, mistakes, and what it shuts off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from eventstore.store import EventData, EventStore
from eventstore.tests.support.node import Project
from eventstore.tests.support.systemd import UNIT, URL, Systemd, booted, why_not
from eventstore.tests.support.wait import wait_until

HANDLERS = '''
    """Remember events where the unit lets them, and die of some."""

    import os
    from pathlib import Path


    def remember(event, context):
        if event.data.get("deadly"):
            os._exit(1)
        with (Path(os.environ["STATE_DIRECTORY"]) / context.subscription).open("a") as file:
            file.write(f"{event.event_number}\\n")
'''

ONE = """
[[subscriptions]]
name = "{name}"
handler = "my_handlers:remember"
on_exhausted = "skip"
"""


@pytest.fixture
def systemd(tmp_path: Path, database_url: str) -> Iterator[Systemd]:
    """A systemd with the unit, for this test alone."""
    reason = why_not(database_url)
    if reason:
        pytest.skip(reason)
    with booted(tmp_path, database_url) as one:
        yield one


@pytest.fixture
def service(systemd: Systemd, schema: str) -> Project:
    """What is in the service's /etc/eventstore."""
    project = Project(systemd.project, URL, schema)
    project.handlers(HANDLERS)
    project.configure(ONE.format(name="one"))
    return project


def start(systemd: Systemd) -> None:
    """`systemctl start`, which must work."""
    started = systemd.systemctl("start")
    assert started.returncode == 0, f"{started.stderr}\n{systemd.journal()}"


def remembered(systemd: Systemd, subscription: str) -> str:
    """The numbers of the events that a subscription has handled."""
    return " ".join(systemd.run("cat", f"/var/lib/eventstore/{subscription}").stdout.split())


def living(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run."""
    psutil.wait_procs([p for p in family if p.is_running() and p.status() == psutil.STATUS_ZOMBIE], timeout=60)
    return [p for p in family if p.is_running()]


@pytest.mark.parametrize("override", ["", "MemoryDenyWriteExecute=yes"])
def test_a_node_is_started_reloaded_and_stopped(
    systemd: Systemd, service: Project, event_store: EventStore, override: str
) -> None:
    systemd.override(override)
    start(systemd)
    assert (systemd.show("ActiveState"), systemd.show("NRestarts")) == ("active", "0")
    systemd.until("StatusText", "running, 1 subscriptions")
    event_store.append_to_stream("a", 0, [EventData("E", {}), EventData("E", {"deadly": True}), EventData("E", {})])
    wait_until(lambda: remembered(systemd, "one") == "1 3", "all but the deadly one are handled", systemd.journal)
    service.configure(ONE.format(name="one") + ONE.format(name="two"))
    assert systemd.systemctl("reload").returncode == 0
    systemd.until("StatusText", "running, 2 subscriptions")
    wait_until(lambda: remembered(systemd, "two") == "1 3", "the new one works", systemd.journal)
    family = systemd.family()
    assert len(family) > 5
    assert systemd.systemctl("stop").returncode == 0
    assert (systemd.show("ActiveState"), systemd.show("Result")) == ("inactive", "success")
    assert not living(family)
    assert "SIGKILL" not in systemd.journal(), "nothing was left to be killed"


def test_after_kill_minus_nine_it_comes_again_and_leaves_nobody(systemd: Systemd, service: Project) -> None:
    start(systemd)
    family = systemd.family()
    systemd.node().kill()
    systemd.until("NRestarts", "1")
    systemd.until("ActiveState", "active")
    assert not living(family)
    assert len(systemd.family()) > 5


def test_a_supervisor_that_hangs_is_killed_and_comes_again(systemd: Systemd, service: Project) -> None:
    systemd.override("WatchdogSec=5")
    start(systemd)
    family = systemd.family()
    systemd.node().suspend()
    wait_until(lambda: "Watchdog timeout" in systemd.journal(), "systemd misses it", systemd.journal)
    wait_until(lambda: int(systemd.show("NRestarts")) > 0, "systemd starts it again", systemd.journal)
    systemd.until("ActiveState", "active")
    assert not living(family)


def test_a_mistake_ends_the_start_with_one_sentence_and_is_not_tried_again(systemd: Systemd, service: Project) -> None:
    service.configure(ONE.format(name="one").replace("remember", "forget"))
    assert systemd.systemctl("start").returncode == 1
    # A unit that is to be started again would be "activating".
    assert (systemd.show("ActiveState"), systemd.show("NRestarts")) == ("failed", "0")
    assert systemd.show("ExecMainStatus") == "2"
    said = [line for line in systemd.journal().splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert "my_handlers" in said[0]
    assert "SIGKILL" not in systemd.journal()
    service.configure(ONE.format(name="one"))
    start(systemd)


def test_the_start_takes_until_the_database_is_there(systemd: Systemd, service: Project) -> None:
    service.url = URL.replace("/srv/database", "/etc/eventstore/later")
    service.configure(ONE.format(name="one"))
    assert systemd.systemctl("start", "--no-block").returncode == 0
    wait_until(lambda: "child_exited" in systemd.journal(), "it looks for the database", systemd.journal)
    assert systemd.show("ActiveState") == "activating"
    (service.folder / "later").symlink_to("/srv/database")
    systemd.until("ActiveState", "active")
    assert systemd.show("NRestarts") == "0"


def test_an_embedded_server_stops_before_the_unit_does(systemd: Systemd, service: Project) -> None:
    service.url = "embedded:/var/lib/eventstore/database"
    service.configure(ONE.format(name="one"))
    start(systemd)
    family = systemd.family()
    node = systemd.node()
    # It cannot end before its last checkpoint.
    checkpointer = next(p for p in family if p.cmdline()[0].startswith("postgres: checkpointer"))
    checkpointer.suspend()
    assert systemd.systemctl("stop", "--no-block").returncode == 0
    wait_until(lambda: "received fast shutdown request" in server_log(systemd), "it is stopping", systemd.journal)
    looked = node.num_ctx_switches().voluntary
    wait_until(lambda: node.num_ctx_switches().voluntary > looked + 50, "the node looks again and again")
    checkpointer.resume()
    systemd.until("ActiveState", "inactive")
    assert "database system is shut down" in server_log(systemd)
    assert "(postgres) with signal SIGKILL" not in systemd.journal()


def server_log(systemd: Systemd) -> str:
    return systemd.run("cat", "/var/lib/eventstore/database/data/log").stdout


def test_systemd_understands_the_unit_and_finds_little_open(systemd: Systemd) -> None:
    verified = systemd.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}")
    assert verified.returncode == 0, verified.stderr
    assert UNIT not in verified.stdout + verified.stderr, "it has nothing to say about this unit"
    # In tenths, where 100 is everything.
    judged = systemd.run("systemd-analyze", "security", "--no-pager", "--threshold=20", UNIT)
    assert judged.returncode == 0, judged.stdout
    assert systemd.show("OOMPolicy") == "continue"
