"""The configuration: where values come from, and what is said about those that cannot be."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from eventstore.handlers.declaration import HandlerOptions
from eventstore.runtime.config import (
    RestartConfig,
    RuntimeConfig,
    StoreConfig,
    SubscriptionConfig,
    iter_options,
    load_config,
)
from eventstore.runtime.config_errors import redacted
from eventstore.store.errors import ConfigurationError

ONE = '[[subscriptions]]\nname = "one"\nhandler = "app:handle"\n'


def load(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> RuntimeConfig:
    file = folder / "supervisor.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, environ or {})


def problems(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the error that `text` gives, with the file's path shortened to its name."""
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text, environ)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_without_sources_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(None, {})
    assert config.store.url == f"embedded:{tmp_path}/.eventstore"
    assert (config.store.schema, config.store.pool_size, config.store.prepare_threshold) == ("public", 4, 5)
    assert (config.monitor.host, config.monitor.port) == ("127.0.0.1", 9464)
    assert config.runtime.name
    assert config.subscriptions == []


def test_environment_wins_over_file_over_defaults(tmp_path: Path) -> None:
    text = "[store]\npool_size = 7\ntimeout = 3\n[log]\nlevel = 'debug'\n"
    config = load(tmp_path, text, {"EVENTSTORE__STORE__POOL_SIZE": "9", "OTHER": "x", "EVENTSTORE_TEST_URL": "x"})
    assert (config.store.pool_size, config.store.timeout, config.store.connect_timeout) == (9, 3.0, 10.0)
    assert config.log.level == "debug"


def test_the_process_environment_counts_only_when_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSTORE__STORE__POOL_SIZE", "9")
    assert RuntimeConfig().store.pool_size == 4
    assert load_config(None, {}).store.pool_size == 4


def test_environment_values_are_read_by_their_option(tmp_path: Path) -> None:
    environ = {
        "EVENTSTORE__MONITOR__ENABLED": "no",
        "EVENTSTORE__RUNTIME__GRACE": "2.5",
        "EVENTSTORE__RUNTIME__PYTHON_PATH": '["src", "/opt/app"]',
        "EVENTSTORE__STORE__PREPARE_THRESHOLD": "never",
        "EVENTSTORE__STORE__SCHEMA": "",
        "EVENTSTORE__SUBSCRIPTIONS": '[{"name": "two", "handler": "app.sub:other", "start_from": 3}]',
    }
    config = load(tmp_path, ONE, environ)
    assert config.monitor.enabled is False
    assert config.runtime.grace == 2.5
    assert config.runtime.python_path == [f"{tmp_path}/src", "/opt/app"]
    assert config.store.prepare_threshold is None
    assert config.store.schema == "public"
    assert [(s.name, s.handler, s.start_from) for s in config.subscriptions] == [("two", "app.sub:other", 3)]


def test_relative_folders_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    (folder / "supervisor.toml").write_text('[store]\nurl = "embedded:data"\n[runtime]\npython_path = ["."]\n')
    config = load_config(Path("with space/supervisor.toml"), {})
    assert config.store.url == f"embedded:{folder}/data"
    assert config.runtime.python_path == [str(folder)]


@pytest.mark.parametrize("url", ["postgresql://u:p@h/db", "postgres:///db?host=/run", "embedded:/var/lib/events"])
def test_absolute_urls_stay_as_they_are(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, f'[store]\nurl = "{url}"\n').store.url == url


def test_what_a_subscription_does_not_set_is_none(tmp_path: Path) -> None:
    subscription = load(tmp_path, ONE).subscriptions[0]
    assert subscription.model_dump(exclude_none=True) == {"name": "one", "handler": "app:handle"}


def test_subscriptions_have_exactly_the_options_of_handlers() -> None:
    assert set(SubscriptionConfig.model_fields) == {"handler", *HandlerOptions.__struct_fields__}


def test_config_is_frozen_and_travels_between_processes(tmp_path: Path) -> None:
    config = load(tmp_path, ONE)
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(ValidationError):
        config.store.pool_size = 3


def test_every_option_is_documented() -> None:
    options = list(iter_options())
    assert {"store.url", "runtime.python_path", "subscriptions[].on_exhausted"} <= {option.key for option in options}
    for key, kind, default, description in options:
        assert kind, key
        assert default, key
        assert description.endswith("."), key


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[store]\nurll = "x"\n', "supervisor.toml, line 2: [store] urll is not an option; did you mean url?"),
        ("[stor]\n", "supervisor.toml, line 1: [stor] is not an option; did you mean [store]?"),
        ("schema = 's'\n", "supervisor.toml, line 1: schema is not an option; it belongs under [store]"),
        (
            "[log]\nzzz = 1\n",
            "supervisor.toml, line 2: [log] zzz is not an option; known here: level, format",
        ),
        (
            "_env_file = '.env'\n",
            (
                "supervisor.toml, line 1: _env_file is not an option; "
                "known here: [store], [runtime], [restart], [monitor], [log], [[subscriptions]]"
            ),
        ),
        (
            ONE + "concurency = 2\n",
            'supervisor.toml, line 4: [[subscriptions]] "one" concurency is not an option; did you mean concurrency?',
        ),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


