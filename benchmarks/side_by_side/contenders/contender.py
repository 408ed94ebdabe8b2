"""One contender: how it is set up, and where its docs advise so."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol


class Kind(StrEnum):
    OURS = "ours"
    DURABLE = "durable"  # what commits is done: rows in the same transaction, and a worker for them
    RELAY = "relay"  # rows in the same transaction, and from there to a broker
    MESSAGE = "message"  # a message after the commit: lost with the process or the broker
    LIMIT = "limit"  # raw SQL, with none of the care


class Application(Protocol):
    """What a shop writes with a contender: a module of `applications`."""

    def owe(self, order: Any, effects: int, kind: str) -> None:
        """In the open transaction that wrote *order*: owe it so many effects."""

    def fill(self, orders: Sequence[Any], kind: str) -> None:
        """Owe each of *orders* one effect, as quickly as may be. Opens its own transaction."""

    def unfinished(self) -> int:
        """How many of its effects are not done, as far as the contender knows; -1: it cannot tell."""


Commands = Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Contender:
    name: str
    title: str
    kind: Kind
    application: str  # module of `applications`
    how: str  # it is configured so, and where its docs advise it
    distributions: tuple[str, ...] = ()
    broker: str = ""  # "redis" or "rabbitmq"
    apps: tuple[str, ...] = ()
    # Given the address of its broker, and the name of the queue that is its own there.
    settings: Callable[[str, str], Mapping[str, Any]] = lambda _broker, _queue: {}
    # For so many worker processes: what is run, each behind the interpreter's name.
    workers: Callable[[int], Commands] = lambda _processes: ()
    databases: tuple[str, ...] = ("postgres",)
    emits_only: str = ""  # why it has no part in what is about workers
    sql: tuple[str, ...] = ()  # done once, after its tables were made

    def why_not(self) -> str:
        """What is missing here; "" where it can run."""
        for name in self.distributions:
            try:
                version(name)
            except PackageNotFoundError:
                return f"{name} is not installed"
        return ""

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in self.distributions}

    def load_application(self) -> Application:
        """Import it; only where Django runs with the contender's settings."""
        module: Any = importlib.import_module(
            f"benchmarks.side_by_side.applications.{self.application}"
        )
        return module  # type: ignore[no-any-return]


def manage(*arguments: str) -> list[str]:
    return ["-m", "django", *arguments]


def celery_worker(processes: int, *arguments: str) -> list[str]:
    return [
        "-m", "celery", "--app=benchmarks.side_by_side.site.celery", "worker",
        f"--concurrency={processes}", "--loglevel=INFO",
        "--without-gossip", "--without-mingle", *arguments,
    ]  # fmt: skip
