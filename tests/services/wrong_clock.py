"""Servers whose clock the tests set, by libfaketime: what they call now is hours off, or jumps."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.services.mariadb import MariaDB
from tests.services.postgres import Postgres
from tests.services.server import Missing, Server

_LIBRARIES = ("/usr/lib/*/faketime/", "/usr/lib/faketime/", "/usr/local/lib/faketime/")


def shifted(file: Path) -> dict[str, str]:
    """
    The environment of a Python process whose clocks are as far off as *file* says.

    All of them: libfaketime makes its sleeps fail where the monotonic clock is left alone. So let
    the file be, as long as the process lives.
    """
    return {
        "LD_PRELOAD": str(_library("libfaketime.so.1")),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
    }


def set_clock(file: Path, off: timedelta) -> None:
    """In one step, so that nobody reads half of it."""
    new = file.with_suffix(".new")
    new.write_text(f"{off.total_seconds():+.0f}\n")
    new.chmod(0o644)  # a server's user reads it
    new.replace(file)


def off_to(moment: datetime) -> timedelta:
    """How far off a clock is that says *moment* now."""
    return moment - datetime.now(UTC)


def _library(name: str) -> Path:
    for folder in _LIBRARIES:
        for path in _found(folder + name):
            return path
    raise Missing("libfaketime", _Faketime)


def _found(glob: str) -> Iterable[Path]:
    return sorted(Path("/").glob(glob.removeprefix("/")))


class _Faketime(Server):
    """For what is said where it is missing; it is a library and no server."""

    service = "PostgreSQL with libfaketime preloaded"
    variable = "LD_PRELOAD"


class _WrongClock(Server):
    """Its clock jumps when the file changes; the monotonic one goes on, as on a real machine."""

    library = "libfaketime.so.1"

    @property
    def clock(self) -> Path:
        return self.folder / "clock"

    def set_clock(self, off: timedelta) -> None:
        set_clock(self.clock, off)

    def prepare(self) -> None:
        self.set_clock(timedelta(0))
        super().prepare()

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            **shifted(self.clock),
            "LD_PRELOAD": str(_library(self.library)),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


class PostgresWithWrongClock(_WrongClock, Postgres):
    pass


class MariaDBWithWrongClock(_WrongClock, MariaDB):
    library = "libfaketimeMT.so.1"
