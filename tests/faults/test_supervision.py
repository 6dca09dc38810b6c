"""Processes that hang, storm, are killed as they start, or run out of something: noticed, contained, mended."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import time
from pathlib import Path

import psutil
import pytest

from eventstore.store import Connection, EventData, EventStore
from eventstore.tests.support.node import Node, Project
from eventstore.tests.support.recording import HANDLERS, calls, create_tables, totals
from eventstore.tests.support.storm import run_storm, signalled_storm
from eventstore.tests.support.wait import wait_until

PLAIN = '[[subscriptions]]\nname = "plain"\nhandler = "my_handlers:plain"\nmax_crashes = 1000 # they are innocent\n'
COUNTER = """
    [[subscriptions]]
    name = "counter"
    handler = "my_handlers:count"
    concurrency = 2
    partition_by = "stream"
    transactional = true
    max_crashes = 1000
    """
QUICK = "backoff_min = 0.01\nbackoff_max = 0.1"
SIZES = """

    def size(event, context):
        note(event, context, len(event.data["blob"]))
"""


def happened(number: int = 1) -> list[EventData]:
    return [EventData("Happened", {"seconds": 0.001})] * number


def restarts(node: Node) -> dict[str, int]:
    return {child["name"]: child["restarts"] for child in node.status().get("children", ())}


def of_session(node: Node) -> list[psutil.Process]:
    """Every process that the node started, known to anybody or not."""

    def belongs(process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) == node.process.pid and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False

    return [process for process in psutil.process_iter() if belongs(process)]


def test_a_stopped_process_is_replaced(project: Project, event_store: EventStore) -> None:
    """SIGSTOP stands for any loop that turns no more."""
    project.handlers(HANDLERS)
    project.configure(PLAIN, runtime="heartbeat_interval = 0.1\nheartbeat_timeout = 1.5", restart=QUICK)
    node = project.start().until_ready()
    for number, role in enumerate(("listener", "lock-holder", "monitor"), start=1):
        before = restarts(node)
        stopped = node.children()[role]
        os.kill(stopped, signal.SIGSTOP)
        event_store.append_to_stream("a", "any_version", happened())
        if role != "monitor":
            wait_until(lambda: node.get("/readyz")[0] == 503, "it is not ready", lambda: node.log)
        wait_until(
            lambda role=role, before=before: restarts(node).get(role, 0) > before[role], "replaced", lambda: node.log
        )
        node.until_idle("plain", at=number)
        node.until_ready()
        assert "child_hangs" in node.log
        assert not psutil.pid_exists(stopped)
    assert node.terminate() == 0


def test_a_storm_in_one_subscription_harms_no_other(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    (project.folder / "stormy.py").write_text("""
import os
from pathlib import Path
import setproctitle
if "worker:stormy" in setproctitle.getproctitle() and Path("storm").exists():
    os._exit(9)
