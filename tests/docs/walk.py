"""
Do what a page says, word for word: run its commands, write its files, in their order.

A Python block that begins with `# shop/models.py` is that file; `# proj/urls.py, at the end` is
added to it. Commands run as printed but for what each test says.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Self

from tests.services.server import free_port
from tests.waiting import eventually

from .pages import Block

_FILE = re.compile(r"# (?P<path>[\w/]+\.py)(?P<added>, at the end)?\n")
_STAYS = ("runserver", "effects_worker")  # until Ctrl-C
_ELSEWHERE = ("pip install", "celery ")  # this project is installed; a broker is not


class Walk:
    """A folder in which a page is followed, and the processes that run there meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []  # what each command has printed
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._port = free_port()
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DJANGO_", "PYTHON", "TEST_"))
        } | {
            "DJANGO_SUPERUSER_USERNAME": "ada",
            "DJANGO_SUPERUSER_EMAIL": "ada@example.com",
            "DJANGO_SUPERUSER_PASSWORD": "of no use elsewhere",
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._running):
            self.stop(name)

    def follow(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            match block.language:
                case "python":
                    self._write(block)
                case "sh":
                    for command in block.text.splitlines():
                        self.run(command)

    def run(self, command: str) -> str:
        """Run one printed *command*; what it printed. One that stays is left running."""
        if command.startswith(_ELSEWHERE):
            return ""
        words = shlex.split(command, comments=True)
        if words[0] == "curl":
            return self._post(words)
        arguments = self._python(words)
        verb = words[2] if words[0] == "python" else words[1]
        if verb in _STAYS and "--drain" not in words:
            self._start(verb, arguments)
            return ""
        done = subprocess.run(
            arguments, cwd=self.folder, env=self._environment, timeout=60, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        self.told.append(done.stdout)
        return done.stdout

    def log(self, verb: str) -> str:
        """What the process started by `manage.py verb` has printed so far."""
        return (self.folder / f"{verb}.log").read_text()

    def stop(self, verb: str) -> None:
        process = self._running.pop(verb)
        process.terminate()
        process.wait(30)

    def _python(self, words: list[str]) -> list[str]:
        match words:
            case ["django-admin", *rest]:
                return [sys.executable, "-m", "django", *rest]
            case ["python", "manage.py", "createsuperuser"]:
                return [sys.executable, *words[1:], "--noinput"]
            case ["python", "manage.py", "runserver"]:
                return [sys.executable, *words[1:], "--noreload", f"127.0.0.1:{self._port}"]
            case ["python", *rest]:
                return [sys.executable, *rest]
        raise AssertionError(f"A page prints a command that this test does not know: {words}")

    def _start(self, verb: str, arguments: list[str]) -> None:
        with (self.folder / f"{verb}.log").open("ab") as log:
            self._running[verb] = subprocess.Popen(
                arguments, cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        ready = {"runserver": "Quit the server", "effects_worker": "Ctrl-C stops"}[verb]
        eventually(lambda: ready in self.log(verb), within=60)

    def _post(self, words: list[str]) -> str:
        fields = [value for option, value in pairwise(words) if option == "-d"]
        url = urllib.parse.urlsplit(words[-1])._replace(netloc=f"127.0.0.1:{self._port}").geturl()
        data = "&".join(fields).encode()
        with urllib.request.urlopen(url, data=data, timeout=30) as answer:
            self.told.append(answer.read().decode())
        return self.told[-1]

    def _write(self, block: Block) -> None:
        found = _FILE.match(block.text)
        if found is None:
            return  # to read, not to paste
        path = self.folder / found["path"]
        before = path.read_text() + "\n" if found["added"] else ""
        path.write_text(before + block.text)
