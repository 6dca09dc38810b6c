"""`@handler`: the options, and the function that stays as it was."""

from __future__ import annotations

import functools
import inspect
from typing import Any, assert_type

from eventstore.handlers import Context, HandlerOptions, handler
from eventstore.handlers.declaration import declared_options
from eventstore.store import RecordedEvent


def test_the_decorated_function_is_the_function_itself() -> None:
    def handle(event: RecordedEvent, context: Context) -> None:
        """Does nothing."""

    assert handler(name="s")(handle) is handle


def test_a_decorated_class_is_the_class_itself_and_its_instances_are_declared() -> None:
    @handler(name="s", batch_size=10)
    class Projection:
        total = 0

        def handle(self, events: list[RecordedEvent], context: Context) -> None:
            self.total += len(events)

    made = Projection()
    made.handle([], Context(subscription="s", event_number=1))
    assert_type(made.total, int)
    assert declared_options(made) == declared_options(Projection) == HandlerOptions(name="s", batch_size=10)


def test_the_options_are_those_given_and_no_others() -> None:
    @handler(name="s", concurrency=2, partition_by="stream", start_from=7, on_exhausted="skip")
    def handle(event: RecordedEvent, context: Context) -> None: ...

    assert declared_options(handle) == HandlerOptions(
        name="s", concurrency=2, partition_by="stream", start_from=7, on_exhausted="skip"
    )


def test_a_function_without_the_decorator_declares_nothing() -> None:
    assert declared_options(lambda event, context: None) == HandlerOptions()


def test_an_attribute_of_somebody_else_declares_nothing() -> None:
    def handle(event: RecordedEvent, context: Context) -> None: ...

    handle.__eventstore_handler__ = {"name": "s"}  # type: ignore[attr-defined]
    assert declared_options(handle) == HandlerOptions()


def test_a_wrapper_keeps_the_declaration() -> None:
    @handler(name="s")
    def handle(event: RecordedEvent, context: Context) -> None: ...

    @functools.wraps(handle)
    def timed(*arguments: Any) -> Any:
        return handle(*arguments)

    assert declared_options(timed).name == "s"


def test_the_decorator_takes_every_option_and_nothing_else() -> None:
    parameters = inspect.signature(handler).parameters
    assert tuple(parameters) == HandlerOptions.__struct_fields__
    assert all(parameter.default is None for parameter in parameters.values())