def handle(event, context): ...
""")
    project.configure(
        PLAIN + '[[subscriptions]]\nname = "stormy"\nhandler = "stormy:handle"\nconcurrency = 2\n',
        restart="backoff_min = 0.01\nbackoff_max = 0.1\nmax_restarts = 3",
    )
    (project.folder / "storm").touch()
    node = project.start()

    def storm() -> dict[str, dict[str, object]]:
        return {child["name"]: child for child in node.status().get("children", ())}

    wait_until(lambda: storm().get("worker:stormy:1", {}).get("unstable"), "the storm is seen", lambda: node.log)
    for number in range(1, 101):
        event_store.append_to_stream("a", number - 1, happened())
    node.until_idle("plain", at=100)
    assert {restarts(node)[name] for name in ("worker:plain:0", "listener", "lock-holder", "monitor")} == {0}
    assert b'eventstore_process_unstable{process="worker:stormy:1"} 1.0' in node.get("/metrics")[1]
    assert any("worker:stormy:1" in warning for warning in node.status()["warnings"])
    assert node.get("/readyz")[0] == 503
    assert len([line for line in node.log.splitlines() if "child_exited" in line and "stormy:1" in line]) <= 3
    (project.folder / "storm").unlink()
    node.until_idle("stormy", at=100)
    node.until_ready()
    assert node.terminate() == 0


def test_children_are_killed_while_they_start(project: Project, event_store: EventStore, conn: Connection) -> None:
    rng = random.Random(11)
    create_tables(conn, project.schema)
    project.handlers(HANDLERS)
    project.configure(PLAIN + COUNTER, restart=QUICK)
    for stream in ("a", "b"):
        event_store.append_to_stream(stream, 0, happened(50))
    node = project.start()
    killed, seen = 0, set[int]()
    wait_until(lambda: len(node.children()) == 6, "all have started once", lambda: node.log)
    seen.update(process.pid for process in node.family())
    os.kill(node.children()["listener"], signal.SIGKILL)
    os.kill(node.children()["worker:counter:0"], signal.SIGKILL)

    def kill_what_is_fresh() -> bool:
        nonlocal killed
        for process in [process for process in node.family() if process.pid not in seen]:
            seen.add(process.pid)
            time.sleep(rng.uniform(0.0, 0.02))
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                killed += 1
        return killed >= 25

    wait_until(kill_what_is_fresh, "enough were killed at a random moment of their start", lambda: node.log)
    node.until_idle("plain", "counter", at=100)
    assert totals(conn, project.schema) == {"a": 50, "b": 50}
    assert node.terminate() == 0
    wait_until(lambda: not of_session(node), "nobody is left", lambda: str(of_session(node)))


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_the_supervisor_is_killed_at_any_moment(
    project: Project, event_store: EventStore, conn: Connection, method: str
) -> None:
    rng = random.Random(method)
    project.handlers(HANDLERS)
    project.configure(PLAIN, runtime=f'heartbeat_interval = 0.1\nstart_method = "{method}"')
    temporary = project.folder / "tmp"
    temporary.mkdir()
    for _ in range(2):
        node = project.start(TMPDIR=str(temporary))
        enough = rng.randrange(2, 6)
        wait_until(lambda node=node, enough=enough: len(of_session(node)) >= enough, "it starts")
        node.kill()
        wait_until(lambda node=node: not of_session(node), "no orphan", lambda node=node: str(of_session(node)))
    sessions = "select count(*) from pg_stat_activity where application_name like 'eventstore-runtime %@node%'"
    wait_until(lambda: conn.execute(sessions).fetchone() == (0,), "PostgreSQL has let go of all of them")
    assert list(temporary.iterdir()) == []


def test_a_worker_that_does_not_read_holds_up_nobody_but_itself(project: Project, event_store: EventStore) -> None:
    """Events of 10 MB, far beyond what a pipe holds, for a worker that is stopped, and killed in the middle."""
    project.handlers(HANDLERS + SIZES)
    project.configure(PLAIN + '[[subscriptions]]\nname = "huge"\nhandler = "my_handlers:size"\nstream = "huge"\n')
    node = project.start().until_ready()
    event_store.append_to_stream("huge", 0, [EventData("Happened", {"blob": "x"})])
    node.until_idle("huge", at=1)
    worker = node.children()["worker:huge:0"]
    os.kill(worker, signal.SIGSTOP)
    for version in range(1, 5):
        event_store.append_to_stream("huge", version, [EventData("Happened", {"blob": "x" * 10_000_000})])
    wait_until(lambda: node.subscription("huge")["in_flight"], "something is on its way", lambda: node.log)
    event_store.append_to_stream("a", 0, happened(200))
    node.until_idle("plain", at=205)
    assert node.subscription("huge")["checkpoint"] == 1
    os.kill(worker, signal.SIGKILL)
    node.until_idle("huge", at=5)
    sizes = {(int(line[0]), int(line[4])) for line in calls(project, "huge")}
    assert sizes == {(1, 1), *((number, 10_000_000) for number in range(2, 6))}
    assert node.terminate() == 0
    assert "Traceback" not in node.log


def test_the_supervisor_runs_out_of_descriptors(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure(PLAIN, restart=QUICK)
    node = project.start(EVENTSTORE__LOG__FORMAT="json").until_ready()
    supervisor = psutil.Process(node.process.pid)
    usual = supervisor.rlimit(resource.RLIMIT_NOFILE)
    supervisor.rlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
    os.kill(node.children()["worker:plain:0"], signal.SIGKILL)
    wait_until(lambda: "child_not_started" in node.log, "no child can be started", lambda: node.log)
    wait_until(lambda: "Too many open files" in node.get("/readyz")[1].decode(), "and it says why")
    assert node.get("/healthz")[0] == 200
    event_store.append_to_stream("a", 0, happened(10))
    supervisor.rlimit(resource.RLIMIT_NOFILE, usual)
    node.until_idle("plain", at=10)
    node.until_ready()
    assert node.terminate() == 0
    assert "Traceback" not in node.log


def test_a_child_runs_out_of_descriptors(project: Project, event_store: EventStore) -> None:
    project.handlers(HANDLERS)
    project.configure(PLAIN, restart=QUICK)
    node = project.start().until_ready()
    before = restarts(node)
    listener = psutil.Process(node.children()["listener"])
    # No new descriptor at all: the channel to the next worker cannot be taken over.
    listener.rlimit(resource.RLIMIT_NOFILE, (3, 3))
    os.kill(node.children()["worker:plain:0"], signal.SIGKILL)
    event_store.append_to_stream("a", 0, happened(10))
    wait_until(lambda: restarts(node).get("listener", 0) > before["listener"], "it is replaced", lambda: node.log)
    node.until_idle("plain", at=10)
    node.until_ready()
    assert node.terminate() == 0


def test_a_fork_server_that_cannot_go_on_is_followed_by_another(project: Project, event_store: EventStore) -> None:
    """It ends by an error of its own, so in order, and takes every child with it."""
    project.handlers(HANDLERS)
    project.configure(PLAIN, restart=QUICK)
    node = project.start().until_ready()
    (server,) = [p for p in node.living() if any("forkserver" in part for part in p.cmdline()[:6])]
    server.rlimit(resource.RLIMIT_NOFILE, (3, 3))
    os.kill(node.children()["worker:plain:0"], signal.SIGKILL)
    wait_until(lambda: server not in node.living(), "the fork server has ended", lambda: node.log)
    event_store.append_to_stream("a", 0, happened(10))
    node.until_idle("plain", at=10)
    node.until_ready()
    assert node.terminate() == 0


STUBBORN = """
    import time
    from pathlib import Path

    def stubborn(event, context):
        Path("busy").touch()
        while True:
            try:
                time.sleep(3600)
            except BaseException:
                continue
