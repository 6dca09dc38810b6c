"""Who may see what the monitor does not show to everybody. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac

CHALLENGE = 'Bearer realm="eventstore-runtime", Basic realm="eventstore-runtime"'
"""What a refusal says in `WWW-Authenticate`."""


def is_allowed(token: str, authorization: str | None) -> bool:
    """Tells whether a request shows the token: as bearer token, or as the password of basic auth with any user name.

    Args:
        token: The token, empty where none is asked for.
        authorization: The header `Authorization` as it came, None without one.
    """
    if not token:
        return True
    scheme, _, shown = (authorization or "").strip().partition(" ")
    shown = shown.strip()
    if scheme.lower() == "basic":
        shown = _password(shown)
    elif scheme.lower() != "bearer":
        return False
    # Headers are latin-1 for the HTTP server, and comparing takes the same time whatever they hold.
    return hmac.compare_digest(shown.encode("latin-1", "replace"), token.encode())


def _password(credentials: str) -> str:
    try:
        decoded = base64.b64decode(credentials, validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return ""
    return decoded.partition(":")[2]
