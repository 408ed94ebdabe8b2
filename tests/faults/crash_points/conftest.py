"""`sweep(act)`: one trial for each place of it, in the processes of `server`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults.evidence import IS_FULL, Evidence, sampled

from .places import Place, is_of_an_actor, nearest, shown

_AT_MOST = 3  # places of one act in a default run, beside the lines of effects and clients
_TRIES = 4  # at one place: what is measured, and so the way through, is not the same each time
_UNREACHED = 0.05  # of the places, in spite of that


class Server:
    """The other end of `server.main`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def trial(self, act: str, kill_at: Place | None = None, *pictures: Any) -> dict[str, Any]:
        """Play *act*, killed at *kill_at*, and drain; what was found."""
        try:
            return self._asked((act, kill_at, *pictures))
        except BaseException:
            self.end()  # it may be in the middle of an answer
            raise

    def _asked(self, question: tuple[Any, ...]) -> dict[str, Any]:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            said = (self._folder / "errors").read_text()
            pytest.fail(f"{question[:2]}: {said}", pytrace=False)
        found: dict[str, Any] = json.loads(answer)
        return found

    def _start(self) -> subprocess.Popen[str]:
        with (self._folder / "errors").open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.crash_points.server", str(self._folder)],
                cwd=Path(__file__).parents[3],
                env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.faults.crash_points.settings"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        return self._process

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and the child it waits for
            process.communicate()


@pytest.fixture(scope="module")
def _server(
    django_db_setup: None,  # noqa: ARG001  # its processes connect to it
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("crash_points"))
    yield server
    server.end()


@dataclass
class _Swept:
    """What came of one act."""

    act: str
    places: int
    kills: int = 0
    lost: int = 0
    phantom: int = 0
    extra_runs: int = 0
    problems: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def add(self, place: Place, found: dict[str, Any]) -> None:
        self.kills += found["killed"]
        self.lost += found["lost"]
        self.phantom += found["phantom"]
        self.extra_runs += found["extra_runs"]
        self.problems += [f"killed before {shown(place)}: {each}" for each in found["problems"]]

    def __str__(self) -> str:
        rate = self.kills / (time.monotonic() - self.began)
        return (
            f"{os.environ.get('TEST_DATABASE', 'sqlite')}, {self.act}: {self.places} places,"
            f" {self.kills} kills, {self.lost} lost, {self.phantom} phantom,"
            f" {self.extra_runs} extra runs; {rate:.0f} kills/s"
        )


@pytest.fixture
def sweep(
    transactional_db: None,  # noqa: ARG001  # what they commit is deleted at the end
    _server: Server,
    evidence: Evidence,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[str], None]:
    """Kill *act* at its places, one trial each. In a full run it prints how far it is."""

    def sweep(act: str) -> None:
        whole = _server.trial(act)
        assert whole["problems"] == [], "without any kill"
        assert whole["extra_runs"] == 0
        first, *others = [(file, line, n) for file, line, n in whole["places"]]
        untouched = _server.trial(act, first)
        assert untouched["problems"] == [], "killed before it began"
        swept = _Swept(act, len(others))
        places = [place for place in others if is_of_an_actor(place)]
        places += sampled([place for place in others if place not in places], _AT_MOST)
        for place in places:
            at = place
            for _ in range(_TRIES):
                found = _server.trial(act, at, whole["after"], untouched["after"])
                swept.add(at, found)
                if found["killed"]:
                    break
                at = nearest(place, found["places"])
        if IS_FULL:
            with capsys.disabled():
                print(f"\n{swept}", end=" ")  # noqa: T201  # an hour is long
        assert not swept.problems, "\n".join(swept.problems)
        assert swept.kills >= len(places) * (1 - _UNREACHED) - 1, "it did not come by there again"
        evidence.judged(swept, strikes=swept.kills)

    return sweep