"""


def test_before_a_child_is_killed_it_shows_where_it_hangs(project: Project, event_store: EventStore) -> None:
    project.handlers(STUBBORN)
    project.configure(
        '[[subscriptions]]\nname = "s"\nhandler = "my_handlers:stubborn"',
        runtime="heartbeat_interval = 0.1\ngrace = 0.3",
    )
    event_store.append_to_stream("a", 0, happened())
    node = project.start()
    wait_until((project.folder / "busy").exists, "the handler runs", lambda: node.log)
    assert node.terminate() == 1
    assert "most recent call first" in node.log
    assert 'my_handlers.py", line' in node.log
    wait_until(lambda: not of_session(node), "nobody is left")


def test_a_thousand_restarts_leave_nothing_behind(tmp_path: Path) -> None:
    before, after = run_storm(tmp_path, restarts=1_000)
    assert after["restarts"] >= 1_000
    for what in ("descriptors", "fork server's descriptors", "peer's descriptors", "threads", "zombies"):
        assert after[what] <= before[what], f"{what}: {json.dumps([before, after])}"
    assert after["shared memory"] == before["shared memory"]
    assert after["temporary files"] == before["temporary files"]


def test_signals_in_any_order_end_a_supervisor_with_dying_children(tmp_path: Path) -> None:

    rng = random.Random(5)
    for round_number in range(3):
        left, log = signalled_storm(tmp_path / str(round_number), rng)
        assert left == [], log
        assert "Traceback" not in log


def test_children_come_from_a_process_without_threads_or_connections(project: Project, event_store: EventStore) -> None:
    """A fork copies locks that other threads hold, and shares sockets; here there is neither."""
    project.handlers(HANDLERS)
    (project.folder / "pool.py").write_text("""
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
from my_handlers import plain
""")
    project.configure('[[subscriptions]]\nname = "plain"\nhandler = "pool:plain"')
    node = project.start().until_ready()
    (server,) = [p for p in node.living() if any("forkserver" in part for part in p.cmdline()[:6])]
    for process in (server, psutil.Process(node.process.pid)):
        assert process.num_threads() == 1
        assert process.net_connections("inet") == []
    event_store.append_to_stream("a", 0, happened(10))
    node.until_idle("plain", at=10)
    assert node.terminate() == 0


def test_no_slow_handler_loses_its_ownership(project: Project, event_store: EventStore) -> None:
    """Sleeping, or holding the interpreter in C code, for several times every timeout; a standby waits beside it."""
    project.handlers(
        HANDLERS
        + """

    def hold(event, context):
        note(event, context, "begun")
        if event.event_number == 1:
            time.sleep(1.5)
        else:
            sum(range(4 * 10**7))
        note(event, context)
