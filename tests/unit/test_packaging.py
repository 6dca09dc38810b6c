"""What is shipped beside the code: the annotated configuration, the reference page, and the wheel's contents."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventstore.handlers.resolve import Subscription
from eventstore.runtime.config import RuntimeConfig, SubscriptionConfig, iter_options, load_config
from eventstore.runtime.config_reference import reference

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [ROOT / "supervisor.toml", ROOT / "runtime" / "demo" / "supervisor.toml"]
TEMPLATE = SHIPPED[0].read_text(encoding="utf-8")
_EXAMPLES = {
    "runtime": {"name"},
    "store": {"session_mode_url", "url", "serializer", "default_database"},
    "monitor": {"token"},
}
COMMENTED_OPTION = re.compile(r"^#(?=\w+ = )", re.MULTILINE)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in a wheel built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("build")
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=folder / "source", check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        return set(archive.namelist())


def test_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    remedy = "regenerate it: python -m eventstore.runtime.config_reference > docs/configuration.md"
    assert page == reference(), remedy
    assert "NODEFAULT" not in page


@pytest.mark.parametrize("option", list(iter_options()), ids=lambda option: option.key)
def test_template_shows_every_option_in_its_section(option: tuple[str, str, str, str]) -> None:
    section, _, name = option[0].replace("[]", "").partition(".")
    parts = re.split(r"^\[+(\w+)\]+$", TEMPLATE, flags=re.MULTILINE)
    texts = [text for header, text in zip(parts[1::2], parts[2::2], strict=True) if header == section]
    assert re.search(rf"^#?{name} = ", "\n".join(texts), re.MULTILINE)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_configurations_load(path: Path) -> None:
    config = load_config(path, {})
    assert [subscription.name for subscription in config.subscriptions] == ["commits-per-author", "commit-log"]
    assert config.store.url == f"embedded:{path.parent}/.eventstore"


def test_both_shipped_configurations_declare_the_same_subscriptions() -> None:
    first, second = (load_config(path, {}).subscriptions for path in SHIPPED)
    assert first == second


def test_values_commented_out_in_the_template_are_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "supervisor.toml"
    file.write_text(COMMENTED_OPTION.sub("", TEMPLATE), encoding="utf-8")
    config = load_config(file, {})
    assert _comparable(config) == _comparable(RuntimeConfig())
    shown = config.subscriptions[0].model_dump(exclude={"name", "handler", *_set_in_template()})
    defaults = {field.name: field.default for field in msgspec.structs.fields(Subscription)}
    # What is not set by default can only be shown by an example.
    comparable = {name: value for name, value in shown.items() if defaults[name] not in (None, (), msgspec.NODEFAULT)}
    assert len(comparable) > 10
    assert comparable == {name: defaults[name] for name in comparable}


def test_every_package_imported_is_declared() -> None:
    """What only a developer's tool happens to bring along would be missing after a plain install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {
        _distribution(text) for text in [*project["dependencies"], *project["optional-dependencies"]["embedded"]]
    }
    sources = [path for folder in ("store", "handlers", "runtime") for path in (ROOT / folder).rglob("*.py")]
    foreign = set().union(*map(_imported, sources)) - sys.stdlib_module_names
    providers = metadata.packages_distributions()
    undeclared = {name for name in foreign if declared.isdisjoint(map(_distribution, providers.get(name, [])))}
    assert undeclared == set()


def _distribution(requirement: str) -> str:
    """The normalised name of the distribution in a requirement such as "psycopg[binary]>=3.2"."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def _imported(path: Path) -> set[str]:
    """The top-level names of all absolute imports in a file."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {module.partition(".")[0] for module in modules}


def _comparable(config: RuntimeConfig) -> dict[str, Any]:
    """All options but those for which the template shows an example instead of the default."""
    return config.model_dump(exclude={**_EXAMPLES, "subscriptions": True})


def _set_in_template() -> set[str]:
    subscription = load_config(SHIPPED[0], {}).subscriptions[0]
    return {name for name in SubscriptionConfig.model_fields if getattr(subscription, name) is not None}


def test_wheel_holds_the_whole_package(wheel: set[str]) -> None:
    """A package or a kind of data file that pyproject.toml does not list would be missing from installs only."""
    folders = ("bench", "store", "handlers", "runtime")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    sources = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert {f"eventstore/{name}" for name in {"__init__.py", "py.typed", *sources}} <= wheel


def test_wheel_holds_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[1] for name in wheel if name.startswith("eventstore/")}
    assert tops == {"__init__.py", "py.typed", "bench", "store", "handlers", "runtime"}
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"eventstore", "eventstore_runtime"}


def test_wheel_brings_the_licence_and_the_command(wheel: set[str]) -> None:
    (info,) = {name.split("/")[0] for name in wheel if ".dist-info/" in name}
    assert {f"{info}/licenses/LICENSE", f"{info}/entry_points.txt"} <= wheel
