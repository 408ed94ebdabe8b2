"""
What outlives a killed process: partners, the broker, what the client was told. Files, each.

`open_in(folder)` in each process that acts or looks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from reliable_effects.outbox.publisher import Hint
from tests.faults.outside import Outside


class _World:
    partner: Outside
    folder: Path
    broker_is_down = False


_world = _World()


def open_in(folder: Path) -> None:
    _world.folder = folder
    _world.partner = Outside(folder / "partner")
    _world.broker_is_down = False


def wipe() -> None:
    for file in _world.folder.iterdir():
        file.unlink()


def partner() -> Outside:
    """Who is called by effects: `"<order> <word>"`, and the key."""
    return _world.partner


# The broker


def send(queue: str, hint: Hint) -> None:
    """The transport (`RELIABLE_EFFECTS["TRANSPORT"]`)."""
    if _world.broker_is_down:
        raise ConnectionRefusedError("the broker is down")
    _append("broker", [queue, hint])


def break_broker() -> None:
    """For this process."""
    _world.broker_is_down = True


def lose_hints() -> None:
    (_world.folder / "broker").unlink(missing_ok=True)


def hints() -> list[Any]:
    """Every hint that was sent, and not lost since."""
    return [hint for _, hint in _lines("broker")]


# The client


def tell_client(what: str) -> None:
    """From here on the client knows *what*."""
    _append("client", what)


def client_knows() -> list[str]:
    return _lines("client")


def _append(name: str, line: Any) -> None:
    file = os.open(_world.folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


def _lines(name: str) -> list[Any]:
    path = _world.folder / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
