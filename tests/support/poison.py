"""Handlers that fail in every way there is, and what tests look at afterwards.

Several subscriptions share a node. All see the same nine events of three partitions, and each has its own trouble with
one of them.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from psycopg.sql import SQL, Identifier

from eventstore.store import Connection, EventData, EventStore
from eventstore.tests.support.node import Project, command
from eventstore.tests.support.recording import HANDLERS, calls
from eventstore.tests.support.wait import wait_until

EVENTS = [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("c", 2), ("a", 3), ("b", 3), ("c", 3)]
"""Numbers 1 to 9 by stream and version."""
POISON = 4
OTHERS = {number: 1 for number in range(1, 10) if number != POISON}
NODE = {
    "restart": "backoff_min = 0.01\nbackoff_max = 0.05",
    "runtime": "heartbeat_interval = 0.1",
}

POISONED = (
    HANDLERS
    + '''
    import ctypes
    import resource

    from eventstore.handlers import Park


    def fate(event, context):
        """What happens to whoever touches the poison depends on the subscription's name."""
        if event.data != "poison":
            return None
        match context.subscription.partition("-")[0]:
            case "exit":
                os._exit(7)
            case "segfault":
                ctypes.string_at(0)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is out
            case "hang":
                time.sleep(3600)
            case "memory":
                before = resource.getrlimit(resource.RLIMIT_AS)
                resource.setrlimit(resource.RLIMIT_AS, (1 << 31, before[1]))
                try:
                    return bytearray(1 << 32)
                finally:
                    resource.setrlimit(resource.RLIMIT_AS, before)
            case "raise":
                raise ValueError("poison")
            case "recovers":
                if context.attempt < 3:
                    raise ValueError("not yet")
            case "retry":
                return Retry(after=0.01) if context.attempt < 4 else None
            case "skip":
                return Skip("not for us")
            case "park":
                return Park("a person must look at it")
            case "stop":
                return Stop("no further")
            case "node":
                os.killpg(os.getpgid(0), signal.SIGKILL)
            case "parent":
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(3600)
        return None


    def one(event, context):
        note(event, context, "begun")
        return fate(event, context)


    def effect(event, context):
        note(event, context, "begun")
        context.connection.execute(
            SQL("insert into {} values (%s, %s)").format(Identifier(context.schema, "effects")),
            (context.subscription, event.event_number),
        )
        return fate(event, context)


    def many(events, context):
        for event in events:
            note(event, context, "begun")
        for event in events:
            fate(event, context)


    def many_effects(events, context):
        for event in events:
            effect(event, context)
'''
)

KINDS = {
    "plain": 'handler = "my_handlers:one"',
    "transaction": 'handler = "my_handlers:effect"\ntransactional = true\ntransaction_size = 2',
    "batch": 'handler = "my_handlers:many"\nbatch_size = 2',
    "batches": 'handler = "my_handlers:many_effects"\nbatch_size = 2\ntransactional = true',
}


def subscription(name: str, kind: str = "plain", **options: Any) -> str:
    """One subscription of supervisor.toml, by default quick to try again, in order by stream."""
    given = {"partition_by": "stream", "retry_backoff_min": 0.01, "retry_backoff_max": 0.02, **options}
    lines = [f"{option} = {json.dumps(value)}" for option, value in given.items()]
    return "\n".join(["[[subscriptions]]", f'name = "{name}"', KINDS[kind], *lines, "", ""])


def configure(project: Project, conn: Connection, *subscriptions: str) -> None:
    project.handlers(POISONED)
    project.configure("".join(subscriptions), **NODE)
    effects = Identifier(project.schema, "effects")
    conn.execute(SQL("create table if not exists {} (subscription text, number bigint)").format(effects))


def append_all(event_store: EventStore) -> None:
    for stream, version in EVENTS:
        poisoned = (stream, version) == EVENTS[POISON - 1]
        event_store.append_to_stream(stream, version - 1, [EventData("Happened", "poison" if poisoned else version)])


def begun(project: Project, name: str) -> Counter[int]:
    """How often each event was given to the handler."""
    return Counter(int(line[0]) for line in calls(project, name) if line[4] == "begun")


def effects(conn: Connection, schema: str, name: str) -> list[int]:
    query = SQL("select number from {} where subscription = %s order by 1").format(Identifier(schema, "effects"))
    return [number for (number,) in conn.execute(query, [name])]


def table(conn: Connection, schema: str, name: str, columns: str, subscription: str) -> list[tuple[Any, ...]]:
    """Rows of one of the runtime's tables."""
    query = SQL("select {} from {} join {} using (subscription_id) where subscription_name = %s order by 1").format(
        SQL(columns),
        Identifier(schema, name),
        Identifier(schema, "subscriptions"),
    )
    return conn.execute(query, [subscription]).fetchall()


def parked(conn: Connection, schema: str, name: str) -> list[tuple[Any, ...]]:
    return table(conn, schema, "runtime_parked_events", "event_number, state, attempts, crashes, reason", name)


def remembered(conn: Connection, schema: str, name: str) -> list[tuple[Any, ...]]:
    return table(conn, schema, "runtime_attempts", "event_number, attempts, crashes", name)


def done(conn: Connection, schema: str, name: str) -> list[tuple[Any, ...]]:
    return table(conn, schema, "runtime_done_events", "event_number", name)


def steer(project: Project, *arguments: str) -> Any:
    """Runs a command; its answers as JSON."""
    ran = command(*arguments, "--json", cwd=project.folder)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def until_parked(conn: Connection, project: Project, name: str, expected: str) -> None:
    """Waits until exactly these events are parked, those that are held in brackets."""

    def seen() -> str:
        rows = parked(conn, project.schema, name)
        return " ".join(f"({row[0]})" if row[1] == "held" else f"{row[0]}" for row in rows)

    wait_until(lambda: seen() == expected, f"{name} has parked {expected!r}", seen)
