"""Finding handlers and settling their options: configuration over decorator over default."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventstore.handlers import HandlerOptions
from eventstore.handlers.declaration import HandlerFunction
from eventstore.handlers.resolve import DECLARED, Subscription, event_filter, extend_path, load_function, resolve
from eventstore.store import ConfigurationError
from eventstore.store.filters import EventFilter

WHERE = "subscription 's'"
SOURCE = """
    import abc
    import functools
    from eventstore.handlers import handler

    def bare(event, context):
        pass

    @handler(
        name="declared", stream="orders", concurrency=3, partition_by="stream", start_from="current",
        transactional=True, transaction_size=5, buffer_size=6, max_size=7, checkpoint_threshold=8,
        checkpoint_after=9, max_attempts=10, retry_backoff_min=11, retry_backoff_max=12, on_exhausted="skip",
        placement="pinned", event_types=["Opened"], category="order", stream_prefix="order-",
        data_equals={"a.b": 1}, selector=lambda event: True, mapper=lambda event: event.data, batch_size=13,
        batch_timeout=14, timeout=15, slow_after=16, max_bytes=17, max_crashes=18, max_parked=19,
        max_parked_per_partition=20, max_events_per_worker=21, max_rss=22, side_effects="live_only",
    )
    def full(event, context):
        pass

    @handler(name="keyed", partition_by=lambda event: event.data["id"])
    def keyed(event, context):
        pass

    async def later(event, context):
        pass

    async def key_later(event):
        pass

    def one(event):
        pass

    def any_number(*arguments, **options):
        pass

    class Callable_:
        def __call__(self, event, context):
            pass

    instance = Callable_()
    number = 7

    class CallableLater:
        async def __call__(self, event, context):
            pass

    later_instance = CallableLater()

    class Stateful:
        def handle(self, event, context):
            pass

        def start(self):
            pass

    stateful = Stateful()

    class Static:
        @staticmethod
        def handle(event, context):
            pass

        @classmethod
        def stop(cls):
            pass

    class AllLater:
        async def handle(self, event, context):
            pass

        async def start(self):
            pass

        async def stop(self):
            pass

    def lazy(event, context):
        yield event

    async def lazy_later(event, context):
        yield event

    class Demanding(Stateful):
        def __init__(self, url):
            pass

    class Abstract(Stateful, abc.ABC):
        @abc.abstractmethod
        def more(self):
            pass

    class OneOnly:
        def handle(self, event):
            pass

    one_only = OneOnly()

    class BadHook(Stateful):
        def start(self, loop):
            pass

    bad_hook = BadHook()

    class NoHook(Stateful):
        stop = "now"

    def declare(**options):
        return handler(**options)(lambda event, context: None)

    nothing = None
"""
OTHER: dict[str, Any] = {
    "name": "configured",
    "stream": "$all",
    "concurrency": 4,
    "partition_by": "category",
    "start_from": 3,
    "transactional": False,
    "transaction_size": 50,
    "buffer_size": 60,
    "max_size": 70,
    "checkpoint_threshold": 80,
    "checkpoint_after": 0.9,
    "max_attempts": 1,
    "retry_backoff_min": 1.1,
    "retry_backoff_max": 13.0,
    "on_exhausted": "halt",
    "placement": "free",
    "event_types": ("Closed",),
    "category": "account",
    "stream_prefix": "account-",
    "data_equals": {"c": "d", "e": True},
    "selector": "os.path:exists",
    "mapper": "os.path:basename",
    "batch_size": 130,
    "batch_timeout": 1.4,
    "timeout": 1.5,
    "slow_after": 1.6,
    "max_bytes": 170,
    "max_crashes": 180,
    "max_parked": 190,
    "max_parked_per_partition": 200,
    "max_events_per_worker": 210,
    "max_rss": 220,
    "side_effects": "always",
}


@pytest.fixture
def name(module: Callable[..., str]) -> str:
    return module(SOURCE)


def said(call: Callable[[], object]) -> str:
    """The sentence of the ConfigurationError that a call raises."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    return str(caught.value)


def declared(module: Callable[..., str], options: str) -> str:
    """The dotted path of a handler that is declared with these options."""
    source = f"from eventstore.handlers import handler\n@handler(name='s', {options})\ndef f(event, context): pass\n"
    return f"{module(source)}:f"


def test_without_options_the_defaults_hold(name: str) -> None:
    path = f"{name}:bare"
    assert resolve(path, HandlerOptions(name="s"), where=WHERE) == Subscription(name="s", handler=path)


