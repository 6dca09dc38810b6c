"""The documentation site: it builds without a warning, holds the whole public face, and needs no other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import eventstore
from eventstore import EventStore
from eventstore.tests.support.snippets import DOCS

pytest.importorskip("mkdocstrings", reason="the extra `docs` is not installed")

ROOT = DOCS.parent
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src"}
"""What a browser fetches by itself, by the tag and its attribute; of links, all but the page's own address."""


class Loads(HTMLParser):
    """The addresses that a page loads, and the ids of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.append(given.get("id", ""))
        if tag == "link" and given.get("rel") != "canonical":
            self.addresses.append(given.get("href", ""))
        elif tag in LOADED:
            self.addresses.append(given.get(LOADED[tag], ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, in a folder of the test's."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Loads]:
    """All pages, read."""
    read = {}
    for path in site.rglob("*.html"):
        loads = read[path.relative_to(site).as_posix()] = Loads()
        loads.feed(path.read_text("utf-8"))
    return read


def test_every_page_of_the_folder_is_there(site: Path) -> None:
    for source in DOCS.rglob("*.md"):
        name = source.relative_to(DOCS).with_suffix("")
        target = site / (name.parent if name.name == "index" else name) / "index.html"
        assert target.exists(), source


def test_no_page_loads_anything_from_another_host(pages: dict[str, Loads]) -> None:
    foreign = {
        (page, address)
        for page, loads in pages.items()
        for address in loads.addresses
        if re.match(r"(?:\w+:)?//", address)
    }
    assert len(pages) > 20
    assert any(address.endswith(".css") for address in pages["index.html"].addresses)
    assert foreign == set()


def test_no_style_sheet_loads_anything_from_another_host(site: Path) -> None:
    sheets = [path.read_text("utf-8") for path in site.rglob("*.css")]
    assert sheets
    assert not [sheet for sheet in sheets if re.search(r"(?:url\(|@import)\s*[\"']?(?:\w+:)?//", sheet)]


@pytest.mark.parametrize("name", eventstore.__all__)
def test_every_public_name_is_in_the_reference(name: str, pages: dict[str, Loads]) -> None:
    holders = [page for page, loads in pages.items() if f"eventstore.{name}" in loads.ids]
    assert len(holders) == 1, holders
    assert holders[0].startswith("reference/")


def test_the_reference_shows_methods_with_their_docstrings(site: Path, pages: dict[str, Loads]) -> None:
    assert "eventstore.EventStore.append_to_stream" in pages["reference/event-store/index.html"].ids
    assert "in one round trip" in (site / "reference" / "event-store" / "index.html").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.name)
def test_every_method_of_a_store_that_a_page_names_exists(path: Path) -> None:
    named = set(re.findall(r"\bstore\.([a-z_]+)\(", path.read_text("utf-8")))
    assert {name for name in named if not hasattr(EventStore, name)} == set()
