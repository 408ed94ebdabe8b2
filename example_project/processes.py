"""
Processes that are started, waited for, killed and stopped.

Each is the leader of a process group of its own and logs into a file. Promise: when the `Fleet`
is left, by its end, by Ctrl-C or by an exception, none of them and none of their children is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class NotReady(Exception):
    """A process did not become ready in time, or ended before it was."""

    def __init__(self, process: Process, why: str) -> None:
        self.log = process.log
        super().__init__(f"{process.name} {why}. Its log: {process.log}\n{process.last_lines()}")


class Process:
    """One program: *ready* tells whether it does its work yet."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        logs: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
        ready: Callable[[Process], bool] | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = logs / f"{name}.log"
        self.environment = dict(environment or {})
        self.folder = folder
        self._ready = ready
        self._log_from = 0
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._popen is None:
            raise RuntimeError(f"{self.name} was not started.")
        return self._popen.pid

    def start(self) -> None:
        """Start it, again if it ran before; its log goes on."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
                # A group of its own: Ctrl-C in the terminal reaches us alone, and we stop the
                # others in order; and what it forks can be killed together with it.
                start_new_session=True,
                # Start processes from the main thread only: Linux takes the end of the thread
                # that started one for the end of its parent.
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # one system call, and no lock
            )

    def wait_until_ready(self, seconds: float = 60) -> None:
        """
        Raises:
            NotReady: it ended, or *seconds* went by.
        """
        for _ in until(seconds):
            if not self.is_alive():
                raise NotReady(self, "ended before it was ready")
            if self.is_ready():
                return
        raise NotReady(self, f"was not ready after {seconds:g} s")

    def is_ready(self) -> bool:
        return self._ready is None or self._ready(self)

    def is_alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def children(self) -> list[int]:
        """Its direct children, oldest first."""
        if self._popen is None:
            return []
        return sorted(pid for pid, parent in _parents().items() if parent == self.pid)

    def kill(self) -> None:
        """SIGKILL for the process and all that it has forked: nobody gets to tidy up."""
        if self._popen is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def stop(self, seconds: float = 10) -> None:
        """
        Ask it to end, and make it after *seconds*.

        The leader alone is asked: a Celery worker whose whole group gets SIGTERM hangs.
        """
        if self._popen is None:
            return
        if self.is_alive():
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(seconds)
        self.kill()

    def last_lines(self, number: int = 12) -> str:
        return "\n".join(self.said().splitlines()[-number:])

    def said(self) -> str:
        """What it has logged since it was last started."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_from)
            return log.read().decode(errors="replace")


class Fleet:
    """The processes of one run, stopped in the reverse of the order they were started in."""

    def __init__(self) -> None:
        self._processes: list[Process] = []
        self._handlers: dict[int, Any] = {}

    def start(self, process: Process) -> Process:
        self._processes.append(process)
        process.start()
        return process

    def wait_until_ready(self, seconds: float = 60) -> None:
        for process in self._processes:
            process.wait_until_ready(seconds)

    def dead(self) -> list[Process]:
        return [process for process in self._processes if not process.is_alive()]

    def __enter__(self) -> Self:
        # A plain `kill` of us, or a closed terminal, ends the run like Ctrl-C does.
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, _interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second Ctrl-C must not leave half of them behind.
        self._handlers[signal.SIGINT] = signal.getsignal(signal.SIGINT)
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self._processes):
            process.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> Callable[[Process], bool]:
    """Make the ready condition of a server: somebody accepts connections on *port*."""

    def is_ready(_: Process) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    return is_ready


def says(words: str) -> Callable[[Process], bool]:
    """Make the ready condition of a process that tells it in its log."""
    return lambda process: words in process.said()


def until(seconds: float, pause: float = 0.05) -> Iterator[float]:
    """Yield the seconds gone by, over and over with a short pause, until *seconds* are over."""
    start = time.monotonic()
    while (gone := time.monotonic() - start) < seconds:
        yield gone
        time.sleep(pause)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _die_with_parent() -> None:
    """Have Linux end the child when we are killed and can stop nothing any more."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _parents() -> dict[int, int]:
    """Map each process to its parent, from /proc, or from ps where there is none."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        )
        return {int(pid): int(ppid) for pid, ppid in map(str.split, listed.stdout.splitlines())}
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                # "pid (name) state ppid": the name may hold spaces and brackets.
                stat = (entry / "stat").read_text()
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return parents
