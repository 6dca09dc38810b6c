"""The commands as a user runs them: real processes, exit codes, one sentence for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from psycopg.sql import SQL, Identifier

from eventstore.runtime.version import version
from eventstore.store import Connection, EventData, EventStore, connect
from eventstore.store.keeper import postmaster_pid
from eventstore.tests.support.database import drop_schema, temporary_home
from eventstore.tests.support.node import COMMAND, command, environment
from eventstore.tests.support.wait import wait_until

Done = subprocess.CompletedProcess[str]
Cli = Callable[..., Done]


@pytest.fixture
def cli(tmp_path: Path, database_url: str, schema: str) -> Cli:
    """Runs a command in an empty folder, on the test's schema."""

    def run(*arguments: str, **options: str) -> Done:
        given = {"EVENTSTORE__STORE__URL": database_url, "EVENTSTORE__STORE__SCHEMA": schema, **options}
        return command(*arguments, cwd=tmp_path, **given)

    return run


@pytest.fixture
def new_schema(conn: Connection) -> Iterator[str]:
    """The name of a schema that does not exist yet."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    drop_schema(conn, name)


def fails(done: Done, code: int, said: str) -> None:
    """One sentence, the exit code, and nothing else."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


def lines(done: Done) -> list[Any]:
    """The JSON objects of a command that went well."""
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def event(event_type: str, data: object) -> str:
    return json.dumps({"event_type": event_type, "data": data}) + "\n"