def test_the_decorator_wins_over_the_defaults(name: str) -> None:
    settled = resolve(f"{name}:full", HandlerOptions(), where=WHERE)
    assert msgspec.structs.asdict(settled) == {
        "handler": f"{name}:full",
        "name": "declared",
        "stream": "orders",
        "concurrency": 3,
        "partition_by": "stream",
        "start_from": "current",
        "transactional": True,
        "transaction_size": 5,
        "buffer_size": 6,
        "max_size": 7,
        "checkpoint_threshold": 8,
        "checkpoint_after": 9.0,
        "max_attempts": 10,
        "retry_backoff_min": 11.0,
        "retry_backoff_max": 12.0,
        "on_exhausted": "skip",
        "placement": "pinned",
        "event_types": ("Opened",),
        "category": "order",
        "stream_prefix": "order-",
        "data_equals": {"a.b": 1},
        "selector": DECLARED,
        "mapper": DECLARED,
        "batch_size": 13,
        "batch_timeout": 14.0,
        "timeout": 15.0,
        "slow_after": 16.0,
        "max_bytes": 17,
        "max_crashes": 18,
        "max_parked": 19,
        "max_parked_per_partition": 20,
        "max_events_per_worker": 21,
        "max_rss": 22,
        "side_effects": "live_only",
    }


@pytest.mark.parametrize("option", HandlerOptions.__struct_fields__)
def test_the_configuration_wins_over_the_decorator(name: str, option: str) -> None:
    plain = resolve(f"{name}:full", HandlerOptions(), where=WHERE)
    settled = resolve(f"{name}:full", HandlerOptions(**{option: OTHER[option]}), where=WHERE)
    assert getattr(plain, option) != OTHER[option]
    assert settled == msgspec.structs.replace(plain, **{option: OTHER[option]})


def test_a_function_of_the_decorator_travels_by_name_and_can_be_overridden(name: str) -> None:
    assert resolve(f"{name}:keyed", HandlerOptions(), where=WHERE).partition_by == DECLARED
    configured = HandlerOptions(partition_by="stream")
    assert resolve(f"{name}:keyed", configured, where=WHERE).partition_by == "stream"


def test_what_is_settled_can_be_sent(name: str) -> None:
    settled = resolve(f"{name}:full", HandlerOptions(), where=WHERE)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(settled), type=Subscription) == settled


@pytest.mark.parametrize(
    "function",
    ["bare", "any_number", "instance", "later", "later_instance", "Stateful", "stateful", "Static", "AllLater"],
)
def test_anything_that_takes_event_and_context_is_a_handler(name: str, function: str) -> None:
    assert resolve(f"{name}:{function}", HandlerOptions(name="s"), where=WHERE).handler == f"{name}:{function}"


@pytest.mark.parametrize("path", ["handlers", "handlers:", ":handle", ""])
def test_a_path_that_is_none(path: str) -> None:
    expected = f"{WHERE}: {path!r} is not a dotted path; write it as 'package.module:function'"
    assert said(lambda: load_function(path, where=WHERE)) == expected


@pytest.mark.parametrize(("path", "missing"), [("no_such:f", "no_such"), ("no_such.at.all:f", "no_such")])
def test_a_module_that_is_not_there(path: str, missing: str) -> None:
    remedy = "set [runtime] python_path to the folder that holds it, or start in that folder"
    assert said(lambda: load_function(path, where=WHERE)) == f"{WHERE}: there is no module {missing!r}; {remedy}"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_library", "No module named 'no_such_library' ({file}, line 1)"),
        ("\n\n1 / 0", "ZeroDivisionError: division by zero ({file}, line 3)"),
        ("from eventstore.handlers import nothing", "ImportError: cannot import name 'nothing'"),
        ("def f(:", "SyntaxError: "),
    ],
)
def test_a_module_whose_import_fails(module: Callable[..., str], source: str, reason: str) -> None:
    name = module(source)
    message = said(lambda: load_function(f"{name}:f", where=WHERE))
    file = next(Path(folder, f"{name}.py") for folder in sys.path if Path(folder, f"{name}.py").exists())
    assert message.startswith(f"{WHERE}: importing {name!r} failed: {reason.format(file=file)}")
    assert message.count(", line ") == 1


