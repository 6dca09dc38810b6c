"""What cannot work as configured is said in one sentence, with an exit code, before or instead of running."""

from __future__ import annotations

import resource

import pytest

from eventstore.store import EventData, EventStore
from eventstore.tests.support.node import Project, command, free_port
from eventstore.tests.support.recording import HANDLERS
from eventstore.tests.support.wait import wait_until

PLAIN = '[[subscriptions]]\nname = "s"\nhandler = "my_handlers:plain"\n'


def run_to_the_end(project: Project, **variables: str) -> tuple[int, str]:
    done = command("run", cwd=project.folder, EVENTSTORE__MONITOR__ENABLED="false", **variables)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("subscription", "said"),
    [
        ('handler = "nowhere:plain"', "there is no module 'nowhere'"),
        ('handler = "my_handlers:plane"', "did you mean 'plain'?"),
        ('handler = "my_handlers:HANDLERS"', "has no 'HANDLERS'"),
        ('handler = "my_handlers:plain"\npartition_by = "steam"', "did you mean 'stream'?"),
        ('handler = "my_handlers:plain"\nconcurency = 2', "concurrency"),
        ('handler = "broken:plain"', "importing 'broken' failed: ZeroDivisionError"),
        ('handler = "deadly:plain"', "ended the process"),
    ],
)
def test_a_handler_that_cannot_run_is_said_at_once(project: Project, subscription: str, said: str) -> None:
    project.handlers(HANDLERS)
    (project.folder / "broken.py").write_text("1 / 0")
    (project.folder / "deadly.py").write_text("import os; os._exit(9)")
    project.configure(f'[[subscriptions]]\nname = "s"\n{subscription}')
    code, error = run_to_the_end(project)
    assert code == 2, error
    assert said in error
    assert "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith("error:")]) == 1


def test_a_missing_schema_ends_the_node_with_the_remedy(project: Project) -> None:
    project.handlers(HANDLERS)
    project.configure(PLAIN)
    code, error = run_to_the_end(project, EVENTSTORE__STORE__SCHEMA="not_there")
    assert code == 2
    assert "error: " in error
    assert "eventstore-runtime init" in error
    assert "Traceback" not in error


def test_a_taken_monitor_port_ends_the_node_with_the_remedy(project: Project) -> None:
    project.handlers(HANDLERS)
    project.configure(PLAIN)
    node = project.start().until_ready()
    done = command("run", cwd=project.folder, EVENTSTORE__MONITOR__PORT=str(node.port))
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{node.port}" in done.stderr
    assert node.terminate() == 0


def test_a_database_that_is_not_there_yet_is_waited_for(project: Project, event_store: EventStore) -> None:
    """Not configured wrongly, only not reachable: the node keeps trying, quietly, and is not ready."""
    project.handlers(HANDLERS)
    project.configure(PLAIN, restart="backoff_min = 0.05\nbackoff_max = 0.2")
    secret = "a-secret-password"
    url = f"postgresql://somebody:{secret}@127.0.0.1:{free_port()}/nothing"
    node = project.start(EVENTSTORE__STORE__URL=url)
    wait_until(
        lambda: any(child["restarts"] >= 3 for child in node.status().get("children", ())),
        "it tries again and again",
        lambda: node.log,
    )
    assert node.get("/readyz")[0] == 503
    assert node.get("/healthz")[0] == 200
    assert node.terminate() == 0
    assert secret not in node.log
    assert "Traceback" not in node.log


def test_a_worker_that_cannot_start_fails_its_subscription_only(project: Project, event_store: EventStore) -> None:
    """The module imports once, for the inspection, and never again: a final failure of those workers."""
    project.handlers(HANDLERS)
    (project.folder / "once.py").write_text("""
from pathlib import Path
import setproctitle
if "worker:once" in setproctitle.getproctitle():
    raise RuntimeError("not in a worker")
def handle(event, context): ...
""")
    project.configure(PLAIN + '[[subscriptions]]\nname = "once"\nhandler = "once:handle"\n')
    event_store.append_to_stream("a", 0, [EventData("Happened", {})])
    node = project.start()
    failed = node.until_state("once", "failed")
    assert "RuntimeError: not in a worker" in failed["reason"]
    node.until_idle("s", at=1)
    restarts = {child["name"]: child["restarts"] for child in node.status()["children"]}
    assert restarts["worker:once:0"] == 0
    assert node.terminate() == 0


def test_a_node_may_have_as_many_descriptors_as_the_system_lets_it(project: Project, event_store: EventStore) -> None:
    """Three for each worker in listener and supervisor; what a shell or a service manager allows at first is little."""
    project.handlers(HANDLERS)
    project.configure(PLAIN + "concurrency = 32\n")
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (90, usual[1]))
    try:
        node = project.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    wait_until(lambda: node.subscription("s").get("workers") == 32, "all workers are there", lambda: node.log)
    node.until_ready()
    assert {child["restarts"] for child in node.status()["children"]} == {0}
    assert node.terminate() == 0
