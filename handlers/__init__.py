"""What users write: handlers, their declaration and their outcomes. Never imports the runtime."""

from .context import Context
from .declaration import HandlerOptions, handler
from .outcome import Ack, Outcome, Park, Retry, Skip, Stop

__all__ = ["Ack", "Context", "HandlerOptions", "Outcome", "Park", "Retry", "Skip", "Stop", "handler"]