"""
    )
    project.configure(
        '[[subscriptions]]\nname = "hold"\nhandler = "my_handlers:hold"',
        runtime="heartbeat_interval = 0.1\nheartbeat_timeout = 0.5\nlock_retry_interval = 0.2",
    )
    owner = project.start(name="owner").until_ready()
    standby = project.start(name="standby").until_ready()
    event_store.append_to_stream("a", 0, happened(2))
    for node in (owner, standby):
        node.until_idle("hold", at=2)
    assert [line[4] for line in calls(project, "hold")] == ["begun", "done"] * 2
    assert restarts(owner)["worker:hold:0"] == restarts(standby)["worker:hold:0"] == 0


DEADLY = """

    def deadly(event, context):
        note(event, context, "begun")
        if event.event_number == 3:
            how = event.data["how"]
            os._exit(3) if how == "exit" else os.kill(os.getpid(), getattr(signal, how))
"""


@pytest.mark.parametrize("how", ["exit", "SIGSEGV", "SIGKILL"])
def test_an_event_that_kills_its_worker_halts_its_subscription_only(
    project: Project, event_store: EventStore, how: str
) -> None:
    project.handlers(HANDLERS + DEADLY)
    project.configure(
        PLAIN + '[[subscriptions]]\nname = "deadly"\nhandler = "my_handlers:deadly"\nmax_crashes = 2\n', restart=QUICK
    )
    event_store.append_to_stream("a", 0, [EventData("Happened", {"how": how})] * 5)
    node = project.start()
    halted = node.until_state("deadly", "halted")
    assert "died" in halted["reason"]
    assert ("exit code 3" if how == "exit" else how) in halted["reason"]
    node.until_idle("plain", at=5)
    deliveries = [int(line[0]) for line in calls(project, "deadly")]
    assert deliveries.count(3) == 2, "as often as it may kill"
    assert all(deliveries.count(number) <= 1 for number in (1, 2, 4, 5)), "what was finished does not come again"
    assert node.get("/readyz")[0] == 503
    assert {restarts(node)[name] for name in ("worker:plain:0", "listener", "lock-holder")} == {0}
    assert node.terminate() == 0
