"""Who may see the status."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.runtime.access import is_allowed

TOKEN = "s3cret-☃"


def basic(credentials: bytes) -> str:
    return "Basic " + base64.b64encode(credentials).decode()


def bearer(token: str) -> str:
    """As an HTTP server hands a header over: bytes read as latin-1."""
    return f"Bearer {token}".encode().decode("latin-1")


@pytest.mark.parametrize("header", [None, "", "Bearer x", basic(b"a:b"), "nonsense"])
def test_without_a_token_everybody_may(header: str | None) -> None:
    assert is_allowed("", header)


@pytest.mark.parametrize(
    "header",
    [bearer(TOKEN), "bearer  " + bearer(TOKEN)[7:], basic(f"anybody:{TOKEN}".encode()), basic(f":{TOKEN}".encode())],
)
def test_who_shows_the_token_may(header: str) -> None:
    assert is_allowed(TOKEN, header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        bearer(TOKEN[:-1]),
        bearer(TOKEN + "x"),
        f"Digest {TOKEN}",
        TOKEN,
        basic(f"{TOKEN}:".encode()),
        basic(b"anybody:no"),
        basic(TOKEN.encode()),
        "Basic not-base64!",
        "Basic ☃",
    ],
)
def test_nobody_else_may(header: str | None) -> None:
    assert not is_allowed(TOKEN, header)


@given(st.text(max_size=40))
def test_no_header_breaks_it(header: str) -> None:
    assert not is_allowed(TOKEN, header)