def test_a_function_that_is_not_there_is_named_with_the_nearest(name: str) -> None:
    assert said(lambda: load_function(f"{name}:bear", where=WHERE)) == (
        f"{WHERE}: module {name!r} has no 'bear'; did you mean 'bare'?"
    )
    assert said(lambda: load_function(f"{name}:zzz", where=WHERE)) == f"{WHERE}: module {name!r} has no 'zzz'"
    assert said(lambda: load_function(f"{name}:nothing", where=WHERE)).startswith(
        f"{WHERE}: module {name!r} has no 'nothing'"
    )


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("number", "'{}' is a int, neither a function nor anything with a method handle"),
        ("one", "'{}' takes (event); it is called with (event, context)"),
        ("lazy", "'{}' has a 'yield', so that a call of it does nothing; take it out"),
        ("lazy_later", "'{}' has a 'yield', so that a call of it does nothing; take it out"),
        ("Callable_", "class '{}' has no method handle(event, context)"),
        ("Demanding", "'{}' takes (url); it is called with ()"),
        ("Abstract", "class '{}' is abstract; name a class that can be made"),
        ("OneOnly", "handle of '{}' takes (self, event); it is called with (event, context)"),
        ("one_only", "handle of '{}' takes (event); it is called with (event, context)"),
        ("BadHook", "start of '{}' takes (self, loop); it is called with ()"),
        ("bad_hook", "start of '{}' takes (loop); it is called with ()"),
        ("NoHook", "stop of '{}' is a str, not a method"),
    ],
)
def test_what_cannot_be_a_handler(name: str, function: str, problem: str) -> None:
    path = f"{name}:{function}"
    expected = f"{WHERE}: {problem.format(path)}"
    assert said(lambda: resolve(path, HandlerOptions(name="s"), where=WHERE)) == expected


def test_a_handler_of_batches_is_called_with_events(name: str) -> None:
    path = f"{name}:one"
    assert said(lambda: resolve(path, HandlerOptions(name="s", batch_size=2), where=WHERE)) == (
        f"{WHERE}: {path!r} takes (event); it is called with (events, context)"
    )


def test_a_subscription_needs_a_name(name: str) -> None:
    assert said(lambda: resolve(f"{name}:bare", HandlerOptions(), where=WHERE)) == (
        f'{WHERE}: the subscription has no name; add name = "…" here or to @handler'
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("concurrency=0", "concurrency = 0; it must be 1 or more"),
        ("buffer_size=-1", "buffer_size = -1; it must be 1 or more"),
        ("transaction_size=0", "transaction_size = 0; it must be 1 or more"),
        ("max_size=0", "max_size = 0; it must be 1 or more"),
        ("checkpoint_threshold=0", "checkpoint_threshold = 0; it must be 1 or more"),
        ("max_attempts=0", "max_attempts = 0; it must be 1 or more"),
        ("checkpoint_after=-0.5", "checkpoint_after = -0.5; it must be 0 seconds or more"),
        ("retry_backoff_min=-1", "retry_backoff_min = -1.0; it must be 0 seconds or more"),
        ("retry_backoff_max=float('inf')", "retry_backoff_max = inf; it must be 0 seconds or more"),
        ("retry_backoff_max=float('nan')", "retry_backoff_max = nan; it must be 0 seconds or more"),
        (
            "retry_backoff_min=90",
            "retry_backoff_min = 90.0 is more than retry_backoff_max = 60.0; lower the first or raise the second",
        ),
        ("batch_timeout=1", "batch_timeout = 1.0 has no effect without batch_size; give it too, or leave both out"),
        ("start_from=-1", "start_from = -1; event numbers start at 0"),
        ("start_from='orign'", "start_from = 'orign'; it must be 'origin', 'current' or an event number"),
        ("on_exhausted='ignore'", "on_exhausted = 'ignore'; it must be 'halt', 'park', 'park_partition' or 'skip'"),
        ("placement='sticky'", "placement = 'sticky'; it must be 'free' or 'pinned'"),
        ("event_types='Opened'", "event_types = 'Opened'; it must be a list of texts"),
        ("event_types=['Opened', 1]", "event_types = ['Opened', 1]; it must be a list of texts"),
        ("data_equals={'a': []}", "data_equals = {'a': []}; it must be a table of dotted paths and values"),
        ("selector=1", "selector = 1; it must be a dotted path or a function of the event"),
        ("selector='os:nothing_here'", "selector: module 'os' has no 'nothing_here'"),
        ("mapper=lambda: 1", "mapper of @handler takes (); it is called with (event)"),
        ("timeout=0", "timeout = 0.0; it must be more than 0 seconds"),
        ("slow_after=-1", "slow_after = -1.0; it must be more than 0 seconds"),
        ("batch_size=0", "batch_size = 0; it must be 1 or more"),
        ("max_rss='1G'", "max_rss = '1G'; it must be a whole number"),
        ("side_effects='never'", "side_effects = 'never'; it must be 'always' or 'live_only'"),
        ("concurrency='2'", "concurrency = '2'; it must be a whole number"),
        ("concurrency=True", "concurrency = True; it must be a whole number"),
        ("transactional='yes'", "transactional = 'yes'; it must be True or False"),
        ("checkpoint_after='1s'", "checkpoint_after = '1s'; it must be a number of seconds"),
        ("stream=7", "stream = 7; it must be a text"),
        ("partition_by=7", "partition_by = 7; it must be a text or a function of the event"),
    ],
)
def test_an_option_of_the_decorator_that_cannot_be(module: Callable[..., str], options: str, problem: str) -> None:
    path = declared(module, options)
    assert said(lambda: resolve(path, HandlerOptions(), where=WHERE)) == f"{WHERE}: {problem}"