@pytest.mark.parametrize(
    ("table", "line", "expected"),
    [
        ("[store]", "pool_size = 0", "give a whole number, 1 or more (default: 4)"),
        ("[store]", "pool_size = true", "give a whole number, 1 or more (default: 4)"),
        ("[store]", "pool_size = 1.5", "give a whole number, 1 or more (default: 4)"),
        ("[store]", "timeout = -1", "give seconds, more than 0 (default: 15.0)"),
        ("[store]", 'column_data_type = "json"', 'give "bytea" or "jsonb" (default: "bytea")'),
        ("[store]", 'prepare_threshold = "no"', 'give a whole number, 0 or more, or "never" (default: 5)'),
        ("[store]", 'schema = ""', 'give a text that is not empty (default: "public")'),
        ("[store]", 'session_mode_url = "embedded:x"', 'give "postgresql://user@host/database"'),
        ("[runtime]", "python_path = [1]", 'give a list of folders, such as ["src"] (default: [])'),
        ("[restart]", "jitter = 2", "give a number from 0 to 1 (default: 0.2)"),
        ("[monitor]", "port = 65536", "give a port number from 0 to 65535 (default: 9464)"),
        ("[monitor]", 'enabled = "maybe"', "give true or false (default: true)"),
    ],
)
def test_bad_values_say_what_is_wanted(tmp_path: Path, table: str, line: str, expected: str) -> None:
    assert problems(tmp_path, f"{table}\n{line}\n") == [
        f"supervisor.toml, line 2: {table} {line} is not valid; {expected}"
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('start_from = "begin"', 'give "origin" or "current" or an event number, 0 or more'),
        ("start_from = -1", 'give "origin" or "current" or an event number, 0 or more'),
        ('on_exhausted = "ignore"', 'give "halt" or "park" or "park_partition" or "skip"'),
    ],
)
def test_bad_values_of_a_subscription_name_it(tmp_path: Path, line: str, expected: str) -> None:
    assert problems(tmp_path, ONE + line) == [
        f'supervisor.toml, line 4: [[subscriptions]] "one" {line} is not valid; {expected}'
    ]


@pytest.mark.parametrize("handler", ["app", "app.handle", "app:", ":handle", "app:a.b", "my-app:handle"])
def test_a_handler_is_a_dotted_path(tmp_path: Path, handler: str) -> None:
    assert problems(tmp_path, f'[[subscriptions]]\nname = "one"\nhandler = "{handler}"\n') == [
        (
            f'supervisor.toml, line 3: [[subscriptions]] "one" handler = "{handler}" is not valid; '
            'give "package.module:function"'
        )
    ]


def test_missing_keys_are_named_with_an_example(tmp_path: Path) -> None:
    assert problems(tmp_path, ONE + "[[subscriptions]]\n") == [
        (
            "supervisor.toml, line 4: [[subscriptions]] number 2 handler is missing; "
            'add handler = "package.module:function"'
        ),
    ]


