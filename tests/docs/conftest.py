"""A reader's folder, for guides that write files and start commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore.store.keeper import postmaster_pid
from eventstore.tests.support.database import temporary_home
from eventstore.tests.support.wait import wait_until


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, the working directory and importable; what a guide left running in it has stopped in the end."""
    with temporary_home("project") as folder:
        folder.mkdir()
        with monkeypatch.context() as changes:
            changes.chdir(folder)
            changes.syspath_prepend(folder)
            yield folder
        for name, module in list(sys.modules.items()):  # another guide may have a module of the same name
            if (getattr(module, "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]
        data = folder / ".eventstore" / "data"
        wait_until(lambda: postmaster_pid(data) is None, "the guide's embedded server has stopped")
