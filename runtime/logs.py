"""Log set-up, the first thing every process does. One event, one line, written at once to stderr."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

from .plan import LogPlan

_JSON = structlog.processors.JSONRenderer()


class _WholeLines:
    """Writes each line with one call, so that lines of several processes never mix."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        """Writes one line; a reader that went away or a full disk is no reason to stop."""
        try:
            self._stream.write(message + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = exception = log = msg


def _render_json(logger: Any, name: str, event_dict: structlog.typing.EventDict) -> str | bytes:
    """A line that a person can read as well: when, how bad and what come first."""
    first = {key: event_dict[key] for key in ("timestamp", "level", "event")}
    return _JSON(logger, name, {**first, **event_dict})


def configure_logging(plan: LogPlan) -> None:
    """Sets structlog up for this process.

    Args:
        plan: Level, and "console" for people or "json" for machines.
    """
    level = logging.getLevelNamesMapping()[plan.level.upper()]
    renderer: Any
    if plan.format == "json":
        renderer = _render_json
        # Without the values of variables, among which are the database's password and the data of events.
        transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        exceptions: Any = structlog.processors.ExceptionRenderer(transformer)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=28
        )
        exceptions = structlog.processors.StackInfoRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            exceptions,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _WholeLines(sys.stderr),
        cache_logger_on_first_use=True,
    )
