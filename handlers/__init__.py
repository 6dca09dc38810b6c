"""What users write: handlers, their declaration and their outcomes. Never imports the runtime."""

from .context import AsyncContext, Context
from .declaration import HandlerOptions, handler
from .outcome import Ack, DoneUpTo, Outcome, Park, Retry, Skip, Stop

__all__ = [
    "Ack",
    "AsyncContext",
    "Context",
    "DoneUpTo",
    "HandlerOptions",
    "Outcome",
    "Park",
    "Retry",
    "Skip",
    "Stop",
    "handler",
]