def test_two_subscriptions_of_one_name_are_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, ONE + ONE) == [
        (
            'supervisor.toml, line 5: [[subscriptions]] "one" name = "one" is taken by an earlier entry; '
            "give each subscription its own name"
        )
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[subscriptions]\n",
            (
                "[subscriptions] is not a list of tables; "
                "start each entry with a line [[subscriptions]] in double brackets"
            ),
        ),
        (
            "subscriptions = ['a:b']\n",
            (
                "[[subscriptions]] number 1 is not a table; start each entry with a line [[subscriptions]] in double "
                "brackets"
            ),
        ),
        ("store = 'x'\n", "store is not a table; write a line [store] and its options below it"),
    ],
)
def test_wrong_tables_say_how_to_write_them(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [f"supervisor.toml, line 1: {expected}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[restart]\nbackoff_min = 40\n",
            "line 2: [restart] backoff_min = 40.0 is more than backoff_max = 20.0; lower the first or raise the second",
        ),
        (
            "[restart]\nbackoff_max = 0.01\n",
            "line 2: [restart] backoff_min = 0.1 is more than backoff_max = 0.01; lower the first or raise the second",
        ),
        (
            "[runtime]\nheartbeat_timeout = 1\n",
            (
                "line 2: [runtime] heartbeat_timeout = 1.0 is not longer than heartbeat_interval = 1.0; "
                "give several times the interval"
            ),
        ),
        (
            ONE + "retry_backoff_max = 1\nretry_backoff_min = 2\n",
            (
                'line 5: [[subscriptions]] "one" retry_backoff_min = 2.0 is more than retry_backoff_max = 1.0; '
                "lower the first or raise the second"
            ),
        ),
    ],
)
def test_options_must_fit_together(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [f"supervisor.toml, {expected}"]


def test_options_of_two_sources_are_checked_together(tmp_path: Path) -> None:
    text, variable = "[restart]\nbackoff_min = 40\n", "EVENTSTORE__RESTART__BACKOFF_MAX"
    assert load(tmp_path, text, {variable: "50"}).restart.backoff_max == 50.0
    with pytest.raises(ConfigurationError, match="more than backoff_max = 35"):
        load(tmp_path, text, {variable: "35"})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("EVENTSTORE__STORE__URLL", "secret", "there is no such option; did you mean EVENTSTORE__STORE__URL?"),
        ("EVENTSTORE__STORE_URL", "secret", "there is no such option; did you mean EVENTSTORE__STORE__URL?"),
        ("EVENTSTORE__ZZZ", "1", "there is no such option; variables are named EVENTSTORE__SECTION__OPTION"),
        (
            "EVENTSTORE__SUBSCRIPTIONS__0__NAME",
            "x",
            "there is no such option; give the whole list as JSON in EVENTSTORE__SUBSCRIPTIONS",
        ),
        (
            "EVENTSTORE__RUNTIME__PYTHON_PATH",
            "src:lib",
            "is not a JSON list; write it like EVENTSTORE__RUNTIME__PYTHON_PATH='[\"…\"]'",
        ),
        (
            "EVENTSTORE__MONITOR__PORT",
            "http",
            '[monitor] port = "http" is not valid; give a port number from 0 to 65535 (default: 9464)',
        ),
        (
            "EVENTSTORE__SUBSCRIPTIONS",
            '[{"name": "a"}]',
            '[[subscriptions]] "a" handler is missing; add handler = "package.module:function"',
        ),
    ],
)
def test_bad_variables_are_named(tmp_path: Path, name: str, value: str, expected: str) -> None:
    assert problems(tmp_path, "", {name: value}) == [f"environment variable {name}: {expected}"]


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    text = "[store]\nurll = 'x'\npool_size = 'many'\n"
    found = problems(tmp_path, text, {"EVENTSTORE__LOG__LEVEL": "loud", "EVENTSTORE__LOG__COLOUR": "red"})
    assert len(found) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[store]\nurl = \n", "supervisor.toml, line 2, column 7: is not valid TOML: "),
        ("[store]\n[store]\n", "supervisor.toml, line 2, column 7: is not valid TOML: "),
        ("[store", "supervisor.toml, end of file: is not valid TOML: "),
    ],
)
def test_bad_toml_gives_line_and_column(tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(expected)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "supervisor.toml"
    file.write_bytes(b"\xef\xbb\xbf[store]\r\npool_size = 2\r\n")
    assert load_config(file, {}).store.pool_size == 2


def test_files_that_cannot_be_read_give_the_remedy(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"[runtime]\nname = '\xe9'\n")
    for path, expected in [
        (tmp_path / "none.toml", "there is no such file; give the path of a configuration file with -c FILE"),
        (tmp_path, "cannot be read (is a directory); give a readable file with -c FILE"),
    ]:
        with pytest.raises(ConfigurationError) as caught:
            load_config(path, {})
        assert str(caught.value) == f"{path}: {expected}"
    with pytest.raises(ConfigurationError, match=r"latin\.toml, line 2: is not UTF-8; save the file as UTF-8"):
        load_config(latin, {})


@pytest.mark.parametrize(
    "url",
    [
        "postgresl://user:secret@host/db",
        "postgresl://user:se:secret/x@host/db",
        "postgres//user:secret@host",
        "user:secret@host",
        "mysql://host/db?user=u&password=secret",
    ],
)
def test_passwords_are_never_shown(tmp_path: Path, url: str) -> None:
    (problem,) = problems(tmp_path, f'[store]\nurl = "{url}"\n')
    assert "secret" not in problem
    assert "host" in problem


def test_redaction_leaves_what_holds_no_password() -> None:
    assert redacted("postgresql://user@host:5432/db") == "postgresql://user@host:5432/db"
    assert redacted("postgresql://user:x@host:5432/db") == "postgresql://user:***@host:5432/db"


def test_models_can_be_built_in_code() -> None:
    config = RuntimeConfig(store=StoreConfig(url="postgresql:///db", schema="es"), restart=RestartConfig(jitter=0))
    assert (config.store.schema, config.restart.jitter) == ("es", 0.0)