def test_version(tmp_path: Path) -> None:
    done = command("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"eventstore-runtime {version()}\n", "")
    assert version()[0].isdigit()


def test_help_lists_the_commands_and_shows_examples(tmp_path: Path) -> None:
    done = command("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("run", "init", "demo", "status", "append", "read", "Examples:", "--until-idle", "supervisor.toml"):
        assert word in done.stdout
    headings = ("Run a node", "Look after the store", "Watch and steer subscriptions", "Append and read")
    places = [done.stdout.index(f" {heading} ") for heading in headings]
    assert places == sorted(places)
    assert " Commands " not in done.stdout, "each command is under a heading"
    assert "Example: " in command("append", "-h", cwd=tmp_path).stdout


@pytest.mark.parametrize("arguments", [("nonsense",), ("read",), ("read", "a", "--count", "0")])
def test_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = command(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: " in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_configuration_run_says_what_to_do(tmp_path: Path) -> None:
    fails(command(cwd=tmp_path), 2, f"there is no supervisor.toml in {tmp_path}; give one with -c FILE, or try ")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_begins_because_nobody_named_one_is_said() -> None:
    with temporary_home("nowhere") as folder:
        folder.mkdir()
        data = folder / ".eventstore" / "data"
        for options in ({}, {"EVENTSTORE__STORE__URL": "embedded:./other"}):
            begun = command("create", cwd=folder, **options)
            said = f"note: a new, empty store begins in {data.parent}, since there is no supervisor.toml in {folder}; "
            assert (begun.returncode, begun.stderr.startswith(said)) == (0, not options), begun.stderr
            assert begun.stderr.count("\n") == (0 if options else 1)
        again = command("status", cwd=folder)
        assert (again.stdout, again.stderr) == ("no subscription has run on this store yet\n", "")
        wait_until(lambda: postmaster_pid(data) is None, "the embedded server has stopped")


@pytest.mark.parametrize("arguments", [("-c", "my.toml", "status"), ("status", "-c", "my.toml")])
def test_a_mistake_in_the_configuration_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "my.toml").write_text("[store]\npol_size = 3\n")
    done = command(*arguments, cwd=tmp_path)
    fails(done, 2, "")
    assert "my.toml" in done.stderr
    assert "pool_size" in done.stderr


def test_a_demo_of_what_is_no_repository_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path, said in (("none", "There is no readable folder none;"), ("folder", "folder is not a git repository;")):
        fails(command("demo", "--git", path, cwd=tmp_path, GIT_CEILING_DIRECTORIES=str(tmp_path)), 2, said)


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    done = command("status", "-c", "none.toml", cwd=tmp_path)
    fails(done, 2, "")
    assert "none.toml" in done.stderr


def test_init_creates_what_is_missing_and_nothing_twice(cli: Cli, new_schema: str) -> None:
    first = cli("init", EVENTSTORE__STORE__SCHEMA=new_schema)
    said = f"schema '{new_schema}': created schema, created tables, created runtime tables\n"
    assert (first.returncode, first.stdout, first.stderr) == (0, said, "")
    again = cli("init", EVENTSTORE__STORE__SCHEMA=new_schema)
    assert (again.returncode, again.stdout) == (0, f"schema '{new_schema}' was complete already\n")
    assert lines(cli("init", "--json", EVENTSTORE__STORE__SCHEMA=new_schema)) == [
        {
            "created_schema": False,
            "created_tables": False,
            "created_runtime_tables": False,
            "column_data_type": "bytea",
        }
    ]


def test_without_init_there_is_no_store(cli: Cli, new_schema: str) -> None:
    done = cli("read", "a", EVENTSTORE__STORE__SCHEMA=new_schema)
    assert (done.returncode, done.stdout) == (1, "")
    assert "eventstore-runtime init" in done.stderr
    assert "Traceback" not in done.stderr


def test_append_from_standard_input(cli: Cli, event_store: EventStore) -> None:
    done = cli("append", "account-1", stdin=event("Opened", {"n": 1}) + "\n" + event("Closed", None))
    said = "appended 2 events to account-1, now at version 2\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    stored = event_store.read_stream_forward("account-1")
    assert [(one.event_type, one.data) for one in stored] == [("Opened", {"n": 1}), ("Closed", None)]


def test_append_from_a_file_expecting_a_version(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text(event("Opened", "☃"), encoding="utf-8")
    arguments = ("append", "a", "--from", "more.jsonl", "--expected", "no_stream")
    assert lines(cli(*arguments, "--json")) == [
        {"stream_uuid": "a", "first_version": 1, "stream_version": 1, "first_position": 1, "position": 1}
    ]
    fails(cli(*arguments), 1, "stream 'a' exists already, at version 1")
    fails(cli("append", "a", "--from", "more.jsonl", "--expected", "7"), 1, "stream 'a' is at version 1")


def test_a_bad_line_appends_nothing(cli: Cli, event_store: EventStore) -> None:
    done = cli("append", "a", stdin=event("Opened", 1) + '{"event_type": "Closed"}\n')
    fails(done, 2, 'standard input, line 2: an event is an object with "event_type" (a string) and "data"; ')
    assert event_store.stream_heads(["a"]) == {}


def test_a_mistake_is_said_before_anything_is_read(cli: Cli) -> None:
    fails(cli("append", "a", "--expected", "sometimes"), 2, "--expected 'sometimes' is unknown; give any_version, ")
    fails(cli("append", "a", "--from", "none.jsonl"), 2, "cannot read none.jsonl: No such file or directory")


def test_what_read_prints_append_takes(cli: Cli, event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, [EventData("Opened", {"text": "line\nbreak ☃"}, {"by": "ann"})])
    done = cli("read", "a", "--json")
    (shown,) = lines(done)
    (stored,) = event_store.read_stream_forward("a")
    assert (shown["event_id"], shown["data"]) == (str(stored.event_id), stored.data)
    fails(cli("append", "b", stdin=done.stdout), 1, f"event {stored.event_id} is stored already")
    fresh = {**shown, "event_id": str(uuid.uuid4())}
    assert cli("append", "b", stdin=json.dumps(fresh)).returncode == 0
    (copy,) = event_store.read_stream_forward("b")
    assert (copy.data, copy.metadata, copy.event_type) == (stored.data, stored.metadata, stored.event_type)


def test_read_forward_backward_and_in_part(cli: Cli, event_store: EventStore) -> None:
    event_store.append_to_stream("a", 0, [EventData("Happened", number) for number in range(1, 6)])

    def numbers(*arguments: str) -> list[int]:
        return [shown["data"] for shown in lines(cli("read", *arguments, "--json"))]

    assert numbers("a") == [1, 2, 3, 4, 5]
    assert numbers("$all", "--start", "2", "--count", "3") == [2, 3, 4]
    assert numbers("a", "--backward", "--count", "2") == [5, 4]
    assert numbers("a", "--backward", "--start", "3") == [3, 2, 1]
    printed = cli("read", "a", "--count", "1").stdout.split("  ")
    assert [printed[0], *printed[2:]] == ["1", "a", "Happened", "1\n"]


def test_a_stream_that_is_not_there(cli: Cli) -> None:
    fails(cli("read", "nowhere"), 1, "stream 'nowhere' does not exist: check its name, or append to it first")


def test_a_start_that_cannot_be(cli: Cli) -> None:
    fails(cli("read", "a", "--start", "-5"), 2, "--start -5 is out of range; give a version such as 1")
    assert "'x' is not a whole number" in cli("read", "a", "--start", "x").stderr


def test_status_shows_every_subscription(cli: Cli, event_store: EventStore, conn: Connection, schema: str) -> None:
    assert lines(cli("status", "--json")) == [[]]
    event_store.append_to_stream("a", 0, [EventData("Happened", 1)] * 3)
    values = "(stream_uuid, subscription_name, last_seen) values ('$all', 's', 1)"
    conn.execute(f"insert into {schema}.subscriptions {values}")
    (shown,) = lines(cli("status", "--json"))[0]
    facts = ("subscription_name", "stream_uuid", "last_seen", "head", "lag", "is_locked", "node")
    assert [shown[name] for name in facts] == ["s", "$all", 1, 3, 2, False, None]
    printed = cli("status").stdout.split()
    assert printed[-6:] == ["s", "$all", "1", "3", "2", "nobody"]


def test_a_reader_that_goes_away_is_no_error_message(
    tmp_path: Path, cli: Cli, event_store: EventStore, database_url: str, schema: str
) -> None:
    event_store.append_to_stream("a", 0, [EventData("Happened", "x" * 1_000)] * 300)
    variables = environment(EVENTSTORE__STORE__URL=database_url, EVENTSTORE__STORE__SCHEMA=schema)
    with subprocess.Popen(
        [*COMMAND, "read", "a"], cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("1  ")
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize("name", ["status", "run"])
def test_a_password_is_never_printed(tmp_path: Path, database_url: str, name: str) -> None:
    parts = urlsplit(database_url)
    # Nobody listens on port 1, whoever the test server is.
    urls = [
        "postgresql://ann:hush-hush@127.0.0.1:1/events",
        "postgresql://ann@127.0.0.1:1/events?password=hush-hush",
        urlunsplit(parts._replace(netloc="no_such_role:hush-hush@" + parts.netloc.rpartition("@")[2])),
    ]
    (tmp_path / "h.py").write_text("def handle(event, context): pass\n")
    (tmp_path / "supervisor.toml").write_text(
        '[monitor]\nenabled = false\n[[subscriptions]]\nname = "s"\nhandler = "h:handle"\n'
    )
    # A node goes on trying where nobody listens, and stops only at what no retry can mend.
    for url in urls if name == "status" else urls[2:]:
        done = command(name, cwd=tmp_path, EVENTSTORE__STORE__URL=url, EVENTSTORE__STORE__CONNECT_TIMEOUT="2")
        assert done.returncode in (1, 2), url
        assert "error: " in done.stderr
        assert "hush" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_the_module_and_the_command_are_the_same(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("eventstore-runtime")
    done = subprocess.run([script, "--version"], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.stdout == command("--version", cwd=tmp_path).stdout


def test_a_store_is_created_looked_at_and_dropped(tmp_path: Path, database_url: str, conn: Connection) -> None:
    name = f"cli_{uuid.uuid4().hex[:8]}"
    url = urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))

    def run(*arguments: str, stdin: str = "") -> tuple[int, str]:
        done = command(*arguments, cwd=tmp_path, stdin=stdin, EVENTSTORE__STORE__URL=url)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    try:
        code, said = run("create", "--json")
        assert (code, json.loads(said)["created_database"]) == (0, True)
        assert run("create") == (0, "schema 'public' was complete already\n")
        assert run("migrate") == (0, "schema 'public': up to date already\n")
        assert run("migrations") == (0, "1.3.2  completed\n")
        assert run("append", "a", stdin='{"event_type": "Happened", "data": 1}')[0] == 0
        code, said = run("drop", stdin="n\n")
        assert code == 1
        assert "with 1 event?" in said
        assert run("read", "a")[0] == 0, "still there"
        assert run("drop", "--force") == (0, "schema 'public': dropped\n")
        code, said = run("read", "a")
        assert code == 1
        assert "eventstore-runtime init" in said
        with connect(url):
            code, said = run("drop", "--database", "--force")
        assert (code, "is in use" in said) == (1, True)
        assert run("drop", "--database", stdin="n\n")[0] == 1
        assert run("drop", "--database", "--force") == (0, "the database is dropped\n")
        assert run("drop", "--database", "--force", "--json") == (0, '{"dropped_database":false}\n')
    finally:
        conn.execute(SQL("drop database if exists {} with (force)").format(Identifier(name)))


def test_an_embedded_database_is_not_dropped(tmp_path: Path) -> None:
    done = command("drop", "--database", cwd=tmp_path, EVENTSTORE__STORE__URL="embedded:./here")
    assert done.returncode == 2
    assert "remove its folder instead" in done.stderr
    assert list(tmp_path.iterdir()) == []


SERIALIZERS = """
    from pydantic import BaseModel

    from eventstore import EventTypes, TypedSerializer

    class Opened(BaseModel):
        owner: str

    class Reversed:
        def serialize(self, value):
            return repr(value)[::-1].encode()

        def deserialize(self, payload, event_type):
            return eval(payload.decode()[::-1])

    def typed():
        types = EventTypes()
        types.register(Opened)
        return TypedSerializer(types)

    def broken():
        raise RuntimeError("no key")

    number = 7
"""


@pytest.mark.parametrize("name", ["typed", "Reversed"])
def test_commands_write_and_read_with_the_stores_serializer(
    cli: Cli, tmp_path: Path, name: str, event_store: EventStore, conn: Connection
) -> None:
    (tmp_path / "formats.py").write_text(textwrap.dedent(SERIALIZERS))
    given = {"EVENTSTORE__STORE__SERIALIZER": f"formats:{name}"}
    lines(cli("append", "a", "--json", stdin=event("Opened", {"owner": "Ann"}), **given))
    (row,) = conn.execute(f'select data from "{event_store.schema}".events'.encode()).fetchall()
    assert row == ({"typed": b'{"owner":"Ann"}', "Reversed": b"}'nnA' :'renwo'{"}[name],)
    (read,) = lines(cli("read", "a", "--json", **given))
    assert read["data"] == {"owner": "Ann"}
    assert '  {"owner":"Ann"}' in cli("read", "a", **given).stdout


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("formats:number", "'formats:number' is a int, which has no serialize and deserialize methods"),
        ("formats:broken", "calling 'formats:broken' without arguments failed, RuntimeError: no key"),
        ("formats:typped", "module 'formats' has no 'typped'; did you mean 'typed'?"),
        ("nowhere:x", "there is no module 'nowhere'"),
    ],
)
def test_a_serializer_that_cannot_be_had(cli: Cli, tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "formats.py").write_text(textwrap.dedent(SERIALIZERS))
    fails(cli("read", "a", EVENTSTORE__STORE__SERIALIZER=path), 2, f"[store] serializer: {said}")


def test_a_node_refuses_a_serializer_that_cannot_be_had(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "formats.py").write_text(textwrap.dedent(SERIALIZERS) + "\ndef handle(event, context): ...\n")
    (tmp_path / "supervisor.toml").write_text('[[subscriptions]]\nname = "s"\nhandler = "formats:handle"\n')
    fails(cli("run", EVENTSTORE__STORE__SERIALIZER="formats:number"), 2, "[store] serializer: 'formats:number'")