@pytest.mark.parametrize(
    ("partition_by", "begin"),
    [
        ("steam", "partition_by = 'steam'; did you mean 'stream'? It may be 'stream', 'category', "),
        (
            "zzz",
            "partition_by = 'zzz'; it may be 'stream', 'category', 'correlation_id', 'event_type', a path such as ",
        ),
        ("data", "partition_by = 'data'; "),
    ],
)
def test_a_partition_by_nobody_knows(name: str, partition_by: str, begin: str) -> None:
    configured = HandlerOptions(name="s", partition_by=partition_by)
    assert said(lambda: resolve(f"{name}:bare", configured, where=WHERE)).startswith(f"{WHERE}: {begin}")


def test_partition_functions_are_checked_like_handlers(name: str, module: Callable[..., str]) -> None:
    def configured(function: str) -> Callable[[], Subscription]:
        options = HandlerOptions(name="s", partition_by=f"{name}:{function}")
        return lambda: resolve(f"{name}:bare", options, where=WHERE)

    assert configured("one")().partition_by == f"{name}:one"
    assert said(configured("onee")) == f"{WHERE}: partition_by: module {name!r} has no 'onee'; did you mean 'one'?"
    assert said(configured("bare")) == (
        f"{WHERE}: partition_by '{name}:bare' takes (event, context); it is called with (event)"
    )
    assert said(configured("key_later")) == (
        f"{WHERE}: partition_by '{name}:key_later' is 'async def'; declare it with a plain 'def'"
    )
    path = declared(module, "partition_by=lambda: 1")
    assert said(lambda: resolve(path, HandlerOptions(), where=WHERE)) == (
        f"{WHERE}: partition_by of @handler takes (); it is called with (event)"
    )


def test_a_built_in_function_that_tells_no_signature_is_believed() -> None:
    assert resolve("builtins:getattr", HandlerOptions(name="s"), where=WHERE).handler == "builtins:getattr"


def test_the_working_directory_and_the_given_folders_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", ["/usr/lib/python"])
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    extend_path(folders)
    assert sys.path == ["", *folders, "/usr/lib/python"]
    extend_path(folders)
    assert sys.path == ["", *folders, "/usr/lib/python"]


def test_a_handler_of_a_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "user_package_deep" / "inner"
    package.mkdir(parents=True)
    (package / "handlers.py").write_text("def handle(event, context): return 'mine'")
    monkeypatch.syspath_prepend(str(tmp_path))
    function: HandlerFunction = load_function("user_package_deep.inner.handlers:handle", where=WHERE)
    assert function(None, None) == "mine"


def test_the_options_of_a_filter_become_one(name: str) -> None:
    declared = resolve(f"{name}:full", HandlerOptions(), where=WHERE)
    assert event_filter(declared) == EventFilter.of(["Opened"], "order", "order-", {"a.b": 1})
    assert event_filter(resolve(f"{name}:bare", HandlerOptions(name="s"), where=WHERE)) is None


def test_a_filter_that_cannot_work_is_refused_with_its_place(name: str) -> None:
    options = HandlerOptions(name="s", data_equals={"a..b": 1})
    with pytest.raises(ConfigurationError, match=r"subscription 's': data_equals has the path 'a..b'"):
        resolve(f"{name}:bare", options, where=WHERE)
