"""Who may do what in the database, and what nobody gets to see."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg import errors
from psycopg.sql import SQL, Identifier

from eventstore.store import Connection, EventData, EventStore, StreamDeleted
from eventstore.tests.support.node import Project, command, free_port
from eventstore.tests.support.recording import HANDLERS, create_tables, totals
from eventstore.tests.support.wait import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
PLAIN = '[[subscriptions]]\nname = "plain"\nhandler = "my_handlers:plain"\n'
COUNTER = '[[subscriptions]]\nname = "counter"\nhandler = "my_handlers:count"\ntransactional = true\n'
SECRET = "c4nary-p4ssword"


@pytest.fixture
def roles(conn: Connection, schema: str) -> Iterator[dict[str, str]]:
    """The two roles of the page, with its grants and nothing else; by their name on the page."""
    (script,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {name: f"{name}_{uuid.uuid4().hex[:8]}" for name in ("eventstore_app", "eventstore_runtime")}
    script = script.replace('"public"', f'"{schema}"').replace("'public'", f"'{schema}'")
    for name, role in names.items():
        script = script.replace(name, role)
        conn.execute(f"create role {role} login")
    conn.execute(script.encode())
    yield names
    for role in names.values():
        conn.execute(f"drop owned by {role}")
        conn.execute(f"drop role {role}")


def as_role(url: str, role: str) -> str:
    """The same server as another role, without a password: the test server trusts its socket."""
    parts = urlsplit(url)
    assert parts.username
    return url.replace(f"//{parts.username}@", f"//{role}@", 1)


def test_an_application_can_do_its_work_and_no_more(
    database_url: str, schema: str, conn: Connection, roles: dict[str, str]
) -> None:
    with EventStore(as_role(database_url, roles["eventstore_app"]), schema=schema) as store:
        store.append_to_stream("a", 0, [EventData("Happened", {"n": n}) for n in range(3)])
        events = store.read_stream_forward("a")
        store.link_to_stream("b", 0, [events[0].event_id])
        assert len(store.read_all_streams_forward()) == 3
        store.delete_stream("b", "any_version")
        with pytest.raises(StreamDeleted):
            store.read_stream_forward("b")
    role = roles["eventstore_app"]
    tables = {row[0] for row in conn.execute("select tablename from pg_tables where schemaname = %s", (schema,))}
    runtime_tables = {table for table in tables if table.startswith("runtime_")}
    assert len(runtime_tables) >= 3
    assert not {table for table in runtime_tables if _may(conn, role, schema, table, "select")}
    assert not {table for table in ("events", "stream_events") if _may(conn, role, schema, table, "update, delete")}
    assert not _may(conn, role, schema, "subscriptions", "insert, update, delete")


def test_a_node_can_do_its_work_and_no_more(
    project: Project, event_store: EventStore, conn: Connection, roles: dict[str, str]
) -> None:
    role = roles["eventstore_runtime"]
    create_tables(conn, project.schema)
    for table in ("effects", "totals"):
        grant = SQL("grant select, insert, update on {} to {}").format(
            Identifier(project.schema, table), Identifier(role)
        )
        conn.execute(grant)
    sequence = SQL("grant usage on sequence {} to {}").format(
        Identifier(project.schema, "effects_at_seq"), Identifier(role)
    )
    conn.execute(sequence)
    event_store.append_to_stream("a", 0, [EventData("Happened", {"seconds": 0})] * 20)
    project.url = as_role(project.url, role)
    project.handlers(HANDLERS)
    project.configure(PLAIN + COUNTER)
    node = project.start()
    node.until_idle("plain", "counter", at=20)
    assert totals(conn, project.schema) == {"a": 20}
    assert not node.status()["listener"]["listen_silent"]
    assert node.terminate() == 0
    for table in ("streams", "events", "stream_events", "schema_migrations", "snapshots"):
        assert not _may(conn, role, project.schema, table, "insert, update, delete"), table
    query = "select tablename from pg_tables where schemaname = %s and starts_with(tablename, 'runtime_')"
    for (table,) in conn.execute(query, (project.schema,)).fetchall():
        for right in ("select", "insert", "update", "delete"):
            assert _may(conn, role, project.schema, table, right), f"{right} on {table}"


def _may(conn: Connection, role: str, schema: str, table: str, rights: str) -> bool:
    """True with any of the rights."""
    query = "select has_table_privilege(%s, format('%%I.%%I', %s::text, %s::text), %s)"
    row = conn.execute(query, (role, schema, table, rights)).fetchone()
    assert row is not None
    return bool(row[0])


def test_nobody_can_change_an_event(conn: Connection, event_store: EventStore, schema: str) -> None:
    event_store.append_to_stream("a", 0, [EventData("Happened", {})])
    with pytest.raises(errors.Error):
        conn.execute(SQL("update {} set event_type = 'Never'").format(Identifier(schema, "events")))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://nobody:{SECRET}@127.0.0.1:{free_port()}/x",
        f"postgresql://nobody:{SECRET}@127.0.0.1:port/x",
        f"postgresql://nobody:{SECRET}@127.0.0.1:1/x?sslmode=perhaps",
        f"postgresql://nobody@127.0.0.1:1/x?password={SECRET}",
        f"postgresql://nobody:{SECRET}@host.invalid/x",
        f"mysql://nobody:{SECRET}@127.0.0.1/x",
    ],
)
@pytest.mark.parametrize("arguments", [("init",), ("status",), ("read", "$all"), ("migrate",)])
def test_no_command_shows_the_password(tmp_path: Path, url: str, arguments: tuple[str, ...]) -> None:
    variables = {"EVENTSTORE__STORE__URL": url, "EVENTSTORE__STORE__CONNECT_TIMEOUT": "2"}
    done = command(*arguments, cwd=tmp_path, **variables)
    assert done.returncode != 0
    assert "error" in done.stderr
    assert SECRET not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_no_process_shows_password_or_token(project: Project, event_store: EventStore, method: str) -> None:
    """Also where a worker crashes with a traceback, in JSON, and cannot reach its database."""
    project.handlers(HANDLERS)
    project.configure(
        PLAIN + COUNTER,
        runtime=f'heartbeat_interval = 0.1\nstart_method = "{method}"',
        restart="backoff_min = 0.05\nbackoff_max = 0.2",
        monitor=f'token = "token-{SECRET}"',
    )
    url = f"postgresql://nobody:{SECRET}@127.0.0.1:{free_port()}/x"
    node = project.start(EVENTSTORE__STORE__URL=url, EVENTSTORE__LOG__FORMAT="json", EVENTSTORE__LOG__LEVEL="debug")
    wait_until(lambda: node.log.count("child_exited") >= 3, "processes fail", lambda: node.log)
    wait_until(lambda: '"address"' in node.log, "the monitor answers", lambda: node.log)
    assert node.get("/status")[0] == 401
    titles = [" ".join(process.cmdline()) for process in node.living()]
    assert any("lock-holder" in title or "worker" in title for title in titles)
    for path in ("/status", "/metrics", "/readyz", "/healthz"):
        assert SECRET.encode() not in node.get(path)[1]
    assert node.terminate() == 0
    assert SECRET not in node.log + " ".join(titles)
