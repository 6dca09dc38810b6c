"""What clocks do: nothing in the runtime waits, times out or decides by one that can jump."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from eventstore.store import EventData, EventStore
from eventstore.tests.support.node import Project
from eventstore.tests.support.recording import HANDLERS
from eventstore.tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
WALL_CLOCKS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
# Dates that people read or give: the demo's, the commands', and when an event was recorded in memory; and the beginning
# of an event's id, by which nothing is decided.
DATES = tuple(
    ROOT / path for path in ("runtime/demo", "runtime/control_cli.py", "store/memory.py", "store/event_ids.py")
)
LIBRARIES = [Path(f"/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1") for machine in ("x86_64", "aarch64")]


def wall_clock_uses(source: str) -> list[int]:
    """The lines that ask for the time of day."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name | ast.Attribute)
        and (getattr(node.value, "id", getattr(node.value, "attr", "")), node.attr) in WALL_CLOCKS
    ]


def test_the_search_finds_them() -> None:
    assert wall_clock_uses("import time\nx = time.time()\ny = time.monotonic()") == [2]
    assert wall_clock_uses("import datetime\nx = datetime.datetime.now()") == [2]


@pytest.mark.parametrize("folder", ["runtime", "store", "handlers"])
def test_only_monotonic_clocks_are_used(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*.py") if not {path, *path.parents} & set(DATES)]
    assert len(files) > 3
    used = {str(path): wall_clock_uses(path.read_text()) for path in files}
    assert {path: lines for path, lines in used.items() if lines} == {}


def test_a_clock_that_jumps_an_hour_changes_nothing(project: Project, event_store: EventStore) -> None:
    library = next((path for path in LIBRARIES if path.exists()), None)
    if library is None:
        pytest.skip("libfaketime is not installed")
    project.handlers(HANDLERS)
    project.configure('[[subscriptions]]\nname = "plain"\nhandler = "my_handlers:plain"')
    clock = project.folder / "clock"
    clock.write_text("+0")
    node = project.start(
        LD_PRELOAD=str(library), FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_NO_CACHE="1", DONT_FAKE_MONOTONIC="1"
    ).until_ready()
    for number, jump in enumerate(("+1h", "-1h", "+30d", "+0"), start=1):
        clock.write_text(jump)
        uptime = node.status()["uptime"]
        wait_until(lambda uptime=uptime: node.status()["uptime"] > uptime, "it goes on reporting", lambda: node.log)
        event_store.append_to_stream("a", number - 1, [EventData("Happened", {})])
        node.until_idle("plain", at=number)
    assert {child["restarts"] for child in node.status()["children"]} == {0}
    assert node.terminate() == 0, node.log
