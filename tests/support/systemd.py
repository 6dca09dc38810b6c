"""A real systemd with a node as its service, as an operator installs it, in namespaces of its own.

`systemd.sh` boots it; here is what it finds there, and how to speak to it. The package lies in /opt/eventstore, the
project in /etc/eventstore, and the unit is the one of `deploy/`, unchanged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from psycopg.conninfo import conninfo_to_dict

from .wait import wait_until

UNIT = "eventstore-runtime.service"
URL = "postgresql://postgres@/postgres?host=/srv/database"
"""Where the service finds the test's database."""

_ROOT = Path(__file__).resolve().parents[2]
_SCRIPT = Path(__file__).with_suffix(".sh")
_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup")
_PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"


def why_not(database_url: str) -> str:
    """Why no systemd can be booted here; empty where it can."""
    if os.geteuid() != 0:
        return "booting a systemd takes root"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed: apt-get install systemd"
    if not str(conninfo_to_dict(database_url).get("host", "")).startswith("/"):
        return "only a database with a Unix socket can be reached from the systemd's own network"
    probe = "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mount -t cgroup2 cgroup2 /mnt"
    done = subprocess.run(["unshare", *_NAMESPACES, "--fork", "sh", "-c", probe], capture_output=True, text=True)
    return f"namespaces and mounts are not allowed here: {done.stderr.strip()}" if done.returncode else ""


class Systemd:
    """A booted systemd.

    Args:
        process: Process 1 of its namespaces.
        project: The folder that it sees as /etc/eventstore.
    """

    def __init__(self, process: psutil.Process, project: Path) -> None:
        self.process = process
        self.project = project

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command beside it, to the end."""
        enter = ["nsenter", "--target", str(self.process.pid), *_NAMESPACES, "--", "env", "-i", _PATH]
        return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=120)

    def has_booted(self) -> bool:
        """True once services can be started."""
        return self.run("systemctl", "is-active", "basic.target").returncode == 0

    def systemctl(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs systemctl with the node's unit."""
        return self.run("systemctl", *command, UNIT)

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.systemctl("show", f"--property={name}", "--value").stdout.strip()

    def journal(self) -> str:
        """What the unit, and systemd about it, wrote."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={UNIT}").stdout

    def until(self, name: str, value: str) -> None:
        """Waits until a property of the unit has a value."""
        wait_until(
            lambda: self.show(name) == value, f"{name} is {value}", lambda: f"{self.show(name)}\n{self.journal()}"
        )

    def override(self, *options: str) -> None:
        """Puts options of [Service] over those of the unit."""
        folder = f"/etc/systemd/system/{UNIT}.d"
        lines = "\n".join(["[Service]", *options])
        self.run("sh", "-c", f"mkdir -p {folder} && echo '{lines}' > {folder}/test.conf")
        self.run("systemctl", "daemon-reload")

    def node(self) -> psutil.Process:
        """The supervisor of the node."""
        return next(p for p in self.family() if _pid_inside(p) == self.show("MainPID"))

    def family(self) -> list[psutil.Process]:
        """The processes of the unit."""
        path = f"/sys/fs/cgroup/system.slice/{UNIT}/cgroup.procs"
        inside = set(self.run("cat", path).stdout.split())
        return [p for p in self.process.children(recursive=True) if _pid_inside(p) in inside]


@contextmanager
def booted(home: Path, database_url: str) -> Iterator[Systemd]:
    """Boot a systemd that has the unit and has not started it; it ends with the block.

    Args:
        home: An empty folder.
        database_url: The database that the service reaches as `URL`.
    """
    _install(home)
    server = conninfo_to_dict(database_url)
    database = f"{server['host']}/.s.PGSQL.{server.get('port', 5432)}"
    places = [str(home), sys.base_prefix, sysconfig.get_path("purelib"), database]
    output = home / "output"
    with output.open("wb") as log:
        script = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", str(_SCRIPT), *places],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: _first(script.pid) or script.poll() is not None, "systemd runs", output.read_text)
        process = _first(script.pid)
        assert process is not None, output.read_text()
        systemd = Systemd(process, home / "project")
        wait_until(systemd.has_booted, "it has booted", output.read_text)
        yield systemd
    finally:
        first = _first(script.pid)
        if first is not None:
            first.kill()
        script.wait(timeout=60)


def _install(home: Path) -> None:
    """The files of an installation: the package in a venv of its own, an empty project, the unit."""
    for folder in ("etc/systemd/system", "project", "opt/eventstore/bin"):
        (home / folder).mkdir(parents=True)
    for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache"):
        shutil.copy(f"/etc/{name}", home / "etc")
    (home / "etc/machine-id").write_text(f"{1:032x}\n")
    shutil.copy(_ROOT / "deploy" / UNIT, home / "etc/systemd/system")
    (home / "project").chmod(0o755)
    # A Python that was built to be shared finds its library where it was built, which ProtectHome= may hide.
    (home / "project/environment").write_text("LD_LIBRARY_PATH=/opt/python/lib\n")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    venv = home / "opt/eventstore"
    (venv / "pyvenv.cfg").write_text("home = /opt/python/bin\n")
    (venv / "bin/python").symlink_to(f"/opt/python/bin/{version}")
    program = venv / "bin/eventstore-runtime"
    program.write_text("#!/opt/eventstore/bin/python\nfrom eventstore.runtime.cli import main\nmain()\n")
    program.chmod(0o755)
    site = venv / "lib" / version / "site-packages"
    for name in ("store", "handlers", "runtime"):
        shutil.copytree(_ROOT / name, site / "eventstore" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_ROOT / "__init__.py", site / "eventstore")
    (site / "dependencies.pth").write_text("/opt/packages\n")


def _first(script: int) -> psutil.Process | None:
    """Process 1 of the namespaces that the script made, once it is systemd."""
    try:
        family = psutil.Process(script).children(recursive=True)
        return next((p for p in family if _pid_inside(p) == "1" and p.name() == "systemd"), None)
    except psutil.NoSuchProcess:
        return None


def _pid_inside(process: psutil.Process) -> str:
    """Its pid in the namespace that it is in; empty when it has gone."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return ""
    return next(line.split()[-1] for line in lines if line.startswith("NSpid:"))
