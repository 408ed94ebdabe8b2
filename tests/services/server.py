"""
A throwaway server: its own folder, a free port on 127.0.0.1, and no process left behind.

A subclass says which program to run and how to see that it answers; killing, freezing and
cleaning up are the same for all.
"""

from __future__ import annotations

import atexit
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar, NoReturn, Self
from urllib.parse import urlsplit

import pytest

from tests.services import keeper
from tests.waiting import eventually


class Missing(Exception):
    """A program that a throwaway server needs is not installed."""

    def __init__(self, program: str, server: type[Server]) -> None:
        self.program = program
        super().__init__(
            f"{program} was not found. `{server.installed_by}` gets it on Debian and Ubuntu; elsewhere"
            f" start {server.service} from compose.yaml and set {server.variable}."
        )


class Server:
    service: ClassVar[str]  # its name in compose.yaml
    variable: ClassVar[str]  # the environment variable that names a server to use instead
    installed_by: ClassVar[str] = "make services"
    folders: ClassVar[tuple[str, ...]] = ()  # where its programs are if not on PATH; globs
    ready_within: ClassVar[float] = 60  # seconds; a first start on a loaded machine
    stop_with: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, place: Path | None = None) -> None:
        """*place* is where its folder will be: on a disk that a test may fill, maybe."""
        self.place = place
        self.folder: Path | None = None
        self.port = 0
        self.is_frozen = False
        self._keeper: subprocess.Popen[bytes] | None = None

    # What a subclass says.

    @property
    def url(self) -> str:
        raise NotImplementedError

    def prepare(self) -> None:
        """Fill the new, empty folder."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Is set on top of the caller's environment."""
        return {}

    def answers(self) -> bool:
        """Whether the server does real work; OSError counts as no."""
        raise NotImplementedError

    # What callers use.

    @property
    def is_running(self) -> bool:
        return self._keeper is not None and self._keeper.poll() is None

    def start(self) -> Self:
        """Start on the same folder and port as before, and return when it answers."""
        if self.is_running:
            return self
        if self.folder is None:
            self.command()  # raises Missing before there is anything to clean up
            self._make_folder()
        self._forget_keeper()
        self._keeper = self._spawn(*self.command())
        try:
            eventually(self._is_ready, within=self.ready_within)
        except AssertionError as error:
            raise RuntimeError(f"{self.service} does not answer:\n{self._end_of_log()}") from error
        return self

    def stop(self) -> None:
        """Ask it to end and wait; what does not end is killed."""
        if not self.is_running:
            return
        self.thaw()
        for child in keeper.descendants(self._keeper.pid)[:1]:
            os.kill(child, self.stop_with)
        try:
            self._keeper.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()
        self._forget_keeper()

    def kill(self) -> None:
        """SIGKILL the whole tree at once, as the out-of-memory killer or a power cut would."""
        if not self.is_running:
            return
        keeper.signal_tree(self._keeper.pid, signal.SIGKILL)
        self._keeper.wait(timeout=30)
        self._forget_keeper()

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Hang: connections stay open and new ones are accepted, and nothing answers."""
        keeper.signal_tree(self._keeper.pid, signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self) -> None:
        if self.is_frozen and self.is_running:
            keeper.signal_tree(self._keeper.pid, signal.SIGCONT)
        self.is_frozen = False

    def heal(self) -> None:
        """Running and answering again, whatever a test did to it."""
        self.thaw()
        self.start()

    def discard(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.discard()

    # For subclasses.

    @classmethod
    def find(cls, program: str) -> str:
        """The program's path: in `folders`, newest version first, else on PATH."""
        known = [str(folder) for glob in cls.folders for folder in _newest_first(glob)]
        usual = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"]
        # Not what a wheel brought into our own environment: its folder may be closed to _owner().
        folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
        on_path = [folder for folder in folders if folder != str(Path(sys.prefix) / "bin")]
        for path in [*known, *on_path, *usual]:
            if found := shutil.which(program, path=path):
                return found
        raise Missing(program, cls)

    def run_once(self, *command: str) -> None:
        """Run a set-up command as the server's owner."""
        process = self._spawn(*command)
        process.wait(timeout=self.ready_within)
        process.stdin.close()
        if process.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{self._end_of_log()}")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    # The rest.

    def _make_folder(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"effects-{self.service}-", dir=self.place))
        if _owner():
            shutil.chown(self.folder, _owner())
        self.port = free_port()
        pid = os.getpid()
        # A forked child runs its parent's exit handlers too, and must leave the parent's server.
        atexit.register(lambda: os.getpid() == pid and self.discard())
        self.prepare()

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-IS", keeper.__file__, str(self.folder), _owner(), *command],
                env=os.environ | self.environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops us in its order
            )

    def _is_ready(self) -> bool:
        if not self.is_running:
            raise RuntimeError(f"{self.service} ended at its start:\n{self._end_of_log()}")
        try:
            return self.answers()
        except OSError:
            return False

    def _forget_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.stdin.close()
        self._keeper = None
        self.is_frozen = False

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _end_of_log(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]


class Given:
    """
    A server that an environment variable names: it is used as it is, and stays as it is.

    Asking it to stop, die, hang or forget skips the test, for others may be using it.
    """

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self.url = os.environ[variable]
        self.port = urlsplit(self.url).port

    def start(self) -> Self:
        return self

    heal = discard = start

    def _leave_alone(self) -> NoReturn:
        pytest.skip(f"{self.variable} names a server that is not ours to stop, hang or wipe")

    stop = kill = restart = freeze = thaw = wipe = fill = relieve = _leave_alone


def obtain(server: type[Server]) -> Server | Given:
    """The server that the environment names, else a throwaway one, running."""
    return Given(server.variable) if os.environ.get(server.variable) else server().start()


def free_port() -> int:
    """
    A port that nothing listens on, and that no outgoing connection will be given.

    Those come from 32768 up. A client that keeps calling a dead server in that range can be
    given the server's own port, reach itself, and so keep the server from coming back.
    """
    for port in _chance.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("No free port between 20000 and 32000")


_chance = random.SystemRandom()  # tests seed the other one, and runs would meet on the same ports


def _owner() -> str:
    """Who runs the servers; some refuse to be root."""
    return "nobody" if os.geteuid() == 0 else ""


def _newest_first(glob: str) -> list[Path]:
    """Folders that match, by the numbers in their names: 15 before 9."""
    return sorted(
        Path("/").glob(glob.removeprefix("/")),
        key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))],
        reverse=True,
    )
