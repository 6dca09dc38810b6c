"""`import eventstore` offers what the README uses, and loads nothing heavy for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import eventstore


@pytest.mark.parametrize("name", eventstore.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(eventstore, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = eventstore.nothing


def test_the_store_loads_neither_the_runtime_nor_its_libraries() -> None:
    program = """
import sys, eventstore
from eventstore import EventStore
heavy = {"pydantic", "typer", "rich", "multiprocess", "prometheus_client", "eventstore.runtime"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
